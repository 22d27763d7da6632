"""Whether what a flow leads to is being done at this moment: known for sure in this process, by the time in others."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from sartor.flows.state import Flow, Lease

__all__ = ["Doing"]

_COMMIT = timedelta(seconds=10)
"""For what comes after the turn's time: the turn is committed."""


class Doing:
    """The turns of one bot in this process that do what a flow leads to."""

    def __init__(self) -> None:
        self._id = uuid.uuid4().hex
        self._turns: set[str] = set()

    def begin(self, turn: str, now: datetime, seconds: float) -> Lease:
        """Let the turn count as one that does something, until `end`. In other processes it counts for the `seconds`
        that it may take, since they cannot see whether this one is there still."""
        self._turns.add(turn)
        return Lease(self._id, turn, (now + timedelta(seconds=seconds) + _COMMIT).isoformat())

    def end(self, turn: str) -> None:
        """The turn is committed, or came to nothing."""
        self._turns.discard(turn)

    def goes_on(self, flow: Flow, now: datetime) -> bool:
        """Whether the flow is being done, as far as can be told."""
        if flow.stage != "doing" or flow.lease is None:
            return False
        if flow.lease.by == self._id:
            return flow.lease.turn in self._turns
        return now < datetime.fromisoformat(flow.lease.until)
