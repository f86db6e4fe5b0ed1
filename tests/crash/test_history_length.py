"""A history that grows and grows: first a warning, then the run is parked, and nothing of it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from msgspec import Raw
from structlog.testing import capture_logs
from tests.crash.replays import replayed_pages
from tests.crash.workers_in_memory import WorkersInMemory, workers_in_memory

from relight import RefusedError, Retry, WorkflowContext, step, workflow
from relight.actors import journal, reports
from relight.actors.journal import read_pages
from relight.actors.run import length
from relight.config.limits import LIMITS
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.messages import Signal
from relight.subjects.turn import GENESIS, VERSION, Turn, hash_of

SHORT = replace(LIMITS, history_records_warn=20, history_records_max=40, history_records_more=10)


@workflow(name="counts")
async def counts(ctx: WorkflowContext) -> int:
    count = 0
    while await ctx.wait_for_signal("one", type=bool):
        count += 1
    return count


@workflow(name="counts")
async def mended(ctx: WorkflowContext, count: int = 0) -> int:
    while await ctx.wait_for_signal("one", type=bool):
        count += 1
        if ctx.patched(f"cut-{count}"):
            ctx.continue_as_new(count)
    return count


@step
async def reply(conversation: list[str]) -> str:
    return f"{len(conversation)} ".ljust(4_096, "x")


@step
async def short() -> None:
    pass


@workflow
async def converses(ctx: WorkflowContext, turns: int) -> int:
    conversation: list[str] = []
    for _ in range(turns):
        conversation.append(await reply(conversation))
    return len(conversation)


CHANGE = "change-".ljust(120, "x")


@workflow
async def marks(ctx: WorkflowContext) -> list[str]:
    await short()
    others = [asyncio.create_task(short()) for _ in range(8)]
    await asyncio.sleep(0)
    way = "new" if ctx.patched(CHANGE) else "old"
    large = asyncio.create_task(ctx.suspend("large", "x" * 4_000))
    await asyncio.gather(*others)
    answer = await ctx.suspend("on", type=str)
    large.cancel()
    return [way, answer]


@workflow(name="travels")
async def before(ctx: WorkflowContext) -> list[str]:
    return [*[await reply([]) for _ in range(6)], await ctx.suspend("on", type=str)]


@workflow(name="travels")
async def changed(ctx: WorkflowContext) -> list[str]:
    """Asks for a change in what was recorded, and once more behind it."""
    way = ["new" if ctx.patched("change") else "old"]
    for _ in range(6):
        await reply([])
    way.append(await ctx.suspend("on", type=str))
    return [*way, "new" if ctx.patched("change") else "old"]


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WorkersInMemory]:
    monkeypatch.setattr(length, "LIMITS", SHORT)
    monkeypatch.setattr(reports, "LIMITS", SHORT)
    async with workers_in_memory() as site:
        yield site


async def test_a_long_history_is_warned_of_once(site: WorkersInMemory) -> None:
    await site.add(counts)
    with capture_logs() as lines:
        run = await site.result(site.client.start(counts, id="run"))
        for number in range(12):
            await run.signal("one", True)
            await site.until(lambda: len(site.records("run", r.SignalAwaited)) == number + 2)  # noqa: B023

    assert [one["run"] for one in lines if one["event"] == "history_long"] == ["run"]
    assert "continue_as_new" in (await run.describe()).warnings[0]


async def test_one_that_is_too_long_parks_its_run_which_goes_on_when_it_is_mended(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(counts, id="run"))
    for number in range(30):
        await run.signal("one", True, id=str(number))
    worker = await site.add(counts)
    await site.until(lambda: bool(site.records("run", r.Parked)))
    described = await run.describe()
    assert described.parked == "stuck"
    assert "continue_as_new" in str(described.last_error)

    await run.retry()
    await site.until(lambda: bool(site.records("run", r.Unparked)))
    for number in range(30, 35):
        await run.signal("one", True, id=str(number))
    await site.until(lambda: len(site.records("run", r.Parked)) == 2)
    worker.kill()
    await site.add(mended, code="mended")
    await site.until(lambda: len(site.records("run", r.Unparked)) == 2)
    await run.signal("one", False)

    assert await site.result(run.result()) == 35


async def test_one_that_is_parked_for_its_length_takes_no_signals_and_no_requests_but_what_helps_it(
    site: WorkersInMemory,
) -> None:
    run = await site.result(site.client.start(counts, id="run"))
    for number in range(30):
        await run.signal("one", True, id=str(number))
    await site.add(counts)
    await site.until(lambda: bool(site.records("run", r.Parked)))
    await site.pass_time(5)
    before = len(site.records("run"))

    with pytest.raises(RefusedError, match=r"'run' takes no messages: its history has \d+ records; .*continue_as_new"):
        await site.result(run.signal("one", True))
    with pytest.raises(RefusedError, match="takes no messages"):
        await site.result(run.request("anything", type=str))
    # What was looked at before it was parked comes all the same, and does not open it again.
    late = encode(Signal(name="one", data=Raw(b"true"), id="late"))
    await site.result(site.server.door("late").publish(site.client.subjects.wake("default", "run"), late))
    await site.until(lambda: len(site.records("run")) > before)
    with pytest.raises(RefusedError, match="takes no messages"):
        await site.result(run.signal("one", True))
    await site.pass_time(60)

    assert len(site.records("run")) == before + 2
    await site.result(run.cancel())
    await site.result(run.retry())
    await site.until(lambda: bool(site.records("run", r.RunCancelled)))


async def test_what_a_turn_stores_does_not_grow_with_what_its_steps_are_passed() -> None:
    async with workers_in_memory() as site:
        await site.add(converses)
        run = await site.result(site.client.start(converses, 100))
        await site.result(run.result())

        sizes = [len(encode(turn)) for turn in site.turns(run.id)][1:-1]

    assert sum(sizes[-10:]) < 1.01 * sum(sizes[:10])


async def test_a_history_is_replayed_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = replayed_pages(monkeypatch, turns=2)
    async with workers_in_memory() as site:
        worker = await site.add(before)
        run = await site.result(site.client.start(before))
        await site.until(lambda: bool(site.records(run.id, r.Suspended)))
        worker.kill()
        await site.add(changed)
        await run.resume("on", "on")

        assert await site.result(run.result()) == ["old", "on", "old"]

    assert pages == [2, 2, 2]


async def test_a_change_goes_the_way_that_it_took_although_its_mark_comes_pages_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pages = replayed_pages(monkeypatch, turns=1)
    monkeypatch.setattr(journal, "LIMITS", replace(LIMITS, turn_bytes_max=2_600))
    async with workers_in_memory() as site:
        worker = await site.add(marks)
        run = await site.result(site.client.start(marks))
        await site.until(lambda: len(site.records(run.id, r.StepCompleted)) == 9)
        kinds = [tuple(type(record) for record in turn.records) for turn in site.turns(run.id)]
        assert r.StepCompleted in kinds[0]
        assert kinds[0][-1] is r.StepScheduled
        assert r.PatchMarked not in kinds[1]
        assert r.PatchMarked in kinds[2]
        worker.kill()
        await site.add(marks)
        await site.pass_time(2 * LIMITS.linger_s)
        await run.resume("on", "on")

        assert await site.result(run.result()) == ["new", "on"]

    assert pages == [1, *[1] * len(kinds)], "once with the first page only, and then anew"


@workflow
async def marks_later(ctx: WorkflowContext) -> str:
    await ctx.wait_for_signal("one", type=bool)
    ctx.patched(CHANGE)
    return await ctx.suspend("on", type=str)


async def test_a_history_whose_mark_is_where_its_code_asks_for_the_change_is_replayed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pages = replayed_pages(monkeypatch, turns=1)
    async with workers_in_memory() as site:
        worker = await site.add(marks_later)
        run = await site.result(site.client.start(marks_later))
        await site.until(lambda: len(site.turns(run.id)) == 1)
        await run.signal("one", True)
        await site.until(lambda: len(site.turns(run.id)) == 2)
        worker.kill()
        await site.add(marks_later)
        await site.pass_time(2 * LIMITS.linger_s)
        await run.resume("on", "on")

        assert await site.result(run.result()) == "on"

    assert pages == [1, 1]


@step(retry=Retry(attempts=None, delay=1, factor=1, jitter=0))
async def never() -> None:
    raise LookupError("not yet")


@workflow(name="tries")
async def tries(ctx: WorkflowContext) -> list[str]:
    async with asyncio.TaskGroup() as group:
        group.create_task(never())
        await reply([])
    return []


@workflow(name="tries")
async def tries_and_asks(ctx: WorkflowContext) -> list[str]:
    trying = asyncio.create_task(never())
    await reply([])
    way = "new" if ctx.patched("change") else "old"
    answer = await ctx.suspend("on", type=str)
    trying.cancel()
    return [way, answer]


@pytest.mark.parametrize("failures", [1, 6])
async def test_code_that_changed_goes_on_behind_a_history_that_ends_with_pages_it_does_not_see(
    failures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed_pages(monkeypatch, turns=2)
    async with workers_in_memory() as site:
        worker = await site.add(tries)
        run = await site.result(site.client.start(tries))
        await site.until(lambda: len(site.records(run.id, r.StepAttemptFailed)) == failures)
        worker.kill()
        await site.add(tries_and_asks)
        await site.until(lambda: bool(site.records(run.id, r.Suspended)))
        await run.resume("on", "on")

        assert await site.result(run.result()) == ["old", "on"]


async def test_a_journal_that_is_continued_and_purged_while_it_is_read_is_read_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal, "_PAGE_TURNS", 1)
    started = r.RunStarted("w", "q")
    async with workers_in_memory() as site:
        door, log = site.server.door("reader"), site.client.subjects.log("run")
        previous = GENESIS
        for number in range(1, 6):
            data = encode(
                Turn(VERSION, number, "", "w", 1, 0, 1, previous, (started if number == 1 else r.Claimed("resumed"),))
            )
            await door.publish(log, data)
            previous = hash_of(data)
        last = await door.last(log)
        assert last is not None

        numbers: list[int] = []
        async for page in read_pages(door, log, last):
            numbers += [turn.number for turn in page.turns]
            if numbers == [1, 2]:
                opened = Turn(VERSION, 6, "", "w", 1, 0, 1, previous, (r.Continued(2, 0, 5), started))
                await door.purge(log, below=await door.publish(log, encode(opened)))

    assert numbers in ([1, 2, 6], [1, 2, 3, 6])
