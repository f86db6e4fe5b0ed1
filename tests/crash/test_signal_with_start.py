"""A signal with a start: delivered once, whether the run was there or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from tests.crash.workers_in_memory import WorkersInMemory, workers_in_memory

from relight import ConflictError, InvalidIdError, Run, RunEndedError, WorkflowContext, workflow
from relight.subjects import records as r
from relight.testing.memory import Faults, Operation
from relight.testing.memory.faults import Outcome


@workflow
async def gathers_words(ctx: WorkflowContext, count: int) -> list[str]:
    return [await ctx.wait_for_signal("word", type=str) for _ in range(count)]


@workflow
async def gathers_in_two_histories(ctx: WorkflowContext, heard: str) -> str:
    if not heard:
        ctx.continue_as_new("heard ")
    return heard + await ctx.wait_for_signal("word", type=str)


@pytest.fixture
async def site() -> AsyncIterator[WorkersInMemory]:
    async with workers_in_memory() as site:
        await site.add(gathers_words, gathers_in_two_histories)
        yield site


async def sent(site: WorkersInMemory, word: str, count: int = 2, **options: Any) -> Run[list[str]]:
    options = {"id": "run", "signal_id": word, **options}
    return await site.result(site.client.signal_with_start(gathers_words, count, signal="word", data=word, **options))


async def test_the_first_starts_the_run_and_all_are_delivered_once(site: WorkersInMemory) -> None:
    runs = [await sent(site, word, 3) for word in ("a", "a", "b", "a", "c")]

    assert await site.result(runs[-1].result()) == ["a", "b", "c"]
    assert site.records("run", r.RunStarted)[0].signal is not None  # type: ignore[union-attr]  # pyright: ignore
    assert len(site.records("run", r.SignalReceived)) == 2, "the others: the first came with the start"


async def test_two_at_once_start_one_run_and_deliver_both(site: WorkersInMemory) -> None:
    runs = await asyncio.gather(*[asyncio.ensure_future(sent(site, word)) for word in ("a", "b")])

    assert sorted(await site.result(runs[0].result())) == ["a", "b"]


@pytest.mark.parametrize("outcome", ["lost", "written", "late"])
async def test_an_unknown_outcome_of_the_start_is_found_out(site: WorkersInMemory, outcome: Outcome) -> None:
    outcomes: list[Outcome] = [outcome]

    def outcome_of(operation: Operation) -> Outcome:
        return outcomes.pop() if ".start." in operation.subject and outcomes else "known"

    site.server.faults = Faults(outcome=outcome_of)
    run = await sent(site, "a", 1)

    assert await site.result(run.result()) == ["a"]


async def test_without_an_id_of_the_signal_each_counts(site: WorkersInMemory) -> None:
    runs = [await sent(site, "a", signal_id=None) for _ in range(2)]

    assert await site.result(runs[-1].result()) == ["a", "a"]


async def test_a_run_that_has_ended_or_is_another_refuses(site: WorkersInMemory) -> None:
    run = await sent(site, "a", 1)
    await site.result(run.result())

    with pytest.raises(RunEndedError):
        await sent(site, "b", 1)
    with pytest.raises(ConflictError):
        await sent(site, "b", 2)
    with pytest.raises(InvalidIdError):
        await sent(site, "b", 1, signal_id="")


async def test_a_delayed_start_keeps_its_signal_before_those_that_come_later(site: WorkersInMemory) -> None:
    run = await sent(site, "a", delay=timedelta(hours=1))
    await sent(site, "b")

    assert await site.result(run.result()) == ["a", "b"]


async def test_a_run_that_continues_as_new_gets_it_once(site: WorkersInMemory) -> None:
    run = await site.result(
        site.client.signal_with_start(gathers_in_two_histories, "", signal="word", data="a", signal_id="1", id="run")
    )
    same = await site.result(
        site.client.signal_with_start(gathers_in_two_histories, "", signal="word", data="a", signal_id="1", id="again")
    )

    assert [await site.result(one.result()) for one in (run, same)] == ["heard a", "heard a"]


async def test_a_second_one_before_any_worker_is_there_is_described_and_counts_once() -> None:
    async with workers_in_memory() as site:
        run, _ = [await sent(site, "a", 1) for _ in range(2)]
        described = await site.result(run.describe())
        await site.add(gathers_words)

        assert described.status == "queued"
        assert await site.result(run.result()) == ["a"]
        assert len(site.records("run", r.SignalReceived)) == 0
