"""Lets known nodes of a template's syntax tree through, and puts the counting into it."""

from __future__ import annotations

from jinja2 import nodes

from .allowed import FILTERS, NODES, OWN_FILTERS, TESTS
from .budget import TemplateRefused

__all__ = ["rewritten"]

_SIZE = 6_000
"""Nodes at most: the largest template of the known families has 1,300."""


def rewritten(tree: nodes.Template) -> nodes.Template:
    """`tree`, changed in place. Raises `TemplateRefused`."""
    for number, node in enumerate((tree, *tree.find_all(nodes.Node))):
        if number > _SIZE:
            raise TemplateRefused("it is too long")
        _check(node)
    _visit(tree)
    return tree


def _check(node: nodes.Node) -> None:
    kind = type(node).__name__
    if kind not in NODES or (isinstance(node, nodes.For) and node.recursive):
        raise TemplateRefused(f"it uses {kind}, line {node.lineno}")
    if isinstance(node, nodes.Filter) and node.name not in FILTERS | OWN_FILTERS:
        raise TemplateRefused(f"it uses the filter {node.name!r}, line {node.lineno}")
    if isinstance(node, nodes.Test) and node.name not in TESTS:
        raise TemplateRefused(f"it uses the test {node.name!r}, line {node.lineno}")


def _visit(node: nodes.Node) -> int:
    """Rewrite what is below `node`; returns how much there is of it."""
    weight = 1 + (len(node.data) if isinstance(node, nodes.TemplateData) else 0)
    for field, value in list(node.iter_fields()):
        if isinstance(value, list):
            for at, each in enumerate(value):
                if isinstance(each, nodes.Node):
                    weight += _visit(each)
                    value[at] = _counted(each)
        elif isinstance(value, nodes.Node):
            weight += _visit(value)
            setattr(node, field, _counted(value))
    if isinstance(node, nodes.For):
        node.iter = _filtered(node.iter, ":loop")  # type: ignore[arg-type]
    if isinstance(node, nodes.Compare):
        node.expr = _filtered(node.expr, ":weigh")
        for operand in node.ops:
            operand.expr = _filtered(operand.expr, ":weigh")
    if isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock):
        work = _filtered(nodes.Const(weight, lineno=node.lineno), ":work")
        node.body.insert(0, nodes.Output([work], lineno=node.lineno))
    return weight


def _counted(node: nodes.Node) -> nodes.Node:
    """What stands in the place of `node`."""
    if isinstance(node, nodes.Concat):
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), ":concat")
    made = isinstance(node, nodes.List | nodes.Dict) or (isinstance(node, nodes.Tuple) and node.ctx == "load")
    if isinstance(node, nodes.Expr) and made:
        return _filtered(node, ":weigh")
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        return _filtered(node, ":slice")
    return node


def _filtered(node: nodes.Expr, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)
