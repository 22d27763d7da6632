"""No network in tests: connections to anywhere but this machine are refused, and named."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["NetworkGuard"]


class NetworkGuard:
    """Refuses connections and look-ups of names, but for this machine. `refused` lists what was tried."""

    def __init__(self) -> None:
        self.refused: list[str] = []

    @contextmanager
    def closed(self) -> Iterator[NetworkGuard]:
        """Within, there is no network."""
        connect, connect_ex, look_up = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo
        setattr(socket.socket, "connect", self._guarded(connect))  # noqa: B010
        setattr(socket.socket, "connect_ex", self._guarded(connect_ex))  # noqa: B010
        setattr(socket, "getaddrinfo", self._named(look_up))  # noqa: B010
        try:
            yield self
        finally:
            socket.socket.connect = connect  # type: ignore[method-assign]
            socket.socket.connect_ex = connect_ex  # type: ignore[method-assign]
            socket.getaddrinfo = look_up

    def check(self) -> None:
        """Raises `AssertionError` where something tried to leave this machine."""
        assert not self.refused, f"the test reached for the network: {', '.join(self.refused)}"

    def _guarded(self, original: Callable[..., object]) -> Callable[..., object]:
        def connect(self_: socket.socket, address: object) -> object:
            if self_.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
                self._allow(str(address[0]))
            return original(self_, address)

        return connect

    def _named(self, original: Callable[..., object]) -> Callable[..., object]:
        def look_up(host: bytes | str | None, *arguments: object, **more: object) -> object:
            name = host.decode() if isinstance(host, bytes) else host
            if name is not None:
                self._allow(name)
            return original(host, *arguments, **more)

        return look_up

    def _allow(self, host: str) -> None:
        if host in ("localhost", "", "0.0.0.0", "::"):
            return
        try:
            here = ipaddress.ip_address(host.partition("%")[0]).is_loopback
        except ValueError:
            here = False
        if not here:
            self.refused.append(host)
            raise ConnectionRefusedError(f"no network in tests: {host}")
