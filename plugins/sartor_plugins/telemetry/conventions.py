"""The names of OpenTelemetry's semantic conventions for generative AI, version 0.1.0, and a few of our own.

The conventions are in development: a later version may rename things, and then only this module changes.
"""

from __future__ import annotations

__all__ = [
    "AGENT_NAME",
    "CACHED_TOKENS",
    "CHAT",
    "CONVERSATION",
    "ERROR_TYPE",
    "EXECUTE_TOOL",
    "FIRST_CHUNK",
    "INPUT_MESSAGES",
    "INPUT_TOKENS",
    "INVOKE_AGENT",
    "OPERATION",
    "OUTCOME",
    "OUTPUT_MESSAGES",
    "OUTPUT_TOKENS",
    "PROVIDER",
    "QUERY",
    "REQUEST_MODEL",
    "RETRIEVAL",
    "SARTOR",
    "SOURCE",
    "TENANT",
    "TOOL_ARGUMENTS",
    "TOOL_CALL",
    "TOOL_NAME",
    "TOOL_RESULT",
    "TOOL_TYPE",
    "TURN",
    "VERDICT",
    "VERDICT_KIND",
    "VERDICT_POLICY",
    "VERDICT_REASON",
    "VERDICT_STAGE",
]

# Operations: the first word of a span's name.
INVOKE_AGENT = "invoke_agent"
CHAT = "chat"
EXECUTE_TOOL = "execute_tool"
RETRIEVAL = "retrieval"

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
AGENT_NAME = "gen_ai.agent.name"
CONVERSATION = "gen_ai.conversation.id"
REQUEST_MODEL = "gen_ai.request.model"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHED_TOKENS = "gen_ai.usage.cache_read.input_tokens"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_CALL = "gen_ai.tool.call.id"
SOURCE = "gen_ai.data_source.id"
ERROR_TYPE = "error.type"

# Content: only when asked for.
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"
QUERY = "gen_ai.retrieval.query.text"

# Our own, where the conventions have no word.
SARTOR = "sartor"
TENANT = "sartor.tenant"
TURN = "sartor.turn.id"
OUTCOME = "sartor.turn.outcome"
VERDICT = "sartor.policy.verdict"
VERDICT_POLICY = "sartor.policy.name"
VERDICT_STAGE = "sartor.policy.stage"
VERDICT_KIND = "sartor.policy.kind"
VERDICT_REASON = "sartor.policy.reason"
