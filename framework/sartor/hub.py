"""Models from a Hugging Face hub: what a repository offers, and its files on this disk, whole or not at all.

`huggingface_hub` is imported when a function is called. The environment variables that it knows, such as
``HF_ENDPOINT`` and ``HF_TOKEN``, hold here, too.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sartor.errors import BusyError, DiskError, ModelError, RunError, SartorError, UsageError
from sartor.modelfile import BESIDE, digest, parts

__all__ = ["HubFile", "Offer", "Repository", "choose", "download", "look"]

SUFFIX = ".gguf"

Watch = Callable[["HubFile", str, int], object]
"""Hears of a file what is done with it, ``pulling`` or ``checking``, and how many bytes are done."""

_WEIGHTS = re.compile(r"(?<![A-Za-z0-9])(I?Q\d\w*|TQ\d\w*|MXFP4\w*|NVFP4|BF16|F16|F32|FP16|FP32)(?![A-Za-z0-9])", re.I)
_PLAIN = re.compile(r"[A-Za-z0-9_][\w.+@-]*")
_TOO_LARGE = 50_000_000_000
"""Larger files are not served over plain HTTP; `huggingface_hub` has another way for them, which does not resume."""
_CHUNK = 1 << 20
_ATTEMPTS = 5
"""How often in a row a connection may bring nothing before it is given up."""
_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in a repository."""

    name: str
    size: int
    sha256: str | None

    @property
    def base(self) -> str:
        """Its name without the folders of the repository."""
        return PurePosixPath(self.name).name


