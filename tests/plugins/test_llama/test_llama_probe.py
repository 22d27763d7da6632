"""A model file is tried out in a child process, whose end is told and is not ours."""

from __future__ import annotations

import json
import os
import random
import stat
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from sartor.errors import ModelError
from sartor.modelfile import Notes, digest, parts
from sartor_plugins.builtin import MODEL
from sartor_plugins.llama import probe as module
from sartor_plugins.llama.header import FILE_TYPES, TENSOR_TYPES, read_header
from sartor_plugins.llama.probe import needs_probe, probe, probe_adapter, try_out
from sartor_plugins.llama.settings import AdapterSettings, LlamaSettings

REMEDY = "Download or convert it again"


@pytest.fixture
def model(tmp_path, random_model) -> Path:
    """A copy of a sound model, to be spoilt."""
    path = tmp_path / "model.gguf"
    path.write_bytes(random_model.read_bytes())
    return path


@pytest.fixture
def python(tmp_path, monkeypatch):
    """`python("kill -9 $$")` lets a shell script stand in for the child."""

    def make(script: str) -> Path:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\necho started >> {tmp_path}/runs\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setattr(module, "get_executable", lambda: str(path))
        return tmp_path / "runs"

    return make


def settings(path: Path, **more: object) -> LlamaSettings:
    return LlamaSettings.model_validate({"path": str(path), **more})


def patched(path: Path, key: str, value: int) -> None:
    """Overwrite the 32-bit number under `key`."""
    data = path.read_bytes()
    at = data.index(key.encode()) + len(key) + 4
    path.write_bytes(data[:at] + struct.pack("<I", value) + data[at + 4 :])


# What loads, and what does not.


def test_a_sound_file_passes(model):
    try_out(model)


def test_a_file_that_aborts_the_library_does_not_end_this_process(model):
    """llama.cpp asserts on the number of layers: loaded in this process, the test run would end here."""
    patched(model, "llama.block_count", 1_000_000_000)
    with pytest.raises(ModelError, match="crashed on the file in a trial, by signal SIGABRT") as caught:
        try_out(model)
    assert caught.value.where == str(model) and caught.value.remedy.startswith(REMEDY)
    assert "llama-model.cpp" in caught.value.what and "/llama-model.cpp" not in caught.value.what


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_truncated_file(model, share):
    data = model.read_bytes()
    model.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelError, match=r"llama\.cpp cannot load the model: .*(file bounds|failed to read)") as caught:
        try_out(model)
    assert caught.value.where == str(model) and caught.value.remedy.startswith(REMEDY)


def test_mutants_pass_or_are_refused_and_nothing_else_happens(model):
    data, dice = model.read_bytes(), random.Random(7)
    for _ in range(8):
        spoilt = bytearray(data)
        for _ in range(4):
            spoilt[dice.randrange(24, 9000)] = dice.randrange(256)
        model.write_bytes(spoilt)
        try:
            try_out(model)
        except ModelError as error:
            assert error.where == str(model) and error.remedy


