"""Files of a Hugging Face hub on this disk: resumed when they were interrupted, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sartor.errors import BusyError, DiskError, ModelError, SartorError
from sartor.hub import HubFile, Offer, Repository, shown_size
from sartor.huberrors import endpoint, is_transport, translated
from sartor.modelfile import BESIDE, digest

__all__ = ["Watch", "download"]

Watch = Callable[[HubFile, str, int], object]
"""Hears of a file what is done with it, ``pulling`` or ``checking``, and how many bytes are done."""

_TOO_LARGE = 50_000_000_000
"""Larger files are not served over plain HTTP; `huggingface_hub` has another way for them, which does not resume."""
_CHUNK = 1 << 20
_ATTEMPTS = 5
"""How often in a row a connection may bring nothing before it is given up."""
_PAUSE = 1.0


def download(repository: Repository, offer: Offer, folder: Path, watch: Watch) -> Sequence[Path]:
    """The files of `offer` beside their place in `folder`, complete and with the hub's hashes, not yet in it.

    What an earlier call left is resumed. Raises `DiskError`, `BusyError` or `ModelError`; what has arrived then
    stays, to be resumed.
    """
    staging = folder / BESIDE
    with translated(repository.name):
        from filelock import FileLock, Timeout

        staging.mkdir(parents=True, exist_ok=True)
        targets = [staging / f"{_key(repository, file)}.part" for file in offer.files]
        missing = offer.size - sum(target.stat().st_size for target in targets if target.exists())
        _check_room(folder, missing)
        lock = FileLock(staging / f"{targets[0].stem}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise BusyError(
                f"another process is pulling {offer.name}", where=str(folder), remedy="Wait for it, or end it."
            ) from error
        try:
            for file, target in zip(offer.files, targets, strict=True):
                _fetch(repository, file, target, watch)
                _check(file, target, watch)
        finally:
            lock.release()
            Path(lock.lock_file).unlink(missing_ok=True)
    return targets


def _fetch(repository: Repository, file: HubFile, target: Path, watch: Watch) -> None:
    """Bring `target` to its full size, from where it is; a connection that breaks is taken up again."""
    if file.size > _TOO_LARGE:
        _fetch_large(repository, file, target, watch)
        return
    if target.exists() and target.stat().st_size > file.size:
        target.unlink()
    failed = 0
    while (there := target.stat().st_size if target.exists() else 0) < file.size:
        watch(file, "pulling", there)
        try:
            _stream(repository, file, target, watch)
        except SartorError:
            raise
        except Exception as error:
            failed = 1 if target.stat().st_size > there else failed + 1
            if failed > _ATTEMPTS or not is_transport(error):
                raise
            time.sleep(_PAUSE * failed)
        else:
            if target.stat().st_size <= there:
                raise ModelError(f"the hub has less of it than the {file.size} bytes that it tells", where=file.name)


def _stream(repository: Repository, file: HubFile, target: Path, watch: Watch) -> None:
    """Add to `target` what one answer of the hub brings."""
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    url = hf_hub_url(repository.name, file.name, revision=repository.commit, endpoint=endpoint())
    with target.open("ab") as out:
        done = out.tell()
        headers = {**build_hf_headers(), "Accept-Encoding": "identity", "Range": f"bytes={done}-"}
        with get_session().stream("GET", url, headers=headers, follow_redirects=True, timeout=30) as answer:
            hf_raise_for_status(answer)
            if answer.status_code != 206:  # it begins at the beginning, whatever was asked for
                out.truncate(0)
                done = 0
            for chunk in answer.iter_bytes(_CHUNK):
                out.write(chunk)
                done += len(chunk)
                watch(file, "pulling", done)
                if done > file.size:
                    break
        out.flush()
        os.fsync(out.fileno())
    if done > file.size:
        target.unlink()
        raise ModelError(f"more arrived than the {file.size} bytes that the hub told of", where=file.name)


def _check(file: HubFile, target: Path, watch: Watch) -> None:
    """Make sure that what arrived is what the hub said; delete it if it is not."""
    done = 0

    def step(size: int) -> None:
        nonlocal done
        done += size
        watch(file, "checking", done)

    if file.sha256 is not None and (found := digest([target], step)) != file.sha256:
        target.unlink()
        raise ModelError(
            f"what arrived has the SHA-256 {found}, the hub says {file.sha256}",
            where=file.name,
            remedy="It was deleted. Pull it again; when this happens twice, something on the way changes it.",
        )


def _fetch_large(repository: Repository, file: HubFile, target: Path, watch: Watch) -> None:
    from huggingface_hub import hf_hub_download

    class Bar:
        """The part of tqdm's interface that `huggingface_hub` uses."""

        def __init__(self, *_: object, initial: int = 0, **__: object) -> None:
            self.done = initial

        def update(self, count: float | None = 1) -> None:
            self.done += int(count or 0)
            watch(file, "pulling", self.done)

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    folder = target.with_suffix(".large")
    path = hf_hub_download(
        repository.name,
        file.name,
        revision=repository.commit,
        local_dir=folder,
        endpoint=endpoint(),
        tqdm_class=Bar,
    )
    os.replace(path, target)
    shutil.rmtree(folder, ignore_errors=True)


def _key(repository: Repository, file: HubFile) -> str:
    """A name for a download: the same for the same content under the same name."""
    said = file.sha256 or f"{repository.name}@{repository.commit}/{file.name}"
    return hashlib.sha256(f"{said}/{file.base}".encode()).hexdigest()[:32]


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskError(
            f"{shown_size(needed)} are still to come, {shown_size(free)} are free",
            where=str(folder),
            remedy="Free space, choose a smaller quantization, or set `model_folder` in sartor.yaml to another disk.",
        )
