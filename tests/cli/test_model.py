"""`sartor model`: files are pulled whole or not at all, pinned, compared, and removed only on purpose."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import shutil
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from sartor import hubfiles
from sartor.errors import BusyError
from sartor.hub import choose, look
from sartor.yamlfile import read_yaml
from sartor_plugins.builtin import MODEL

CHAT = "tenants/acme/support/bot.yaml"


def _load():
    spec = importlib.util.spec_from_file_location("fakehub", Path(__file__).with_name("fakehub.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["fakehub"] = module
    spec.loader.exec_module(module)
    return module


fakehub = _load()


@pytest.fixture(scope="session")
def write_gguf(tmp_path_factory):
    """`write_gguf("llama", size=…, kind=…)` gives the bytes of a file that is sound as far as its header goes."""

    def make(architecture: str = "llama", size: int = 1000, *, kind: str = "", pooling: int | None = None) -> bytes:
        path = tmp_path_factory.mktemp("gguf") / "made.gguf"
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_context_length(8192)
        writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_K_M)
        if kind:
            writer.add_type(kind)
        if pooling is not None:
            writer.add_pooling_type(gguf.PoolingType(pooling))
        writer.add_token_list([f"token{number}" for number in range(300)])
        writer.add_tensor("t", np.random.default_rng(size).integers(0, 255, size // 4 * 4, np.uint8).view(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()

    return make


@pytest.fixture
def hub(monkeypatch, tmp_path, write_gguf):
    """A hub with a few repositories."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(hubfiles, "_PAUSE", 0.0)
    small, other = write_gguf(), write_gguf(size=2000)
    with fakehub.FakeHub() as made:
        made.repositories = {
            "acme/One-GGUF": {"README.md": b"# One", "one.Q4_K_M.gguf": small, "mmproj-one.gguf": other},
            "acme/Many-GGUF": {
                "many-Q4_K_M.gguf": small,
                "many-Q8_0.gguf": other,
                "sub/many-F16-00001-of-00002.gguf": small,
                "sub/many-F16-00002-of-00002.gguf": other,
            },
            "acme/Weights": {"model.safetensors": b"x"},
            "acme/Large-GGUF": {"large.gguf": write_gguf(size=5 << 20)},
        }
        monkeypatch.setenv("HF_ENDPOINT", made.url)
        yield made


@pytest.fixture
def root(project) -> Path:
    return project()


def files(root: Path) -> list[str]:
    """The files of the models folder; of what lies beside them, only downloads."""
    folder = root / "models"
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(name for name in found if not name.endswith(".json"))


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def no_trials(monkeypatch, request):
    """The files here have a header and nothing behind it; two tests let them be tried out for all that."""
    if "trials" not in request.fixturenames:
        monkeypatch.setattr("sartor_plugins.llama.files.ensure_loads", lambda *paths: None)


@pytest.fixture
def trials():
    """Files are tried out in a child process."""


# Pulling.


def test_pull_brings_the_file_and_prints_the_lines(sartor, root, hub):
    before = (root / "sartor.yaml").read_text()
    ran = sartor("model", "pull", "acme/One-GGUF", "-p", root)
    content = hub.repositories["acme/One-GGUF"]["one.Q4_K_M.gguf"]
    assert ran.code == 0, ran.err
    assert files(root) == ["one.Q4_K_M.gguf"] and (root / "models/one.Q4_K_M.gguf").read_bytes() == content
    for told in (
        "acme/One-GGUF at 01234567 → models/one.Q4_K_M.gguf",
        "chat model · llama · 250 parameters · Q4_K_M · reads 8k tokens",
        "model: one",
        "plugin: llama",
        "path: models/one.Q4_K_M.gguf",
        f"sha256: {sha(content)}",
    ):
        assert told in ran.out
    assert (root / "sartor.yaml").read_text() == before


def test_pull_use_writes_sartor_yaml_and_leaves_the_rest(sartor, project, hub):
    text = (
        "# ours\nmodel: scripted  # the one\nmodels:\n  scripted: {plugin: scripted}  # for tests\n\nembeddings: null\n"
    )
    root = project({"sartor.yaml": text})
    ran = sartor("model", "pull", "acme/One-GGUF", "--use", "small", "-p", root)
    content = hub.repositories["acme/One-GGUF"]["one.Q4_K_M.gguf"]
    assert ran.code == 0, ran.err
    assert (root / "sartor.yaml").read_text() == (
        "# ours\nmodel: small  # the one\nmodels:\n  scripted: {plugin: scripted}  # for tests\n"
        f"  small:\n    plugin: llama\n    path: models/one.Q4_K_M.gguf\n    sha256: {sha(content)}\n"
        "\nembeddings: null\n"
    )
    assert "bots now speak with small" in ran.out
    assert "small" in sartor("model", "list", "-p", root).out


