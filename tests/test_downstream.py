"""Packages of others: made, installed and used by the words of `docs/how-to/make-a-plugin-package.md` alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sartor

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/how-to/make-a-plugin-package.md"

SHIMS = {
    # Into a folder on the path, without the network; --target knows no editable install.
    "pip": f'shift; exec {sys.executable} -m pip install -q --disable-pip-version-check --no-index --no-deps '
    '--no-build-isolation --root-user-action ignore --upgrade --target "$SITE" "$@" && echo installed',
    "sartor": f"exec {sys.executable} -c \"import sys; sys.argv[0] = 'sartor'; from sartor.cli import main; main()\" "
    '"$@"',
    "python": f'shift 2; exec {sys.executable} -m pytest -p sartor.testing.fixtures -p no:cacheprovider "$@"',
}  # fmt: skip


def shown(lines: list[str]) -> re.Pattern[str]:
    """What the output must look like: blanks do not count, and … stands for anything."""
    parts = " ".join(" ".join(lines).split()).split("…")
    return re.compile(".*".join(re.escape(part.strip()).replace(r"\ ", r"\s+") for part in parts))


def test_the_page_from_an_empty_folder(tmp_path):
    pytest.importorskip("hatchling")
    where, bin, site = tmp_path / "work", tmp_path / "bin", tmp_path / "site"
    for folder in (where, bin, site):
        folder.mkdir()
    for name, script in SHIMS.items():
        (bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (bin / name).chmod(0o755)
    framework = Path(sartor.__file__).parent.parent
    path = os.pathsep.join([str(site), str(framework), str(ROOT / "plugins"), str(ROOT / "templates")])
    environment = {
        **os.environ, "PATH": f"{bin}:{os.environ['PATH']}", "PYTHONPATH": path, "SITE": str(site), "COLUMNS": "120",
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    text = PAGE.read_text(encoding="utf-8")
    ran = 0
    for match in re.finditer(r"(?:<!-- ([^\n]*?) -->\n)?^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        note, language, body = match[1] or "", match[2], match[3]
        if note.startswith("file: "):
            file = tmp_path / "work" / note.removeprefix("file: ")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(body, encoding="utf-8")
        if language != "console" or note.startswith("not run"):
            continue
        for part in body.split("$ ")[1:]:
            command, *expected = part.splitlines()
            if command.startswith("cd "):
                where = (where / command.removeprefix("cd ")).resolve()
                continue
            done = subprocess.run(
                ["bash", "-c", command], cwd=where, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            assert not expected or shown(expected).fullmatch(" ".join(done.stdout.split())), f"{command}\n{done.stdout}"
            ran += 1
    assert ran > 8
