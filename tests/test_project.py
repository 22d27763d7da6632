"""A project on disk: its bots after all layers, and what is refused."""

from __future__ import annotations

import pytest
from sartor.errors import NamingError, SpecError, TemplateError, UsageError
from sartor.names import check_name, split_bot_id
from sartor.project import Project
from sartor.values import Origin

TEMPLATE = {
    "templates/shop@1/template.yaml": """
        name: shop
        version: 1.2.0
        title: Shop
        description: for tests
        values:
          company: {ask: Company?}
          colour: {ask: Colour?, type: choice, choices: [red, blue], default: red}
        """,
    "templates/shop@1/bot.yaml": """
        title: ${company} shop
        instructions:
          - You work for ${company}.
        languages: [en]
        limits: {tool_steps: 2}
        """,
}
BOT = """
    template: shop@1
    values:
      company: Acme
    instructions: Be kind, and say $${company}.
    limits: {reply_tokens: 100}
    """


def project(make_project, files=(), **more) -> Project:
    return Project(make_project({**TEMPLATE, "tenants/acme/shop/bot.yaml": BOT, **dict(files)}, **more))


def test_the_effective_bot_with_origins(make_project):
    found = project(
        make_project,
        {
            "tenants/acme/tenant.yaml": "name: Acme Ltd\nbots:\n  languages: [fr]\n  instructions: Tenant says.\n",
        },
    )
    path = found.directory / "sartor.yaml"
    path.write_text(path.read_text() + "bots:\n  limits:\n    tool_steps: 3\n  instructions: Operator says.\n")
    bot = Project(found.directory).bot("acme/shop")
    assert bot.spec.title == "Acme shop"
    assert bot.spec.languages == ["en", "fr"]
    assert (bot.spec.limits.tool_steps, bot.spec.limits.reply_tokens) == (3, 100)
    assert bot.spec.values == {"tenant": "acme", "bot": "shop", "company": "Acme", "colour": "red"}
    assert [(part.text, part.origin) for part in bot.instructions] == [
        ("You work for Acme.", Origin.OPERATOR),
        ("Operator says.", Origin.OPERATOR),
        ("Tenant says.", Origin.TENANT),
        ("Be kind, and say ${company}.", Origin.TENANT),
    ]
    assert bot.source(("title",)).place.endswith("templates/shop@1/bot.yaml:1")
    assert bot.source(("limits", "tool_steps")).place.endswith("sartor.yaml:8")
    assert bot.source(("limits", "reply_tokens")).place.endswith("tenants/acme/shop/bot.yaml:5")
    assert bot.source(("languages", 1)).place.endswith("tenants/acme/tenant.yaml:3")
    assert bot.source(("retrieval", "passages")).place == "default"
    assert bot.info.id == "acme/shop" and bot.info.language == "en"
    assert bot.info.data == found.directory / "state/tenants/acme"


PUBLIC_TEMPLATE = {
    "templates/desk@1/template.yaml": (
        "name: desk\nversion: 1.0.0\ntitle: D\ndescription: d\npublic_instructions: true\n"
        "values:\n  company:\n    ask: Who?\n    default: Acme\n"
    ),
    "templates/desk@1/bot.yaml": "instructions:\n  - Be kind.\n  - Be brief.\n  - For ${company}.\n  - Be exact.\n",
}


@pytest.mark.parametrize(
    ("bot", "public"),
    [
        ("", ["Be kind.", "Be brief."]),
        ("instructions: Be kind.", ["Be kind.", "Be brief."]),
        ("instructions: For us.", ["Be kind.", "Be brief."]),
    ],
)
def test_only_what_a_template_says_before_its_first_value_is_public(make_project, bot, public):
    files = {**PUBLIC_TEMPLATE, "tenants/acme/desk/bot.yaml": f"template: desk@1\n{bot}\n"}
    found = Project(make_project(files)).bot("acme/desk")
    assert [part.text for part in found.instructions if part.public] == public
    assert len(found.instructions) == (5 if bot else 4)
    assert all(part.origin is Origin.OPERATOR for part in found.instructions if part.public)


