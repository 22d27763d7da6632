"""Tiny GGUF models, made on the spot: one with random weights, one that follows a table of next tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import pytest
from sartor_plugins.llama import LlamaPlugin
from sartor_plugins.llama.engine.crew import Limits
from sartor_plugins.llama.engine.engine import Engine
from sartor_plugins.llama.engine.jobs import Job, Plan, SyncOutbox
from sartor_plugins.llama.engine.prefixes import Scope
from sartor_plugins.llama.engine.track import Track
from sartor_plugins.llama.model import LlamaChatModel
from sartor_plugins.llama.runtime import Runtime, load
from sartor_plugins.llama.settings import LlamaSettings

CONTROL = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
USER_DEFINED = ["<tool_call>", "</tool_call>"]
TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message.role == 'system' and tools -%}"
    "<|system|>\n{{ message.content }}\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|end|>\n"
    "{%- elif message.role == 'tool' -%}<|tool|>\n{{ message.content }}<|end|>\n"
    "{%- else -%}<|{{ message.role }}|>\n{{ message.content }}"
    "{%- for call in message.tool_calls or [] -%}"
    '<tool_call>{"name": {{ call.function.name | tojson }}, "arguments": {{ call.function.arguments | tojson }}}'
    "</tool_call>"
    "{%- endfor -%}<|end|>\n"
    "{%- endif -%}{{ '' }}\n"
    "{%- endfor -%}{{ '<|assistant|>\n' }}"
)


def byte_letters() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(hidden)) for byte in range(256)]


LETTERS = byte_letters()
MERGES = ["Ġ t", "h e", "Ġt he", "i n", "r e", "Ġ a", "e r", "o n", "Ġ s", "a t"]


def vocabulary(control: Sequence[str] = ()) -> list[str]:
    return [*LETTERS, *(merge.replace(" ", "") for merge in MERGES), *CONTROL, *USER_DEFINED, *control]


def write_model(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    *,
    width: int,
    heads: int,
    template: str | None = TEMPLATE,
    context: int = 2048,
    pooling: int | None = None,
    control: Sequence[str] = (),
) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(2)
    writer.add_feed_forward_length(width)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    tokens = vocabulary(control)
    writer.add_vocab_size(len(tokens))
    if pooling is not None:
        writer.add_pooling_type(gguf.PoolingType(pooling))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    kinds = {text: gguf.TokenType.CONTROL for text in (*CONTROL, *control)}
    kinds |= {text: gguf.TokenType.USER_DEFINED for text in USER_DEFINED}
    writer.add_token_types([kinds.get(token, gguf.TokenType.NORMAL) for token in tokens])
    writer.add_token_merges(MERGES)
    writer.add_eos_token_id(tokens.index("<|end|>"))
    writer.add_add_bos_token(False)
    if template is not None:
        writer.add_chat_template(template)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def layers(width: int, make: Callable[[tuple[int, ...]], np.ndarray]) -> dict[str, np.ndarray]:
    out = {"output_norm.weight": np.ones(width)}
    for block in range(2):
        prefix = f"blk.{block}."
        out |= {f"{prefix}attn_norm.weight": np.ones(width), f"{prefix}ffn_norm.weight": np.ones(width)}
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            out[f"{prefix}{name}.weight"] = make((width, width))
    return out


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, large enough that each token of the prompt matters."""
    random = np.random.default_rng(7)

    def make(shape: tuple[int, ...]) -> np.ndarray:
        return random.normal(0, 0.25, shape)

    size = len(vocabulary())
    tensors = {"token_embd.weight": random.normal(0, 1, (size, 64)), "output.weight": random.normal(0, 0.2, (size, 64))}
    path = tmp_path_factory.mktemp("models") / "random.gguf"
    return write_model(path, tensors | layers(64, make), width=64, heads=4)


MakeTable = Callable[..., Path]


@pytest.fixture
def table_model(tmp_path: Path) -> MakeTable:
    """Makes a model whose next token depends on the last one only: ``table_model({"\\n": "a", "a": "<|end|>"})``."""

    def make(
        follows: Mapping[str, str | Sequence[tuple[str, float]]],
        *,
        template: str | None = TEMPLATE,
        control: Sequence[str] = (),
    ) -> Path:
        tokens = vocabulary(control)
        size, width = len(tokens), 320
        embedding, output = np.zeros((size, width)), np.zeros((size, width))
        for number in range(size):
            embedding[number, number] = 1.0
        for last, after in follows.items():
            for following, weight in [(after, 1.0)] if isinstance(after, str) else after:
                output[_number(tokens, following), _number(tokens, last)] = weight
        tensors = {"token_embd.weight": embedding, "output.weight": output}
        path = tmp_path / f"table-{abs(hash(str(follows)))}.gguf"
        layered = tensors | layers(width, np.zeros)
        return write_model(path, layered, width=width, heads=4, template=template, control=control)

    return make


def _number(tokens: Sequence[str], text: str) -> int:
    return tokens.index(text if text in tokens else "".join(LETTERS[byte] for byte in text.encode()))


Make = Callable[..., LlamaChatModel]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes chat models of the plugin, and closes them after the test."""
    made: list[LlamaChatModel] = []

    def model(path: Path, **settings: object) -> LlamaChatModel:
        told = LlamaPlugin.Settings.model_validate({"path": str(path), "probe": False, **settings})
        made.append(LlamaPlugin(told, Path("/")).sartor_model())
        return made[-1]

    yield model
    for one in made:
        await one.close()


class Desk:
    """An engine that runs any generator in the place of a reply: ``desk.run(prompt, lambda track: …)``."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.vocabulary = runtime.voice.vocabulary
        self.context = runtime.context
        self.memory = runtime.memory
        self.batcher = runtime.batcher
        self.engine: Engine[Desk.Task, object] = Engine(lambda: self, "desk", Limits())

    @dataclass
    class Task:
        prompt: Sequence[int]
        speak: Callable[[Track], Generator[object, None, object]]
        scope: Scope

    def plan(self, task: Task) -> Plan:
        return Plan(task.prompt, task.scope, reply=64, size=2048, branches=512)

    def reply(self, task: Task, track: Track) -> Generator[object, None, None]:
        yield (yield from task.speak(track)), track

    def adapter(self, name: str) -> None:
        return None

    def close(self) -> None:
        self.runtime.close()

    def run(
        self, prompt: str, speak: Callable[[Track], Generator[object, None, object]], tenant: str = ""
    ) -> tuple[list[object], object, Track]:
        """What the generator yielded, what it returned, and its track."""
        outbox: SyncOutbox[object] = SyncOutbox()
        scope = Scope(tenant, alone=None if tenant else object())
        job = Job(self.Task(self.vocabulary.text(prompt), speak, scope), outbox, tenant=tenant)
        self.engine.submit(job)
        events: list[object] = []
        while some := outbox.take():
            events += some
        result, track = events.pop()
        return events, result, track


@pytest.fixture
def runtime(random_model: Path) -> Iterator[Runtime]:
    """The inside of a model with random weights, used in the test's own thread."""
    loaded = load(LlamaSettings(path=str(random_model), probe=False), Path("/"))
    yield loaded
    loaded.close()


@pytest.fixture(params=["rooms", "shared"])
def desk(random_model: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    """The inside of a model with random weights, where each conversation has a room of its own, and where all share."""
    rooms = None if request.param == "rooms" else 0
    made = Desk(load(LlamaSettings(path=str(random_model), probe=False, rooms=rooms), Path("/")))
    yield made
    made.engine.close()
