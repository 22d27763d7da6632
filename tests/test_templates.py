"""Templates: found, asked for values, and more than one major side by side."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sartor.errors import SpecError, TemplateError
from sartor.project import Project
from sartor.spec import ValueSpec
from sartor.templates import check_values, find_template, list_templates, parse_value


def template(
    root: Path, reference: str, *, name: str = "shop", version: str = "1.0.0", values: str = "", bot: str = ""
):
    folder = root / "templates" / reference
    folder.mkdir(parents=True)
    head = f"name: {name}\nversion: {version}\ntitle: T\ndescription: D\n"
    (folder / "template.yaml").write_text(head + (f"values:\n{values}" if values else ""))
    (folder / "bot.yaml").write_text(bot)


def test_the_first_party_templates_are_found_and_whole():
    found = {template.reference: template for template in list_templates()}
    assert {"support@1", "faq@1"} <= set(found)
    for one in found.values():
        assert one.spec.title and one.spec.description and one.bot.data


def test_the_projects_own_hide_those_of_packages(tmp_path):
    template(tmp_path, "faq@1", name="faq", bot="title: Ours\n")
    assert find_template("faq@1", tmp_path).bot.data == {"title": "Ours"}
    assert find_template("faq@1").bot.data != {"title": "Ours"}
    assert [t.reference for t in list_templates(tmp_path)].count("faq@1") == 1


def test_two_majors_side_by_side(tmp_path, make_project):
    template(tmp_path, "shop@2", version="2.0.1", bot="title: Two\n")
    template(tmp_path, "shop@10", version="10.0.0", bot="title: Ten\n")
    assert find_template("shop", tmp_path).reference == "shop@10"
    assert find_template("shop@2", tmp_path).spec.version == "2.0.1"
    root = make_project({"tenants/a/x/bot.yaml": "template: shop@2", "tenants/b/x/bot.yaml": "template: shop@10"})
    shutil.copytree(tmp_path / "templates", root / "templates")
    project = Project(root)
    assert [project.bot(bot_id).spec.title for bot_id in project.bots()] == ["Two", "Ten"]


@pytest.mark.parametrize(
    ("asked", "hint"),
    [("suport", "support"), ("support@9", "support@1"), ("faq@x", "faq@1"), ("zzzzzz", ""), ("../faq@1", "faq@1")],
)
def test_an_unknown_template_is_named_with_what_there_is(asked, hint):
    with pytest.raises(TemplateError) as caught:
        find_template(asked, where="bot.yaml:1")
    assert caught.value.what == f"there is no template {asked!r}" and caught.value.where == "bot.yaml:1"
    assert "support@1" in caught.value.remedy
    assert ("Did you mean" in caught.value.remedy) == bool(hint) and hint in caught.value.remedy


def test_a_folder_of_another_name_than_the_template(tmp_path):
    template(tmp_path, "shop@1", version="2.0.0")
    with pytest.raises(
        TemplateError, match=r"is version 2\.0\.0 of 'shop', but its folder is called 'shop@1'"
    ) as caught:
        find_template("shop@1", tmp_path).spec  # noqa: B018
    assert caught.value.remedy == "Call the folder shop@2."


def test_a_template_without_its_bot(tmp_path):
    template(tmp_path, "shop@1")
    (tmp_path / "templates/shop@1/bot.yaml").unlink()
    with pytest.raises(SpecError, match="cannot be read") as caught:
        find_template("shop@1", tmp_path).bot  # noqa: B018
    assert caught.value.where.endswith("shop@1/bot.yaml")


def question(kind: str, **more) -> ValueSpec:
    return ValueSpec(ask="?", type=kind, **more)


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("text", " Acme ", "Acme"),
        ("text", 12, "12"),
        ("text", "no", "no"),
        ("integer", "12", 12),
        ("integer", 12, 12),
        ("integer", "-3", -3),
        ("number", "2.5", 2.5),
        ("number", 2, 2.0),
        ("boolean", "Yes", True),
        ("boolean", "n", False),
        ("boolean", True, True),
        ("boolean", False, False),
        ("email", "a.b@c.example", "a.b@c.example"),
        ("url", "https://x.example/y?z", "https://x.example/y?z"),
        ("timezone", "Europe/Paris", "Europe/Paris"),
        ("choice", "a", "a"),
    ],
)
def test_values_get_the_type_that_is_asked_for(kind, given, value):
    found = parse_value("v", question(kind, choices=["a", "b"]), given)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("text", ""),
        ("text", "  "),
        ("text", ["a"]),
        ("text", {}),
        ("integer", "1.0"),
        ("integer", "one"),
        ("integer", "1_000"),
        ("integer", True),
        ("integer", "9" * 5000),
        ("number", "nan"),
        ("number", "inf"),
        ("number", "1e400"),
        ("number", "1,5"),
        ("boolean", "maybe"),
        ("boolean", 1),
        ("email", "a@b"),
        ("email", "@b.example"),
        ("email", "a b@c.example"),
        ("timezone", "Europe/Pari"),
        ("url", "x.example"),
        ("url", "javascript:alert(1)"),
        ("url", "http://"),
        ("url", "http://["),
        ("url", "http://a b.example/"),
        ("choice", "A"),
    ],
)
def test_values_of_the_wrong_type_are_refused(kind, given):
    with pytest.raises(TemplateError, match=r"'v' must be .*, such as this, not"):
        parse_value("v", question(kind, choices=["a", "b"], example="this"), given)


def test_defaults_are_filled_in_and_may_be_false_or_nought(tmp_path):
    values = (
        "  a: {ask: A?, type: boolean, default: false}\n  b: {ask: B?, type: integer, default: 0}\n  c: {ask: C?}\n"
    )
    template(tmp_path, "shop@1", values=values)
    found = find_template("shop@1", tmp_path)
    assert check_values(found, {"c": "x"}) == {"a": False, "b": 0, "c": "x"}
    with pytest.raises(TemplateError, match="'c' is missing"):
        check_values(found, {})
