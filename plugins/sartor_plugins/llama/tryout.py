"""Tries a chat template of a stranger's file in a child process, once, before it is read in this one.

What rendering may cost is bounded by `templating` wherever it runs. Jinja's and Python's compilers are not ours to
bound: a template that makes them slow, large or crash does so in the child, which has limits on memory and time.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
from multiprocessing.spawn import get_executable

from sartor.errors import ModelError

from sartor_plugins.llama import templating
from sartor_plugins.llama.template import CHATML

__all__ = ["try_template"]

_SECONDS = 30.0
_CODE = "import sys; sys.path.append(sys.argv[1]); from templating.child import main; main()"
"""Not as a module of this package, which imports much that the child has no need of."""
_REMEDY = "Use another file, or set `template` to a Jinja file of your own."
_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(templating.__file__)))
_TRUSTED = frozenset(hashlib.sha256(source.encode()).hexdigest() for source in (CHATML,))

_TOOL = {
    "type": "function",
    "function": {
        "name": "find",
        "description": "Finds",
        "parameters": {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
    },
}
_CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "find", "arguments": {"what": "it"}}}
_SHORT = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
_LONG = [
    *_SHORT,
    {"role": "assistant", "content": "", "tool_calls": [_CALL]},
    {"role": "tool", "content": "Found.", "tool_call_id": "abcdefghi", "name": "find"},
    {"role": "assistant", "content": "Here it is."},
    *({"role": ("user", "assistant")[at % 2], "content": "And then?"} for at in range(31)),
]
_CONVERSATIONS = [
    {"messages": messages, "tools": tools, "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>"}
    for messages in (_SHORT[1:], _SHORT, _LONG)
    for tools in (None, [_TOOL])
]


def try_template(source: str, *, where: str | None = None) -> None:
    """Make sure that `source` can be read and rendered within limits. `where` is the file that it comes from.

    Known templates are not tried, and the same one only once in a process. Raises `ModelError`.
    """
    if hashlib.sha256(source.encode("utf-8", "replace")).hexdigest() in _TRUSTED:
        return
    if reason := _tried(source):
        raise ModelError(f"the model's chat template is refused: {reason}", where=where, remedy=_REMEDY)


@functools.lru_cache(maxsize=64)
def _tried(source: str) -> str:
    """Why the template is refused; empty when it is not."""
    command = [os.fsdecode(get_executable() or sys.executable), "-P", "-c", _CODE, _FOLDER]
    told = json.dumps({"source": source, "conversations": _CONVERSATIONS})
    try:
        done = subprocess.run(command, input=told.encode(), capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"a trial did not end within {_SECONDS:.0f} seconds"
    except OSError as error:
        return f"it cannot be tried, for {command[0]} does not start: {error.strerror}"
    try:
        return str(json.loads(done.stdout)["refused"] or "")
    except (ValueError, KeyError, TypeError):
        return f"a trial ended with code {done.returncode}"
