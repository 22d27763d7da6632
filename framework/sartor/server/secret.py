"""The service's secret: what API keys are hashed with and sessions are signed with."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from sartor.errors import DiskError, UsageError
from sartor.secrets import resolve_secret

__all__ = ["Secret", "load_secret"]

_BYTES = 32


class Secret:
    """Keys for several uses, derived from one secret, so that what one use tells says nothing about another."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def key(self, use: str) -> bytes:
        """32 bytes for `use`."""
        return hmac.digest(self._secret, f"sartor:{use}".encode(), "sha256")

    def digest(self, use: str, text: str) -> str:
        """The keyed hash (HMAC-SHA256) of `text`, in hexadecimal."""
        return hmac.new(self.key(use), text.encode(), hashlib.sha256).hexdigest()


def load_secret(reference: str, directory: Path) -> Secret:
    """The secret that `reference` names (``env:NAME``, ``file:PATH``); a file that is missing is made.

    Raises `UsageError` when it cannot be read or is shorter than 16 characters, `DiskError` when it cannot be made.
    """
    kind, _, name = reference.partition(":")
    if kind == "file" and name and not (directory / name).exists():
        _make(directory / name)
    text = resolve_secret(reference, directory)
    if len(text) < 16:
        raise UsageError(
            f"the service's secret ({reference}) is shorter than 16 characters",
            remedy="Take a random one: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    return Secret(text.encode())


def _make(path: Path) -> None:
    """Write a new secret, whole or not at all, readable by its owner only; another process may be faster."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(_BYTES))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    except OSError as error:
        raise DiskError(
            f"the service's secret cannot be written: {error.strerror or error}",
            where=str(path),
            remedy="Make the folder writable, or name another place with service.secret in sartor.yaml.",
        ) from error
