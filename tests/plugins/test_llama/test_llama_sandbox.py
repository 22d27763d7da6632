"""Chat templates of strangers: what costs too much is refused before it costs it."""

from __future__ import annotations

import json
import sys
import time

import pytest
from sartor.errors import ModelError
from sartor_plugins.llama import tryout
from sartor_plugins.llama.prompt import Line
from sartor_plugins.llama.template import CHATML, ChatTemplate
from sartor_plugins.llama.templating import Sandbox, TemplateExhausted, TemplateRefused, budget
from sartor_plugins.llama.toolcalls import format_of
from sartor_plugins.llama.tryout import try_template

FORM = format_of("<tool_call>")
MESSAGES = [{"role": "user", "content": "x" * 36}] * 20


def rendered(source: str, **values: object) -> str:
    box = Sandbox(lambda value, indent: json.dumps(value, indent=indent, default=str))
    return box.render(box.read(source), {"messages": MESSAGES, "tools": None, **values})


def growing(step: str, start: str = "'xxxxxxxx'") -> str:
    return f"{{% set ns = namespace(s={start}) %}}{{% for a in range(60) %}}{step}{{% endfor %}}{{{{ ns.s }}}}"


LOOPS = (
    "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}"
)

COSTLY = {
    "loops": LOOPS,
    "loops over text": "{% for a in range(9999) %}{% for b in range(9999) %}" + "x" * 1000 + "{% endfor %}{% endfor %}",
    "joining": growing("{% set ns.s = ns.s ~ ns.s %}"),
    "adding": growing("{% set ns.s = ns.s + ns.s %}"),
    "repeating": growing("{% set ns.s = ns.s * 8 %}"),
    "blocks": growing("{% set x %}{{ ns.s }}{{ ns.s }}{% endset %}{% set ns.s = x %}"),
    "the filter join": growing("{% set ns.s = [ns.s, ns.s] | join %}"),
    "the method join": growing("{% set ns.s = ''.join([ns.s, ns.s]) %}"),
    "the filter replace": growing("{% set ns.s = ns.s | replace('x', 'xxxx') %}"),
    "the method replace": growing("{% set ns.s = ns.s.replace('x', 'xxxx') %}"),
    "lists in lists": growing("{% set ns.s = [ns.s, ns.s] %}", "[1]"),
    "lists and lists": growing("{% set ns.s = ns.s + ns.s %}", "[1]"),
    "objects in objects": growing("{% set ns.s = {'a': ns.s, 'b': ns.s} %}", "{}"),
    "dict": growing("{% set ns.s = dict(a=ns.s, b=ns.s) %}", "{}"),
    "namespaces": growing("{% set ns.s = namespace(a=ns.s, b=ns.s) %}", "1"),
    "numbers": growing("{% set ns.s = ns.s * ns.s %}", "99999"),
    "a long repetition": "{{ 'x' * 10000000000 }}",
    "a list's repetition": "{{ 10000000000 * [0] }}",
    "a power": "{{ 10 ** 10 ** 10 }}",
    "a format": "{{ '%0999999999d' % 1 }}",
    "str.format": "{{ '{:>999999999}'.format(1) }}",
    "the filter center": "{{ 'x' | center(9999999999) }}",
    "ljust": "{{ 'x'.ljust(9999999999) }}",
    "expandtabs": "{{ '\\t'.expandtabs(9999999999) }}",
    "indent": "{{ 'x\\nx' | indent(9999999999) }}",
    "indented JSON": "{{ messages | tojson(indent=9999999999) }}",
    "lorem ipsum": "{{ lipsum(n=99999999) }}",
    "range": "{{ range(999999999) | list }}",
    "round": "{{ 1.5 | round(99999999) }}",
    "a date": "{{ strftime_now('%9999999999Y') }}",
    "a macro": "{% macro a() %}{{ a() }}{{ a() }}{% endmacro %}{{ a() }}",
    "macros": "{% macro a(n) %}{% if n %}{{ a(n - 1) }}{{ a(n - 1) }}{% endif %}{% endmacro %}{{ a(35) }}",
    "filter blocks": "{% filter replace('x', 'xxxxxxxx') %}" * 12 + "xxxx" + "{% endfilter %}" * 12,
    "slices": "{% set s = 'x' * 400000 %}{% for a in range(9999) %}{% set t = s[1:] %}{% endfor %}",
    "searching": "{% set s = 'a' * 400000 %}{% for a in range(9999) %}{{ s.find('b') }}{% endfor %}",
    "comparing": "{% set s = 'a' * 400000 %}{% for a in range(9999) %}{{ s + 'a' < s + 'b' }}{% endfor %}",
    "recursive loops": "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "deep brackets": "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
    "deep loops": "{% for a in b %}" * 1500 + "{% endfor %}" * 1500,
    "a long source": "x" * 60_000,
    "many nodes": "{{ a }}" * 7_000,
    "a chain": "{{ a" + "<a" * 20_000 + " }}",
    "deep JSON": "{{ ('[' * 9000) | from_json }}",
    "much JSON": growing("{% set ns.s = [ns.s, (ns.s | tojson) | from_json] %}", "[1]"),
    "files": "{% include '/etc/passwd' %}",
    "the filter attr": "{{ '' | attr('__class__') }}",
}


