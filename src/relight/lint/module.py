"""One file of the project: its code, what its comments allow, and which of its variables its functions change."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import final

from relight.errors import RefusedError
from relight.lint.changes import Change, changes_of
from relight.lint.frame import Frame
from relight.lint.rules import Rule

__all__ = ("Module",)

_NAME = r"[a-z]+(?:-[a-z]+)*"
_ALLOWS = re.compile(rf"#\s*relight:\s*allow\s+({_NAME}(?:\s*,\s*{_NAME})*)")


@final
class Module:
    """A file that was read.

    Attributes:
        shown: Its path as findings name it.
        frame: Its names; filled while its statements are walked through.
        stars: Modules outside the project from which it imports all names.
    """

    def __init__(self, path: Path, shown: str, text: str) -> None:
        self.path = path
        self.shown = shown
        self.tree = _parsed(text, shown)
        self.frame = Frame(self)
        self.stars: list[str] = []
        self.is_walked = False
        self._text = text
        self._lines = text.split("\n")

    @cached_property
    def changes(self) -> dict[str, Change]:
        """The module's variables that a function of it changes, and where."""
        return changes_of(self.tree)

    def allows(self, rule: Rule, node: ast.expr | ast.stmt) -> bool:
        """Return whether a comment on one of the node's lines allows the rule there."""
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        return bool(self._allowed) and any(rule.name in self._allowed.get(line, ()) for line in lines)

    def column(self, node: ast.expr | ast.stmt) -> int:
        """Return the column in characters, from 1: the tree counts bytes, from 0."""
        line = self._lines[node.lineno - 1].encode()
        return len(line[: node.col_offset].decode()) + 1

    @cached_property
    def _allowed(self) -> dict[int, set[str]]:
        allowed: defaultdict[int, set[str]] = defaultdict(set)
        if _ALLOWS.search(self._text):
            for line, comment in _comments(self._text):
                for found in _ALLOWS.finditer(comment):
                    allowed[line].update(name.strip() for name in found[1].split(","))
        return allowed


def _parsed(text: str, shown: str) -> ast.Module:
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise RefusedError(
            f"{shown}:{error.lineno}: {error.msg}; it is no Python that this interpreter reads"
        ) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise RefusedError(f"{shown} can't be read as Python: {error}") from error


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """The text was parsed already, so that its tokens can be read."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