def test_pull_use_in_a_project_that_says_nothing_of_models_keeps_the_default_ones(sartor, tmp_path, hub):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/sartor.yaml").write_text("# nothing\n")
    ran = sartor("model", "pull", "acme/One-GGUF", "--use", "small", "-p", tmp_path / "p")
    data = read_yaml(tmp_path / "p/sartor.yaml").data
    assert ran.code == 0 and data["model"] == "small" and set(data["models"]) == {"small", "builtin"}


def test_pull_use_refuses_a_file_that_it_cannot_change_and_says_what_to_write(sartor, project, hub):
    root = project(
        {"sartor.yaml": "model: >-\n  scripted\nmodels:\n  scripted: {plugin: scripted}\nembeddings: null\n"}
    )
    before = (root / "sartor.yaml").read_text()
    ran = sartor("model", "pull", "acme/One-GGUF", "--use", "small", "-p", root)
    assert ran.code == 2 and "cannot be put into the file without changing other things" in ran.err
    assert "model: small" in ran.err and (root / "sartor.yaml").read_text() == before
    assert files(root) == ["one.Q4_K_M.gguf"]


@pytest.mark.parametrize(
    ("name", "told"),
    [("scripted", "there is a model 'scripted' already"), ("a b", "'a b' cannot be the name of a model")],
)
def test_pull_use_checks_the_name_before_it_pulls(sartor, root, hub, name, told):
    ran = sartor("model", "pull", "acme/One-GGUF", "--use", name, "-p", root)
    assert ran.code == 2 and told in ran.err and hub.requests == []


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        ("Q8_0", ["many-Q8_0.gguf"]),
        ("q8_0", ["many-Q8_0.gguf"]),
        ("many-Q4_K_M.gguf", ["many-Q4_K_M.gguf"]),
        ("F16", ["many-F16-00001-of-00002.gguf", "many-F16-00002-of-00002.gguf"]),
        ("sub/many-F16-00002-of-00002.gguf", ["many-F16-00001-of-00002.gguf", "many-F16-00002-of-00002.gguf"]),
        ("many-F16-00001-of-00002.gguf", ["many-F16-00001-of-00002.gguf", "many-F16-00002-of-00002.gguf"]),
    ],
)
def test_pull_of_one_of_several(sartor, root, hub, wanted, got):
    ran = sartor("model", "pull", f"acme/Many-GGUF:{wanted}", "-p", root)
    assert ran.code == 0, ran.err
    assert files(root) == got


def test_a_split_model_is_pinned_to_all_its_parts(sartor, root, hub):
    ran = sartor("model", "pull", "acme/Many-GGUF:F16", "--use", "split", "-p", root)
    parts = [hub.repositories["acme/Many-GGUF"][f"sub/many-F16-0000{number}-of-00002.gguf"] for number in (1, 2)]
    assert ran.code == 0 and sha(b"".join(parts)) in ran.out and "750 parameters" in ran.out
    assert sartor("model", "verify", "-p", root).code == 0
    (root / "models/many-F16-00002-of-00002.gguf").write_bytes(parts[0])
    assert sartor("model", "verify", "-p", root).code == 1


def test_parts_that_are_alike_do_not_meet(sartor, root, hub, write_gguf):
    names = [f"same-0000{number}-of-00002.gguf" for number in (1, 2)]
    hub.repositories["acme/Same"] = dict.fromkeys(names, write_gguf())
    assert sartor("model", "pull", "acme/Same", "-p", root).code == 0 and files(root) == names


@pytest.mark.parametrize(
    ("repository", "told", "remedy"),
    [
        ("acme/Many-GGUF", "acme/Many-GGUF has 3 models:", "sartor model pull acme/Many-GGUF:"),
        ("acme/Many-GGUF:Q3_K", "acme/Many-GGUF has no 'Q3_K'; it has:", "sartor model pull acme/Many-GGUF:"),
        ("acme/Many-GGUF:none.gguf", "acme/Many-GGUF has no 'none.gguf'; it has:", "Choose one"),
    ],
)
def test_pull_lists_what_there_is_with_sizes(sartor, root, hub, repository, told, remedy):
    ran = sartor("model", "pull", repository, "-p", root)
    assert ran.code == 2 and told in ran.err and remedy in ran.err and files(root) == []
    lines = [" ".join(line.split()) for line in ran.err.splitlines()]
    sizes = [len(content) for content in hub.repositories["acme/Many-GGUF"].values()]
    assert f"{sizes[0] / 1000:.1f} kB many-Q4_K_M.gguf" in lines and f"{sizes[1] / 1000:.1f} kB many-Q8_0.gguf" in lines
    assert f"{(sizes[2] + sizes[3]) / 1000:.1f} kB sub/many-F16-00001-of-00002.gguf (2 parts)" in lines


