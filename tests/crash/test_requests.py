"""Requests to a run: answered once, from what is stored, whatever is lost, doubled or dies in between."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import (
    AlreadyAnsweredError,
    InvalidValueError,
    MailboxFullError,
    PayloadTooLargeError,
    RefusedError,
    RelightError,
    RequestRejected,
    Run,
    RunEndedError,
    RunNotFoundError,
    WaitTimedOut,
    WorkflowContext,
    step,
    workflow,
)
from relight.config.limits import LIMITS
from relight.subjects import messages as m
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.turn import Turn
from relight.testing.memory import Faults, MemoryDoor, Operation
from relight.testing.memory.faults import Outcome

handled: list[object] = []


@step
async def handle(text: str) -> str:
    handled.append(text)
    return text.upper()


@workflow
async def shouts(ctx: WorkflowContext, left: int) -> str:
    async for asked in ctx.requests("shout", type=str):
        await asked.reply(await handle(asked.data))
        left -= 1
        if not left:
            break
    return "done"


@workflow
async def ends_without(ctx: WorkflowContext) -> str:
    async for _ in ctx.requests("shout", type=str):
        break
    return "done"


@workflow
async def refuses(ctx: WorkflowContext) -> list[int]:
    """Rejects the first one it sees, answers the second, and tries to do so again."""
    seen: list[int] = []
    async for asked in ctx.requests("number", type=int):
        seen.append(asked.data)
        if len(seen) == 1:
            await asked.reject("not the first one")
            continue
        await asked.reply({"seen": asked.data})
        with pytest.raises(AlreadyAnsweredError):
            await asked.reject("too late")
        return seen
    return seen


@workflow
async def in_parallel(ctx: WorkflowContext) -> int:
    """Answers in the order opposite to that in which it was asked."""
    asked = ctx.requests("shout", type=str)
    first, second = await anext(asked), await anext(asked)
    await second.reply(2)
    await first.reply(1)
    return await anext(ctx.signals("end", type=int))


@workflow
async def answers_and_continues(ctx: WorkflowContext, generation: int) -> int:
    """Continues as new in the turn of an answer, with another request that is taken and not answered."""
    requests = ctx.requests("shout", type=str)
    asked = await anext(requests)
    if generation == 1:
        other = await anext(requests)
        await asked.reply(generation)
        assert other.data
        ctx.continue_as_new(2)
    await asked.reply(generation)
    return await anext(ctx.signals("end", type=int))


@workflow
async def answers_much(ctx: WorkflowContext, continues: bool) -> str:
    async for asked in ctx.requests("size", type=int):
        await asked.reply("x" * asked.data)
        if continues:
            try:
                ctx.continue_as_new(False)
            except PayloadTooLargeError as error:
                return str(error)
    return ""


@pytest.fixture(autouse=True)
def fresh() -> None:
    handled.clear()


async def started(site: WorkersInMemory, of: Any, *args: object) -> Run[Any]:
    await site.add(of)
    run: Run[Any] = await site.result(site.client.start(of, *args, id="run"))
    return run


def asking(run: Run[Any], text: object = "hello", **options: Any) -> asyncio.Task[Any]:
    name = options.pop("name", "shout")
    return asyncio.ensure_future(run.request(name, text, type=object, **options))


async def test_a_request_is_answered_and_recorded(site: WorkersInMemory) -> None:
    run = await started(site, shouts, 2)

    said = [await site.result(asking(run)), await site.result(asking(run, "you"))]

    assert said == ["HELLO", "YOU"]
    kinds = [type(one).__name__ for one in site.records("run", r.RequestAwaited, r.RequestReceived, r.RequestReplied)]
    assert kinds == 2 * ["RequestAwaited", "RequestReceived", "RequestReplied"]
    assert await site.result(run.result()) == "done"


async def test_requests_wait_for_the_code_and_come_in_order(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(shouts, 3, id="run"))
    asked = [asking(run, text) for text in ("a", "b", "c")]
    await site.passes()
    await site.add(shouts)

    assert await site.result(asyncio.gather(*asked)) == ["A", "B", "C"]


async def test_answers_may_come_in_another_order_than_requests(site: WorkersInMemory) -> None:
    run = await started(site, in_parallel)

    first, second = asking(run, "a"), asking(run, "b")

    assert [await site.result(first), await site.result(second)] == [1, 2]


async def test_an_id_counts_once_and_gives_the_same_answer_again(site: WorkersInMemory) -> None:
    run = await started(site, shouts, 3)

    said = [await site.result(asking(run, "once", id="r-1")) for _ in range(3)]
    both = await site.result(asyncio.gather(asking(run, "twice", id="r-2"), asking(run, "twice", id="r-2")))

    await site.result(asking(run, "last"))

    assert [*said, *both] == [*3 * ["ONCE"], "TWICE", "TWICE"]
    assert handled == ["once", "twice", "last"]
    assert await site.result(asking(run, "once", id="r-1")) == "ONCE", "also when the run has ended"


async def test_a_request_of_unknown_outcome_is_sent_again_and_handled_once(site: WorkersInMemory) -> None:
    run = await started(site, shouts, 2)
    outcomes: list[Outcome] = ["lost", "written"]

    def outcome(operation: Operation) -> Outcome:
        is_it = operation.name == "publish" and ".wake." in operation.subject and operation.by == "client"
        return outcomes.pop() if is_it and outcomes else "known"

    site.server.faults = Faults(outcome=outcome)

    assert await site.result(asking(run)) == "HELLO"
    assert await site.result(asking(run, "again")) == "AGAIN"
    assert handled == ["hello", "again"]


async def test_the_answer_is_not_told_before_it_is_stored(site: WorkersInMemory) -> None:
    run = await started(site, shouts, 2)
    await site.until(lambda: bool(site.records("run", r.RequestAwaited)))
    told: list[bool] = []

    def hook(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        if operation.name == "notify" and ".answer." in operation.subject and now == "before":
            told.append(bool(site.records("run", r.RequestReplied)))

    site.server.on_operation = hook

    assert await site.result(asking(run)) == "HELLO"
    assert told == [True]


async def test_an_answer_whose_notice_died_with_its_worker_is_found(site: WorkersInMemory) -> None:
    run = await started(site, shouts, 2)
    worker = site.workers[0]
    asked = asking(run)

    def hook(door: MemoryDoor, operation: Operation, now: Literal["before", "after"]) -> None:
        if ".log." in operation.subject and now == "after" and site.records("run", r.RequestReplied):
            worker.door.kill()

    site.server.on_operation = hook
    await site.until(lambda: bool(site.records("run", r.RequestReplied)))
    worker.kill()

    began_ms = site.server.clock.now_ms()
    assert await site.result(asked) == "HELLO"
    assert site.server.clock.now_ms() - began_ms <= 5_000


async def test_who_is_not_answered_hears_of_the_end_at_once(site: WorkersInMemory) -> None:
    run = await started(site, ends_without)
    began_ms = site.server.clock.now_ms()

    with pytest.raises(RunEndedError, match="has ended"):
        await site.result(asking(run))

    assert site.server.clock.now_ms() - began_ms < 1_000


async def test_a_run_that_has_ended_and_one_that_is_unknown_refuse_at_once(site: WorkersInMemory) -> None:
    run = await started(site, ends_without)
    with pytest.raises(RunEndedError):
        await site.result(asking(run))

    with pytest.raises(RunEndedError):
        await site.result(asking(run))
    with pytest.raises(RunNotFoundError):
        await site.result(asking(site.client.get_run("nobody")))
    with pytest.raises(RunNotFoundError):
        await site.result(asking(site.client.get_run("nobody"), id="r-1"))


async def test_a_workflow_refuses_with_a_reason_and_answers_only_once(site: WorkersInMemory) -> None:
    run = await started(site, refuses)

    with pytest.raises(RequestRejected, match="not the first one") as rejected:
        await site.result(asking(run, 1, name="number"))
    assert await site.result(asking(run, 2, name="number")) == {"seen": 2}

    assert (rejected.value.request, rejected.value.path) == ("number", "")
    assert await site.result(run.result()) == [1, 2]
    assert len(site.records("run", r.RequestReplied, r.RequestRejected)) == 2


async def test_data_that_does_not_fit_is_rejected_with_its_path_and_not_seen(site: WorkersInMemory) -> None:
    @workflow
    async def takes(ctx: WorkflowContext) -> object:
        async for asked in ctx.requests("lines", type=dict[str, list[int]]):
            await asked.reply("taken")
            return asked.data
        return None

    run = await started(site, takes)

    with pytest.raises(RequestRejected, match="integer") as rejected:
        await site.result(asking(run, {"a": [1, "two"]}, name="lines"))
    assert await site.result(asking(run, {"a": [1, 2]}, name="lines")) == "taken"

    assert rejected.value.path == "data.a[1]"
    assert [one.path for one in site.records("run", r.RequestRejected) if isinstance(one, r.RequestRejected)] == [
        "data.a[1]"
    ]
    assert await site.result(run.result()) == {"a": [1, 2]}


async def test_what_can_not_be_sent_or_read_is_refused(site: WorkersInMemory) -> None:
    run = await started(site, shouts, 2)

    with pytest.raises(InvalidValueError):
        await site.result(asking(run, object()))
    with pytest.raises(InvalidValueError, match="the answer to request 'shout'"):
        await site.result(run.request("shout", "text", type=int))


async def test_a_time_out_leaves_the_request_to_be_found_by_its_id(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(shouts, 1, id="run"))

    with pytest.raises(WaitTimedOut, match=r"request 'shout' \(id 'r-1'\) .* may still be handled"):
        await run.request("shout", "late", type=str, timeout=0.01, id="r-1")
    await site.add(shouts)

    assert await site.result(asking(run, "late", id="r-1")) == "LATE"
    assert handled == ["late"]


async def test_a_full_mailbox_refuses(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(shouts, 1, id="run"))
    wake = encode(m.Signal(name="noise"))
    for _ in range(LIMITS.mailbox_messages_max):
        site.server.stream.publish(site.client.subjects.wake("default", "run"), wake, fence=None, fence_subject=None)

    with pytest.raises(MailboxFullError):
        await run.request("shout", "hello", type=str)


async def test_a_large_answer_is_read_from_the_journal(site: WorkersInMemory) -> None:
    run = await started(site, answers_much, False)

    assert len(await site.result(asking(run, 100_000, name="size"))) == 100_000


async def test_answers_and_open_requests_live_on_when_a_run_continues_as_new(site: WorkersInMemory) -> None:
    run = await site.result(site.client.start(answers_and_continues, 1, id="run"))
    asked = [asking(run, text, id=text) for text in ("a", "b")]
    await site.passes()
    await site.add(answers_and_continues)

    assert await site.result(asyncio.gather(*asked)) == [1, 2]
    assert [await site.result(asking(run, text, id=text)) for text in ("a", "b")] == [1, 2]
    assert site.records("run", r.Continued)


async def test_an_answer_that_was_not_carried_over_is_said_to_be_lost(site: WorkersInMemory) -> None:
    opening = (r.Continued(generation=2, started_at_ms=0, records=3, request_ids=("gone",)), r.RunStarted("w", "q"))
    turn = Turn(v=1, number=7, append="x.1", owner="x", epoch=1, lease=0, at_ms=1, previous="0" * 32, records=opening)
    site.server.stream.publish(site.client.subjects.log("run"), encode(turn), fence=None, fence_subject=None)

    with pytest.raises(RefusedError, match="was not kept"):
        await site.client.answers.answer_of("run", "gone", never_sent, is_new=False)


async def never_sent() -> None:
    raise AssertionError("it was asked before")


async def test_a_large_answer_is_carried_over_as_a_reference(site: WorkersInMemory) -> None:
    run = await started(site, answers_much, True)

    size = LIMITS.payload_bytes_max
    assert len(await site.result(asking(run, size, name="size", id="r-1"))) == size
    assert len(await site.result(asking(run, size, name="size", id="r-1"))) == size

    assert (await site.result(run.describe())).history_bytes < 10_000


async def test_who_waits_for_an_answer_is_told_that_the_client_was_closed(site: WorkersInMemory) -> None:
    await site.result(site.client.start(shouts, 1, id="run"))
    async with site.another_client() as client:
        asking = asyncio.create_task(client.get_run("run").request("shout", "hello", type=str, id="mine"))
        await site.passes()

    await site.passes(asking.done)

    with pytest.raises(RelightError, match="'mine' to run 'run'; it may be handled"):
        asking.result()
