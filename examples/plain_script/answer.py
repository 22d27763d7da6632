"""Answer the questions of a CSV file with a bot, and write the answers to another one.

It may be stopped at any time: what was answered is kept, and the next run goes on after it.
"""

import argparse
import csv
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import sartor

COLUMNS = ["id", "question", "answer", "outcome", "sources", "prompt_tokens", "generated_tokens", "seconds", "cost"]


def main() -> int:
    arguments = parsed()
    with arguments.questions.open(encoding="utf-8-sig", newline="") as file:
        questions = list(csv.DictReader(file))
    answered = kept_in(arguments.answers)
    failed = 0
    with (
        arguments.answers.open("a", encoding="utf-8", newline="") as file,
        sartor.open_sync(arguments.project) as bots,
    ):
        bots.ingest(arguments.bot)
        bot = bots[arguments.bot]
        for row in questions:
            if row["id"] in answered:
                continue
            try:
                reply = bot.reply(row["question"], user="questionnaire")
                fault = reply.error
            except sartor.SartorError as error:
                fault = str(error)
            if fault:  # nothing is written, so that the next run tries it again
                failed += 1
                print(f"{row['id']}: {fault}", file=sys.stderr)
                continue
            csv.DictWriter(file, COLUMNS).writerow(told(row, reply, arguments.price))
            file.flush()
            print(f"{row['id']}: {reply.text}")
    return 1 if failed else 0


def told(row: Mapping[str, str], reply: sartor.Reply, price: tuple[float, float]) -> dict[str, object]:
    usage = reply.usage
    return {
        "id": row["id"],
        "question": row["question"],
        "answer": reply.text,
        "outcome": reply.outcome,
        "sources": "; ".join(citation.source for citation in reply.citations),
        "prompt_tokens": usage.prompt,
        "generated_tokens": usage.generated,
        "seconds": round(reply.seconds["total"], 3),
        "cost": f"{(usage.prompt * price[0] + usage.generated * price[1]) / 1_000_000:.6f}",
    }


def kept_in(path: Path) -> set[str]:
    """The ids that `path` has answers to. A row that was cut short is taken out of it."""
    text = path.read_bytes().decode() if path.exists() else ""
    whole = text[: text.rfind("\n") + 1].splitlines(keepends=True)
    rows = [row for row in csv.DictReader(whole) if row["cost"]]
    draft = path.with_name(f"{path.name}.part")
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(draft, path)
    return {row["id"] for row in rows}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("questions", type=Path, help="CSV with the columns id and question")
    parser.add_argument("answers", type=Path, help="CSV to write, or to go on with")
    parser.add_argument("--project", type=Path, default=Path(__file__).parent / "bots")
    parser.add_argument("--bot", default="harbour/guide")
    parser.add_argument(
        "--price", type=float, nargs=2, default=(0, 0), metavar=("PROMPT", "GENERATED"), help="for a million tokens"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
