"""The whole recipe in one command: corpus, tokenizer, training, export, evaluation.

python -m training.run --minutes 35 --out plugins/sartor_plugins/builtin/sartor-mini.gguf
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from training.corpus import load_documents, load_synonyms, prepare
from training.examples import Generator
from training.export import export
from training.model import UNPAIRED, Mini
from training.questions import Library
from training.scoring import load_cases, real_accuracy
from training.tokenizer import Coder, train_tokenizer
from training.train import save, train
from training.vectors import token_vectors

__all__ = ["main"]

VOCABULARY = 5000  # tokens, each but the special ones also with a space before it


def texts(work: Path, generated: int = 30_000) -> Iterator[str]:
    """Everything that the tokenizer learns from: the documents and generated conversations."""
    documents = load_documents(work)
    generator = Generator(Library(documents, load_synonyms(work)), seed=99)
    for d in documents:
        yield d["title"] + "\n" + " ".join(d["sentences"])
    for _ in range(generated):
        example = generator.draw()
        for message in example.messages:
            yield message.get("content") or ""
        yield example.answer


def prepare_tokens(work: Path, vectors: bool = True) -> None:
    """The tokenizer and, for new weights, the first token vectors, unless they lie there."""
    if not (work / "tokenizer.json").exists():
        train_tokenizer(texts(work), VOCABULARY).save(str(work / "tokenizer.json"))
    if not vectors or (work / "vectors.pt").exists():
        return
    coder = Coder(work / "tokenizer.json")
    sequences = [e.ids for e in coder.tokenizer.encode_batch(list(texts(work)), add_special_tokens=False)]
    both = token_vectors(sequences, coder.tokenizer)
    plain = both[:VOCABULARY].clone()
    plain[UNPAIRED:] = (plain[UNPAIRED:] + both[VOCABULARY:]) / 2
    torch.save(plain, work / "vectors.pt")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--minutes", type=float, default=35, help="how long to train, without the preparation of two minutes"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("plugins/sartor_plugins/builtin/sartor-mini.gguf"),
        help="the GGUF file; replaced at each checkpoint",
    )
    parser.add_argument(
        "--work", type=Path, default=Path("build/training"), help="where corpus, tokenizer and checkpoints lie"
    )
    parser.add_argument("--every", type=float, default=10, help="minutes between checkpoints")
    parser.add_argument("--rate", type=float, default=1.8e-3, help="the learning rate")
    parser.add_argument("--start", type=Path, help="a checkpoint or an exported file to go on from")
    parser.add_argument("--real", type=Path, help="a folder with squad2 and piaf-fr, only to measure on")
    parser.add_argument("--keep", action="store_true", help="keep every checkpoint below the work folder")
    options = parser.parse_args(arguments)
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    prepare(work)
    prepare_tokens(work, vectors=options.start is None)
    coder = Coder(work / "tokenizer.json")
    cases = load_cases(options.real) if options.real else {}

    def checkpoint(model: Mini, note: dict) -> None:
        begin = time.time()
        eager = Mini(model.shape)  # the one in training is compiled for its own lengths
        eager.load_state_dict(model.state_dict())
        export(eager.eval(), coder, options.out, note)
        save(work / "model.pt", eager, note)
        if options.keep:
            tag = f"{note['minutes']:.0f}"
            shutil.copy(work / "model.pt", work / f"model-{tag}.pt")
            shutil.copy(options.out, work / f"model-{tag}.gguf")
        figures = {k: round(v, 3) for k, v in real_accuracy(eager, coder, cases).items()}
        print(f"checkpoint after {note} {figures} ({time.time() - begin:.0f} s)", flush=True)

    train(work, options.minutes, options.rate, checkpoint, options.every, start=options.start)
    report(options.out)


def report(model: Path) -> None:
    """Evaluate the file with llama.cpp where that is installed."""
    try:
        from training.evaluate import main as evaluate
    except ModuleNotFoundError as missing:
        print(
            f"Not evaluated: {missing.name} is not installed here. Run `python -m training.evaluate --model {model}` where it is."
        )
        return
    evaluate(["--model", str(model)])


if __name__ == "__main__":
    main()
