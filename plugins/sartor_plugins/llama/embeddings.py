"""A GGUF embedding model in this process as LangChain embeddings. Texts of many callers share batches."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from langchain_core.embeddings import Embeddings
from sartor.errors import ModelError, OverloadedError, SartorError

from sartor_plugins.llama.encoder import Encoder, Vectors
from sartor_plugins.llama.engine.ending import end_at_exit
from sartor_plugins.llama.settings import EmbeddingsSettings

__all__ = ["LlamaEmbeddings"]

_MOST_JOBS = 256
"""Callers that may wait; further ones are refused."""


class _Job:
    """The texts of one caller."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.vectors: list[list[float]] = [[] for _ in texts]
        self.begun = 0
        """Texts that were put into a batch."""
        self.left = len(texts)
        """Texts without a vector."""
        self.tokens: list[int] | None = None
        """Of the next text, once they are known."""
        self.future: Future[Vectors] = Future()


class _Desk:
    """A thread that owns the encoder. Callers take turns, text by text, so that who has many keeps nobody waiting
    for longer than a batch."""

    def __init__(self, make: Callable[[], Encoder], name: str) -> None:
        self.abandoned = False
        self._make = make
        self._jobs: deque[_Job] = deque()
        self._news = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def add(self, job: _Job) -> None:
        """Raises `OverloadedError` where too many wait."""
        with self._news:
            if len(self._jobs) >= _MOST_JOBS:
                raise OverloadedError(f"{len(self._jobs)} callers are waiting for vectors already", retry_after=1.0)
            self._jobs.append(job)
            self._news.notify()

    def end(self) -> None:
        """Finish what was asked for, free the memory and end the thread."""
        with self._news:
            self._ending = True
            self._news.notify()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _work(self) -> None:
        encoder: Encoder | None = None
        while self._wait():
            group: list[tuple[_Job, int, list[int]]] = []
            try:
                encoder = encoder or self._make()
                group = self._fill(encoder)
                vectors = encoder.compute([tokens for _, _, tokens in group]) if group else []
            except Exception as error:
                self._fail([job for job, _, _ in group] if encoder else self._all(), error)
                continue
            for (job, number, _), vector in zip(group, vectors, strict=True):
                job.vectors[number] = vector
                job.left -= 1
                if not job.left and _claim(job):
                    job.future.set_result(job.vectors)
        self._fail(self._all(), ModelError("the embedding model was closed"))
        if encoder is not None:
            encoder.close()

    def _wait(self) -> bool:
        with self._news:
            while not self._jobs and not self._ending:
                self._news.wait()
            return bool(self._jobs) and not self.abandoned

    def _all(self) -> list[_Job]:
        with self._news:
            jobs = list(self._jobs)
            self._jobs.clear()
        return jobs

    def _fill(self, encoder: Encoder) -> list[tuple[_Job, int, list[int]]]:
        """The next batch: one text of each caller in turn, until it is full."""
        group: list[tuple[_Job, int, list[int]]] = []
        while True:
            with self._news:
                job = self._jobs.popleft() if self._jobs else None
            if job is None:
                return group
            if job.future.done():  # cancelled, or failed in a batch before
                continue
            try:
                job.tokens = job.tokens or encoder.tokens(job.texts[job.begun])
            except Exception as error:  # those that are in the batch already have nothing to do with it
                self._fail([job], error)
                continue
            if not encoder.fits([tokens for _, _, tokens in group], job.tokens):
                with self._news:
                    self._jobs.appendleft(job)
                return group
            group.append((job, job.begun, job.tokens))
            job.begun, job.tokens = job.begun + 1, None
            if job.begun < len(job.texts):
                with self._news:
                    self._jobs.append(job)

    def _fail(self, jobs: Sequence[_Job], error: Exception) -> None:
        told = error if isinstance(error, SartorError) else ModelError(f"the model failed: {error}")
        for job in jobs:
            with self._news:
                if job in self._jobs:
                    self._jobs.remove(job)
            if _claim(job):
                job.future.set_exception(told)


def _claim(job: _Job) -> bool:
    """Whether the caller is still to be told: from now on nobody can cancel."""
    return not job.future.done() and job.future.set_running_or_notify_cancel()


class LlamaEmbeddings(Embeddings):
    """Loads its file with the first call. Vectors have length 1, so their inner product is the cosine."""

    def __init__(self, settings: EmbeddingsSettings, directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self._lock = threading.Lock()
        self._desk: _Desk | None = None

    def embed_documents(self, texts: list[str]) -> Vectors:
        return self._submit([self._settings.document_prefix + text for text in texts]).result()

    def embed_query(self, text: str) -> list[float]:
        return self._submit([self._settings.query_prefix + text]).result()[0]

    async def aembed_documents(self, texts: list[str]) -> Vectors:
        return await asyncio.wrap_future(self._submit([self._settings.document_prefix + text for text in texts]))

    async def aembed_query(self, text: str) -> list[float]:
        return (await asyncio.wrap_future(self._submit([self._settings.query_prefix + text])))[0]

    async def close(self) -> None:
        """Finish what is queued and free the memory. A later call loads the file again."""
        with self._lock:
            desk, self._desk = self._desk, None
        if desk is not None:
            await asyncio.to_thread(desk.end)

    def _submit(self, texts: Sequence[str]) -> Future[Vectors]:
        job = _Job(texts)
        if not texts:
            job.future.set_result([])
            return job.future
        with self._lock:
            if self._desk is None:
                name = f"llama-embeddings:{Path(self._settings.path).name}"
                self._desk = _Desk(lambda: Encoder(self._settings, self._directory), name)
                end_at_exit(self._desk)
            self._desk.add(job)
        return job.future