@pytest.mark.parametrize(
    ("repository", "told", "remedy"),
    [
        ("acme/Nothing", "acme/Nothing: there is no such repository, or it is private", "set HF_TOKEN"),
        ("acme/Weights", "acme/Weights has no GGUF file", "-GGUF"),
        ("acme", "'acme' is no name of a repository", "OWNER/NAME:Q4_K_M"),
        ("a/b/c", "'a/b/c' is no name of a repository", "OWNER/NAME"),
        ("../a", "'../a' is no name of a repository", "OWNER/NAME"),
    ],
)
def test_pull_of_what_is_not_there(sartor, root, hub, repository, told, remedy):
    ran = sartor("model", "pull", repository, "-p", root)
    assert ran.code == 2 and told in ran.err and remedy in ran.err and files(root) == []


def test_pull_of_a_revision(sartor, root, hub):
    ran = sartor("model", "pull", "acme/One-GGUF", "--revision", "v9", "-p", root)
    assert ran.code == 2 and "acme/One-GGUF: there is no such revision" in ran.err
    assert sartor("model", "pull", "acme/One-GGUF", "--revision", fakehub.COMMIT, "-p", root).code == 0


@pytest.mark.parametrize(
    ("status", "reason", "told", "remedy"),
    [
        (403, "GatedRepo", "the repository is gated", "Accept its terms at http://127.0.0.1"),
        (401, "RepoNotFound", "there is no such repository, or it is private", "HF_TOKEN"),
        (500, "", "answered: ", "Try again later"),
    ],
)
def test_a_hub_that_refuses(sartor, root, hub, status, reason, told, remedy):
    hub.refuse["acme/One-GGUF"] = (status, reason)
    ran = sartor("model", "pull", "acme/One-GGUF", "-p", root)
    assert ran.code == 2 and told in ran.err and remedy in ran.err


@pytest.mark.parametrize(
    ("status", "reason", "told"),
    [
        (403, "GatedRepo", "acme/One-GGUF: the repository is gated"),
        (404, "EntryNotFound", "acme/One-GGUF: the file is not there any more"),
        (503, "", "answered: "),
    ],
)
def test_a_hub_that_tells_of_a_file_but_does_not_give_it(sartor, root, hub, status, reason, told):
    hub.refuse_files["acme/One-GGUF"] = (status, reason)
    ran = sartor("model", "pull", "acme/One-GGUF", "-p", root)
    assert ran.code == 2 and told in ran.err and not (root / "models/one.Q4_K_M.gguf").exists()


