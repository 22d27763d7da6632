"""Plugins made for other hooks: those of old go on working, others are refused, and only they."""

from __future__ import annotations

import types
import warnings

import pytest
import sartor
from sartor import hookspecs
from sartor.errors import PluginError
from sartor.hookspecs import hookimpl, hookspec, retiring
from sartor.hookversions import fits
from sartor.plugin import Plugin
from sartor.plugins import PluginSet

OLD = """
    from sartor import Plugin, hookimpl, tool

    @tool
    def hours(city: str) -> str:
        "Opening hours."
        return city

    class Old(Plugin):
        hook_versions = "VERSIONS"

        @hookimpl
        def sartor_tools(self, bot):
            return [hours]
    """


@pytest.mark.parametrize(
    ("stated", "version", "right"),
    [
        ("1", "1.0", True),
        ("1", "1.7", True),
        ("1.2", "1.2", True),
        ("1.2", "1.10", True),
        ("1.2", "1.1", False),
        ("1", "2.0", False),
        ("2", "1.9", False),
        ("1.5, 2", "2.0", True),
        ("1.5, 2", "1.4", False),
    ],
)
def test_which_versions_fit(stated, version, right):
    assert fits(stated, version) is right


def files(versions: str) -> dict[str, str]:
    return {
        "plugins/old.py": OLD.replace("VERSIONS", versions),
        "tenants/acme/support/bot.yaml": "plugins: {old: {}}",
        "tenants/acme/other/bot.yaml": "title: Other",
    }


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ("2", f"plugin 'old' was made for hook version 2; this is Sartor with hook version {hookspecs.VERSION}"),
        ("1.99", "was made for hook version 1.99"),
        (">=1", "plugin 'old': hook_versions is '>=1'"),
    ],
)
def test_an_incompatible_plugin_is_refused_and_the_rest_starts(make_project, versions, message):
    with sartor.open_sync(make_project(files(versions), script=["Hello."])) as bots:
        with pytest.raises(PluginError) as caught:
            bots["acme/support"]
        assert message in caught.value.what and caught.value.where.endswith("support/bot.yaml:1")
        assert bots["acme/other"].reply("Hi").text == "Hello."


def later(monkeypatch, **specs: object) -> None:
    """The hooks as a later version has them."""
    module = types.ModuleType("hookspecs")
    vars(module).update({name: value for name, value in vars(hookspecs).items() if name.startswith("sartor_")})
    vars(module).update(specs)
    monkeypatch.setattr("sartor.plugins.hookspecs", module)
    monkeypatch.setattr("sartor.hookversions.VERSION", "1.1")


async def test_a_plugin_for_version_1_works_after_an_argument_and_a_hook_were_added(make_project, monkeypatch):
    """A bot with it, from its folder to its reply; the plugin's code is the same as before."""

    @hookspec
    def sartor_tools(bot: object, plan: object = None) -> object:
        """Tools."""

    @hookspec
    def sartor_voices(bot: object) -> object:
        """A new hook."""

    later(monkeypatch, sartor_tools=sartor_tools, sartor_voices=sartor_voices)
    script = [{"call": "hours", "arguments": {"city": "Cork"}}, "Open."]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with sartor.open(make_project(files("1"), script=script)) as bots:
            reply = await bots["acme/support"].reply("When are you open in Cork?")
    assert reply.text == "Open." and reply.tools[0].result.text == "Cork"


class Names(Plugin):
    @hookimpl
    def sartor_index(self, bot, embeddings):
        return []


def test_an_argument_that_retires_warns_with_the_version_in_which_it_goes(monkeypatch, tmp_path):
    soon = {"embeddings": retiring("embeddings", gone="0.3", instead="bot.embeddings")}

    @hookspec(warn_on_impl_args=soon)
    def sartor_index(bot: object, embeddings: object) -> object:
        """Index."""

    later(monkeypatch, sartor_index=sartor_index)
    told = r"the hook's argument 'embeddings' goes with Sartor 0\.3: use bot\.embeddings"
    with pytest.warns(DeprecationWarning, match=told) as caught:
        PluginSet([Names(Names.Settings(), tmp_path)])
    assert caught[0].filename == __file__


def test_the_tracing_of_hook_calls_names_plugin_hook_result_and_time(make_project, monkeypatch, capsys):
    monkeypatch.setenv("SARTOR_TRACE_PLUGINS", "1")
    with sartor.open_sync(make_project(files("1"))) as bots:
        assert bots["acme/support"]
    told = capsys.readouterr().err
    assert "sartor: plugin old: import  " in told and "sartor: plugin old: make  " in told
    assert "sartor: plugin old: sartor_tools(bot=BotInfo acme/support) -> [Tool hours]  " in told and " ms\n" in told
    monkeypatch.setenv("SARTOR_TRACE_PLUGINS", "0")
    with sartor.open_sync(make_project(files("1"))) as bots:
        assert bots["acme/support"] and not capsys.readouterr().err
