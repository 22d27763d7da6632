"""What the process of an isolated plugin may read, so that Python runs and nothing of the project shows."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

__all__ = ["module_paths", "readable"]

_SYSTEM = (
    *("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/usr/share/locale"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/timezone", "/etc/mime.types", "/dev/urandom", "/dev/zero"),
)
_FOR_NETWORK = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services"),
    *("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr/share/ca-certificates", "/run/systemd/resolve"),
)


def module_paths(project: Path) -> list[str]:
    """Where modules are found here, less what would show the project: its folder, and folders that hold it. Of what is
    within it, only the packages of its own environment stay."""
    paths = dict.fromkeys(os.path.realpath(path) for path in sys.path if path)
    return [path for path in paths if os.path.exists(path) and _harmless(path, project)]


def readable(project: Path, network: bool, further: Iterable[Path]) -> list[str]:
    """All that may be read, `further` among it."""
    libraries = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))
    own = [*libraries, os.path.join(sys.base_prefix, "lib"), *_SYSTEM, *(_FOR_NETWORK if network else ())]
    found = [os.path.realpath(path) for path in own if os.path.exists(path)]
    found = [path for path in found if _harmless(path, project)]
    return list(dict.fromkeys([*found, *module_paths(project), *map(os.path.realpath, further)]))


def _harmless(path: str, project: Path) -> bool:
    folder, root = Path(path), Path(os.path.realpath(project))
    if root.is_relative_to(folder):
        return False
    prefix = Path(os.path.realpath(sys.prefix))
    inside = prefix != root and prefix.is_relative_to(root) and folder.is_relative_to(prefix)
    return inside or not folder.is_relative_to(root)
