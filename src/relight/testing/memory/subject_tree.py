"""Which of the subjects in use match a filter, without looking at all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import final

__all__ = ("SubjectTree", "matches")


def matches(filter: str, subject: str) -> bool:
    """Whether a NATS filter with `*` and `>` selects this subject."""
    if filter == subject:
        return True
    expected, actual = filter.split("."), subject.split(".")
    if expected[-1] == ">":
        expected.pop()
        if len(actual) <= len(expected):
            return False
        actual = actual[: len(expected)]
    if len(expected) != len(actual):
        return False
    return all(one in ("*", other) for one, other in zip(expected, actual, strict=True))


@final
class _Node:
    __slots__ = ("children", "subject")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.subject: str | None = None

    def called(self, token: str) -> Iterable[_Node]:
        if token == "*":
            return self.children.values()
        only = self.children.get(token)
        return () if only is None else (only,)


@final
class SubjectTree:
    """A set of subjects, one level of the tree for each token.

    The fence of every start is a filter, so a scan would make each start cost as much as there are subjects.
    """

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, subject: str) -> None:
        node = self._root
        for token in subject.split("."):
            node = node.children.setdefault(token, _Node())
        node.subject = subject

    def remove(self, subject: str) -> None:
        path = [self._root]
        tokens = subject.split(".")
        for token in tokens:
            path.append(path[-1].children[token])
        path[-1].subject = None
        for parent, token, node in zip(reversed(path[:-1]), reversed(tokens), reversed(path[1:]), strict=True):
            if node.children or node.subject is not None:
                return
            del parent.children[token]

    def matching(self, filter: str) -> Iterator[str]:
        """The subjects that the filter selects. The set must not change while this is iterated over."""
        nodes = [self._root]
        for token in filter.split("."):
            if token == ">":
                return (subject for node in nodes for child in node.children.values() for subject in _everything(child))
            nodes = [child for node in nodes for child in node.called(token)]
        return (node.subject for node in nodes if node.subject is not None)


def _everything(node: _Node) -> Iterator[str]:
    if node.subject is not None:
        yield node.subject
    for child in node.children.values():
        yield from _everything(child)
