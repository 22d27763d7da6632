"""The model as a whole, as its owner's thread holds it: weights, context, vocabulary, template."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from sartor.errors import ModelError, SartorError

from sartor_plugins.llama import gguf
from sartor_plugins.llama.reply import Ended, Request, Voice
from sartor_plugins.llama.session import Session, Stopped, Weights
from sartor_plugins.llama.settings import LlamaSettings, model_path
from sartor_plugins.llama.template import CHATML, ChatTemplate
from sartor_plugins.llama.toolcalls import Event, format_of
from sartor_plugins.llama.vocabulary import Vocabulary

__all__ = ["Runtime", "load"]

_BRANCHES = 32


@dataclass(frozen=True, slots=True)
class Runtime:
    """A loaded model that can speak."""

    weights: Weights
    session: Session
    voice: Voice

    def speak(self, request: Request) -> Generator[Event | Ended, None, None]:
        """The events of one reply. Raises `ModelError`; a stopped reply just ends."""
        try:
            yield from self.voice.reply(request)
        except Stopped:
            return
        except SartorError:
            raise
        except Exception as error:
            self.session.reset()
            raise ModelError(
                f"the model failed: {type(error).__name__}: {error}", where=str(self.weights.path)
            ) from error

    def stop(self) -> None:
        self.session.abort.raise_()

    def ready(self) -> None:
        self.session.abort.lower()

    def close(self) -> None:
        self.session.close()
        self.weights.close()


def load(settings: LlamaSettings, directory: Path) -> Runtime:
    """Open the model that `settings` name. Raises `ModelError`."""
    path = model_path(settings.path, directory)
    gguf.check(path, settings.sha256)
    weights = Weights(path, settings)
    try:
        session = Session(weights, settings, branches=0 if settings.choice == "trie" else _BRANCHES)
        vocabulary = Vocabulary(weights.model)
        source = _template(settings, directory, weights, vocabulary)
        form = format_of(source)
        vocabulary.reserve(source, form.opening, form.closing)
        template = ChatTemplate(
            source, start=vocabulary.start, end=vocabulary.end, spell=form.spell, example=form.example
        )
    except BaseException:
        weights.close()
        raise
    return Runtime(weights, session, Voice(session, vocabulary, template, form, settings.choice))


def _template(settings: LlamaSettings, directory: Path, weights: Weights, vocabulary: Vocabulary) -> str:
    if settings.template is not None:
        path = directory / settings.template
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"the chat template cannot be read: {error}", where=str(path)) from error
    if source := weights.template:
        return source
    if {"<|im_start|>", "<|im_end|>"} <= vocabulary.special.keys():
        return CHATML
    raise ModelError(
        "the model has no chat template",
        where=str(weights.path),
        remedy="Use an instruction-tuned model, or set `template` to a Jinja file.",
    )
