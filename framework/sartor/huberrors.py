"""Errors of `huggingface_hub`, of its HTTP client and of the disk as errors of ours: the one place for them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sartor.errors import DiskError, ModelError, RunError, SartorError

__all__ = ["endpoint", "is_transport", "translated"]


def endpoint() -> str | None:
    """The hub that ``HF_ENDPOINT`` names; None for the one that `huggingface_hub` means by itself."""
    return os.environ.get("HF_ENDPOINT") or None


def is_transport(error: Exception) -> bool:
    """Whether it comes from the connection: `huggingface_hub` uses another HTTP client in each major version."""
    return type(error).__module__.partition(".")[0].startswith(("httpx", "httpcore"))


@contextmanager
def translated(repository: str) -> Iterator[None]:
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

    hub = endpoint() or constants.ENDPOINT
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
    elif is_transport(error):
        what = f"the hub {hub} cannot be reached: {told}"
        remedy = (
            "Check the network, HTTPS_PROXY, and HF_ENDPOINT for a mirror. What has arrived is kept: pull again. "
            "Without a network, copy the file into the folder: sartor model list shows it."
        )
    else:
        what, remedy = f"pulling failed: {type(error).__name__}: {told}", "What has arrived is kept: pull again."
    return ModelError(what, where=repository, remedy=remedy)
