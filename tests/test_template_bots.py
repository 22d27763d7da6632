"""A bot made from each template, in each of its languages, passes the template's own tests on the built-in model: with
the values that the template gives as examples, and with quite other ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from sartor.rehearsal.run import rehearse
from sartor.rehearsal.smoke import smoke
from sartor.rehearsal.stage import open_stage
from sartor.scaffold import make_bot, make_project
from sartor.templates import find_template, list_templates

BOTS = [
    (template.reference, language)
    for template in list_templates()
    for language in template.spec.values["language"].choices
]


OTHERS = {
    "company": "Hillside Motors & Fils",
    "contact": "desk@hillside.example",
    "business_contact": "fleet@hillside.example",
    "services": "Oil change 20, New tyres 60",
    "hours": "tue-sat 10:00-16:00",
    "timezone": "America/New_York",
}
"""Values that no template has as examples."""


@pytest.mark.parametrize("own", [False, True], ids=["examples", "own values"])
@pytest.mark.parametrize(("reference", "language"), BOTS)
async def test_a_bot_of_the_template_passes_its_tests(tmp_path: Path, reference, language, own):
    template = find_template(reference)
    asked = {name: question for name, question in template.spec.values.items() if question.example}
    values = {name: OTHERS[name] if own else question.example for name, question in asked.items()}
    make_project(tmp_path)
    made = make_bot(tmp_path, "acme", "bot", template, values | {"language": language})
    yaml = tmp_path / "sartor.yaml"
    yaml.write_text(yaml.read_text() + "\nbots: {grounding: {tool_results: verbatim}}\n")
    assert (template.directory / "README.md").is_file()
    async with open_stage(tmp_path, [made.bot_id]) as stage:
        results = await rehearse(stage, made.bot_id, at_once=1)
        assert not [(one.name, one.error, [turn.faults for turn in one.turns]) for one in results if not one.passed]
        assert [one.name for one in results if not one.unfit]
        assert own or not any(one.unfit for one in results)
        assert await smoke(stage, made.bot_id) == []