def test_a_hub_that_cannot_be_reached(sartor, root, hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    ran = sartor("model", "pull", "acme/One-GGUF", "-p", root)
    assert ran.code == 2 and "the hub http://127.0.0.1:9 cannot be reached" in ran.err and "HF_ENDPOINT" in ran.err


def test_a_token_goes_to_the_hub(sartor, root, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    ran = sartor("model", "pull", "acme/One-GGUF", "-p", root)
    assert ran.code == 0 and "hf_secret" not in ran.out + ran.err
    assert [token for path, _, token in hub.requests if "/resolve/" in path or "/api/" in path] == [
        "Bearer hf_secret"
    ] * 2


def test_a_missing_package_is_named(sartor, root, hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    ran = sartor("model", "pull", "acme/One-GGUF", "-p", root)
    assert ran.code == 1 and "'huggingface_hub', which is not installed" in ran.err
    assert "pip install 'sartor[local]'" in ran.err


# Downloads that do not go through.


def test_a_dropped_connection_is_taken_up_again(sartor, root, hub):
    hub.drops = [2_500_000, 1_500_000, 0]
    ran = sartor("model", "pull", "acme/Large-GGUF", "-p", root)
    content = hub.repositories["acme/Large-GGUF"]["large.gguf"]
    assert ran.code == 0, ran.err
    assert (root / "models/large.gguf").read_bytes() == content and files(root) == ["large.gguf"]
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in hub.ranges]
    assert len(starts) == 4 and starts[0] == 0 and 0 < starts[1] < starts[2] == starts[3]


def test_a_hub_that_stays_away_leaves_what_came_and_the_next_pull_goes_on(sartor, root, hub):
    hub.drops = [2_500_000, *[0] * 5]
    ran = sartor("model", "pull", "acme/Large-GGUF", "-p", root)
    assert ran.code == 2 and "cannot be reached" in ran.err and "What has arrived is kept" in ran.err
    (part,) = files(root)
    assert part.startswith(".sartor/") and not (root / "models/large.gguf").exists()
    arrived = (root / "models" / part).stat().st_size
    assert arrived > 0 and sartor("model", "list", "-p", root).out.count("gguf") == 0
    hub.requests.clear()
    assert sartor("model", "pull", "acme/Large-GGUF", "-p", root).code == 0
    assert hub.ranges == [f"bytes={arrived}-"] and files(root) == ["large.gguf"]


def test_a_server_that_ignores_ranges_sends_all_anew(sartor, root, hub):
    hub.drops, hub.ignores_ranges = [2_500_000], True
    assert sartor("model", "pull", "acme/Large-GGUF", "-p", root).code == 0
    assert (root / "models/large.gguf").read_bytes() == hub.repositories["acme/Large-GGUF"]["large.gguf"]


def test_content_that_is_not_what_the_hub_says_is_deleted(sartor, root, hub):
    content = hub.repositories["acme/One-GGUF"]["one.Q4_K_M.gguf"]
    hub.lie["one.Q4_K_M.gguf"] = content[:-1] + b"!"
    ran = sartor("model", "pull", "acme/One-GGUF", "-p", root)
    assert ran.code == 2 and f"the hub says {sha(content)}" in ran.err and "It was deleted" in ran.err
    assert files(root) == []


def test_content_that_is_shorter_than_the_hub_says(sartor, root, hub):
    hub.lie["one.Q4_K_M.gguf"] = hub.repositories["acme/One-GGUF"]["one.Q4_K_M.gguf"][:500]
    ran = sartor("model", "pull", "acme/One-GGUF", "-p", root)
    assert ran.code == 2 and "the hub has less of it than the" in ran.err and len(hub.ranges) == 2


def test_content_that_is_longer_than_the_hub_says(sartor, root, hub):
    hub.lie["one.Q4_K_M.gguf"] = hub.repositories["acme/One-GGUF"]["one.Q4_K_M.gguf"] + b"more"
    ran = sartor("model", "pull", "acme/One-GGUF", "-p", root)
    assert ran.code == 2 and "more arrived than the" in ran.err and files(root) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"<html>an error</html>" * 9, "the file is not GGUF"), (b"GGUF\x03\0\0\0" + b"\xff" * 99, "is no sound GGUF")],
)
def test_a_file_that_is_no_model_does_not_get_its_name(sartor, root, hub, content, told):
    hub.repositories["acme/One-GGUF"] = {"one.gguf": content}
    ran = sartor("model", "pull", "acme/One-GGUF", "-p", root)
    assert ran.code == 2 and "acme/One-GGUF: one.gguf: " in ran.err and told in ran.err
    assert files(root) == []


def test_too_little_room_is_said_before_anything_is_pulled(sartor, root, hub, monkeypatch):
    monkeypatch.setattr(hubfiles.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1000))
    ran = sartor("model", "pull", "acme/Large-GGUF", "-p", root)
    assert ran.code == 2 and "5.2 MB are still to come, 1.0 kB are free" in ran.err and "model_folder" in ran.err
    assert hub.ranges == []


