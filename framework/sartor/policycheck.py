"""Whether a policy is written so that it will be asked: its methods' names, arguments and kind."""

from __future__ import annotations

import difflib
import inspect

from sartor.errors import PluginError
from sartor.policy import Policy, Stage

__all__ = ["check_policy"]


def check_policy(policy: Policy, plugin: str) -> None:
    """Raises `PluginError` for a policy that judges no stage, or has a stage's method misspelt, not async, or with
    other arguments than the stage gives: it would fail open, or block every turn."""
    kind = type(policy)
    where = f"plugin {plugin!r}: policy {kind.__name__}"
    stages = [stage.value for stage in Stage]
    for name in dir(kind):
        if name.startswith("_") or hasattr(Policy, name) or not callable(getattr(kind, name)):
            continue
        if close := difflib.get_close_matches(name, stages, n=1, cutoff=0.75):
            raise PluginError(
                f"{where} has a method {name!r}, which is never asked",
                remedy=f"Did you mean {close[0]!r}? Begin the names of methods of your own with an underscore.",
            )
    judged = [stage for stage in Stage if policy.judges(stage)]
    if not judged:
        raise PluginError(f"{where} judges no stage", remedy=f"Override one of: {', '.join(stages)}.")
    for stage in judged:
        method = getattr(policy, stage.value)
        if not inspect.iscoroutinefunction(method):
            raise PluginError(f"{where}: {stage.value} is not async", remedy=f"Write `async def {stage.value}(…)`.")
        wanted = list(inspect.signature(getattr(Policy, stage.value)).parameters)[1:]
        try:
            inspect.signature(method).bind(*wanted)
        except TypeError as error:
            raise PluginError(
                f"{where}: {stage.value} takes other arguments",
                remedy=f"Write `async def {stage.value}(self, {', '.join(wanted)})`.",
            ) from error
