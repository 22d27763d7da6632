"""What the plugins of a bot build for it, each object checked to be of its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sartor.channels import Channel
from sartor.errors import PluginError, SpecError
from sartor.handover.alerts import Alerts
from sartor.handover.spec import HandOverSpec
from sartor.plugin import Plugin
from sartor.plugins import PluginSet
from sartor.policy import Policy
from sartor.policycheck import check_policy
from sartor.retrieval import Retriever
from sartor.tools import Tool
from sartor.values import BotInfo

__all__ = ["alerts_of", "channels_of", "policies_of", "retrievers_of", "tools_of"]


def tools_of(plugins: PluginSet, info: BotInfo) -> Mapping[str, Tool]:
    """The tools of one bot by name, those of LangChain turned into ours. Raises `PluginError`."""
    tools: dict[str, Tool] = {}
    owners: dict[str, str] = {}
    for plugin, given in plugins.collect("sartor_tools", bot=info):
        tool = given if isinstance(given, Tool) else _langchain_tool(plugin, given)
        if unknown := sorted(tool.from_user - _text_arguments(tool)):
            raise PluginError(f"plugin {plugin.name!r}: from_user of {tool.name!r} names no argument: {unknown[0]!r}")
        if tool.name in tools:
            raise PluginError(f"plugins {owners[tool.name]!r} and {plugin.name!r} both bring a tool {tool.name!r}")
        tools[tool.name] = tool
        owners[tool.name] = plugin.name
    return tools


def _langchain_tool(plugin: Plugin, given: object) -> Tool:
    from langchain_core.tools import BaseTool

    from sartor.langchain import as_tool

    if not isinstance(given, BaseTool):
        raise PluginError(f"plugin {plugin.name!r}: sartor_tools gave a {type(given).__name__}, not a tool")
    return as_tool(given)


def _text_arguments(tool: Tool) -> set[str]:
    properties = tool.schema.get("properties")
    return set(properties) if isinstance(properties, dict) else set()


def policies_of(plugins: PluginSet, info: BotInfo) -> Sequence[Policy]:
    """The policies of one bot, in the order in which they are asked. Raises `PluginError`."""
    policies: list[Policy] = []
    for plugin, given in plugins.collect("sartor_policies", bot=info):
        if not isinstance(given, Policy):
            raise PluginError(f"plugin {plugin.name!r}: sartor_policies gave a {type(given).__name__}, not a Policy")
        check_policy(given, plugin.name)
        if given.window is not None and given.window < 0:
            raise PluginError(f"plugin {plugin.name!r}: the window of {type(given).__name__} is below 0")
        given.name = given.name or plugin.name
        policies.append(given)
    return policies


def retrievers_of(plugins: PluginSet, info: BotInfo) -> list[Retriever]:
    """The retrievers of one bot, those of LangChain turned into ours. Raises `PluginError`."""
    retrievers: list[Retriever] = []
    for plugin, given in plugins.collect("sartor_retrievers", bot=info):
        if isinstance(given, Retriever):
            retrievers.append(given)
            continue
        from langchain_core.retrievers import BaseRetriever

        from sartor.langchain import RetrieverAdapter

        if not isinstance(given, BaseRetriever):
            raise PluginError(
                f"plugin {plugin.name!r}: sartor_retrievers gave a {type(given).__name__}, not a retriever"
            )
        retrievers.append(RetrieverAdapter(given, info.tenant, plugin.name))
    return retrievers


def channels_of(plugins: PluginSet, info: BotInfo) -> Sequence[Channel]:
    """The channels of one bot, each with a name. Raises `PluginError`."""
    channels: list[Channel] = []
    for plugin, given in plugins.collect("sartor_channels", bot=info):
        if not isinstance(given, Channel):
            raise PluginError(f"plugin {plugin.name!r}: sartor_channels gave a {type(given).__name__}, not a Channel")
        given.name = given.name or plugin.name
        if any(given.name == other.name for other in channels):
            raise PluginError(f"plugin {plugin.name!r}: there is a channel {given.name!r} already")
        channels.append(given)
    return channels


def alerts_of(spec: HandOverSpec | None, channels: Sequence[Channel], where: str | None) -> Alerts | None:
    """How people are told of hand-overs; None where they look for themselves. Raises `SpecError`."""
    if spec is None or not spec.channel:
        return None
    found = next((channel for channel in channels if channel.name == spec.channel), None)
    able = ", ".join(channel.name for channel in channels if channel.alerts) or "none"
    if found is None or not found.alerts:
        what = "tells nobody of hand-overs" if found else "is none of the bot's"
        remedy = f"Those that do: {able}."
        raise SpecError(f"hand_over: the channel {spec.channel!r} {what}", where=where, remedy=remedy)
    return Alerts(found)
