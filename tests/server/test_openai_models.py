"""Models and embeddings, asked by the official Python client."""

from __future__ import annotations

import math

import openai
import pytest

NGRAMS = "embeddings: {plugin: ngrams, width: 128}\n"


def yaml(embeddings: str = NGRAMS) -> dict[str, str]:
    told = "model: scripted\nmodels: {scripted: {plugin: scripted, script: [], choices: false}}\n"
    return {"sartor.yaml": f"{told}index: {{plugin: memory-index}}\n{embeddings}"}


async def test_the_bots_of_the_tenant_are_its_models(speak):
    files = {**yaml("embeddings: null\n"), "tenants/acme/sales/bot.yaml": "title: Sales\n"}
    async with speak(files=files) as (client, _):
        listed = [model async for model in client.models.list()]
        assert [model.id for model in listed] == ["acme/sales", "acme/support"]
        assert all(model.object == "model" and model.owned_by == "acme" and model.created > 0 for model in listed)
        for name in ("support", "acme/support"):
            assert (await client.models.retrieve(name)).id == "acme/support"
        told = set()
        for name in ("rival/support", "nothing", "acme/nothing", "embeddings"):
            with pytest.raises(openai.NotFoundError) as caught:
                await client.models.retrieve(name)
            told.add(caught.value.body["message"].replace(repr(name), "…"))
        assert told == {"there is no bot …"}


async def test_texts_become_vectors(speak):
    async with speak(files=yaml()) as (client, _):
        assert "embeddings" in [model.id async for model in client.models.list()]
        assert (await client.models.retrieve("embeddings")).object == "model"
        answer = await client.embeddings.create(model="embeddings", input=["a lamp", "lamps", "rain in Spain"])
        lamp, lamps, rain = (one.embedding for one in answer.data)
        assert [one.index for one in answer.data] == [0, 1, 2] and len(lamp) == 128
        assert math.isclose(math.hypot(*lamp), 1, abs_tol=1e-6)
        assert sum(map(math.prod, zip(lamp, lamps, strict=True))) > sum(map(math.prod, zip(lamp, rain, strict=True)))
        assert answer.usage.prompt_tokens == answer.usage.total_tokens == 2 + 2 + 4


async def test_a_vector_is_the_same_as_floats_and_as_base64(speak):
    async with speak(files=yaml()) as (client, _):
        floats = await client.embeddings.create(model="ngrams", input="a lamp", encoding_format="float", dimensions=128)
        packed = await client.embeddings.create(model="embeddings", input="a lamp", encoding_format="base64")
        default = await client.embeddings.create(model="embeddings", input="a lamp")
        assert isinstance(packed.data[0].embedding, str) and isinstance(floats.data[0].embedding, list)
        assert default.data[0].embedding == pytest.approx(floats.data[0].embedding, abs=1e-7)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"input": [1, 2, 3]}, 400),
        ({"input": [[1, 2], [3]]}, 400),
        ({"input": ""}, 400),
        ({"input": []}, 400),
        ({"input": ["a", ""]}, 400),
        ({"input": "x" * 40_000}, 400),
        ({"input": ["a"] * 2049}, 400),
        ({"input": "a", "dimensions": 64}, 400),
        ({"input": "a", "encoding_format": "hex"}, 400),
        ({"input": "a", "model": "text-embedding-3-small"}, 404),
    ],
)
async def test_what_cannot_be_embedded_is_refused(serve, asked, status):
    async with serve(files=yaml()) as served:
        body = {"model": "embeddings", **asked}
        answer = await served.client.post("/v1/embeddings", json=body, headers=await served.key())
        assert answer.status_code == status and answer.json()["error"]["message"], answer.text


async def test_a_project_without_embeddings_says_so(speak):
    async with speak() as (client, _):
        with pytest.raises(openai.NotFoundError, match="no embeddings: its search is by keywords only"):
            await client.embeddings.create(model="embeddings", input="a")


BROKEN = """
from langchain_core.embeddings import Embeddings
from sartor import Plugin, hookimpl

class Broken(Embeddings):
    def embed_documents(self, texts): raise RuntimeError("secret path /srv/x")
    def embed_query(self, text): raise RuntimeError("secret path /srv/x")

class BrokenPlugin(Plugin):
    @hookimpl
    def sartor_embeddings(self): return Broken()
"""


async def test_embeddings_that_break_are_a_server_error_without_detail(speak):
    files = {**yaml("embeddings: {plugin: broken}\n"), "plugins/broken.py": BROKEN}
    async with speak(files=files) as (client, served):
        with pytest.raises(openai.InternalServerError) as caught:
            await client.embeddings.create(model="embeddings", input="a")
        assert caught.value.status_code == 503 and "/srv" not in str(caught.value)
        assert served.service.live.running == 0
