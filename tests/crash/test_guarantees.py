"""One small test for each line in `docs/guarantees.md`: it fails when that line is switched off (`make sabotage`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Literal

import pytest
from tests.crash.disturbing import kill_at, lose_appends_of, redeliver_start, stop_after
from tests.crash.workers_in_memory import WorkersInMemory

from relight import AlreadyAnsweredError, ConflictError, WorkflowContext, step, workflow
from relight.actors.journal import BrokenChainError, Displaced, Journal, Tail, read_history
from relight.actors.retire import retire
from relight.errors import FencedError
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.messages import Relit, Start
from relight.subjects.turn import Turn
from relight.testing.memory import Faults, MemoryDoor, Operation

LOG = "relight.memory.log.0.run"
NOTE = (r.StepCompleted("one#1"),)

executed: list[str] = []
gate = asyncio.Event()


@pytest.fixture(autouse=True)
def fresh() -> None:
    global gate
    executed.clear()
    gate = asyncio.Event()


@step
async def first() -> int:
    executed.append("first")
    return 1


@step
async def second() -> int:
    executed.append("second")
    await gate.wait()
    return 2


@step
async def other() -> int:
    executed.append("other")
    return 3


@step(effect="unsafe")
async def pay() -> None:
    executed.append("pay")
    await gate.wait()


@workflow
async def two_steps(ctx: WorkflowContext) -> int:
    return await first() + await second()


@workflow
async def one_payment(ctx: WorkflowContext) -> None:
    await pay()


@workflow
async def note_then_step(ctx: WorkflowContext) -> str:
    note = await ctx.wait_for_signal("note", type=str)
    await second()
    return note


@workflow
async def notes(ctx: WorkflowContext) -> list[str]:
    return [await ctx.wait_for_signal("note", type=str) for _ in range(2)]


@workflow
async def sleeper(ctx: WorkflowContext) -> str:
    await ctx.sleep(60)
    return "rested"


@workflow
async def question_then_step(ctx: WorkflowContext) -> str:
    answer = await ctx.suspend("question", type=str)
    await second()
    return answer


@workflow
async def step_then_question(ctx: WorkflowContext) -> str:
    await second()
    return await ctx.suspend("question", type=str)


def journal(door: MemoryDoor, owner: str) -> Journal:
    return Journal(door, LOG, owner=owner, new_append_id=lambda: f"{owner}.1", tail=Tail())


async def append(one: Journal) -> None:
    await one.append(NOTE, epoch=1, lease=1, cursor=0, at_ms=1)


async def history_of(site: WorkersInMemory, *turns: Turn) -> None:
    """Store these turns and read them."""
    door = site.server.door("reader")
    for turn in turns:
        await door.publish(LOG, encode(turn))
    last = await door.last(LOG)
    assert last is not None
    await read_history(door, LOG, last)


def turn(number: int, previous: str) -> Turn:
    return Turn(1, number, f"w.{number}", "w", 1, 1, 1, previous, NOTE)


# The journal.


async def test_of_two_owners_one_is_displaced(site: WorkersInMemory) -> None:
    winner, loser = (journal(site.server.door(name), name) for name in ("winner", "loser"))
    await append(winner)

    with pytest.raises(Displaced):
        await append(loser)

    assert site.server.stream.count(LOG) == 1


async def test_an_append_of_unknown_outcome_that_was_written_is_found(site: WorkersInMemory) -> None:
    outcomes = iter(["written"])
    site.server.faults = Faults(outcome=lambda _: "written" if next(outcomes, "") else "known")

    await site.result(append(journal(site.server.door("owner"), "owner")))

    assert site.server.stream.count(LOG) == 1


async def test_the_append_of_another_is_not_taken_for_ones_own(site: WorkersInMemory) -> None:
    rival = journal(site.server.door("rival"), "rival")
    await append(rival)
    site.server.faults = Faults(outcome=lambda _: "lost")

    with pytest.raises(Displaced):
        await site.result(append(journal(site.server.door("owner"), "owner")))


async def test_a_turn_that_does_not_follow_the_one_before_it_breaks_the_chain(site: WorkersInMemory) -> None:
    with pytest.raises(BrokenChainError, match="does not follow"):
        await history_of(site, turn(1, ""), turn(2, "another hash"))


async def test_a_gap_in_the_journal_breaks_the_chain(site: WorkersInMemory) -> None:
    with pytest.raises(BrokenChainError, match=r"turn 3 \(sequence 1\) follows turn 0"):
        await history_of(site, turn(3, ""))


# The order of things.


async def test_a_step_is_not_launched_before_the_turn_that_asks_for_it_is_stored(site: WorkersInMemory) -> None:
    is_stored: list[bool] = []
    lost = {"lost": 3}

    def outcome(operation: Operation) -> Literal["lost", "known"]:
        is_about_second = operation.name == "publish" and ".log." in operation.subject and lost["lost"] > 0
        lost["lost"] -= is_about_second
        is_stored.append("second" in executed)
        return "lost" if is_about_second else "known"

    site.server.faults = Faults(outcome=outcome)
    await site.add(two_steps)
    gate.set()

    run = await site.result(site.client.start(two_steps))

    assert await site.result(run.result()) == 3
    assert is_stored[:5] == [False] * 5


async def test_a_message_is_not_acknowledged_before_the_turn_that_consumes_it_is_stored(site: WorkersInMemory) -> None:
    gate.set()
    worker = await site.add(note_then_step)
    run = await site.result(site.client.start(note_then_step))
    await until_waiting(site, run.id)
    kill_at(site, worker, "publish", ".log.", "before")
    await site.result(run.signal("note", "hello"))
    await site.add(note_then_step)

    assert await site.result(run.result(timeout=600)) == "hello"


async def test_a_lease_is_kept_while_a_step_runs_so_that_a_second_death_is_noticed_too(site: WorkersInMemory) -> None:
    await site.result(site.client.start(two_steps, id="run"))
    for times in (1, 2):
        worker = await site.add(two_steps)
        await site.until(partial(ran_second, times))
        await site.pass_time(1)
        worker.kill()

    gate.set()
    await site.add(two_steps)

    assert await site.result(site.client.get_run("run", type=int).result(timeout=600)) == 3
    assert executed.count("first") == 1


async def test_a_timer_is_armed_before_the_run_is_let_go(site: WorkersInMemory) -> None:
    await site.add(sleeper)

    run = await site.result(site.client.start(sleeper))

    assert await site.result(run.result(timeout=600)) == "rested"


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_timer_that_its_owner_died_arming_is_armed_by_the_next_owner(
    site: WorkersInMemory, moment: Literal["before", "after"]
) -> None:
    owner = await site.add(sleeper)
    kill_at(site, owner, "schedule", ".timer.", moment)
    run = await site.result(site.client.start(sleeper))
    await site.until(lambda: not owner.door.process.is_alive)
    armed = list[str]()

    def note(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        if operation.name == "schedule" and now == "after":
            armed.append(operation.by)

    site.server.on_operation = note
    heir = await site.add(sleeper)

    assert await site.result(run.result(timeout=600)) == "rested"
    assert armed == [heir.door.name]


async def test_an_end_whose_notice_died_with_its_worker_is_announced_again(site: WorkersInMemory) -> None:
    gate.set()
    worker = await site.add(two_steps)
    kill_at(site, worker, "notify", ".done.", "before")
    await site.pass_time(15)  # A client that has just begun to listen looks for itself.
    began_ms = site.server.clock.now_ms()
    run = await site.result(site.client.start(two_steps))
    await site.add(two_steps)

    assert await site.result(run.result()) == 3

    assert site.server.clock.now_ms() - began_ms < 30_000


async def test_a_message_that_somebody_acknowledged_is_read_before_the_run_is_let_go(site: WorkersInMemory) -> None:
    site.server.faults = Faults(arrivals=lambda subject: () if ".wake." in subject else (0.0,))
    await site.add(step_then_question)
    run = await site.result(site.client.start(step_then_question))
    await site.until(lambda: "second" in executed)
    await site.pass_time(0.1)
    await site.result(run.resume("question", "yes"))
    gate.set()
    await site.pass_time(1)

    assert site.records(run.id, r.RunCompleted)


# Ownership.


async def test_the_owner_is_asked_before_its_run_is_taken_over(site: WorkersInMemory) -> None:
    owner = await site.add(two_steps)
    run = await site.result(site.client.start(two_steps))
    await site.until(lambda: "second" in executed)
    await site.pass_time(1)
    await site.add(two_steps)
    await redeliver_start(site, owner)
    gate.set()

    assert await site.result(run.result()) == 3

    assert executed == ["first", "second"]
    assert {turn.owner for turn in site.turns(run.id)} == {owner.host.worker}


async def test_a_start_that_comes_again_is_not_begun_while_somebody_is_in_its_first_steps(
    site: WorkersInMemory,
) -> None:
    owner = await site.add(two_steps)
    lose_appends_of(site, owner)
    run = await site.result(site.client.start(two_steps))
    await site.until(lambda: "first" in executed)
    await site.pass_time(1)
    await site.add(two_steps)
    await redeliver_start(site, owner)
    site.server.faults = Faults()
    gate.set()

    assert await site.result(run.result()) == 3

    assert executed == ["first", "second"]


async def test_a_start_that_is_not_new_any_more_is_recorded_before_its_first_step(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(two_steps))
    await site.pass_time(6)
    owner = await site.add(two_steps)
    lose_appends_of(site, owner)
    await site.pass_time(3)

    assert executed == []

    site.server.faults = Faults()
    gate.set()
    assert await site.result(run.result()) == 3
    assert executed == ["first", "second"]


async def test_a_zombies_late_acknowledgement_does_not_end_the_new_owners_lease(site: WorkersInMemory) -> None:
    zombie = await site.add(two_steps)
    run = await site.result(site.client.start(two_steps))
    await site.until(lambda: "second" in executed)
    await site.pass_time(1)
    zombie.door.stop()
    heir = await site.add(two_steps)
    await site.until(lambda: executed.count("second") == 2)
    await site.pass_time(1)

    site.server.consumer("start", "default").ack(1)  # What the zombie sent before it was stopped arrives now.
    heir.kill()
    gate.set()
    await site.add(two_steps)

    assert await site.result(run.result(timeout=600)) == 3


async def test_a_take_over_begins_a_new_epoch(site: WorkersInMemory) -> None:
    owner = await site.add(two_steps)
    run = await site.result(site.client.start(two_steps))
    await site.until(lambda: "second" in executed)
    await site.pass_time(1)
    owner.kill()
    gate.set()
    await site.add(two_steps)

    await site.result(run.result())

    assert [turn.epoch for turn in site.turns(run.id)] == sorted(turn.epoch for turn in site.turns(run.id))
    assert site.turns(run.id)[-1].epoch == 2


async def test_a_worker_that_was_stopped_launches_nothing_of_a_run_that_it_has_lost(site: WorkersInMemory) -> None:
    zombie = await site.add(two_steps)
    stop_after(site, zombie, "publish", ".log.")
    run = await site.result(site.client.start(two_steps))
    await site.until(lambda: zombie.door.process.is_stopped)
    await site.add(two_steps)
    await site.until(lambda: executed.count("second") == 1)

    zombie.door.resume()
    await site.pass_time(1)
    gate.set()

    assert await site.result(run.result()) == 3
    assert executed == ["first", "second"]


async def test_after_a_gap_in_contact_what_is_still_ones_own_is_held_again(site: WorkersInMemory) -> None:
    owner = await site.add(two_steps)
    run = await site.result(site.client.start(two_steps))
    await site.until(lambda: "second" in executed)
    await site.pass_time(1)
    deliveries: list[str] = []

    def arrivals(subject: str) -> Sequence[float]:
        deliveries.append(subject)
        return (0.0,)

    site.server.faults = Faults(arrivals=arrivals)
    owner.door.stop()
    await site.pass_time(6)
    owner.door.resume()

    await site.pass_time(60)

    # Nothing but its own fresh lease.
    assert deliveries == [site.client.subjects.wake("default", run.id)]
    gate.set()
    assert await site.result(run.result()) == 3


async def test_a_run_that_is_known_but_has_no_journal_is_corrupt_and_not_new(site: WorkersInMemory) -> None:
    worker = await site.add(two_steps)
    run = await site.result(site.client.start(two_steps))
    await site.until(lambda: "second" in executed)
    worker.kill()
    door, subjects = site.server.door("operator"), site.client.subjects
    sequence = await door.publish(subjects.wake("default", run.id), encode(Relit("worker-1", 2)))
    site.server.consumer("wake", "default").forget(sequence)
    await door.purge(subjects.log(run.id))

    await site.add(two_steps)
    await site.pass_time(60)

    assert [one.reason for one in site.records(run.id) if isinstance(one, r.Parked)] == ["corrupt"]
    assert executed == ["first", "second"]


async def test_a_timer_of_a_run_that_has_lost_its_journal_parks_it(site: WorkersInMemory) -> None:
    await site.add(sleeper)
    run = await site.result(site.client.start(sleeper))
    await until_waiting(site, run.id)
    await site.pass_time(10)
    await site.server.door("operator").purge(site.client.subjects.log(run.id))

    await site.pass_time(100)

    assert [one.reason for one in site.records(run.id) if isinstance(one, r.Parked)] == ["corrupt"]


# What is recorded, and what it means.


@step
async def whole() -> float:
    return 3


@workflow
async def kind_of_result(ctx: WorkflowContext) -> str:
    return type(await whole()).__name__


async def test_the_workflow_gets_the_decoded_value_at_the_first_execution_too(site: WorkersInMemory) -> None:
    await site.add(kind_of_result)

    run = await site.result(site.client.start(kind_of_result))

    assert await site.result(run.result()) == "float"


async def test_of_two_answers_at_once_one_is_refused(site: WorkersInMemory) -> None:
    await site.add(question_then_step)
    run = await site.result(site.client.start(question_then_step))
    await until_waiting(site, run.id)

    answers = await site.result(
        asyncio.gather(run.resume("question", "a"), run.resume("question", "b"), return_exceptions=True)
    )

    assert [type(one) for one in answers if one is not None] == [AlreadyAnsweredError]


async def test_a_signal_with_an_id_counts_once(site: WorkersInMemory) -> None:
    await site.add(notes)
    run = await site.result(site.client.start(notes))
    for text, id in (("a", "1"), ("a", "1"), ("b", "2")):
        await site.result(run.signal("note", text, id=id))

    assert await site.result(run.result()) == ["a", "b"]


async def test_an_interrupted_unsafe_step_is_not_run_again_but_waits_for_a_person(site: WorkersInMemory) -> None:
    worker = await site.add(one_payment)
    run = await site.result(site.client.start(one_payment))
    await site.until(lambda: executed == ["pay"])
    worker.kill()
    await site.add(one_payment)
    await site.pass_time(60)

    assert (await site.result(run.describe())).parked == "unknown_outcome"
    assert executed == ["pay"]


async def test_a_run_that_kills_its_workers_is_quarantined(site: WorkersInMemory) -> None:
    await site.result(site.client.start(two_steps, id="run"))
    for times in (1, 2, 3):
        worker = await site.add(two_steps)
        await site.until(partial(ran_second, times))
        await site.pass_time(1)
        worker.kill()

    await site.add(two_steps)
    await site.pass_time(60)

    assert (await site.result(site.client.get_run("run").describe())).parked == "quarantined"
    assert executed.count("second") == 3


async def test_code_that_asks_for_something_else_than_recorded_is_stuck(site: WorkersInMemory) -> None:
    worker = await site.add(two_steps)
    run = await site.result(site.client.start(two_steps))
    await site.until(lambda: "second" in executed)
    await site.pass_time(1)
    worker.kill()

    @workflow(name="two_steps")
    async def changed(ctx: WorkflowContext) -> int:
        return await first() + await other()

    await site.add(changed, code="other code")
    await site.pass_time(60)

    assert (await site.result(run.describe())).parked == "stuck"


# Ids.


async def test_one_id_is_one_run_in_whichever_queue(site: WorkersInMemory) -> None:
    await site.result(site.client.start(two_steps, id="run"))

    with pytest.raises(ConflictError):
        await site.result(site.client.start(two_steps, id="run", queue="other", on_conflict="fail"))


async def test_a_retired_run_does_not_run_again_when_its_start_comes_late(site: WorkersInMemory) -> None:
    gate.set()
    await site.add(two_steps)
    run = await site.result(site.client.start(two_steps))
    await site.result(run.result())
    door, subjects = site.server.door("janitor"), site.client.subjects
    start = await door.last(subjects.start_any_queue(run.id))
    assert start is not None
    await site.result(retire(door, subjects, run.id))

    with pytest.raises(FencedError):
        await door.publish(start.subject, start.data, fence=0, fence_subject=subjects.start_any_queue(run.id))


async def test_a_zombie_of_a_retired_run_appends_nothing(site: WorkersInMemory) -> None:
    gate.set()
    await site.add(two_steps)
    run = await site.result(site.client.start(two_steps))
    await site.result(run.result())
    door, log = site.server.door("janitor"), site.client.subjects.log(run.id)
    await site.result(retire(door, site.client.subjects, run.id))

    with pytest.raises(FencedError):
        await door.publish(log, encode(turn(1, "")), fence=0)


async def test_a_start_that_is_displaced_is_not_begun_over_and_over(site: WorkersInMemory) -> None:
    await site.add(two_steps)
    door, subjects = site.server.door("stranger"), site.client.subjects
    await door.publish(subjects.log("run"), encode(turn(1, "")))
    started = r.RunStarted("two_steps", "default", seed="1")

    await door.publish(subjects.start("default", "run"), encode(Start(1, started)))
    await site.pass_time(1)

    assert len(executed) < 3


# What these need.


def ran_second(times: int) -> bool:
    return executed.count("second") == times


async def until_waiting(site: WorkersInMemory, run: str) -> None:
    """Wait until the run waits and its owner has let it go."""
    await site.until(lambda: bool(site.records(run, r.Suspended, r.SignalAwaited, r.TimerArmed)))
    await site.passes()
