"""What people and programs are told of runs whose history is damaged, or can't be read here."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import structlog
from tests.crash.workers_in_memory import WorkersInMemory

from relight import Retry, Run, RunCancelled, RunNotFoundError, WorkflowContext, step, workflow
from relight.actors.door import Door, Stored
from relight.actors.letters import Letterbox
from relight.actors.retire import retire
from relight.errors import ProtocolError
from relight.sdk._durations import moment_ms
from relight.subjects import records as r
from relight.subjects.grammar import Subjects

_LATER_VERSION = b'{"v":99,"number":9}'


@step(retry=Retry(attempts=None, delay=3_600))
async def fails() -> None:
    raise ValueError("no")


@workflow
async def hears(ctx: WorkflowContext) -> None:
    async for _ in ctx.signals("news", type=str):
        pass


@workflow
async def hears_and_fails(ctx: WorkflowContext) -> None:
    await ctx.wait_for_signal("news", type=str)
    await fails()


@workflow
async def ends(ctx: WorkflowContext) -> None:
    pass


@workflow
async def has_a_child(ctx: WorkflowContext) -> None:
    await ctx.call(hears, id="child", queue="nobody")


async def with_a_gap(site: WorkersInMemory, run: Run[None], *, without: int) -> None:
    """Remove one of the turns."""
    door, log = site.client.door, site.client.subjects.log(run.id)
    await door.remove(log, (await door.read(log, after=0, limit=10))[without].sequence)


async def heard(site: WorkersInMemory, *words: str) -> Run[None]:
    await site.add(hears)
    run = await site.result(site.client.start(hears, id="run"))
    await site.until(lambda: bool(site.turns("run")))
    for word in words:
        before = len(site.turns("run"))
        await site.result(run.signal("news", word))
        await site.until(partial(has_more_turns, site, before))
    return run


def has_more_turns(site: WorkersInMemory, before: int) -> bool:
    return len(site.turns("run")) > before


async def test_a_history_is_given_up_to_where_it_breaks_and_no_further(site: WorkersInMemory) -> None:
    run = await heard(site, "a", "b", "c", "d")
    whole = [(one.sequence, one.kind) async for one in run.history()]
    turns = [len(one.records) for one in site.turns("run")]
    await site.result(with_a_gap(site, run, without=2))
    seen: list[tuple[int, str]] = []

    async def read() -> None:
        async for one in run.history():
            seen.append((one.sequence, one.kind))

    with pytest.raises(ProtocolError, match=r"history of run 'run' is damaged: turn 4 \(sequence \d+\) follows turn 2"):
        await read()

    assert seen == whole[: sum(turns[:2])]


async def test_of_a_damaged_run_it_is_said_when_it_began_and_what_is_wrong(site: WorkersInMemory) -> None:
    began = datetime.fromtimestamp(site.server.clock.now_ms() // 1000, UTC)
    run = await heard(site, "a", "b")
    await site.result(with_a_gap(site, run, without=1))

    described = await site.result(run.describe())
    sight = await site.result(Letterbox(site.client.door, site.client.subjects, "run").look())

    (warning,) = described.warnings
    assert warning.startswith("its history is damaged, and only its last turn is shown: turn 3 (sequence ")
    assert described.since >= began
    assert sight.state.started_at_ms >= moment_ms("began", began)


async def test_a_damaged_run_can_be_looked_at_whatever_its_last_turn_says(site: WorkersInMemory) -> None:
    await site.add(hears_and_fails)
    run = await site.result(site.client.start(hears_and_fails, id="run"))
    await site.until(lambda: bool(site.records("run", r.SignalAwaited)))
    await site.result(run.signal("news", "a"))
    await site.until(lambda: bool(site.records("run", r.StepAttemptFailed)))
    await site.result(with_a_gap(site, run, without=0))
    site.abandon("run", "without its beginning its history does not say that the retry is due")

    assert (await site.result(run.describe())).warnings


class _DoorOfAJanitor:
    """The run is retired before its turns are read."""

    def __init__(self, door: Door, subjects: Subjects) -> None:
        self._door = door
        self._subjects = subjects

    def __getattr__(self, name: str) -> Any:
        return getattr(self._door, name)

    async def read(self, subject: str, *, after: int, limit: int) -> list[Stored]:
        await retire(self._door, self._subjects, "run")
        return await self._door.read(subject, after=after, limit=limit)


@pytest.mark.parametrize("way", ["look", "turns"])
async def test_a_run_that_is_retired_while_it_is_read_is_not_damaged_but_gone(site: WorkersInMemory, way: str) -> None:
    run = await heard(site, "a", "b")
    await site.result(run.cancel())
    with pytest.raises(RunCancelled):
        await site.result(run.result())
    janitor: Any = _DoorOfAJanitor(site.client.door, site.client.subjects)
    letterbox = Letterbox(janitor, site.client.subjects, "run")

    async def read() -> None:
        if way == "look":
            await letterbox.look()
        else:
            async for _ in letterbox.turns(follow=False):
                pass

    with pytest.raises(RunNotFoundError):
        await site.result(read())


async def test_a_run_that_is_retired_while_runs_are_listed_is_left_out(site: WorkersInMemory) -> None:
    await site.add(ends)
    for id in ("first", "second", "third"):
        await site.result((await site.result(site.client.start(ends, id=id))).result())
    found: list[str] = []

    async def look() -> None:
        async for run in site.client.runs(status="completed"):
            found.append(run.id)
            if run.id == "third":
                await retire(site.client.door, site.client.subjects, "second")

    await site.result(look())

    assert found == ["third", "first"]


@pytest.mark.parametrize("subject", ["log", "start"])
async def test_a_run_that_can_not_be_read_does_not_hide_the_others(site: WorkersInMemory, subject: str) -> None:
    await site.add(ends)
    for id in ("first", "second", "third"):
        await site.result((await site.result(site.client.start(ends, id=id))).result())
    subjects = site.client.subjects
    unreadable = subjects.log("second") if subject == "log" else subjects.start("default", "fourth")
    await site.result(site.client.door.publish(unreadable, _LATER_VERSION))
    site.abandon("second" if subject == "log" else "fourth", "nobody here can read a later version")

    with structlog.testing.capture_logs() as lines:
        found = [run.id async for run in site.client.runs(status="completed")]

    assert found == (["third", "first"] if subject == "log" else ["third", "second", "first"])
    assert ("run_unreadable" if subject == "log" else "start_unreadable") in [one["event"] for one in lines]


async def test_a_child_that_can_not_be_read_does_not_hide_its_parent(site: WorkersInMemory) -> None:
    await site.add(has_a_child)
    run = await site.result(site.client.start(has_a_child))
    await site.until(lambda: bool(site.records(run.id, r.StepCompleted)))

    before = await site.result(run.describe())
    await site.result(site.client.door.publish(site.client.subjects.log("child"), _LATER_VERSION))
    site.abandon("child", "nobody here can read a later version")
    after = await site.result(run.describe())

    assert before.waits_for[0].startswith("the end of child 'child' (queued) since ")
    assert after.waits_for[0].startswith("the end of child 'child' (can't be read: ")