def test_a_disk_that_is_full_in_the_middle_is_said_and_what_came_stays(sartor, root, hub, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(hubfiles.os, "fsync", full)
    ran = sartor("model", "pull", "acme/Large-GGUF", "-p", root)
    assert ran.code == 2 and "the disk is full" in ran.err and "it goes on where it stopped" in ran.err
    assert len(files(root)) == 1 and files(root)[0].endswith(".part")


def test_two_pulls_of_one_file_do_not_meet(root, hub):
    repository = look("acme/One-GGUF")
    offer = choose(repository)

    def second(*_: object) -> None:
        with pytest.raises(BusyError, match="another process is pulling one"):
            hubfiles.download(repository, offer, root / "models", lambda *_: None)

    hubfiles.download(repository, offer, root / "models", second)


def test_files_too_large_for_plain_http_go_the_other_way(sartor, root, hub, monkeypatch):
    monkeypatch.setattr(hubfiles, "_TOO_LARGE", 1000)
    asked = []

    def download(repository: str, file: str, *, local_dir: Path, tqdm_class: type, **_: object) -> str:
        asked.append((repository, file))
        with tqdm_class(total=9, initial=0) as bar:
            bar.update(9)
        local_dir.mkdir(parents=True)
        path = local_dir / "large.gguf"
        path.write_bytes(hub.repositories[repository][file])
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert sartor("model", "pull", "acme/Large-GGUF", "-p", root).code == 0
    assert asked == [("acme/Large-GGUF", "large.gguf")] and files(root) == ["large.gguf"]


def test_what_is_there_is_not_pulled_again_and_another_file_is_not_overwritten(sartor, root, hub):
    sartor("model", "pull", "acme/One-GGUF", "-p", root)
    hub.requests.clear()
    ran = sartor("model", "pull", "acme/One-GGUF", "-p", root)
    assert ran.code == 0 and "is there already" in ran.out and hub.ranges == []
    (root / "models/one.Q4_K_M.gguf").write_bytes(b"mine")
    ran = sartor("model", "pull", "acme/One-GGUF", "-p", root)
    assert ran.code == 2 and "another file of this name is there" in ran.err
    assert (root / "models/one.Q4_K_M.gguf").read_bytes() == b"mine"


def test_a_file_with_a_name_that_leads_elsewhere_is_refused(sartor, root, hub, write_gguf):
    hub.repositories["acme/Odd"] = {"..gguf": write_gguf(), ".hidden.gguf": write_gguf()}
    ran = sartor("model", "pull", "acme/Odd:.hidden.gguf", "-p", root)
    assert ran.code == 2 and "odd name" in ran.err and files(root) == []


def test_embedding_models_and_adapters_are_told_apart(sartor, root, hub, write_gguf):
    hub.repositories["acme/Vectors"] = {"vectors.gguf": write_gguf("bert", pooling=1)}
    ran = sartor("model", "pull", "acme/Vectors", "-p", root)
    assert ran.code == 0 and "embedding model · bert" in ran.out and "plugin: llama-embeddings" in ran.out
    hub.repositories["acme/Lora"] = {"lora.gguf": write_gguf(kind="adapter")}
    before = (root / "sartor.yaml").read_text()
    ran = sartor("model", "pull", "acme/Lora", "--use", "x", "-p", root)
    assert ran.code == 2 and "LoRA adapter" in ran.out and "no model to speak with" in ran.err
    assert (root / "sartor.yaml").read_text() == before


def test_the_folder_can_be_another(sartor, project, hub, tmp_path):
    text = f"models: {{s: {{plugin: scripted}}}}\nmodel: s\nembeddings: null\nmodel_folder: {tmp_path}/weights\n"
    root = project({"sartor.yaml": text})
    ran = sartor("model", "pull", "acme/One-GGUF", "-p", root)
    assert ran.code == 0 and f"path: {tmp_path}/weights/one.Q4_K_M.gguf" in ran.out
    assert (tmp_path / "weights/one.Q4_K_M.gguf").is_file()


def test_a_model_that_does_not_load_is_not_pinned(sartor, root, hub, trials):
    """It is kept: it may be one for a later version of llama.cpp."""
    before = (root / "sartor.yaml").read_text()
    ran = sartor("model", "pull", "acme/One-GGUF", "--use", "small", "-p", root)
    assert ran.code == 2 and "one.Q4_K_M.gguf: llama.cpp cannot load the model" in ran.err
    assert "newer llama-cpp-python" in ran.err
    assert files(root) == ["one.Q4_K_M.gguf"] and (root / "sartor.yaml").read_text() == before


def test_a_model_that_loads_is_tried_once(sartor, root, hub, trials, monkeypatch):
    hub.repositories["acme/Mini"] = {"mini.gguf": MODEL.read_bytes()}
    ran = sartor("model", "pull", "acme/Mini", "--use", "mini", "-p", root)
    assert ran.code == 0, ran.err

    def again(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("sartor_plugins.llama.probe.try_out", again)
    assert sartor("model", "pin", "mini", "-p", root).code == 0


# What is there.


@pytest.fixture
def stocked(project, write_gguf) -> Path:
    """A project with a pinned, an unpinned, a missing and a broken model, and a file that nobody uses."""
    used = write_gguf()
    root = project(
        {
            "sartor.yaml": f"""
                model: used
                models:
                  used:                 # the good one
                    plugin: llama
                    path: models/used.gguf
                    sha256: {sha(used).upper()}
                  loose: {{plugin: llama, path: models/loose.gguf}}
                  gone: {{plugin: llama, path: models/gone.gguf}}
                  broken: {{plugin: llama, path: models/broken.gguf}}
                  odd: {{plugin: llama, pth: x}}
                  mini: {{plugin: llama}}
                  scripted: {{plugin: scripted}}
                embeddings: {{plugin: llama-embeddings, path: models/vectors.gguf}}
                """,
            "models/broken.gguf": "no model\n",
        }
    )
    (root / "models/used.gguf").write_bytes(used)
    (root / "models/loose.gguf").write_bytes(write_gguf(size=2000))
    (root / "models/vectors.gguf").write_bytes(write_gguf("bert", pooling=1))
    (root / "models/other.gguf").write_bytes(write_gguf(kind="adapter"))
    return root


def test_list(sartor, stocked):
    ran = sartor("model", "list", "-p", stocked)
    rows = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert ran.code == 0
    size = f"{(stocked / 'models/used.gguf').stat().st_size / 1000:.1f} kB"
    assert f"used ● models/used.gguf {size} llama 250 Q4_K_M 8k pinned" in rows
    assert any(
        row.startswith("loose models/loose.gguf") and row.endswith("llama 500 Q4_K_M 8k not pinned") for row in rows
    )
    assert any(row.startswith("embeddings models/vectors.gguf") and "bert embeddings" in row for row in rows)
    assert any(row.startswith("not used models/other.gguf") and "llama adapter" in row for row in rows)
    assert any(row.startswith("mini comes with Sartor") and row.endswith("built in") for row in rows)
    assert any(row.startswith("gone models/gone.gguf") and row.endswith("missing") for row in rows)
    assert any(row.startswith("broken models/broken.gguf") and row.endswith("unreadable") for row in rows)
    assert any(row.startswith("odd") and "unknown key 'pth'" in row for row in rows)
    assert "scripted plugin scripted" in rows and "the file is not GGUF" in rows
    assert "sartor model pin writes the missing hashes" in ran.out


@pytest.mark.parametrize("columns", [60, 80])
def test_list_in_a_narrow_terminal(sartor, stocked, monkeypatch, columns):
    """The path stands below the name."""
    from sartor.cli.render import console

    monkeypatch.setattr(console, "width", columns)
    lines = [line.rstrip() for line in sartor("model", "list", "-p", stocked).out.splitlines()]
    assert all(len(line) <= columns for line in lines if "sartor model" not in line)
    at = next(at for at, line in enumerate(lines) if line.startswith("used ●"))
    assert lines[at].endswith("pinned") and lines[at + 1] == "models/used.gguf"


def test_verify(sartor, stocked):
    ran = sartor("model", "verify", "used", "-p", stocked)
    assert ran.code == 0 and "✓ used  models/used.gguf  verified" in ran.out
    assert "8k verified" in " ".join(sartor("model", "list", "-p", stocked).out.split())
    ran = sartor("model", "verify", "-p", stocked)
    assert ran.code == 1
    assert "! loose  models/loose.gguf  not pinned" in ran.out and "sartor model pin loose" in ran.out
    assert "✗ gone  models/gone.gguf" in ran.out and "pull it again" in ran.out


def test_verify_of_a_file_that_was_swapped(sartor, stocked):
    (stocked / "models/used.gguf").write_bytes(b"swapped")
    ran = sartor("model", "verify", "used", "-p", stocked)
    assert ran.code == 1 and "✗ used  models/used.gguf  is another file" in ran.out
    assert sha(b"swapped") in ran.out and "sartor model pin --force used" in ran.out
    path = stocked / "models/used.gguf"
    path.write_bytes((stocked / "models/loose.gguf").read_bytes())
    assert sartor("model", "verify", "used", "-p", stocked).code == 1
    assert "differs" in sartor("model", "list", "-p", stocked).out


@pytest.mark.parametrize("command", ["verify", "pin"])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nothing", "there is no model 'nothing' in sartor.yaml"),
        ("scripted", "the model 'scripted' is no file: it comes from the plugin 'scripted'"),
        ("odd", "unknown key 'pth'"),
    ],
)
def test_a_name_that_is_no_file(sartor, stocked, command, name, told):
    ran = sartor("model", command, name, "-p", stocked)
    assert ran.code == 2 and told in ran.err


