"""Who drives a run: questions that come together go together, and each is answered."""

from __future__ import annotations

import asyncio

import pytest
from tests.crash.workers_in_memory import workers_in_memory

from relight import WorkflowContext, step, workflow
from relight.actors.door import Silent
from relight.actors.roll_call import RollCall
from relight.config.limits import LIMITS
from relight.subjects.codec import decode_ask_every_worker, encode
from relight.subjects.ids import WorkerId
from relight.subjects.messages import WorkerSays
from relight.testing.memory import Faults

ANN, BOB = WorkerId("ann"), WorkerId("bob")


class Bob:
    """Drives the runs whose names begin with b, and counts what he is asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def answer(self, question: bytes) -> bytes:
        runs = decode_ask_every_worker(question).runs
        self.asked.append(len(runs))
        return encode(WorkerSays(BOB, tuple(run for run in runs if run.startswith("b"))))


async def test_thousands_of_questions_at_once_are_few_and_each_is_answered() -> None:
    async with workers_in_memory() as site:
        bob, roll_call = Bob(), RollCall(site.server.door(ANN), ANN)
        await site.result(site.server.door(BOB).answer_every_worker(bob.answer))
        runs = [f"{'ab'[number % 2]}-{number}" for number in range(2_500)]

        drivers = await site.result(asyncio.gather(*(roll_call.driver_of(run) for run in runs)))

        assert drivers == [BOB if run.startswith("b") else None for run in runs]
        assert len(bob.asked) <= 4
        assert 900 < max(bob.asked) <= LIMITS.runs_asked_max


async def test_a_run_that_two_ask_for_is_answered_to_both_also_when_one_goes_away() -> None:
    async with workers_in_memory() as site:
        bob, roll_call = Bob(), RollCall(site.server.door(ANN), ANN)
        await site.result(site.server.door(BOB).answer_every_worker(bob.answer))
        leaving, *staying = [asyncio.ensure_future(roll_call.driver_of("b")) for _ in range(3)]
        await asyncio.sleep(0)
        leaving.cancel()

        assert await site.result(asyncio.gather(*staying)) == [BOB, BOB]


async def test_it_is_silence_that_not_everybody_answers_unless_the_driver_does() -> None:
    async with workers_in_memory() as site:
        stopped, roll_call = site.server.door(WorkerId("eve")), RollCall(site.server.door(ANN), ANN)
        await site.result(site.server.door(BOB).answer_every_worker(Bob().answer))
        await site.result(stopped.answer_every_worker(Bob().answer))
        stopped.stop()

        assert await site.result(roll_call.driver_of("b")) == BOB
        with pytest.raises(Silent):
            await site.result(roll_call.driver_of("a"))


executed: list[str] = []


@step
async def once() -> None:
    executed.append("once")


@workflow
async def runs_once(ctx: WorkflowContext) -> None:
    await once()


async def test_among_several_servers_nobody_begins_what_may_be_on_its_way_to_another() -> None:
    """A question comes another way than a delivery, and may overtake it: who has said no begins it the next moment."""
    executed.clear()
    async with workers_in_memory() as site:
        site.server.is_spread = True
        late = [0.5]
        site.server.faults = Faults(arrivals=lambda subject: (late.pop() if late and ".start." in subject else 0.0,))
        await site.add(runs_once, concurrency=1)
        run = await site.result(site.client.start(runs_once))
        await site.add(runs_once)
        (start,) = site.server.unacknowledged(site.client.subjects.start("default", run.id))

        site.server.consumer("start", "default").nak(start, "a sweep", 0.0)
        await site.result(run.result())
        await site.pass_time(20)

        assert executed == ["once"]
