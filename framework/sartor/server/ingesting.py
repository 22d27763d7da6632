"""Jobs that read uploaded documents in the background, and are remembered for a while when they are done."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sartor.bots import Bots
from sartor.knowledge import IngestReport, IngestStep
from sartor.server.eventlog import EventLog
from sartor.server.failures import Failure, failure_of

__all__ = ["IngestJob", "IngestJobs", "JobNote"]

log = logging.getLogger("sartor.server")

_REMEMBERED_SECONDS = 3600.0
_REMEMBERED = 100
"""Finished jobs that are remembered of one tenant."""
_WAITING = 20
"""Jobs of one tenant that may be under way."""

JobNote = IngestStep | IngestReport | Failure
"""What happens in a job: a document is done, all are done, or it failed."""


class IngestJob(EventLog[JobNote]):
    """Documents that are being read."""

    def __init__(self, bot_id: str, sources: Sequence[str]) -> None:
        super().__init__()
        self.id = uuid.uuid4().hex
        self.bot_id = bot_id
        self.sources = list(sources)
        self.created = datetime.now(UTC)
        self.ended: float | None = None

    @property
    def status(self) -> Literal["in_progress", "completed", "failed"]:
        if not self.done.is_set():
            return "in_progress"
        return "completed" if self.notes and isinstance(self.notes[-1], IngestReport) else "failed"


class IngestJobs:
    """The jobs of this process."""

    def __init__(self, bots: Bots) -> None:
        self._bots = bots
        self._jobs: dict[tuple[str, str], IngestJob] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.draining = False

    def find(self, tenant: str, job: str) -> IngestJob | None:
        """The tenant's job of that id, if it runs here or is remembered."""
        self._forget(tenant)
        return self._jobs.get((tenant, job))

    def check_room(self, tenant: str) -> None:
        """Raises `Failure` 429 where the tenant has too many jobs under way, 503 where the service is told to stop."""
        if self.draining:
            raise Failure(503, "the service is about to stop", code="unavailable", headers={"Retry-After": "5"})
        if sum(owner == tenant and job.ended is None for (owner, _), job in self._jobs.items()) >= _WAITING:
            message = "too many documents wait to be read already; try again later"
            raise Failure(429, message, code="overloaded", headers={"Retry-After": "5"})

    def begin(self, bot_id: str, paths: Sequence[Path], sources: Sequence[str]) -> IngestJob:
        """Read the documents at `paths`, after those of the same bot that wait already."""
        tenant = bot_id.partition("/")[0]
        self._forget(tenant)
        job = IngestJob(bot_id, sources)
        self._jobs[tenant, job.id] = job
        task = asyncio.create_task(self._run(job, paths), name=f"ingest {job.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def drain(self, seconds: float) -> None:
        """Take no more, wait for those that run, and after `seconds` end them: what was read is kept, and the next
        ingest goes on from there."""
        self.draining = True
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _run(self, job: IngestJob, paths: Sequence[Path]) -> None:
        try:
            knowledge = self._bots.knowledge(job.bot_id)
            there = [path for path in paths if path.exists()]  # another request may have removed some
            report = await knowledge.ingest(
                there, progress=lambda step: job.note(_without_place(step, knowledge.folder))
            )
            job.note(replace(report, skipped={step.source: step.reason for step in _skipped(job)}))
        except asyncio.CancelledError:
            job.note(Failure(503, "the service was stopped before all was read", code="unavailable"))
            raise
        except Exception as error:
            job.note(failure_of(error))
        finally:
            job.ended = time.monotonic()
            job.end()

    def _forget(self, tenant: str) -> None:
        """Forget finished jobs that are too old, or too many."""
        ended = [(key, job.ended) for key, job in self._jobs.items() if key[0] == tenant and job.ended is not None]
        limit = time.monotonic() - _REMEMBERED_SECONDS
        surplus = len(ended) - _REMEMBERED
        for at, (key, when) in enumerate(sorted(ended, key=lambda one: one[1])):
            if when < limit or at < surplus:
                del self._jobs[key]


def _without_place(step: IngestStep, folder: Path) -> IngestStep:
    """`step` without the place of the project, which a reader's error may name."""
    reason = step.reason
    for place in (folder, folder.resolve()):
        reason = reason.replace(f"{place}/", "").replace(str(place), "knowledge")
    return replace(step, reason=reason)


def _skipped(job: IngestJob) -> list[IngestStep]:
    return [note for note in job.notes if isinstance(note, IngestStep) and note.action == "skipped"]