@pytest.mark.parametrize("source", COSTLY.values(), ids=COSTLY)
def test_what_costs_too_much_is_refused(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_SECONDS", 0.5)
    began = time.process_time()
    with pytest.raises(TemplateRefused):
        rendered(source)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "source",
    ["{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ messages[0].update(a=1) }}", "{{ [].pop }}"],
)
def test_what_is_unsafe_does_nothing(source: str) -> None:
    try:
        assert "0x" not in rendered(source)
    except Exception as error:
        assert "unsafe" in str(error) or isinstance(error, TemplateRefused)
    assert MESSAGES == [{"role": "user", "content": "x" * 36}] * 20


def test_nothing_is_computed_while_a_template_is_read() -> None:
    box = Sandbox(lambda value, indent: "")
    began = time.process_time()
    for source in ("{{ 'x' * 10**10 }}", "{{ 10**10**10 }}", "{{ 'x\\nx' | indent(10**10) }}", "{{ range(10**10) }}"):
        box.read(source)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ ' a ' | trim ~ 1 ~ none }}", "a1None"),
        ("{{ ['b', 'a'] | sort | join('-') }}{{ {'a': 1}.items() | list }}", "a-b[('a', 1)]"),
        ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "20"),
        ("{% for m in messages[:3] %}{{ loop.index }}{% if not loop.last %},{% endif %}{% endfor %}", "1,2,3"),
        ("{% for key, value in {'a': 1} | items %}{{ key }}{{ value }}{% endfor %}", "a1"),
        ("{% macro one(x, y=2) %}{{ x }}{{ y }}{% endmacro %}{{ one(1) }}{{ one(1, y=3) }}", "1213"),
        ("{% set x %}a{{ 1 + 1 }}{% endset %}{{ x | upper }}", "A2"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "20"),
        ("{{ 'a</think>b'.split('</think>')[-1].lstrip('\\n') }}", "b"),
        ("{% for a in range(9) %}{% if a == 2 %}{% continue %}{% endif %}{% if a > 3 %}{% break %}{% endif %}"
         "{{ a }}{% endfor %}",
         "013"),
        ("{% for t in tools %}x{% else %}none{% endfor %}", "none"),
        ("{{ 'yes' if tools is none and missing is not defined else 'no' }}", "yes"),
        ("{{ messages[0] | tojson }}", json.dumps(MESSAGES[0])),
        ("{{ 'ab'[::-1] }}{{ 7 // 2 }}{{ 7 % 4 }}{{ 2 ** 3 }}{{ 'ab' * 2 }}{{ -1 }}", "ba338abab-1"),
        ("{{ strftime_now('%Y') | length }}", "4"),
        ("{{ nothing }}{{ messages.more is defined }}", "False"),
        ("{% for m in messages[:2] %}{% generation %}{{ loop.index }}{% endgeneration %},{% endfor %}", "1,2,"),
        ("{{ ('{\"a\": [1, null]}' | from_json).a }}{{ '\"x\"' | from_json }}", "[1, None]x"),
    ],
)  # fmt: skip
def test_what_templates_need_works(source: str, said: str) -> None:
    assert rendered(source) == said


def test_a_long_conversation_is_far_from_the_limits() -> None:
    lines = [Line("system", "Be kind.")] + [Line(("user", "assistant")[at % 2], "word " * 500) for at in range(801)]
    template = ChatTemplate(CHATML, start="", end="", spell=FORM.spell, example=FORM.example)
    assert len(template.render(lines)) > 801


def test_a_template_that_does_too_much_is_not_tried_in_other_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_SECONDS", 0.5)
    template = ChatTemplate(
        "{% if messages | length > 1 %}" + LOOPS + "{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}",
        start="", end="", spell=FORM.spell, example=FORM.example,
    )  # fmt: skip
    assert template.render([Line("user", "Hi")])
    with pytest.raises(ModelError, match="does not render this conversation: it") as caught:
        template.render([Line("user", "Hi"), Line("assistant", "Hi"), Line("user", "Hi")])
    assert isinstance(caught.value.__cause__, TemplateExhausted)
    assert template.render([Line("user", "Hi")])  # the next one has a budget of its own


# In a child


def test_a_template_is_tried_in_a_child() -> None:
    try_template("{% for m in messages %}{{ m.content }}{% endfor %}{{ raise_exception('as it may') }}")
    with pytest.raises(
        ModelError, match=r"model\.gguf: the model's chat template is refused: it uses Include"
    ) as caught:
        try_template("{% include 'x' %}", where="model.gguf")
    assert "template" in (caught.value.remedy or "")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import os; os.abort()", "ended with code"),
        ("import time; time.sleep(60)", "did not end within"),
        ("print('nonsense')", "ended with code 0"),
    ],
)
def test_a_child_that_fails_refuses(body: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tryout, "_CODE", body)
    monkeypatch.setattr(tryout, "_SECONDS", 2.0)
    with pytest.raises(ModelError, match=said):
        try_template(f"{{# {body} #}}")


def test_a_child_that_does_not_start_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tryout, "get_executable", lambda: "/nowhere/python")
    with pytest.raises(ModelError, match="does not start"):
        try_template("{# not to be started #}")


def test_known_templates_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tryout, "get_executable", lambda: "/nowhere/python")
    try_template(CHATML)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS holds on Linux")
def test_the_child_has_limits() -> None:
    import subprocess

    code = "import sys; sys.path.append(sys.argv[1]); from templating.child import _limit; _limit(); bytearray(2 << 30)"
    done = subprocess.run([sys.executable, "-c", code, tryout._FOLDER], capture_output=True, check=False)
    assert b"MemoryError" in done.stderr
