"""The command: see the package."""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
from pathlib import Path

from sartor_plugins.llama import machine
from sartor_plugins.llama.settings import model_path

import benchmarks.engine
from benchmarks.copying_model import copying_model
from benchmarks.engine.report import Report
from benchmarks.engine.work import Setup, Words
from benchmarks.engine.workloads import Bench
from benchmarks.random_model import SHAPES, random_tensors, write_model

WORKLOADS = ("conversations", "talks", "tenants", "public", "neighbour", "quotes")


async def run(options: argparse.Namespace, folder: Path) -> None:
    """Make the models, run the workloads, print the report."""
    name = "tiny" if options.quick and options.model == "135M" else options.model
    if name in SHAPES:
        path = write_model(folder / f"random-{name}.gguf", SHAPES[name], options.type, random_tensors(7))
    else:
        path = model_path(name, Path.cwd())
    threads = options.threads or machine.threads()
    setup = Setup(str(path), threads, 4096 if options.quick else options.cells)
    report = Report()
    report.about(setup, options.quick)
    rounds = 1 if options.quick else options.rounds
    bench = Bench(setup, Words(setup.path), options.llama_server, options.quick, rounds, options.turns, report)
    for workload in options.only or WORKLOADS:
        if workload == "quotes":
            copies = folder / "copying.gguf"
            if name in SHAPES:
                copying_model(copies, SHAPES[name], options.type)
            await bench.quotes(str(copies if name in SHAPES else path))
        else:
            await getattr(bench, workload)()
    report.end(options.json)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine",
        description=benchmarks.engine.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="135M", help=f"a GGUF file, `builtin`, or one of {', '.join(SHAPES)}")
    parser.add_argument("--type", choices=("f16", "q8_0"), default="q8_0", help="of a model that is made")
    parser.add_argument("--llama-server", type=Path, metavar="PATH", help="llama.cpp's server")
    parser.add_argument("--only", choices=WORKLOADS, action="append", metavar="WORKLOAD")
    parser.add_argument("--threads", type=int, help="of each candidate; default: the physical cores")
    parser.add_argument("--cells", type=int, default=49152, help="tokens in the memory of each candidate")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turns", type=int, default=4, help="of each conversation in `talks`")
    parser.add_argument("--quick", action="store_true", help="only see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="sartor-engine-") as folder:
        asyncio.run(run(options, Path(folder)))


if __name__ == "__main__":
    main()