def test_verify_of_the_built_in_model(sartor, stocked):
    assert "comes with Sartor" in sartor("model", "verify", "mini", "-p", stocked).out


def test_verify_where_no_model_is_a_file(sartor, root):
    ran = sartor("model", "verify", "-p", root)
    assert ran.code == 0 and "No model of sartor.yaml is a file" in ran.err


def test_pin_writes_the_hash_and_nothing_else(sartor, stocked):
    before = (stocked / "sartor.yaml").read_text()
    ran = sartor("model", "pin", "loose", "embeddings", "-p", stocked)
    loose, vectors = (sha((stocked / f"models/{name}.gguf").read_bytes()) for name in ("loose", "vectors"))
    assert ran.code == 0, ran.err
    after = before.replace("loose.gguf}", f"loose.gguf, sha256: {loose}}}")
    assert (stocked / "sartor.yaml").read_text() == after.replace("vectors.gguf}", f"vectors.gguf, sha256: {vectors}}}")
    assert sartor("model", "verify", "loose", "embeddings", "-p", stocked).code == 0


def test_pin_of_all_stops_at_a_file_that_is_no_model(sartor, stocked):
    ran = sartor("model", "pin", "-p", stocked)
    assert ran.code == 2 and "cannot be read" in ran.err and "gone.gguf" in ran.err


