"""What a repository of a Hugging Face hub offers, and which of it somebody means.

`huggingface_hub` is imported when a function is called. The environment variables that it knows, such as
``HF_ENDPOINT`` and ``HF_TOKEN``, hold here, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sartor.errors import ModelError, UsageError
from sartor.huberrors import endpoint, translated
from sartor.modelfile import parts

__all__ = ["HubFile", "Offer", "Repository", "choose", "look", "shown_size"]

SUFFIX = ".gguf"

_WEIGHTS = re.compile(r"(?<![A-Za-z0-9])(I?Q\d\w*|TQ\d\w*|MXFP4\w*|NVFP4|BF16|F16|F32|FP16|FP32)(?![A-Za-z0-9])", re.I)
_PLAIN = re.compile(r"[A-Za-z0-9_][\w.+@-]*")


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
    with translated(repository):
        from huggingface_hub import HfApi

        info = HfApi(endpoint=endpoint()).model_info(repository, revision=revision, files_metadata=True, timeout=30)
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
    lines = "".join(f"\n  {shown_size(offer.size):>9}  {_told(offer)}" for offer in sorted(shown, key=lambda o: o.size))
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


def shown_size(count: int) -> str:
    """Bytes as people say them: 1.2 GB."""
    from rich.filesize import decimal

    return decimal(count)
