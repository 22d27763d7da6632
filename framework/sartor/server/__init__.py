"""The HTTP service. Its door is `sartor.asgi.app`; importing this package imports nothing."""

from __future__ import annotations

__all__ = ()