def test_what_takes_the_place_of_a_templates_instructions_is_not_public(make_project):
    files = {
        **PUBLIC_TEMPLATE,
        "tenants/acme/tenant.yaml": "bots:\n  instructions: null\n",
        "tenants/acme/desk/bot.yaml": "template: desk@1\ninstructions: [Be kind., Be brief.]\n",
    }
    told = Project(make_project(files)).bot("acme/desk").instructions
    assert [(part.text, part.public) for part in told] == [("Be kind.", False), ("Be brief.", False)]


def test_a_template_that_does_not_say_so_has_nothing_public(make_project):
    files = {**PUBLIC_TEMPLATE, "tenants/acme/desk/bot.yaml": "template: desk@1\n"}
    files["templates/desk@1/template.yaml"] = files["templates/desk@1/template.yaml"].replace("true", "false")
    assert not any(part.public for part in Project(make_project(files)).bot("acme/desk").instructions)


def test_a_template_that_says_so_of_nothing_is_told(make_project):
    files = {**PUBLIC_TEMPLATE, "tenants/acme/desk/bot.yaml": "template: desk@1\n"}
    files["templates/desk@1/bot.yaml"] = "title: D\ninstructions: You work for ${company}. Be kind.\n"
    with pytest.raises(TemplateError, match="begin with a value") as caught:
        Project(make_project(files)).bot("acme/desk").instructions  # noqa: B018
    assert caught.value.where.endswith("templates/desk@1/bot.yaml:2")
    assert "before those with a ${value}" in caught.value.remedy


def test_tenants_and_bots_are_listed_and_half_made_ones_are_not(make_project):
    files = {
        "tenants/zeta/tenant.yaml": "name: Z",
        "tenants/beta/faq/bot.yaml": "",
        "tenants/beta/faq/tests/bot.yaml": "",
        "tenants/empty/notes.txt": "",
        "tenants/.new-x1y2/shop/bot.yaml": "",
        "tenants/beta/.draft/bot.yaml": "",
        "tenants/README.md": "",
    }
    found = project(make_project, files)
    assert found.tenants() == ["acme", "beta", "zeta"]
    assert found.bots() == ["acme/shop", "beta/faq"] and found.bots("zeta") == []


@pytest.mark.parametrize(
    "name",
    [
        "../x", "..", ".", "a/b", "A", "Acme", "", "con", "nul", "a" * 64, "a_b", "-a", "a-", "a--b", "a b", "a.b", "é",
        "a\n", "a\0", "~", "٣", "a\\b",
    ],
)  # fmt: skip
def test_what_cannot_be_a_name(name, make_project):
    with pytest.raises(NamingError, match="cannot be the name of a tenant") as caught:
        check_name("tenant", name)
    assert "lower-case letters" in caught.value.remedy
    found = project(make_project)
    with pytest.raises(NamingError):
        found.tenant(name)
    with pytest.raises(NamingError):
        found.bot(f"{name}/shop")
    with pytest.raises(NamingError):
        found.bot(f"acme/{name}")
    with pytest.raises(NamingError):
        found.data(name)


@pytest.mark.parametrize("name", ["a", "7", "north-shop-2", "a" * 63, "cone"])
def test_what_can_be_a_name(name):
    assert check_name("tenant", name) == name
    assert split_bot_id(f"{name}/b") == (name, "b")


def test_a_bot_id_has_two_parts(make_project):
    with pytest.raises(NamingError, match="'acme' names no bot"):
        project(make_project).bot("acme")


@pytest.mark.parametrize(("asked", "hint"), [("acme/shpo", "acme/shop"), ("acmee/shop", "acme/shop"), ("q/zzzz", "")])
def test_an_unknown_bot_is_named_with_a_suggestion(make_project, asked, hint):
    with pytest.raises(NamingError, match=f"there is no bot '{asked}'") as caught:
        project(make_project).bot(asked)
    assert ("Did you mean" in caught.value.remedy) == bool(hint) and hint in caught.value.remedy


def test_an_unknown_tenant(make_project):
    with pytest.raises(NamingError, match="there is no tenant 'acne'") as caught:
        project(make_project).tenant("acne")
    assert "Did you mean acme?" in caught.value.remedy


def bot_file(text: str) -> dict[str, str]:
    return {"tenants/acme/shop/bot.yaml": text}


