"""What of Jinja a chat template may use."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["COMPARISONS", "FILTERS", "METHODS", "NODES", "OWN_FILTERS", "SHALLOW_FILTERS", "TESTS"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NODES = _words(
    """Template Output TemplateData For If Assign AssignBlock Macro CallBlock FilterBlock With Scope Name NSRef Const
    List Tuple Dict Pair Keyword CondExpr Filter Test Call Getitem Getattr Slice Concat Compare Operand Not And Or Neg
    Pos Add Sub Mul Div FloorDiv Mod Pow Break Continue"""
)
FILTERS = _words(
    """abs capitalize count d default dictsort e escape first float indent int items last length list lower map max
    min reject rejectattr reverse round select selectattr sort string title trim unique upper"""
)
OWN_FILTERS = _words("from_json join replace safe tojson")
"""Filters that are written anew."""
TESTS = _words(
    """boolean callable defined divisibleby eq equalto even false filter float ge gt in integer iterable le lower lt
    mapping ne none number odd sameas sequence string test true undefined upper == != > >= < <="""
)
METHODS: Mapping[type, frozenset[str]] = {
    str: _words(
        """capitalize count endswith find index isalnum isalpha isdigit islower isspace isupper join lower lstrip
        partition removeprefix removesuffix replace rfind rindex rpartition rsplit rstrip split splitlines startswith
        strip title upper"""
    ),
    dict: _words("get items keys values copy"),
    list: _words("count index copy"),
    tuple: _words("count index"),
}
SHALLOW_FILTERS = _words("count d default first last length")
"""Filters that do not look at what is inside of what they are given."""
COMPARISONS = _words("eq equalto ge gt in le lt ne == != > >= < <=")
"""Tests that do."""
