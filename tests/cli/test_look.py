"""The commands that only look: list, show, templates, plugins, doctor."""

from __future__ import annotations

import json

import pytest
from sartor.yamlfile import parse_yaml


def test_list(sartor, project):
    root = project(
        {
            "tenants/beta/faq/bot.yaml": "template: faq@1\nvalues: {company: Beta, contact: a@b.example}\n",
            "tenants/gamma/broken/bot.yaml": "titel: x\n",
        }
    )
    ran = sartor("list", "-p", root)
    lines = ran.out.splitlines()
    assert ran.code == 0 and [line.split()[0] for line in lines] == ["acme/support", "beta/faq", "gamma/broken"]
    assert lines[0].split(maxsplit=2)[1:] == ["-", "Acme support"]
    assert lines[1].split(maxsplit=2)[1:] == ["faq@1", "Questions about Beta"]
    assert "bot.yaml:1: unknown key 'titel'" in lines[2]


def test_list_of_nothing(sartor, make_project):
    ran = sartor("list", "-p", make_project())
    assert ran.code == 0 and ran.out == "" and "sartor new" in ran.err


def test_show_tells_where_each_value_comes_from(sartor, project):
    root = project({"tenants/acme/faq/bot.yaml": "template: faq@1\nvalues:\n  company: A\n  contact: a@b.example\n"})
    ran = sartor("show", "acme/faq", "-p", root)
    lines = [line.strip() for line in ran.out.splitlines()]
    assert ran.code == 0
    for line in (
        "title: Questions about A  # faq@1/bot.yaml:1",
        "company: A  # tenants/acme/faq/bot.yaml:3",
        "mode: quote  # faq@1/bot.yaml:12",
    ):
        assert line in lines
    assert "tool_steps: 4  # default" in sartor("show", "acme/faq", "--all", "-p", root).out


def test_what_show_prints_is_yaml_that_says_the_same_as_json(sartor, project):
    files = {
        "tenants/acme/support/bot.yaml": """
            title: "a: b # c"
            instructions: ["- no", "'yes'", "two\nlines", "é"]
            audiences: {vip: {instructions: [x]}}
            plugins: {scripted: {script: [], delay: 2}}
            """
    }
    root = project(files)
    shown = parse_yaml(sartor("show", "acme/support", "--all", "-p", root).out, root)
    assert shown.data == json.loads(sartor("show", "acme/support", "--json", "-p", root).out)


@pytest.mark.parametrize("columns", ["40", "80"])
def test_show_cuts_no_place_off_however_narrow_the_terminal(sartor, project, monkeypatch, columns):
    root = project()
    monkeypatch.setenv("COLUMNS", columns)
    assert "tenants/acme/support/bot.yaml:1" in sartor("show", "acme/support", "-p", root).out


def test_show_as_json(sartor, project):
    ran = sartor("show", "acme/support", "--json", "-p", project())
    told = json.loads(ran.out)
    assert told["title"] == "Acme support" and told["limits"]["tool_steps"] == 2 and told["replies"]["greeting"]["fr"]


def test_show_prints_brackets_as_they_are(sartor, project):
    root = project({"tenants/acme/support/bot.yaml": 'title: "[bold]x[/] :smile:"\n'})
    assert "[bold]x[/] :smile:" in sartor("show", "acme/support", "-p", root).out


def test_templates(sartor, project):
    root = project(
        {
            "templates/own@1/template.yaml": 'name: own\nversion: 1.0.0\ntitle: "[Own]"\ndescription: d\n',
            "templates/own@1/bot.yaml": "",
        }
    )
    ran = sartor("templates", "-p", root)
    assert ran.code == 0
    for told in ("support@1", "faq@1", "own@1", "[Own]: d", "company, contact"):
        assert told in ran.out


def test_plugins_lists_without_importing(sartor, project):
    ran = sartor("plugins", "-p", project({"plugins/odd.py": "raise RuntimeError('imported')\n"}))
    assert ran.code == 0
    for name in ("llama", "chroma", "topics", "scripted", "odd"):
        assert f"\n{name} " in ran.out


def test_plugins_describes_one(sartor, project):
    ran = sartor("plugins", "scripted", "-p", project())
    assert ran.code == 0 and "sartor_model" in ran.out
    assert [line.split()[:3] for line in ran.out.splitlines() if line.startswith("delay")] == [
        ["delay", "float", "0.0"]
    ]


@pytest.mark.parametrize(
    "name", ["chroma", "documents", "llama", "llama-embeddings", "lookup", "ngrams", "personal-data"]
)
def test_each_first_party_plugin_can_be_described(sartor, tmp_path, name):
    ran = sartor("plugins", name, "-p", tmp_path)
    assert ran.code == 0 and ran.out.startswith(name) and "sartor_" in ran.out


@pytest.mark.parametrize(
    ("body", "told"),
    [("1/0\n", "ZeroDivisionError: division by zero (odd.py:1)"), ("", "has 0 classes that derive from Plugin")],
)
def test_plugins_names_one_that_cannot_be_loaded(sartor, project, body, told):
    ran = sartor("plugins", "odd", "-p", project({"plugins/odd.py": body}))
    assert ran.code == 2 and told in ran.err


def test_an_unknown_plugin(sartor, project):
    ran = sartor("plugins", "topcis", "-p", project())
    assert ran.code == 2 and "Did you mean 'topics'?" in ran.err


def test_doctor_of_a_sound_project(sartor, project):
    ran = sartor("doctor", "-p", project())
    assert ran.code == 0
    assert "✓ acme/support" in ran.out and "✓ model scripted" in ran.out and "✗" not in ran.out


def test_doctor_loads_the_model_on_request(sartor, project):
    assert "✓ model loads" in sartor("doctor", "--load", "-p", project()).out


def test_doctor_names_each_thing_that_is_wrong_and_looks_at_the_others(sartor, project):
    files = {"tenants/a/x/bot.yaml": "plugins: {nothing-such: {}}\n", "tenants/b/x/bot.yaml": "titel: y\n"}
    ran = sartor("doctor", "-p", project(files))
    assert ran.code == 1
    assert "✗ a/x" in ran.out and "there is no plugin 'nothing-such'" in ran.out
    assert "✗ b/x" in ran.out and "unknown key 'titel'" in ran.out
    assert "✓ acme/support" in ran.out


WARY = """
from sartor import Plugin, hookimpl

class Wary(Plugin):
    @hookimpl
    def sartor_tools(self, bot):
        return []

    async def check(self):
        return [f"the door of {self.directory.name} is open"]

    async def close(self):
        raise ValueError("stuck")
"""
ODD = (
    WARY.replace("return [f", "raise ValueError(f").replace('open"]', 'open")').replace("async def close", "def close")
)


def test_doctor_tells_what_plugins_say_is_wrong(sartor, project):
    files = {
        "plugins/wary.py": WARY,
        "plugins/odd.py": ODD,
        "tenants/acme/support/bot.yaml": "title: x\nplugins: {wary: {}, odd: {}}\n",
    }
    ran = sartor("doctor", "-p", project(files))
    assert "! wary of acme/support" in ran.out and "the door of support is open" in ran.out
    assert "its check raised ValueError: the door" in ran.out


def test_doctor_without_a_project(sartor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = sartor("doctor")
    assert ran.code == 0 and "! project" in ran.out and "✓ sartor" in ran.out
    ran = sartor("doctor", "-p", tmp_path / "nothing")
    assert ran.code == 1 and "there is no sartor.yaml" in ran.out
