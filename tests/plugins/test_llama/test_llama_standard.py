"""The standard suites of LangChain for chat models, with the built-in model.

Skipped by the suite itself: pictures, sound and documents (the model reads text only), Anthropic's forms of content,
recorded calls (there is no network), `init_from_env` and serialization (the model is made from settings, and a loaded
file is nothing to serialize). Expected to fail where what a model of a few megabytes chooses to say is asserted, and
not how it is connected: which arguments it calls a tool with, and whether a text that it makes up comes to an end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests
from sartor_plugins.llama.model import LlamaChatModel
from sartor_plugins.llama.settings import LlamaSettings


class Model(LlamaChatModel):
    """The model as LangChain's tests make it: with nothing but standard arguments."""

    def __init__(self, **told: Any) -> None:
        settings = {key: told[key] for key in ("temperature", "max_tokens") if told.get(key) is not None}
        super().__init__(LlamaSettings(path="builtin", threads=1, **settings), Path("/"))


class TestUnit(ChatModelUnitTests):
    """Without a call."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return Model

    @pytest.mark.xfail(reason="a file is loaded once: `model` cannot be changed with a call, and is ignored")
    def test_standard_params_model_override(self, model: BaseChatModel) -> None:
        super().test_standard_params_model_override(model)


class TestIntegration(ChatModelIntegrationTests):
    """With calls."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return Model

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"temperature": 0, "max_tokens": 300}


_BEYOND = (
    "test_tool_calling",
    "test_tool_calling_async",
    "test_bind_runnables_as_tools",
    "test_structured_output",
    "test_structured_output_async",
    "test_structured_output_optional_param",
    "test_agent_loop",
    "test_unicode_tool_call_integration",
)
for _name in _BEYOND:
    _mark = pytest.mark.xfail(reason="asks for what only a larger model can say")
    setattr(TestIntegration, _name, _mark(getattr(ChatModelIntegrationTests, _name)))
