"""A child whose end is recorded, or told, is not started again, however long its start remains to be sent."""

from __future__ import annotations

from typing import Literal

from tests.crash.workers_in_memory import WorkersInMemory

from relight import WorkflowContext, step, workflow
from relight.actors.retire import retire
from relight.config.limits import LIMITS
from relight.subjects import records as r
from relight.testing.memory import Faults, Operation

_ID_IS_FREE_S = 2 * LIMITS.tombstone_s


class _Charges:
    """A parent and its child, of which all that counts is how often it charges."""

    def __init__(self) -> None:
        self.made = made = list[str]()

        @step
        async def charge(who: str) -> str:
            made.append(who)
            return who

        @workflow(queue="children")
        async def child(ctx: WorkflowContext, who: str) -> str:
            return await charge(who)

        @workflow
        async def parent(ctx: WorkflowContext) -> str:
            result = await ctx.call(child, "once", id="child")
            await ctx.sleep(30)  # A second one would have the time to charge.
            return result

        @workflow
        async def asks_twice(ctx: WorkflowContext) -> str:
            first = await ctx.call(child, "once", id="child")
            await ctx.suspend("again")
            await ctx.start(child, "twice", id="child")
            await ctx.sleep(30)
            return first

        self.child, self.parent, self.asks_twice = child, parent, asks_twice


def _start_of_child_stays_unknown() -> Faults:
    """It is stored, and whoever sent it does not hear of that."""
    sent = list[str]()

    def outcome(operation: Operation) -> Literal["written", "known"]:
        if ".start." not in operation.subject or not operation.subject.endswith(".child"):
            return "known"
        sent.append(operation.name)
        return "written" if sent == ["publish"] else "known"

    return Faults(outcome=outcome)


async def _is_gone(site: WorkersInMemory) -> None:
    """The child is retired, and so long ago that its id is free again."""
    await site.result(retire(site.server.door("janitor"), site.client.subjects, "child"))
    await site.pass_time(_ID_IS_FREE_S)


async def test_a_child_whose_end_is_recorded_is_not_started_again(site: WorkersInMemory) -> None:
    charges = _Charges()
    site.server.faults = _start_of_child_stays_unknown()
    await site.add(charges.parent)
    await site.add(charges.child, queue="children")
    run = await site.result(site.client.start(charges.parent))
    await site.until(lambda: bool(site.records(run.id, r.StepAttemptFailed)))
    await site.result(run.pause())
    await site.pass_time(10)
    assert site.records(run.id, r.ChildEnded)
    await _is_gone(site)

    await site.result(run.unpause())

    assert await site.result(run.result()) == "once"
    assert charges.made == ["once"]


async def test_nor_is_one_whose_end_its_parent_was_told_while_nobody_worked_on_it(site: WorkersInMemory) -> None:
    charges = _Charges()
    site.server.faults = _start_of_child_stays_unknown()
    worker = await site.add(charges.parent)
    run = await site.result(site.client.start(charges.parent))
    await site.until(lambda: bool(site.records(run.id, r.StepAttemptFailed)))
    await site.result(run.pause())
    await site.until(lambda: bool(site.records(run.id, r.Paused)))
    await site.pass_time(10)
    worker.kill()
    await site.result(run.unpause())
    await site.add(charges.child, queue="children")
    await site.result(site.client.get_run("child").result())
    await site.pass_time(10)
    await _is_gone(site)

    await site.add(charges.parent)

    assert await site.result(run.result()) == "once"
    assert charges.made == ["once"]


async def test_another_child_of_the_same_id_is_not_taken_for_the_one_that_has_ended(site: WorkersInMemory) -> None:
    charges = _Charges()
    await site.add(charges.asks_twice)
    await site.add(charges.child, queue="children")
    run = await site.result(site.client.start(charges.asks_twice))
    await site.until(lambda: bool(site.records(run.id, r.Suspended)))
    await _is_gone(site)

    await site.result(run.resume("again"))

    assert await site.result(run.result()) == "once"
    assert charges.made == ["once", "twice"]
