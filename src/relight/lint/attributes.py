"""Reading a name or an attribute: what it gives, and whether a workflow may look at it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from relight.lint.catalogue import rule_of_read
from relight.lint.frame import Frame
from relight.lint.shared import check_read
from relight.lint.values import NOTHING, Imported, InProject, Made, Named, Values

if TYPE_CHECKING:
    from relight.lint.walk import Walk

__all__ = ("PATH", "read_attribute", "read_name")

PATH = Made("pathlib.Path")


def read_name(node: ast.Name, frame: Frame, walk: Walk) -> Values:
    """Return what a name stands for."""
    values = walk.look_up(node.id, frame)
    if frame.is_durable and frame.owner(node.id).parent is None:
        check_read(node.id, frame.module, node, values, frame, walk)
        for one in frame.module.frame.env.get(node.id, NOTHING):
            if isinstance(one, Imported):
                _check_read_of(one, node, values, frame, walk)
    _check_reads(values, node, frame, walk)
    return values


def read_attribute(node: ast.Attribute, owners: Values, frame: Frame, walk: Walk) -> Values:
    """Return what an attribute of these values is."""
    values = NOTHING
    for one in owners:
        found = walk.member(one, node.attr, node, frame)
        if isinstance(one, InProject):
            _check_read_of(Imported(one.location, node.attr), node, found, frame, walk)
        values |= frozenset((PATH,)) if one == PATH and node.attr == "parent" else found
    _check_reads(values, node, frame, walk)
    return values


def _check_read_of(read: Imported, node: ast.expr, values: Values, frame: Frame, walk: Walk) -> None:
    module = walk.project.module(read.location)
    if module is not None:
        check_read(read.name, module, node, values, frame, walk)


def _check_reads(values: Values, node: ast.expr, frame: Frame, walk: Walk) -> None:
    for one in values:
        if isinstance(one, Named) and (rule := rule_of_read(one.name)) is not None:
            walk.report(rule, one.name, node, frame)
