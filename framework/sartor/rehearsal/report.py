"""What came of a rehearsal, for machines: JSON, and JUnit's XML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from xml.etree import ElementTree as xml

from sartor.rehearsal.run import Result
from sartor.rehearsal.smoke import Finding

__all__ = ["as_json", "as_junit"]


def as_json(results: Sequence[Result], findings: Mapping[str, Sequence[Finding]]) -> dict[str, object]:
    """Everything, as plain data."""
    return {
        "passed": all(result.passed for result in results) and not any(findings.values()),
        "conversations": [
            {
                "bot": result.bot,
                "name": result.name,
                "file": result.file,
                "passed": result.passed,
                "seconds": round(result.seconds, 3),
                "tokens": result.tokens,
                "error": result.error,
                "unfit": result.unfit,
                "turns": [
                    {
                        "say": turn.say,
                        "place": turn.place,
                        "reply": turn.reply.text,
                        "outcome": turn.reply.outcome.value,
                        "flow": asdict(turn.reply.flow) if turn.reply.flow else None,
                        "faults": [
                            {"key": fault.key, "expected": fault.expected, "got": fault.got} for fault in turn.faults
                        ],
                        "differences": list(turn.differences),
                    }
                    for turn in result.turns
                ],
            }
            for result in results
        ],
        "smoke": {
            bot: [{"attack": one.attack, "what": one.what, "reply": one.reply} for one in found]
            for bot, found in findings.items()
        },
    }


def as_junit(results: Sequence[Result], findings: Mapping[str, Sequence[Finding]]) -> str:
    """The form of JUnit that CI systems read: a test case for each conversation, and one for each bot's smoke test."""
    failed = sum(not result.passed for result in results) + sum(bool(found) for found in findings.values())
    suite = xml.Element(
        "testsuite",
        name="sartor",
        tests=str(len(results) + len(findings)),
        failures=str(failed),
        skipped=str(sum(bool(result.unfit) for result in results)),
        time=f"{sum(result.seconds for result in results):.3f}",
    )
    for result in results:
        case = xml.SubElement(
            suite, "testcase", classname=result.bot, name=result.name, file=result.file, time=f"{result.seconds:.3f}"
        )
        if result.unfit:
            xml.SubElement(case, "skipped", message=_clean(result.unfit))
        if not result.passed:
            lines = [result.error] if result.error else []
            for turn in result.turns:
                lines += [f"{turn.place}: {f.key}: expected {f.expected}; got {f.got}" for f in turn.faults]
                lines += [f"{turn.place}: {difference}" for difference in turn.differences]
            failure = xml.SubElement(case, "failure", message=_clean(lines[0].splitlines()[0]))
            failure.text = _clean("\n".join(lines))
    for bot, found in findings.items():
        case = xml.SubElement(suite, "testcase", classname=bot, name="smoke test")
        if found:
            failure = xml.SubElement(case, "failure", message=_clean(found[0].what))
            failure.text = _clean("\n".join(f"{one.attack!r}: {one.what}; it said: {one.reply}" for one in found))
    xml.indent(suite)
    return xml.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    """`text` without the characters that XML cannot hold."""
    return "".join(char for char in text if char in "\t\n\r" or (ord(char) >= 32 and not 0xD800 <= ord(char) < 0xE000))
