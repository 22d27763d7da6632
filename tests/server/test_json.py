"""Odd JSON: numbers, nesting, broken strings, encodings. Each is answered with 2xx or 4xx."""

from __future__ import annotations

import codecs
from collections.abc import Iterator


def numbers() -> Iterator[bytes]:
    yield from (
        b"0", b"-0", b"1", b"-1", b"1.0", b"1e1", b"1E+2", b"1e-2", b"123456789012345678901234567890", b"0.1e1",
        b"01", b"-01", b"+1", b"1.", b".1", b"-.1", b"-", b"--1", b"1e", b"1e+", b"1eE2", b"0x1F", b"0e", b"1_000",
        b"NaN", b"-NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1e-400", b"1e99999999999", b"0.0e-1",
        b"9" * 5000, b"1." + b"0" * 5000, b"1e" + b"9" * 50, b"1 2", b"1a", "１".encode(), b"-9223372036854775809",
    )  # fmt: skip


def strings() -> Iterator[bytes]:
    yield from (
        b'""', b'"a"', b'"\\u0041"', b'"\\u0000"', b'"\\ud800"', b'"\\udc00"', b'"\\ud83d\\ude42"', b'"\\ud800\\ud800"',
        b'"\\ud800x"', b'"\\u00"', b'"\\u00G0"', b'"\\x41"', b'"\\a"', b'"\\', b'"\\"', b'"', b'"a', b"'a'", b"a",
        b'"\n"', b'"\t"', b'"\x00"', b'"\x1f"', b'"\x7f"', b'"\xff"', b'"\xc3"', b'"\xc3\x28"', b'"\xed\xa0\x80"',
        b'"\xf4\x90\x80\x80"', b'"\xc0\xaf"', b'"\xe2\x80\xa8"', b'"\\/"', b'"\\b\\f\\n\\r\\t"', b'"\xef\xbf\xbf"',
        "\"\U0010ffff\"".encode(), b'"' + b"x" * 300_000 + b'"', b'"\\uDFAA"', b'"\\u{41}"', b'"\\U00000041"',
    )  # fmt: skip


def shapes() -> Iterator[bytes]:
    yield from (
        b"[]", b"{}", b"[1,]", b"[,1]", b"[1 2]", b"[1,,2]", b"[", b"]", b"[1", b"{", b"}", b'{"a"}', b'{"a":}',
        b'{"a":1,}', b"{,}", b"{a:1}", b'{"a" 1}', b'{"a"::1}', b'{"a":1 "b":2}', b'{1:1}', b"{null:1}", b'{"":0}',
        b'{"a":1,"a":2}', b'{"__proto__":1}', b"[[]", b"[}", b"{]", b"[1]]", b"[1]x", b'{"a":1}{"a":1}', b"[null,]",
        b"[" * 30 + b"]" * 30, b"[" * 40 + b"]" * 40, b"[" * 2000, b"[" * 100_000, b'{"a":' * 40 + b"1" + b"}" * 40,
        b'{"a":' * 100_000, b"[{" * 50_000, b"[" + b"1," * 50_000 + b"1]", b"[1]//", b"/**/[1]", b"#[1]", b"[<null>]",
    )  # fmt: skip


def words() -> Iterator[bytes]:
    yield from (
        b"", b" ", b"\t\r\n", b"\x0b[]", b"\x0c", b"\xa0", "\u3000[]".encode(), b"true", b"false", b"null", b"True",
        b"nul", b"nulll", b"tru", b"TRUE", b"undefined", b"None", b"\x00", b"[]\x00", b"\xff\xfe", b"\xef\xbb\xbf",
        codecs.BOM_UTF8 + b"{}", "{}".encode("utf-16"), "{}".encode("utf-16-le"), "{}".encode("utf-32-be"), b"\xe9",
        codecs.BOM_UTF16_LE, b"*", b"&", b"<html>", b"\x1b[2J", b"--", b"a=1&b=2", b"0" * 900_000, b" " * 900_000,
    )  # fmt: skip


def documents() -> list[bytes]:
    """Each odd value alone, and as the text of a request."""
    values = [*numbers(), *strings(), *shapes(), *words()]
    inside = [b'{"bot": "acme/support", "text": ' + value + b"}" for value in [*numbers(), *strings()]]
    keyed = [b'{"bot": "acme/support", "text": "Hi", ' + value + b": 1}" for value in strings()]
    return [*values, *inside, *keyed]


async def test_odd_json_is_answered(serve):
    found = documents()
    assert len(found) > 150
    async with serve(script=["One."] * 400) as served:
        key = await served.key()
        for path in ("/v1/turns", "/v1/sessions"):
            for kind in ("application/json", "application/problem+json; charset=utf-16"):
                headers = {**key, "Content-Type": kind, "Origin": "https://shop.example"}
                for body in found if kind == "application/json" else found[::5]:
                    answer = await served.client.post(path, content=body, headers=headers)
                    assert 200 <= answer.status_code < 500, (path, body[:80], answer.text)
                    assert answer.status_code < 300 or answer.json()["error"]["message"], body[:80]


async def test_json_under_another_name_is_no_way_around_the_door(serve):
    async with serve(script=["One."] * 10) as served:
        key = await served.key()
        for kind in ("", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "APPLICATION/JSON"):
            headers = {**key, **({"Content-Type": kind} if kind else {})}
            for body in (b'{"bot": "support", "text": NaN}', b"[" * 5000, b'{"bot": "support", "text": "\\ud800"}'):
                answer = await served.client.post("/v1/turns", content=body, headers=headers)
                assert 400 <= answer.status_code < 500, (kind, body[:40], answer.text)