@dataclass(frozen=True, slots=True)
class Offer:
    """A model in a repository: one file, or all parts of a split one."""

    files: tuple[HubFile, ...]

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def name(self) -> str:
        return self.files[0].name

    @property
    def quantization(self) -> str:
        """What the name says about it, such as ``Q4_K_M``; empty where it says nothing."""
        told = re.sub(r"-\d{5}-of-\d{5}", "", PurePosixPath(self.name).stem)
        found = _WEIGHTS.findall(told)
        return found[-1].upper() if found else ""

    @property
    def is_model(self) -> bool:
        """Whether it is a model of its own, as far as its name says: no projector, no importance matrix."""
        return not re.search(r"mmproj|imatrix", self.name, re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of a hub, as it was at one commit."""

    name: str
    commit: str
    offers: tuple[Offer, ...]


def look(repository: str, revision: str | None = None) -> Repository:
    """What `repository` (``OWNER/NAME``) offers. Raises `ModelError`, or `UsageError` for what is no name of one."""
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", repository) or ".." in repository:
        remedy = "Write OWNER/NAME, and after a colon the file or the quantization: OWNER/NAME:Q4_K_M."
        raise UsageError(f"{repository!r} is no name of a repository", remedy=remedy)
    with _translated(repository):
        from huggingface_hub import HfApi

        info = HfApi(endpoint=_endpoint()).model_info(repository, revision=revision, files_metadata=True, timeout=30)
    files = [
        HubFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else None)
        for file in info.siblings or ()
        if file.rfilename.lower().endswith(SUFFIX)
    ]
    return Repository(repository, info.sha or revision or "main", tuple(_offers(repository, files)))


def choose(repository: Repository, wanted: str = "") -> Offer:
    """The model that `wanted` means: a file's name, a quantization, or nothing when there is only one.

    Raises `UsageError` with what there is when none or several fit.
    """
    if not repository.offers:
        raise UsageError(
            f"{repository.name} has no GGUF file",
            remedy="Look for a repository of the same model converted to GGUF; their names often end with -GGUF.",
        )
    models = [offer for offer in repository.offers if offer.is_model] or list(repository.offers)
    if wanted.lower().endswith(SUFFIX):
        fitting = [
            offer for offer in repository.offers if any(wanted in (file.name, file.base) for file in offer.files)
        ]
    elif wanted:
        pattern = re.compile(rf"(?<![A-Za-z0-9_]){re.escape(wanted)}(?![A-Za-z0-9_])", re.IGNORECASE)
        fitting = [offer for offer in models if pattern.search(offer.name)]
    else:
        fitting = models
    if len(fitting) == 1:
        return fitting[0]
    shown = fitting or models
    lines = "".join(f"\n  {_size(offer.size):>9}  {_told(offer)}" for offer in sorted(shown, key=lambda o: o.size))
    if wanted:
        what = f"{len(fitting)} models of {repository.name} fit {wanted!r}" if fitting else f"has no {wanted!r}"
    else:
        what = f"{repository.name} has {len(fitting)} models"
    what = what if fitting else f"{repository.name} {what}"
    example = _selector(shown[len(shown) // 2], shown)
    raise UsageError(
        f"{what}{':' if fitting else '; it has:'}{lines}",
        remedy=f"Choose one by its quantization or its file: sartor model pull {repository.name}:{example}",
    )


def download(repository: Repository, offer: Offer, folder: Path, watch: Watch) -> Sequence[Path]:
    """The files of `offer` beside their place in `folder`, complete and with the hub's hashes, not yet in it.

    What an earlier call left is resumed. Raises `DiskError`, `BusyError` or `ModelError`; what has arrived then
    stays, to be resumed.
    """
    staging = folder / BESIDE
    with _translated(repository.name):
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
        except Exception as error:
            failed = 1 if target.stat().st_size > there else failed + 1
            if failed > _ATTEMPTS or not _is_transport(error):
                raise
            time.sleep(_PAUSE * failed)
        else:
            if target.stat().st_size <= there:
                raise ModelError(f"the hub has less of it than the {file.size} bytes that it tells", where=file.name)


def _stream(repository: Repository, file: HubFile, target: Path, watch: Watch) -> None:
    """Add to `target` what one answer of the hub brings."""
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

    url = hf_hub_url(repository.name, file.name, revision=repository.commit, endpoint=_endpoint())
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
        out.flush()
        os.fsync(out.fileno())
    if done > file.size:
        target.unlink()
        raise ModelError(f"more arrived than the {file.size} bytes that the hub told of", where=file.name)


def _is_transport(error: Exception) -> bool:
    """Whether it comes from the connection: `huggingface_hub` uses another HTTP client in each major version."""
    return type(error).__module__.partition(".")[0].startswith(("httpx", "httpcore"))


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
        endpoint=_endpoint(),
        tqdm_class=Bar,
    )
    os.replace(path, target)
    shutil.rmtree(folder, ignore_errors=True)


def _offers(repository: str, files: Sequence[HubFile]) -> Iterator[Offer]:
    """Files as models: the parts of a split one together, and those with a missing part left out."""
    by_name = {file.name: file for file in files}
    for file in sorted(files, key=lambda file: file.name):
        if not _PLAIN.fullmatch(file.base):
            raise ModelError(f"{repository} has a file with an odd name: {file.name!r}")
        folder = PurePosixPath(file.name).parent
        names = [str(folder / part.name) for part in parts(Path(file.base))]
        if names[0] == file.name and all(name in by_name for name in names):
            yield Offer(tuple(by_name[name] for name in names))


def _told(offer: Offer) -> str:
    count = len(offer.files)
    return offer.name + (f"  ({count} parts)" if count > 1 else "")


def _selector(offer: Offer, among: Sequence[Offer]) -> str:
    """The shortest way to name `offer`."""
    same = [other for other in among if other.quantization == offer.quantization]
    return offer.quantization if offer.quantization and len(same) == 1 else offer.name


def _key(repository: Repository, file: HubFile) -> str:
    """A name for a download: the same for the same content under the same name."""
    said = file.sha256 or f"{repository.name}@{repository.commit}/{file.name}"
    return hashlib.sha256(f"{said}/{file.base}".encode()).hexdigest()[:32]


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskError(
            f"{_size(needed)} are still to come, {_size(free)} are free",
            where=str(folder),
            remedy="Free space, choose a smaller quantization, or set `model_folder` in sartor.yaml to another disk.",
        )


def _size(count: int) -> str:
    from rich.filesize import decimal

    return decimal(count)


@contextmanager
def _translated(repository: str) -> Iterator[None]:
    """Errors of `huggingface_hub`, of its HTTP client and of the disk as errors of ours."""
    try:
        yield
    except SartorError:
        raise
    except ModuleNotFoundError as error:
        raise RunError(
            f"pulling models needs the package {error.name!r}, which is not installed",
            remedy="pip install 'sartor[local]'",
        ) from error
    except Exception as error:
        raise _translation(repository, error) from error


def _translation(repository: str, error: Exception) -> SartorError:
    from huggingface_hub import constants, errors

    hub = _endpoint() or constants.ENDPOINT
    told = str(error).strip().partition("\n")[0] or type(error).__name__
    page = f"{hub}/{repository}"
    if isinstance(error, errors.GatedRepoError):
        what, remedy = "the repository is gated", f"Accept its terms at {page}, then set HF_TOKEN to a token of yours."
    elif isinstance(error, errors.RevisionNotFoundError):
        what, remedy = "there is no such revision", f"See {page} for its branches, tags and commits."
    elif isinstance(error, errors.EntryNotFoundError) and isinstance(error, errors.HfHubHTTPError):
        what, remedy = "the file is not there any more", "Pull again: the repository has changed."
    elif isinstance(error, errors.RepositoryNotFoundError):
        what = "there is no such repository, or it is private"
        remedy = "Check the spelling (capitals count). For a private one, set HF_TOKEN to a token that may read it."
    elif isinstance(error, errors.OfflineModeIsEnabled):
        what, remedy = "HF_HUB_OFFLINE is set, so nothing is pulled", "Unset it, or copy the file into the folder."
    elif isinstance(error, errors.HfHubHTTPError):
        what, remedy = f"the hub {hub} answered: {told}", "Try again later: what has arrived is kept."
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        remedy = "Free space and pull again: it goes on where it stopped."
        return DiskError("the disk is full", where=error.filename or None, remedy=remedy)
    elif isinstance(error, OSError) and error.errno is not None and isinstance(error.filename, str):
        return DiskError(f"cannot be written: {error.strerror}", where=error.filename, remedy="Check its permissions.")
    elif _is_transport(error):
        what = f"the hub {hub} cannot be reached: {told}"
        remedy = (
            "Check the network, HTTPS_PROXY, and HF_ENDPOINT for a mirror. What has arrived is kept: pull again. "
            "Without a network, copy the file into the folder: sartor model list shows it."
        )
    else:
        what, remedy = f"pulling failed: {type(error).__name__}: {told}", "What has arrived is kept: pull again."
    return ModelError(what, where=repository, remedy=remedy)
