"""Conversations as tests: a bot rehearses what its users will say, before each release.

Read in this order: `script` (the YAML of a test), `stage` (a project whose state is thrown away), `tape` (model and
tools recorded and played again), `expect` (a reply against what is expected), `run` (all of it together), `smoke`
(what every bot has to stand).
"""

from __future__ import annotations

__all__ = ()
