"""The description of the API is true: requests made from it are answered as it says, never with an error of ours."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import given as over
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

ANY = """
from sartor.plugin import Plugin, hookimpl

class Any(Plugin):
    @hookimpl
    def sartor_model(self):
        from sartor.testing import ScriptedModel
        return ScriptedModel(script=["Yes."] * 100_000)
"""
NONE = """
from sartor.plugin import Plugin, hookimpl

class Nothing:
    async def add(self, chunks): pass
    async def remove(self, ids): pass
    async def search(self, query, limit, audience="", *, before=""): return []
    async def ids(self): return frozenset()
    async def clear(self): pass
    async def close(self): pass

class NonePlugin(Plugin):
    @hookimpl
    def sartor_index(self, bot): return Nothing()
"""
FILES = {
    "sartor.yaml": "model: m\nmodels: {m: {plugin: any}}\nembeddings: null\nindex: {plugin: none}\n",
    "plugins/any.py": ANY,
    "plugins/none.py": NONE,
    "tenants/acme/support/bot.yaml": "title: S\nweb: {origins: ['*'], anonymous: true}\n",
}
CHECKED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
NATIVE = r"^/v1/(sessions|conversations|turns|approvals|documents)"


def test_requests_made_from_the_description(tmp_path: Path) -> None:
    from sartor import asgi

    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    app = asgi.app(tmp_path)
    with TestClient(app, base_url="http://service", raise_server_exceptions=False) as client:
        keys = app.state.sartor.keys
        scopes = frozenset({"chat", "read", "approve", "documents"})
        key, _ = client.portal.call(lambda: keys.create("acme", scopes=scopes))  # type: ignore[union-attr]
        schema = schemathesis.openapi.from_dict(app.openapi()).include(path_regex=NATIVE)
        operations = [found.ok() for found in schema.get_all_operations()]
        assert len(operations) >= 18
        seen: Counter[int] = Counter()
        for operation in operations:

            @settings(
                max_examples=30,
                deadline=None,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @over(case=operation.as_strategy())
            def is_true(case: schemathesis.Case) -> None:
                case.headers = {**(case.headers or {}), "Authorization": f"Bearer {key}"}
                told = case.as_transport_kwargs(base_url="http://service")
                known = ("method", "url", "headers", "params", "data", "json", "files")
                asked = requests.Request(**{name: told[name] for name in known if name in told}).prepare()
                body = asked.body.encode() if isinstance(asked.body, str) else asked.body or b""
                response = client.request(asked.method or "GET", asked.url or "", headers=asked.headers, content=body)
                seen[response.status_code] += 1
                case.validate_response(response, checks=CHECKED)

            is_true()
        assert seen.keys() >= {200, 400, 404}