def test_pin_does_not_move_a_pin_unless_told(sartor, stocked, write_gguf):
    assert "was pinned" in sartor("model", "pin", "used", "-p", stocked).out
    new = write_gguf(size=4000)
    (stocked / "models/used.gguf").write_bytes(new)
    ran = sartor("model", "pin", "used", "-p", stocked)
    assert ran.code == 2 and "'used' is pinned to another file" in ran.err and "sartor.yaml:6" in ran.err
    assert sartor("model", "pin", "used", "--force", "-p", stocked).code == 0
    assert read_yaml(stocked / "sartor.yaml").data["models"]["used"]["sha256"] == sha(new)
    assert "# the good one" in (stocked / "sartor.yaml").read_text()


def test_pin_of_a_file_that_does_not_load(sartor, stocked, trials):
    before = (stocked / "sartor.yaml").read_text()
    ran = sartor("model", "pin", "loose", "-p", stocked)
    assert ran.code == 2 and "loose.gguf: llama.cpp cannot load the model" in ran.err
    assert (stocked / "sartor.yaml").read_text() == before


def test_pin_of_the_built_in_model(sartor, stocked):
    ran = sartor("model", "pin", "mini", "-p", stocked)
    assert ran.code == 2 and "there is nothing to pin" in ran.err


def test_pin_where_no_model_is_a_file(sartor, root):
    assert "is pinned" in sartor("model", "pin", "-p", root).err


@pytest.fixture
def adapted(project, write_gguf) -> Path:
    """A model with an adapter for one tenant."""
    text = """
        model: base
        models:
          base:
            plugin: llama
            path: models/base.gguf
            adapters:
              acme:
                path: models/acme.gguf    # theirs
        embeddings: null
        """
    root = project({"sartor.yaml": text})
    (root / "models").mkdir()
    (root / "models/base.gguf").write_bytes(write_gguf())
    (root / "models/acme.gguf").write_bytes(write_gguf(kind="adapter"))
    return root


def test_adapters_are_listed_pinned_and_verified_like_models(sartor, adapted):
    rows = [" ".join(line.split()) for line in sartor("model", "list", "-p", adapted).out.splitlines()]
    assert any(row.startswith("base/acme models/acme.gguf") and "llama adapter" in row for row in rows)
    assert not any(row.startswith("not used") for row in rows)
    ran = sartor("model", "pin", "base", "-p", adapted)
    assert ran.code == 0, ran.err
    told = read_yaml(adapted / "sartor.yaml").data["models"]["base"]
    assert told["sha256"] == sha((adapted / "models/base.gguf").read_bytes())
    assert told["adapters"]["acme"]["sha256"] == sha((adapted / "models/acme.gguf").read_bytes())
    assert "models/acme.gguf    # theirs\n" in (adapted / "sartor.yaml").read_text()
    (adapted / "models/acme.gguf").write_bytes(b"swapped")
    ran = sartor("model", "verify", "base/acme", "-p", adapted)
    assert ran.code == 1 and "✗ base/acme  models/acme.gguf" in ran.out and "✓" not in ran.out
    assert "base/acme in sartor.yaml uses this file" in sartor("model", "remove", "acme.gguf", "-y", "-p", adapted).err


# Removing.


