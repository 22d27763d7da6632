"""A bot in LangChain code, and what tracing sees of it."""

from __future__ import annotations

import socket

import pytest
import sartor
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from sartor.errors import UsageError

BOT = "acme/support"
FILES = {
    "tenants/acme/support/bot.yaml": "title: x\n",
    "tenants/acme/support/knowledge/delivery.md": "# Delivery\n\nParcels leave within one day.\n",
}


async def test_a_text_a_mapping_and_messages(make_project):
    async with sartor.open(make_project(FILES, script=["One [1].", "Two.", "Three.", "Four."])) as bots:
        await bots.knowledge(BOT).ingest()
        runnable = bots[BOT].as_runnable()
        first = await runnable.ainvoke("When do parcels leave?")
        assert isinstance(first, AIMessage) and first.content == "One [1]."
        told = first.response_metadata
        assert told["outcome"] == "answered" and told["citations"][0]["source"] == "delivery.md"
        assert first.usage_metadata["total_tokens"] > first.usage_metadata["output_tokens"] > 0
        mine = await runnable.ainvoke({"text": "A?", "user": "u1", "conversation": "c1"})
        assert mine.response_metadata["conversation"] == "c1"
        history = await bots.store.tenant("acme").history("support", "u1", "c1", 5)
        assert [e.question for e in history] == ["A?"]
        assert (await runnable.ainvoke(HumanMessage("B?"))).content == "Three."
        assert (await runnable.ainvoke([HumanMessage("x"), HumanMessage("C?")])).content == "Four."
        assert bots.model().prompts[3][-1].content == "C?"


async def test_in_a_pipe_with_batch_and_stream(make_project):
    async with sartor.open(make_project(FILES, script=["One.", "Two.", "Three.", "Four."])) as bots:
        prompt = ChatPromptTemplate.from_messages([("human", "Tell me about {thing}")])
        pipe = prompt | RunnableLambda(lambda value: value.to_messages()) | bots[BOT].as_runnable() | StrOutputParser()
        assert await pipe.ainvoke({"thing": "parcels"}) == "One."
        assert bots.model().prompts[0][-1].content == "Tell me about parcels"
        assert sorted(await pipe.abatch([{"thing": "a"}, {"thing": "b"}])) == ["Three.", "Two."]
        assert [piece async for piece in pipe.astream({"thing": "c"})] == ["Four."]


@pytest.mark.parametrize("given", [3, None, {}, {"txt": "a"}, {"text": 3}, {"text": "a", "approve": None}, []])
async def test_what_a_bot_does_not_take(make_project, given):
    async with sartor.open(make_project(FILES)) as bots:
        with pytest.raises(TypeError, match="a bot takes a text or a mapping with `text`"):
            await bots[BOT].as_runnable().ainvoke(given)


async def test_errors_of_ours_pass_through_and_sync_calls_are_refused(make_project):
    async with sartor.open(make_project(FILES)) as bots:
        with pytest.raises(UsageError, match="the message is empty"):
            await bots[BOT].as_runnable().ainvoke(" ")
        with pytest.raises(TypeError, match="use ainvoke"):
            bots[BOT].as_runnable().invoke("a")


LANGCHAIN_PARTS = """
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import StructuredTool
from sartor import Plugin, hookimpl

def price(article: str) -> str:
    "The price of an article."
    return "nine euros"

class Catalogue(BaseRetriever):
    def _get_relevant_documents(self, query, *, run_manager):
        return [Document("Lamps cost nine euros.")]

class Mine(Plugin):
    @hookimpl
    def sartor_tools(self): return [StructuredTool.from_function(price, metadata={"acts": False})]
    @hookimpl
    def sartor_retrievers(self): return [Catalogue()]
"""


async def test_tracing_in_the_environment_sends_nothing(make_project, monkeypatch):
    """Model, tool and retriever of a turn are LangChain's, and each would report to LangSmith by itself."""
    from langsmith import utils

    for name in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2", "LANGSMITH_TRACING_V2"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("LANGSMITH_API_KEY", "key")
    monkeypatch.setenv("LANGSMITH_ENDPOINT", "http://127.0.0.1:9")
    utils.get_env_var.cache_clear()
    assert utils.tracing_is_enabled(), "or the test shows nothing"
    posted = []
    monkeypatch.setattr("langsmith.Client.create_run", lambda *given, **told: posted.append(told))
    monkeypatch.setattr("langsmith.Client.update_run", lambda *given, **told: posted.append(told))
    monkeypatch.setattr(socket.socket, "connect", lambda *given: posted.append(given))
    files = {**FILES, "plugins/mine.py": LANGCHAIN_PARTS, "tenants/acme/support/bot.yaml": "plugins: {mine: {}}"}
    call = {"call": "price", "arguments": {"article": "lamp"}}
    try:
        async with sartor.open(make_project(files, script=[call, "Nine.", call, "Nine."])) as bots:
            reply = await bots[BOT].reply("What do lamps cost?")
            assert reply.text == "Nine." and reply.passages and not reply.tools[0].result.error
            assert (await bots[BOT].as_runnable().ainvoke("What do lamps cost?")).content == "Nine."
        assert posted == []
        await RunnableLambda(lambda value: value).ainvoke("x")
        assert posted, "LangChain itself would have reported"
    finally:
        utils.get_env_var.cache_clear()


async def test_a_hosts_own_tracer_sees_its_pipe_but_not_into_the_bot(make_project):
    seen = []

    class Tracer(AsyncCallbackHandler):
        async def on_chain_start(self, serialized, inputs, **told):
            seen.append(told.get("name"))

        async def on_chat_model_start(self, *given, **told):
            seen.append("model")

    async with sartor.open(make_project(FILES, script=["One."])) as bots:
        pipe = RunnableLambda(lambda text: text, name="mine") | bots[BOT].as_runnable()
        await pipe.ainvoke("A?", {"callbacks": [Tracer()]})
    assert seen == ["RunnableSequence", "mine"]
