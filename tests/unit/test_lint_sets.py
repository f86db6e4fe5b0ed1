"""The order of a set is found where it matters, and only there."""

from __future__ import annotations

import pytest
from tests.linted import findings, rules

HEAD_WITH_SETS = """
import asyncio, itertools
from collections import deque
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import Optional

@dataclass
class Basket:
    names: set[str] = field(default_factory=set)

class Cart:
    def __init__(self):
        self.names = set()

@step
async def load() -> set[str]:
    return set()

def load_plain() -> list[str]:
    return []

def letters():
    return {"a", "b"}

def passed(items):
    return [one for one in items]

def typed(items: Iterable[str]):
    for one in items:
        print(one)
"""
PARAMETERS = "names: set[str], notes: list[str], first: dict[str, int], basket: Basket, numbers: set[int]"


@pytest.mark.parametrize(
    "body",
    [
        "for one in names:\n    print(one)",
        "for one in {'a', 'b'}:\n    print(one)",
        "for one in {note for note in notes}:\n    print(one)",
        "for one in set(notes):\n    print(one)",
        "for one in frozenset(notes) | {'a'}:\n    print(one)",
        "for one in first.keys() - notes:\n    print(one)",
        "for one in names.union(notes):\n    print(one)",
        "kept = set()\nkept.add('a')\nfor one in kept:\n    print(one)",
        "kept: set[str] = set()\nlist(kept)",
        "if notes:\n    kept = set(notes)\nelse:\n    kept = []\nfor one in kept:\n    print(one)",
        "[one for one in names]",
        "{one: 1 for one in names}",
        "{await ctx.step('x', str, one) for one in names}",
        "sum([await ctx.step('x', len, one) for one in names])",
        "list(names), len(names)",
        "tuple(names)",
        "','.join(names)",
        "enumerate(names)",
        "zip(notes, names)",
        "map(str, names)",
        "next(iter(names))",
        "print(*names)",
        "await asyncio.gather(*{ctx.sleep(1)})",
        "[*names]",
        "one, two = names",
        "names.pop()",
        "notes.extend(names)",
        "dict.fromkeys(names)",
        "deque(names)",
        "itertools.batched(names, 2)",
        "str(names)",
        "f'{names}'",
        "for one in basket.names:\n    print(one)",
        "for one in Basket().names:\n    print(one)",
        "for one in Cart().names:\n    print(one)",
        "for one in await load():\n    print(one)",
        "for one in letters():\n    print(one)",
        "passed({'a', 'b'})",
        "passed(items=names)",
        "typed(names)",
        "for one in (names or notes):\n    print(one)",
        "for one in (names if notes else notes):\n    print(one)",
        "async for one in names:\n    print(one)",
    ],
)
def test_what_depends_on_the_order_of_a_set_is_found(body: str) -> None:
    assert rules(body, head=HEAD_WITH_SETS, parameters=PARAMETERS) == ["set-order"]


@pytest.mark.parametrize(
    "body",
    [
        "for one in sorted(names):\n    print(one)",
        "names = sorted(names)\nfor one in names:\n    print(one)",
        "kept = set(notes)\nkept = sorted(kept)\nfor one in kept:\n    print(one)",
        "if notes:\n    kept = set(notes)\n    return len(kept)\nkept = notes\nfor one in kept:\n    print(one)",
        "len(names), min(names), max(names), sum(numbers), any(names), 'a' in names, names == {'a'}",
        "any(one for one in names), all([one for one in names]), sorted(one.lower() for one in names)",
        "{one.lower() for one in names}",
        "set(one for one in names)",
        "names & {'a'}, names.union(notes), names.issubset(notes), frozenset(names)",
        "for one in numbers:\n    print(one)",
        "for one in {1, 2, 3}:\n    print(one)",
        "for one in load_plain():\n    print(one)",
        "for one in first:\n    print(one)",
        "for one in dict.fromkeys(notes):\n    print(one)",
        "passed(notes)",
        "typed(notes)",
        "await ctx.step('x', len, names)",
        "notes.pop()",
        "first.pop('a')",
        "notes - first, 3 - 2",
    ],
)
def test_what_does_not_depend_on_the_order_is_not_found(body: str) -> None:
    assert rules(body, head=HEAD_WITH_SETS, parameters=PARAMETERS) == []


@pytest.mark.parametrize(
    "body",
    [
        "done, left = await asyncio.wait([asyncio.create_task(ctx.sleep(1))])\nfor one in left:\n    one.cancel()",
        "tasks = {asyncio.create_task(ctx.sleep(1)) for _ in notes}\nfor one in tasks:\n    one.cancel()",
        "tasks = {asyncio.create_task(ctx.sleep(1)), asyncio.ensure_future(ctx.sleep(2))}\nlist(tasks)",
        "tasks: set[asyncio.Task[None]] = set()\nfor one in tasks:\n    one.cancel()",
        "tasks = set()\nfor _ in notes:\n    tasks.add(asyncio.create_task(ctx.sleep(1)))\nlist(tasks)",
        "async with asyncio.TaskGroup() as group:\n    tasks = {group.create_task(ctx.sleep(1))}\n    list(tasks)",
    ],
)
def test_sets_of_tasks_have_an_order_in_a_run(body: str) -> None:
    assert rules(body, head=HEAD_WITH_SETS, parameters=PARAMETERS) == []


def test_the_finding_is_where_the_set_is_iterated() -> None:
    (found,) = findings(
        """
        def show(items):
            for one in items:
                print(one)

        @workflow
        async def flow(ctx: WorkflowContext) -> None:
            show({"a", "b"})
        """
    )

    assert (found.line, found.column, found.function) == (4, 16, "show")
    assert found.message.startswith("items is a set")


@pytest.mark.parametrize(
    "body",
    [
        "'%s' % names",
        "'%s and %s' % (notes, names)",
        "'{} and {}'.format(notes, names)",
        "'{text}'.format(text=names)",
        "notes += names",
        "max(names, key=len)",
        "min(names, key=len)",
    ],
)
def test_what_writes_or_adds_a_set_or_breaks_ties_in_it_depends_on_its_order(body: str) -> None:
    assert rules(body, head=HEAD_WITH_SETS, parameters=PARAMETERS) == ["set-order"]


@pytest.mark.parametrize(
    "body", ["'%s' % len(names)", "'{}'.format(sorted(names))", "notes += sorted(names)", "max(names)"]
)
def test_what_does_not_write_the_set_itself_does_not(body: str) -> None:
    assert rules(body, head=HEAD_WITH_SETS, parameters=PARAMETERS) == []