@pytest.mark.parametrize(
    ("files", "error", "message", "where", "remedy"),
    [
        (bot_file("a: 1\ntemplate: shpo@1"), TemplateError, "there is no template 'shpo@1'", "bot.yaml:2", "shop@1"),
        (bot_file("template: shop@2"), TemplateError, "there is no template 'shop@2'", "bot.yaml:1", "mean shop@1"),
        (bot_file("template: shop"), SpecError, "names no version", "bot.yaml:1", "Write template: shop@1"),
        (bot_file("template: [shop]"), SpecError, "must be NAME@VERSION", "bot.yaml:1", ""),
        (bot_file("template: shop@1"), TemplateError, "'company' is missing: Company", "bot.yaml:1", "company, colour"),
        (
            bot_file("template: shop@1\nvalues:\n  company: A\n  color: red"),
            TemplateError,
            r"'color' is no value of shop@1 \(did you mean 'colour'\?\)",
            "bot.yaml:4",
            "shop@1 takes: company, colour",
        ),
        (
            bot_file("template: shop@1\nvalues:\n  company: A\n\n  colour: green"),
            TemplateError,
            "'colour' must be one of red, blue, not 'green'",
            "bot.yaml:5",
            "",
        ),
        (bot_file("template: shop@1\nvalues: [a]"), SpecError, "values must be a mapping", "bot.yaml:2", ""),
        (bot_file("values: x"), SpecError, "values must be a mapping", "bot.yaml:1", ""),
        (bot_file("values: []"), SpecError, "values must be a mapping", "bot.yaml:1", ""),
        (bot_file("title: ${nam}"), SpecError, "uses ..nam.*no value of this bot", "bot.yaml:1", "bot, tenant"),
        (bot_file("model: gpt"), SpecError, "no entry 'gpt' under models", "bot.yaml:1", "It has: scripted"),
        (bot_file("modell: x"), SpecError, "unknown key 'modell'", "bot.yaml:1", "Did you mean 'model'"),
        ({"tenants/acme/tenant.yaml": "nam: x"}, SpecError, "unknown key 'nam'", "tenant.yaml:1", "'name'"),
        ({"tenants/acme/tenant.yaml": "bots: [x]"}, SpecError, "bots", "tenant.yaml:1", ""),
        (
            {"tenants/acme/tenant.yaml": "bots: {titel: x}"},
            SpecError,
            "unknown key 'titel'",
            "tenant.yaml:1",
            "'title'",
        ),
        ({"tenants/acme/tenant.yaml": "bots: {template: b@1}"}, SpecError, "only a bot.yaml", "tenant.yaml:1", ""),
        ({"templates/shop@1/bot.yaml": "titel: x"}, SpecError, "unknown key 'titel'", "shop@1/bot.yaml:1", "'title'"),
        ({"templates/shop@1/template.yaml": "name: shop"}, SpecError, "version is missing", "template.yaml", ""),
    ],
)
def test_faults_of_a_bot(make_project, files, error, message, where, remedy):
    with pytest.raises(error, match=message) as caught:
        project(make_project, files).bot("acme/shop")
    assert caught.value.exit_code == 2
    assert caught.value.where.endswith(where)
    assert remedy in (caught.value.remedy or "")


def test_all_wrong_values_are_told_at_once(make_project):
    with pytest.raises(TemplateError) as caught:
        project(make_project, bot_file("template: shop@1\nvalues: {compny: A, colour: green}")).bot("acme/shop")
    for told in ("'compny' is no value", "'company' is missing", "'colour' must be"):
        assert told in caught.value.what


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("models: {a: {plugin: x}}\nmodel: b\n", "no entry 'b' under models", 2),
        ("model: builtin\nmodel: b\n", "stands twice", 2),
        ("state:\n", "state is empty", 1),
        ("tenant: x\n", "unknown key 'tenant'", 1),
        ("- a\n", "no mapping", 1),
    ],
)
def test_faults_of_the_project_file(make_project, text, message, line):
    with pytest.raises(SpecError, match=message) as caught:
        Project(make_project({"sartor.yaml": text}))
    assert caught.value.where.endswith(f"sartor.yaml:{line}")


def test_a_folder_that_is_no_project(tmp_path):
    with pytest.raises(SpecError, match=r"there is no sartor\.yaml") as caught:
        Project(tmp_path)
    assert caught.value.where == str(tmp_path) and "sartor new" in caught.value.remedy


