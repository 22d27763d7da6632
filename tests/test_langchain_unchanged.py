"""Components of LangChain in a bot, as they come: a retriever of a vector store, and tools."""

from __future__ import annotations

import sartor
from sartor.values import Outcome

PLUGIN = """
    from langchain_core.documents import Document
    from langchain_core.tools import StructuredTool, create_retriever_tool
    from langchain_core.vectorstores import InMemoryVectorStore
    from sartor import Plugin, hookimpl
    from sartor_plugins.ngrams import NgramsPlugin, NgramsSettings


    def multiply(a: int, b: int) -> int:
        "Multiply two numbers."
        return a * b


    class Components(Plugin):
        def __init__(self, settings, directory):
            super().__init__(settings, directory)
            embeddings = NgramsPlugin(NgramsSettings(), directory).sartor_embeddings()
            store = InMemoryVectorStore(embeddings)
            store.add_documents([
                Document("Parcels leave at noon.", metadata={"source": "delivery.md", "title": "Delivery"}),
                Document("Giraffes eat acacia leaves.", metadata={"source": "zoo.md", "title": "Zoo"}),
            ])
            self.retriever = store.as_retriever(search_kwargs={"k": 1})

        @hookimpl
        def sartor_retrievers(self, bot):
            return [self.retriever]

        @hookimpl
        def sartor_tools(self, bot):
            told = {"acts": False}
            return [
                StructuredTool.from_function(multiply, metadata=told),
                create_retriever_tool(self.retriever, "search_documents", "Search the documents of the shop."),
            ]
    """


async def test_a_retriever_and_tools_of_langchain_are_used_unchanged(make_project):
    files = {"plugins/components.py": PLUGIN, "tenants/acme/support/bot.yaml": "plugins: {components: {}}"}
    script = [{"call": "multiply", "arguments": {"a": 6, "b": 7}}, "At noon, and 42 [1]."]
    async with sartor.open(make_project(files, script=script)) as bots:
        bot = bots["acme/support"]
        reply = await bot.reply("When do parcels leave, and what is 6 times 7?")
    assert reply.outcome is Outcome.ANSWERED, reply.error
    assert [(citation.source, citation.title) for citation in reply.citations] == [("delivery.md", "Delivery")]
    assert reply.tools[0].result.text == "42" and reply.passages[0].tenant == "acme"
    assert {tool.name: tool.acts for tool in bot.tools} == {"multiply": False, "search_documents": True}


async def test_a_tool_of_langchain_that_searches_is_run_when_a_person_lets_it(make_project):
    files = {"plugins/components.py": PLUGIN, "tenants/acme/support/bot.yaml": "plugins: {components: {}}"}
    script = [{"call": "search_documents", "arguments": {"query": "parcels"}}, "At noon."]

    async def approve(call, reason):
        return True

    async with sartor.open(make_project(files, script=script)) as bots:
        reply = await bots["acme/support"].reply("When do parcels leave?", approve=approve)
    assert reply.tools[0].result.text == "Parcels leave at noon." and reply.text == "At noon."
