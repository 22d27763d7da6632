"""`/v1/documents`: the documents that a bot answers from: add, watch them being read, list, remove."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, File, Header, Query, Request, UploadFile
from fastapi.responses import Response
from pydantic import BaseModel

from sartor.knowledge import IngestReport, IngestStep
from sartor.server.caller import Caller, needs
from sartor.server.failures import ErrorDetail, Failure
from sartor.server.ingesting import IngestJob, JobNote
from sartor.server.native.conversations import After, BotName, Limit, bot_of
from sartor.server.native.objects import Page
from sartor.server.service import service_of
from sartor.server.sse import EventStream, event_bytes
from sartor.server.uploads import FOLDER, Upload, check_upload_name, remove_upload, upload_of, write_uploads

__all__ = ["router"]

router = APIRouter(tags=["documents"])

Librarian = Annotated[Caller, Depends(needs("documents"))]
Source = Annotated[str, Query(min_length=1, max_length=512)]

_EVENTS: dict[int | str, dict[str, object]] = {
    200: {"description": "The events as they come.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}
}


class ReportObject(BaseModel):
    """What came of a job."""

    added: list[str]
    changed: list[str]
    unchanged: list[str]
    skipped: dict[str, str]
    """Files that could not be read, with the reason."""
    chunks: int
    """How many passages the bot has now."""
    seconds: float


class JobObject(BaseModel):
    """Documents that are being read."""

    object: Literal["job"] = "job"
    id: str
    bot: str
    status: Literal["in_progress", "completed", "failed"]
    sources: list[str]
    done: int
    """How many of them were read."""
    created: datetime
    report: ReportObject | None = None
    error: ErrorDetail | None = None


class DocumentObject(BaseModel):
    """A document that a bot answers from."""

    object: Literal["document"] = "document"
    source: str
    title: str
    chunks: int
    """How many passages it has."""
    ingested: datetime
    uploaded: bool
    """Whether it came over this API, and may be removed over it."""


class DocumentPage(Page):
    """Documents, by source."""

    data: list[DocumentObject]


class DeletedObject(BaseModel):
    """A document that is gone."""

    object: Literal["document"] = "document"
    source: str
    deleted: Literal[True] = True


@router.post("/v1/documents", status_code=202)
async def upload(
    request: Request,
    caller: Librarian,
    file: Annotated[list[UploadFile], File(description="One file, or several.")],
    bot: BotName = "",
) -> JobObject:
    """Add documents to a bot, or replace those of the same name. They are read in the background."""
    service = service_of(request)
    bot_id = bot_of(request, bot, caller)
    service.jobs.check_room(caller.tenant)
    knowledge = service.bots.knowledge(bot_id)
    uploads = [Upload(check_upload_name(one.filename or "", knowledge.suffixes), await one.read()) for one in file]
    names = [one.name for one in uploads]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Failure(400, f"two files are called {twice[0]!r}", code="invalid_file_name", param="file")
    paths = await asyncio.to_thread(write_uploads, knowledge.folder, uploads)
    return _job(service.jobs.begin(bot_id, paths, [f"{FOLDER}/{name}" for name in names]))


@router.get("/v1/documents/jobs/{job}")
async def get_job(request: Request, job: str, caller: Librarian) -> JobObject:
    """How far a job is."""
    return _job(_found(request, job, caller))


@router.get("/v1/documents/jobs/{job}/events", response_model=None, response_class=Response, responses=_EVENTS)
async def job_events(
    request: Request,
    job: str,
    caller: Librarian,
    last_event_id: Annotated[str, Header(max_length=20)] = "",
) -> Response:
    """What happens in a job from behind `Last-Event-ID` on: `progress`, then `finished` or `error`."""
    after = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else 0
    source = _events(_found(request, job, caller), after)
    return EventStream(source, stall_seconds=service_of(request).spec.stall_seconds)


@router.get("/v1/documents")
async def list_documents(
    request: Request, caller: Librarian, bot: BotName = "", limit: Limit = 50, after: After = ""
) -> DocumentPage:
    """The documents of a bot, by source."""
    name = bot_of(request, bot, caller).partition("/")[2]
    seen = _seen(after)
    rows = await service_of(request).bots.store.tenant(caller.tenant).documents(name)
    rest = sorted((row for row in rows.values() if row.source > seen), key=lambda row: row.source)
    more = len(rest) > limit
    return DocumentPage(
        data=[
            DocumentObject(
                source=row.source,
                title=row.title,
                chunks=row.chunks,
                ingested=row.ingested,
                uploaded=bool(upload_of(row.source)),
            )
            for row in rest[:limit]
        ],
        has_more=more,
        next=base64.urlsafe_b64encode(rest[limit - 1].source.encode()).decode() if more else None,
    )


@router.delete("/v1/documents")
async def delete(request: Request, caller: Librarian, source: Source, bot: BotName = "") -> DeletedObject:
    """Remove an uploaded document: the file, its passages, and what the index has of it."""
    service = service_of(request)
    bot_id = bot_of(request, bot, caller)
    knowledge = service.bots.knowledge(bot_id)
    name = upload_of(source)
    if not name:
        if source in await service.bots.store.tenant(caller.tenant).documents(bot_id.partition("/")[2]):
            message = f"{source} belongs to the project and was not uploaded: remove its file, then ingest again"
            raise Failure(409, message, code="not_uploaded", param="source")
        raise _no_document()
    there = await asyncio.to_thread(remove_upload, knowledge.folder, name)
    if not await knowledge.forget(source) and not there:
        raise _no_document()
    return DeletedObject(source=source)


def _no_document() -> Failure:
    return Failure(404, "the bot has no such document", code="not_found", param="source")


def _found(request: Request, id_: str, caller: Caller) -> IngestJob:
    job = service_of(request).jobs.find(caller.tenant, id_)
    if job is None:
        raise Failure(404, "there is no such job, or it is long over", code="not_found")
    return job


def _job(job: IngestJob) -> JobObject:
    last = job.notes[-1] if job.notes else None
    return JobObject(
        id=job.id,
        bot=job.bot_id,
        status=job.status,
        sources=job.sources,
        done=sum(isinstance(note, IngestStep) for note in job.notes),
        created=job.created,
        report=_report(last) if isinstance(last, IngestReport) else None,
        error=ErrorDetail.model_validate(last.body["error"]) if isinstance(last, Failure) else None,
    )


def _report(report: IngestReport) -> ReportObject:
    return ReportObject(
        added=list(report.added),
        changed=list(report.changed),
        unchanged=list(report.unchanged),
        skipped=dict(report.skipped or {}),
        chunks=report.chunks,
        seconds=round(report.seconds, 3),
    )


async def _events(job: IngestJob, after: int) -> AsyncGenerator[bytes]:
    async with aclosing(job.listen(after)) as notes:
        async for number, note in notes:
            name, data = _told(note)
            yield event_bytes(data, name=name, id_=str(number))


def _told(note: JobNote) -> tuple[str, Mapping[str, object]]:
    """The name and the data of an event."""
    match note:
        case IngestStep():
            told: tuple[str, Mapping[str, object]] = (
                "progress",
                {
                    "source": note.source,
                    "action": note.action,
                    "chunks": note.chunks,
                    "reason": note.reason,
                    "done": note.done,
                    "total": note.total,
                },
            )
        case IngestReport():
            told = "finished", _report(note).model_dump(mode="json")
        case Failure():
            told = "error", note.body
    return told


def _seen(cursor: str) -> str:
    try:
        return base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
    except (ValueError, binascii.Error) as error:
        raise Failure(400, "this is no cursor of this list", code="invalid_value", param="after") from error
