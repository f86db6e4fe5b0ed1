"""An agent's loop: 500 turns over a conversation that grows to 2 MB. What it stores must grow with what is new only."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from benchmarks.event_loop import run
from benchmarks.row import Goal, Row
from benchmarks.system import System, system
from benchmarks.workflows import converses, converses_by_reference
from relight import Relight, Workflow
from relight.subjects.codec import decode_turn
from relight.subjects.turn import Turn

__all__ = ("rows",)

_GOAL = Goal(reach=1.1, aim=1.02)
_SHARE = 10
"""The last tenth of the turns is compared with the first."""


def rows(*, is_quick: bool) -> Iterator[Row]:
    turns = 100 if is_quick else 500
    with system() as ours:
        for name, workflow in (("conversation", converses), ("conversation_by_reference", converses_by_reference)):
            sizes, times_ms = run(_measured(ours, workflow, turns))
            first, last = (sum(part) / len(part) for part in _ends(sizes))
            yield Row(name=name, value=last, unit="B/turn", floor=first, ratio=last / first, goal=_GOAL)
            yield Row(name=f"{name}_stored", value=sum(sizes) / 1024, unit="KiB")
            yield Row(name=f"{name}_last_turns", value=sum(_ends(times_ms)[1]) / (turns // _SHARE), unit="ms/turn")


def _ends(values: list[float]) -> tuple[list[float], list[float]]:
    count = len(values) // _SHARE
    return values[:count], values[-count:]


async def _measured(ours: System, workflow: Workflow[[int], int], turns: int) -> tuple[list[float], list[float]]:
    """Return the stored bytes and the milliseconds of each turn of the loop: each is one journal message."""
    async with ours.client() as client:
        one = await client.start(workflow, turns)
        await one.result()
        journal = await _journal(client, one.id)
    steps = [(size, turn.at_ms) for size, turn in journal if len(turn.records) == 2]
    times = [float(after - before) for (_, before), (_, after) in itertools.pairwise(steps)]
    return [float(size) for size, _ in steps], times


async def _journal(client: Relight, run_id: str) -> list[tuple[int, Turn]]:
    journal: list[tuple[int, Turn]] = []
    after = 0
    while page := await client.door.read(client.subjects.log(run_id), after=after, limit=1_000):
        for stored in page:
            turn = decode_turn(stored.data)
            assert isinstance(turn, Turn), "it was not retired"
            journal.append((len(stored.data), turn))
            after = stored.sequence
    return journal
