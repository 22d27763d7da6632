"""The three that answer requests: the engine, `llama_cpp.Llama` behind a lock, `llama-server`."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from llama_cpp import CreateCompletionStreamResponse, Llama
from sartor.values import Origin, Part
from sartor_plugins.llama import LlamaPlugin
from sartor_plugins.llama.engine.memory import SPARE
from sartor_plugins.llama.model import LlamaChatModel

from benchmarks.engine.work import Ask, Setup, Told, Words

__all__ = ["Engine", "Locked", "Server"]

_RAM = 4096
"""MiB of ordinary memory for prompts that no longer fit into a context."""
_ROOM = 1536
"""Tokens of the engine's memory for one conversation."""


class _Answers:
    """Answers several requests at once, each on its own."""

    async def answer(self, asks: Sequence[Ask]) -> list[Told]:
        return [told for several in await asyncio.gather(*map(self._talk, asks)) for told in several]

    async def _talk(self, ask: Ask) -> list[Told]:
        """The replies of one conversation, one after the other."""
        told = [await self.ask(ask)]
        for text in ask.later:
            ask = replace(ask, text=text, past=(*ask.past, (ask.text, told[-1].text)))
            told.append(await self.ask(ask))
        return told

    async def ask(self, ask: Ask) -> Told:
        raise NotImplementedError


class Engine(_Answers):
    """Sartor's own. Each conversation has a room of its own, unless there are too few tokens for that."""

    def __init__(self, setup: Setup, *, speculation: int = 31) -> None:
        rooms = setup.cells // _ROOM - SPARE
        rooms = rooms if rooms >= LlamaPlugin.Settings().fewest_rooms else 0
        settings = LlamaPlugin.Settings(
            path=setup.path,
            threads=setup.threads,
            rooms=rooms,
            context=_ROOM - 64 if rooms else None,
            cells=setup.cells,
            spill=_RAM,
            temperature=0,
            probe=False,
            speculation=speculation,
        )
        self._model: LlamaChatModel = LlamaPlugin(settings, Path.cwd()).sartor_model()

    async def start(self) -> None:
        await self._model.start()

    async def ask(self, ask: Ask) -> Told:
        told = Told(time.perf_counter())
        messages: list[BaseMessage] = [_system(ask)] if ask.system else []
        for question, reply in ask.past:
            messages += [HumanMessage(question), AIMessage(reply)]
        stream = self._model.astream(
            [*messages, HumanMessage(ask.text)], cache_scope=f"tenant-{ask.tenant}", max_tokens=ask.new
        )
        async for chunk in stream:
            if chunk.content:
                told.add(cast("str", chunk.content))
            if (usage := chunk.usage_metadata) is not None:
                told.prompt, told.new = usage["input_tokens"], usage["output_tokens"]
                told.cached = usage["input_token_details"]["cache_read"]
                told.drafted = chunk.response_metadata.get("drafted_tokens", 0)
                told.accepted = chunk.response_metadata.get("accepted_draft_tokens", 0)
        return told

    async def close(self) -> None:
        await self._model.close()


def _system(ask: Ask) -> SystemMessage:
    parts = [Part(ask.system.removeprefix(ask.public), Origin.TENANT)]
    if ask.public:
        parts.insert(0, Part(ask.public, Origin.OPERATOR, public=True))
    return SystemMessage(ask.system, additional_kwargs={"sartor_parts": parts})


class Locked(_Answers):
    """`llama_cpp.Llama` as it is served where nothing else is at hand: a lock and a thread. Always the same one: it is
    half as fast with any of a pool, since OpenMP keeps threads for each that ever computed."""

    def __init__(self, setup: Setup, context: int = 4096) -> None:
        self._setup, self._words, self._context = setup, Words(setup.path), context
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1)

    async def start(self) -> None:
        self._llama = await asyncio.to_thread(
            Llama,
            self._setup.path,
            n_ctx=min(self._context, self._setup.cells),
            n_threads=self._setup.threads,
            n_threads_batch=self._setup.threads,
            flash_attn=True,
            verbose=False,
        )

    async def ask(self, ask: Ask) -> Told:
        told = Told(time.perf_counter())
        prompt = self._words.prompt(ask)
        async with self._lock:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._read, prompt, ask.new, told)
        told.prompt = len(prompt)
        return told

    def _read(self, prompt: list[int], new: int, told: Told) -> None:
        stream = self._llama.create_completion(prompt, max_tokens=new, temperature=0, stream=True)
        for chunk in cast("Iterator[CreateCompletionStreamResponse]", stream):
            if text := chunk["choices"][0]["text"]:
                told.add(text)
        told.new = self._llama.n_tokens + 1 - len(prompt)

    async def close(self) -> None:
        self._llama.close()
        self._thread.shutdown()


class Server(_Answers):
    """llama.cpp's server in a process of its own, asked for completions of tokens over the loopback."""

    def __init__(self, setup: Setup, binary: Path, slots: int, *, pinned: bool = False) -> None:
        """`pinned`: each tenant has a slot, with a memory of its own; else all slots share one memory, and what is
        idle moves to ordinary memory."""
        self._words, self._pinned = Words(setup.path), pinned
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        self._command = [
            str(binary),
            *("--model", setup.path, "--host", "127.0.0.1", "--port", str(port)),
            *("--threads", str(setup.threads), "--threads-batch", str(setup.threads)),
            *("--parallel", str(slots), "--ctx-size", str(setup.cells), "--flash-attn", "on", "--cont-batching"),
            *(("--no-kv-unified", "--no-cache-idle-slots") if pinned else ("--kv-unified", "--cache-ram", str(_RAM))),
            *("--threads-http", "4", "--log-disable"),
        ]
        self._client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            timeout=None,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=256, keepalive_expiry=0),
            trust_env=False,
        )

    async def start(self) -> None:
        self._process = await asyncio.to_thread(self._run)
        while True:
            await asyncio.sleep(0.1)
            if self._process.poll() is not None:
                raise RuntimeError(f"llama-server ended at once: {' '.join(self._command)}")
            try:
                if (await self._client.get("/health")).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                continue

    def _run(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def ask(self, ask: Ask) -> Told:
        told = Told(time.perf_counter())
        wanted: dict[str, Any] = {
            "prompt": self._words.prompt(ask),
            "n_predict": ask.new,
            "temperature": 0,
            "samplers": ["temperature"],
            "stream": True,
            "cache_prompt": True,
        }
        if self._pinned:
            wanted["id_slot"] = ask.tenant
        async with self._client.stream("POST", "/completion", json=wanted) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    self._note(json.loads(line[6:]), told)
        return told

    def _note(self, event: dict[str, Any], told: Told) -> None:
        if event.get("content"):
            told.add(event["content"])
        if event.get("stop"):
            told.new, told.cached = event["tokens_predicted"], event["timings"].get("cache_n", 0)
            told.prompt = told.cached + event["timings"]["prompt_n"]

    async def close(self) -> None:
        await self._client.aclose()
        self._process.terminate()
        await asyncio.to_thread(self._process.wait)