def write_adapter(path: Path, width: int) -> Path:
    """A LoRA adapter for models of this width."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 4.0)
    writer.add_tensor("blk.0.attn_q.weight.lora_a", np.ones((4, width), np.float32))
    writer.add_tensor("blk.0.attn_q.weight.lora_b", np.ones((width, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_file_of_another_kind(tmp_path):
    path = write_adapter(tmp_path / "adapter.gguf", 64)
    with pytest.raises(ModelError, match=r"llama\.cpp cannot load the model: "):
        try_out(path)


def test_an_adapter_is_tried_with_its_model(tmp_path, model):
    good, bad = write_adapter(tmp_path / "good.gguf", 64), write_adapter(tmp_path / "bad.gguf", 32)
    try_out(good, model)
    for path in (bad, model):
        with pytest.raises(ModelError, match=r"llama\.cpp cannot load") as caught:
            try_out(path, model)
        assert caught.value.where == str(path)


def test_an_adapter_that_has_passed_is_not_tried_again_until_its_model_changes(tmp_path, model, python):
    runs = python("exit 0")
    path = write_adapter(tmp_path / "adapter.gguf", 64)
    adapter = AdapterSettings(path=str(path))
    for _ in range(2):
        probe_adapter(path, adapter, model, settings(model))
    assert runs.read_text().count("started") == 1
    os.utime(model, ns=(1, 1))
    probe_adapter(path, adapter, model, settings(model))
    assert runs.read_text().count("started") == 2
    os.utime(model, ns=(2, 2))
    probe_adapter(path, adapter, model, settings(model, probe=False))
    probe_adapter(path, AdapterSettings(path=str(path), sha256="0" * 64), model, settings(model))
    assert runs.read_text().count("started") == 2


def test_weights_that_are_no_numbers(model):
    """The file has the right shape; only its weights are spoilt."""
    data = bytearray(model.read_bytes())
    data[-4096:] = b"\xff" * 4096
    model.write_bytes(data)
    with pytest.raises(ModelError, match="its weights are damaged: what follows the first token is not a number"):
        try_out(model)


# What else can happen to the child.


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("kill -SEGV $$", "crashed on the file in a trial, by signal SIGSEGV: it does not say why"),
        ("kill -KILL $$", r"by signal SIGKILL \(was the memory full\?\)"),
        ("echo 'GGML_ASSERT(x) failed' >&2; kill -ABRT $$", r"by signal SIGABRT: GGML_ASSERT\(x\) failed"),
        ("echo 'terminate: std::bad_alloc' >&2; kill -ABRT $$", "asks for more memory than a model of its size needs"),
        ("exit 7", "the trial ended with code 7"),
        ("exit 3", "llama.cpp cannot load the model: it does not say why"),
        ("echo 'ImportError: no libc' >&2; exit 4", "llama.cpp cannot be loaded: ImportError: no libc"),
    ],
)
def test_the_end_of_a_child_is_told(model, python, script, told):
    python(script)
    with pytest.raises(ModelError, match=told) as caught:
        try_out(model)
    assert caught.value.where == str(model) and caught.value.remedy


def test_a_child_that_hangs_is_ended(model, python):
    python("exec sleep 60")
    with pytest.raises(ModelError, match="did not come to an end with it within 0 seconds, in a trial") as caught:
        try_out(model, seconds=0.2)
    assert "probe: false" in caught.value.remedy


def test_a_child_that_does_not_start(model, monkeypatch):
    monkeypatch.setattr(module, "get_executable", lambda: "/nowhere/python")
    with pytest.raises(ModelError, match="/nowhere/python does not start") as caught:
        try_out(model)
    assert "set_executable" in caught.value.remedy


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the limit on memory holds on Linux")
def test_a_child_may_not_take_more_memory_than_its_limit(model):
    with pytest.raises(ModelError, match="asks for more memory than a model of its size needs"):
        try_out(model, memory=1 << 20)


def test_the_child_hides_the_gpus_and_starts_no_debugger(model, python, tmp_path):
    python(f'echo "[$CUDA_VISIBLE_DEVICES] $GGML_NO_BACKTRACE" > {tmp_path}/seen')
    try_out(model)
    assert (tmp_path / "seen").read_text() == "[] 1\n"


def test_a_missing_file_is_told_without_a_child(tmp_path):
    with pytest.raises(ModelError, match="cannot be read: No such file"):
        try_out(tmp_path / "none.gguf")


# When it is tried, and what is remembered.


def test_what_has_passed_is_not_tried_again_until_it_changes(model, python, monkeypatch):
    runs = python("exit 0")
    for _ in range(3):
        probe(model, settings(model))
    assert runs.read_text().count("started") == 1
    os.utime(model, ns=(1, 1))
    probe(model, settings(model))
    assert runs.read_text().count("started") == 2
    monkeypatch.setattr(module, "version", lambda _: "99.0")
    probe(model, settings(model))
    assert runs.read_text().count("started") == 3


def test_what_has_failed_is_tried_again(model, python):
    runs = python("exit 3")
    for _ in range(2):
        with pytest.raises(ModelError):
            probe(model, settings(model))
    assert runs.read_text().count("started") == 2


def test_what_needs_no_trial(model, python):
    runs = python("exit 9")
    for known in (settings(model, probe=False), settings(model, sha256=digest([model]))):
        assert not needs_probe(model, known)
        probe(model, known)
    assert not needs_probe(MODEL, LlamaSettings()) and needs_probe(model, settings(model))
    assert not runs.exists()


def test_a_folder_that_cannot_be_written_to_remembers_nothing(model, python, monkeypatch):
    runs = python("exit 0")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("sartor.modelfile.tempfile.mkstemp", refuse)
    for _ in range(2):
        probe(model, settings(model))
    assert runs.read_text().count("started") == 2


@pytest.mark.parametrize("kept", ["", "[]", "{", '{"files": [], "loads": "0"}', "[" * 100_000, "\x00"])
def test_notes_that_are_spoilt_are_none(model, kept):
    notes = Notes(model)
    notes.add(loads="1")
    file = model.parent / ".sartor" / "model.gguf.json"
    assert json.loads(file.read_text())["loads"] == "1"
    file.write_text(kept)
    assert notes.read() == {}


def test_notes_are_about_the_file_as_it_was_before_one_looked(model):
    notes = Notes(model)
    model.write_bytes(b"another")
    notes.add(loads="1")
    assert Notes(model).read() == {}


# The header, read by ourselves.


def test_the_names_of_types_are_those_of_the_format():
    files = {kind.value: kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in gguf.LlamaFileType}
    files.pop(gguf.LlamaFileType.GUESSED.value)
    assert {**files, **FILE_TYPES} == FILE_TYPES
    tensors = {kind.value: kind.name for kind in gguf.GGMLQuantizationType}
    assert {**tensors, **TENSOR_TYPES} == TENSOR_TYPES


def test_the_header_says_what_the_file_is(model):
    header = read_header(model)
    tensors = gguf.GGUFReader(model).tensors
    assert header.architecture == "llama" and header.kind == "chat" and header.context == 2048
    assert header.parameters == sum(int(tensor.n_elements) for tensor in tensors)
    assert header.quantization == "F32" and header.values["general.name"] == "tiny"


def test_any_cut_through_a_header_is_an_error_of_ours(model):
    data = model.read_bytes()
    header = gguf.GGUFReader(model).data_offset
    for length in [*range(0, 64), *range(64, header - 32, 97)]:
        model.write_bytes(data[:length])
        with pytest.raises(ModelError, match="the file is no sound GGUF"):
            read_header(model)


def test_any_mutant_of_a_header_is_read_or_refused(model):
    data, dice = model.read_bytes(), random.Random(3)
    for _ in range(300):
        spoilt = bytearray(data)
        for _ in range(3):
            spoilt[dice.randrange(0, 9000)] = dice.choice((0, 255, dice.randrange(256)))
        model.write_bytes(spoilt)
        try:
            read_header(model)
        except ModelError as error:
            assert error.where == str(model)


# Split models.


@pytest.fixture
def split(tmp_path, model) -> Path:
    """A file in two parts, as far as its names go."""
    data = model.read_bytes()
    for number in (1, 2):
        (tmp_path / f"big-0000{number}-of-00002.gguf").write_bytes(data)
    return tmp_path / "big-00001-of-00002.gguf"


def test_the_hash_of_a_split_model_is_that_of_all_parts(split, model):
    from sartor_plugins.llama.gguf import check

    whole = split.with_name("whole")
    whole.write_bytes(model.read_bytes() * 2)
    check(split, digest([whole]))
    with pytest.raises(ModelError, match="the file's SHA-256 is"):
        check(split, digest([model]))


def test_a_part_that_is_missing_or_named_in_place_of_the_first(split):
    from sartor_plugins.llama.gguf import check

    second = parts(split)[1]
    with pytest.raises(ModelError, match="this is a part of a split model") as caught:
        check(second)
    assert split.name in caught.value.remedy
    second.unlink()
    with pytest.raises(ModelError, match="cannot be read: No such file") as caught:
        check(split)
    assert caught.value.where == str(second) and "split into 2 files" in caught.value.remedy
