"""What the YAML files may say; every fault at once, each with file, line and a suggestion."""

from __future__ import annotations

from pathlib import Path

import pytest
from sartor.errors import SpecError
from sartor.layers import Layer, merge
from sartor.spec import BotSpec, ProjectSpec, TemplateSpec, TenantSpec, check
from sartor.values import Origin
from sartor.yamlfile import parse_yaml


def checked(model, text: str, name: str = "bot.yaml"):
    file = parse_yaml(text, Path(name))
    return check(model, merge([Layer(file, Origin.TENANT, file.data)]), name)


def test_an_empty_file_is_enough():
    bot = checked(BotSpec, "")
    assert bot.languages == ["en"] and bot.grounding.mode == "free" and bot.replies.unknown["fr"]
    assert checked(ProjectSpec, "").state == "sqlite:///state/sartor.db"
    assert checked(TenantSpec, "").name == ""


def test_grounding_may_be_one_word():
    assert checked(BotSpec, "grounding: quote").grounding.mode == "quote"
    assert checked(BotSpec, "grounding: {mode: quote, max_quotes: 2}").grounding.max_quotes == 2


def test_a_plugins_own_settings_are_kept_for_it():
    models = checked(ProjectSpec, "models: {a: {plugin: llama, path: x.gguf, n_ctx: 4096}}").models
    assert models["a"].plugin == "llama" and models["a"].settings == {"path": "x.gguf", "n_ctx": 4096}


@pytest.mark.parametrize(
    ("model", "text", "where", "message", "remedy"),
    [
        (BotSpec, "a: 1\n", "bot.yaml:1", "unknown key 'a'", "Known keys: audiences, flow_replies, flows, grounding"),
        (BotSpec, "title: x\ninstrutions: y\n", "bot.yaml:2", "unknown key 'instrutions'", "mean 'instructions'?"),
        (BotSpec, "limits:\n  tool_second: 3\n", "bot.yaml:2", "unknown key 'tool_second'", "mean 'tool_seconds'?"),
        (BotSpec, "grounding:\n  quotes: 3\n", "bot.yaml:2", "unknown key 'quotes'", "mean 'max_quotes'?"),
        (BotSpec, "audiences:\n  vip:\n    instruction: x\n", "bot.yaml:3", "unknown key", "mean 'instructions'?"),
        (BotSpec, "limits:\n  turn_seconds: 0\n", "bot.yaml:2", "limits.turn_seconds: input should be greater", None),
        (BotSpec, "grounding: verbatim\n", "bot.yaml:1", "grounding: input should be 'quote' or 'free'", None),
        (BotSpec, "languages: []\n", "bot.yaml:1", "languages: list should have at least 1 item", None),
        (BotSpec, "languages: [en, 3]\n", "bot.yaml:1", "languages.1: input should be a valid string", None),
        (
            BotSpec,
            "retrieval: {passages: many}\n",
            "bot.yaml:1",
            "retrieval.passages: input should be a valid int",
            None,
        ),
        (BotSpec, "plugins: [topics]\n", "bot.yaml:1", "plugins: input should be a valid dictionary", None),
        (BotSpec, "plugins: {topics: x}\n", "bot.yaml:1", "plugins.topics: input should be a valid dictionary", None),
        (BotSpec, "audiences: {VIP: {}}\n", "bot.yaml:1", "audiences.VIP", None),
        (ProjectSpec, "model: a\nmodels:\n  a: {path: x}\n", "bot.yaml:3", "models.a.plugin is missing", None),
        (ProjectSpec, "customers: {}\n", "bot.yaml:1", "unknown key 'customers'", "Known keys"),
        (TemplateSpec, "name: a\nversion: 1.0.0\ntitle: x\n", "bot.yaml", "description is missing", None),
        (
            TemplateSpec,
            "name: a\nversion: '1'\ntitle: x\ndescription: y\n",
            "bot.yaml:2",
            "version: string should",
            None,
        ),
        (
            TemplateSpec,
            "name: a\nversion: 1.0.0\ntitle: x\ndescription: y\nvalues:\n  n: {ask: N?, typ: integer}\n",
            "bot.yaml:6",
            "unknown key 'typ'",
            "mean 'type'?",
        ),
    ],
)
def test_a_fault_names_file_line_key_and_remedy(model, text, where, message, remedy):
    with pytest.raises(SpecError) as caught:
        checked(model, text)
    assert caught.value.where == where
    assert message in caught.value.what
    assert (remedy is None) == (caught.value.remedy is None)
    assert remedy is None or remedy in caught.value.remedy


def test_several_faults_are_told_at_once_each_with_its_place_and_suggestion():
    text = "titel: x\nlimits:\n  turn_seconds: -1\nmodell: y\nreplies:\n  greeting: 3\n"
    with pytest.raises(SpecError) as caught:
        checked(BotSpec, text)
    told = str(caught.value)
    assert "bot.yaml:1: unknown key 'titel' (Did you mean 'title'?)" in told
    assert "bot.yaml:3: limits.turn_seconds: input should be greater than 0" in told
    assert "bot.yaml:4: unknown key 'modell' (Did you mean 'model'?)" in told
    assert "bot.yaml:6: replies.greeting: input should be a valid string" in told