def test_a_change_on_disk_counts_at_once(make_project):
    found = project(make_project)
    found.bot("acme/shop")
    (found.directory / "tenants/acme/shop/bot.yaml").write_text("title: Other\n")
    assert found.bot("acme/shop").spec.title == "Other"


def test_the_state_url(make_project, monkeypatch):
    def url(text: str) -> str:
        root = make_project({"sartor.yaml": f"models: {{a: {{plugin: x}}}}\nmodel: a\nstate: {text}\n"})
        return Project(root).state_url

    root = make_project().resolve()
    assert url("sqlite:///state/s.db") == f"sqlite:///{root}/state/s.db"
    assert url("sqlite:////var/s.db") == "sqlite:////var/s.db"
    assert url("postgresql://u@h/d") == "postgresql://u@h/d"
    monkeypatch.setenv("SARTOR_STATE", "sqlite:///other.db")
    assert url("env:SARTOR_STATE") == f"sqlite:///{root}/other.db"
    monkeypatch.delenv("SARTOR_STATE")
    with pytest.raises(UsageError, match="SARTOR_STATE is not set"):
        url("env:SARTOR_STATE")


def test_embeddings_may_be_switched_off(make_project):
    assert Project(make_project({"sartor.yaml": "embeddings: null\n"})).spec.embeddings is None
    assert Project(make_project({"sartor.yaml": ""})).spec.embeddings.plugin == "ngrams"


def test_a_plan_is_one_of_those_that_the_operator_has(make_project):
    assert project(make_project).plan("acme").share == 1
    told = {"tenants/acme/tenant.yaml": "plan: gold\n"}
    with pytest.raises(SpecError, match=r"tenant\.yaml:1: plan: there is no entry 'gold' under plans(.|\n)*no plans"):
        project(make_project, told).bot("acme/shop")


def test_a_tenant_may_name_only_the_plugins_that_the_operator_allows(make_project):
    files = {
        "tenants/acme/support/bot.yaml": "template: faq@1\nvalues: {company: A, contact: a@b.example}\n",
        "tenants/acme/other/bot.yaml": "plugins:\n  topics: {blocked: [politics]}\n  lookup: {}\n",
        "tenants/beta/tenant.yaml": "bots: {plugins: {webhook: {}}}\n",
        "tenants/beta/faq/bot.yaml": "title: x\n",
    }
    root = make_project(files)
    assert len([Project(root).bot(bot_id) for bot_id in Project(root).bots()]) == 3
    path = root / "sartor.yaml"
    path.write_text(path.read_text() + "tenant_plugins: [topics]\n")
    project = Project(root)
    assert project.bot("acme/support").spec.plugins, "the template's own"
    with pytest.raises(SpecError, match="tenants may not name the plugin 'lookup'") as caught:
        project.bot("acme/other")
    assert caught.value.where.endswith("acme/other/bot.yaml:3")
    with pytest.raises(SpecError, match="tenants may not name the plugin 'webhook'"):
        project.bot("beta/faq")
    path.write_text(path.read_text() + "bots: {plugins: {lookup: {}, webhook: {}}}\n")
    assert "lookup" in Project(root).bot("acme/other").spec.plugins


def test_null_under_bots_of_the_tenant_or_the_operator_removes_what_a_template_says(make_project):
    files = {
        "templates/desk@1/template.yaml": "name: desk\nversion: 1.0.0\ntitle: D\ndescription: d\n",
        "templates/desk@1/bot.yaml": "title: Desk\nplugins: {topics: {blocked: {war: {}}}, personal-data: {}}\n",
        "tenants/acme/desk/bot.yaml": "template: desk@1\n",
        "tenants/acme/tenant.yaml": "bots:\n  plugins: {topics: null}\n",
        "sartor.yaml": "bots: {title: null}\n",
    }
    bot = Project(make_project(files)).bot("acme/desk")
    assert list(bot.spec.plugins) == ["personal-data"]
    assert bot.spec.title == ""


def test_null_for_what_no_lower_layer_says_is_told_with_its_place(make_project):
    files = {"sartor.yaml": "bots:\n  title: null\n", "tenants/acme/desk/bot.yaml": "title: Desk\n"}
    with pytest.raises(SpecError, match="title is empty") as caught:
        Project(make_project(files)).bot("acme/desk")
    assert caught.value.where.endswith("sartor.yaml:2")