@pytest.mark.parametrize("given", ["other.gguf", "models/other.gguf"])
def test_remove_asks(sartor, stocked, given, monkeypatch):
    monkeypatch.chdir(stocked)
    ran = sartor("model", "remove", given, stdin="n\n")
    assert ran.code == 0 and "Delete models/other.gguf" in ran.out and "Nothing was deleted" in ran.out
    assert (stocked / "models/other.gguf").exists()
    ran = sartor("model", "remove", given, stdin="y\n")
    assert ran.code == 0 and "Deleted models/other.gguf" in ran.out and not (stocked / "models/other.gguf").exists()


def test_remove_refuses_what_is_used(sartor, stocked):
    ran = sartor("model", "remove", "used.gguf", "--yes", "-p", stocked)
    assert ran.code == 2 and "used in sartor.yaml uses this file" in ran.err and "sartor.yaml:3" in ran.err
    assert (stocked / "models/used.gguf").exists()
    sartor("model", "verify", "used", "-p", stocked)
    assert sartor("model", "remove", "used.gguf", "--yes", "--force", "-p", stocked).code == 0
    assert not (stocked / "models/used.gguf").exists()
    assert not (stocked / "models/.sartor/used.gguf.json").exists()


def test_remove_of_a_split_model_takes_all_parts(sartor, root, hub):
    sartor("model", "pull", "acme/Many-GGUF:F16", "-p", root)
    ran = sartor("model", "remove", "many-F16-00002-of-00002.gguf", "--yes", "-p", root)
    assert ran.code == 0 and "2 files of models/many-F16-00001-of-00002.gguf" in ran.out and files(root) == []


@pytest.mark.parametrize("given", ["nothing.gguf", "../sartor.yaml", str(MODEL), "..", ".", ".sartor", "/etc/passwd"])
def test_remove_takes_only_files_of_the_folder(sartor, stocked, given):
    ran = sartor("model", "remove", given, "--yes", "--force", "-p", stocked)
    assert ran.code == 2 and "there is no file" in ran.err and "in the models folder" in ran.err
    assert (stocked / "sartor.yaml").exists() and MODEL.exists()


def test_a_link_is_removed_and_what_it_leads_to_stays(sartor, stocked, tmp_path):
    (tmp_path / "real.gguf").write_bytes(b"x")
    (stocked / "models/link.gguf").symlink_to(tmp_path / "real.gguf")
    assert sartor("model", "remove", "link.gguf", "--yes", "-p", stocked).code == 0
    assert (tmp_path / "real.gguf").exists() and not (stocked / "models/link.gguf").is_symlink()


# Elsewhere.


@pytest.mark.parametrize("arguments", [["pull", "a/b"], ["list"], ["verify"], ["pin"], ["remove", "x"]])
def test_a_folder_that_is_no_project(sartor, tmp_path, arguments):
    ran = sartor("model", *arguments, "-p", tmp_path)
    assert ran.code == 2 and "there is no sartor.yaml" in ran.err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["pull", "list", "verify", "pin", "remove"])
def test_the_help_of_each(sartor, name):
    ran = sartor("model", name, "--help")
    assert ran.code == 0 and f"Usage: sartor model {name}" in ran.out
    assert f"\n  {name} " in sartor("model", "--help").out


def test_an_unknown_one(sartor):
    ran = sartor("model", "fetch")
    assert ran.code == 2 and "No such command 'fetch'" in ran.err


def test_doctor_names_each_file_and_whether_it_is_pinned(sartor, stocked):
    out = " ".join(sartor("doctor", "-p", stocked).out.split())
    assert "✓ file of used models/used.gguf, pinned" in out
    assert "! file of loose models/loose.gguf, not pinned: sartor model pin loose" in out
    assert "✗ file of gone models/gone.gguf" in out


def test_doctor_knows_what_verify_found(sartor, stocked, write_gguf):
    (stocked / "models/used.gguf").write_bytes(write_gguf(size=4000))
    sartor("model", "verify", "used", "-p", stocked)
    ran = sartor("doctor", "-p", stocked)
    assert ran.code == 1 and "models/used.gguf is not the file that was pinned" in ran.out


def test_a_plugin_that_gives_something_else(project):
    from sartor.errors import PluginError
    from sartor.inventory import Inventory
    from sartor.project import Project

    root = project(
        {
            "plugins/mine.py": """
                from sartor import Plugin, hookimpl

                class Mine(Plugin):
                    @hookimpl
                    def sartor_model_files(self):
                        return ["models/x.gguf"]
                """,
            "sartor.yaml": "model: m\nmodels: {m: {plugin: mine}}\nembeddings: null\n",
        }
    )
    (item,) = Inventory(Project(root)).named()
    assert isinstance(item.fault, PluginError) and "gave a str, not a ModelFile" in item.fault.what
