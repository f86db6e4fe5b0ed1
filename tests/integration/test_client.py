"""The client: starting, finding, describing and answering runs; workers and their queues."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel
from tests.runs import kinds, suspended, until

from relight import (
    ConflictError,
    InvalidValueError,
    RefusedError,
    Relight,
    RelightError,
    Run,
    RunFailed,
    RunNotFoundError,
    WaitTimedOut,
    Worker,
    WorkflowContext,
    step,
    workflow,
)
from relight.config.server import EmbeddedServer


class Order(BaseModel):
    id: str
    cents: int = 5


@workflow
async def process(ctx: WorkflowContext, order: Order, notify: bool = True) -> str:
    return f"{order.id} {order.cents} {notify}"


@workflow(queue="slow")
async def pauses(ctx: WorkflowContext) -> str:
    await ctx.suspend("pause")
    return ctx.queue


@workflow
async def continues(ctx: WorkflowContext, left: int) -> int:
    await ctx.suspend(f"pause {left}")
    if left > 1:
        ctx.continue_as_new(left - 1)
    return left


@workflow
async def raises(ctx: WorkflowContext) -> None:
    raise LookupError("not there")


async def test_a_start_is_durable_when_it_returns_and_runs_later_at_any_worker(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    async with Relight(shared_server.url, namespace=namespace) as client:
        run = await client.start(process, Order(id="o"), False, id="order-1")
        described = await run.describe()
    assert described.status == "queued"
    assert described.waits_for[0].startswith("a worker of queue 'default' since ")
    assert described.history_records == 0
    assert described.worker is None

    async with Relight(shared_server.url, namespace=namespace) as client:
        async with Worker(client, [process]):
            assert await client.get_run("order-1", type=str).result(timeout=10) == "o 5 False"


async def test_the_same_start_attaches_to_the_run_and_gives_its_result_also_when_it_has_ended(client: Relight) -> None:
    async with Worker(client, [process]):
        first = await client.start(process, Order(id="o"), id="same")
        assert await first.result(timeout=10) == "o 5 True"

        second = await client.start(process, Order(id="o"), id="same")

        assert await second.result(timeout=10) == "o 5 True"
        assert (await kinds(second)).count("RunStarted") == 1


async def test_many_clients_that_start_the_same_id_at_once_start_one_run(client: Relight) -> None:
    async with Worker(client, [process]):
        runs = await asyncio.gather(*(client.start(process, Order(id="o"), id="one") for _ in range(20)))
        results = await asyncio.gather(*(run.result(timeout=10) for run in runs))

    assert set(results) == {"o 5 True"}
    assert [run.id async for run in client.runs()] == ["one"]


async def test_a_reused_id_is_a_conflict_that_names_it(client: Relight) -> None:
    await client.start(process, Order(id="o"), id="taken")

    with pytest.raises(ConflictError, match=r"run 'taken' exists with other arguments; choose another id"):
        await client.start(process, Order(id="other"), id="taken")
    with pytest.raises(ConflictError, match=r"run 'taken' exists, of workflow 'process'; choose another id"):
        await client.start(pauses, id="taken")
    with pytest.raises(ConflictError, match=r"run 'taken' exists already, and on_conflict='fail'"):
        await client.start(process, Order(id="o"), id="taken", on_conflict="fail")
    with pytest.raises(ConflictError, match="choose another id"):
        await client.start(process, Order(id="other"), id="taken", queue="elsewhere")


async def test_an_attached_start_in_another_queue_is_the_same_run(client: Relight) -> None:
    await client.start(pauses, id="attached")
    attached = await client.start(pauses, id="attached", queue="elsewhere")

    await attached.resume("pause")

    async with Worker(client, [pauses]):
        assert await attached.result(timeout=10) == "slow"


async def test_a_workflow_is_started_by_name_with_typed_result(client: Relight) -> None:
    async with Worker(client, [process]):
        run = await client.start("process", Order(id="o"), type=str)
        assert await run.result(timeout=10) == "o 5 True"
        assert await client.call("process", {"id": "p"}, False, type=str) == "p 5 False"


async def test_two_workflows_of_one_name_are_refused_by_the_worker(client: Relight) -> None:
    other = workflow(name="process")(raises.function)

    with pytest.raises(RefusedError, match=r"two workflows are named 'process'; give one another name: @workflow"):
        Worker(client, [process, other])


async def test_a_plain_function_is_no_workflow(client: Relight) -> None:
    async def plain(ctx: WorkflowContext) -> None: ...

    with pytest.raises(RefusedError, match=r"is no workflow; decorate it with @workflow, or pass its name"):
        await client.start(plain)
    with pytest.raises(TypeError, match=r"is no workflow; decorate it with @workflow"):
        Worker(client, [plain])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]  # the point


async def test_runs_lists_the_newest_first_and_filters(client: Relight) -> None:
    async with Worker(client, [process, raises]):
        for number in range(3):
            await client.call(process, Order(id=str(number)), id=f"p{number}", tags={"even": str(number % 2 == 0)})
        with pytest.raises(RunFailed):
            await client.call(raises, id="r")
        await client.start(pauses, id="q")

        everything = [run.id async for run in client.runs()]
        processed = [run.id async for run in client.runs(workflow="process")]
        failed = [run.id async for run in client.runs(status="failed")]
        queued = [run.id async for run in client.runs(status="queued")]
        even = [run.id async for run in client.runs(tags={"even": "True"})]
        none = [run.id async for run in client.runs(workflow="process", tags={"odd": "x"})]

    assert everything == ["q", "r", "p2", "p1", "p0"]
    assert processed == ["p2", "p1", "p0"]
    assert (failed, queued, even, none) == (["r"], ["q"], ["p2", "p0"], [])


async def test_describe_says_in_words_how_a_run_stands(client: Relight) -> None:
    worker = Worker(client, [pauses])
    async with worker:
        run = await client.start(pauses)
        described = await suspended(run, "pause")
        worker_id = worker.id
        await run.resume("pause")
        await run.result(timeout=10)
    ended = await run.describe()

    assert described.status == "waiting"
    assert described.worker == worker_id
    assert described.attempt == 1
    assert described.history_records == 2
    assert described.history_bytes > 100
    assert described.last_error is None
    assert ended.status == "completed"
    assert ended.waits_for == ()
    assert ended.since >= described.since


async def test_a_failed_run_keeps_type_message_and_traceback(client: Relight) -> None:
    async with Worker(client, [raises]):
        with pytest.raises(RunFailed, match="not there") as failed:
            await client.call(raises, id="failed")

    assert failed.value.error_type == "builtins.LookupError"
    assert 'raise LookupError("not there")' in failed.value.traceback
    assert (await client.get_run("failed").describe()).last_error == "builtins.LookupError: not there"


async def test_history_shows_every_record_and_goes_on_after_a_sequence(client: Relight) -> None:
    async with Worker(client, [pauses]):
        run = await client.start(pauses)
        await suspended(run, "pause")
        await run.resume("pause")
        await run.result(timeout=10)

    every = [(one.sequence, one.kind) async for one in run.history()]
    later = [(one.sequence, one.kind) async for one in run.history(after=2)]

    assert every == [(1, "RunStarted"), (2, "Suspended"), (3, "AnswerReceived"), (4, "RunCompleted")]
    assert later == every[2:]


async def test_history_follows_a_run_to_its_end(client: Relight) -> None:
    run = await client.start(pauses)
    followed: list[str] = []

    async def follow() -> None:
        async for record in run.history(follow=True):
            followed.append(record.kind)

    following = asyncio.create_task(follow())
    async with Worker(client, [pauses]):
        await suspended(run, "pause")
        async with asyncio.timeout(10):
            while len(followed) < 2:
                await asyncio.sleep(0.005)
        await run.resume("pause")
        await asyncio.wait_for(following, 10)

    assert followed == ["RunStarted", "Suspended", "AnswerReceived", "RunCompleted"]


async def test_history_follows_from_any_sequence_also_one_that_is_still_to_come(client: Relight) -> None:
    run = await client.start(pauses)
    followed: dict[int, list[int]] = {after: [] for after in (0, 1, 3)}

    async def follow(after: int) -> None:
        async for record in run.history(follow=True, after=after):
            followed[after].append(record.sequence)

    following = [asyncio.create_task(follow(after)) for after in followed]
    async with Worker(client, [pauses]):
        await suspended(run, "pause")
        async with asyncio.timeout(10):
            while len(followed[1]) < 1:
                await asyncio.sleep(0.005)
        await run.resume("pause")
        await asyncio.wait_for(asyncio.gather(*following), 10)

    assert followed == {0: [1, 2, 3, 4], 1: [2, 3, 4], 3: [4]}


async def test_who_follows_a_history_goes_on_in_the_next_one_of_a_run_that_continues_as_new(client: Relight) -> None:
    run = await client.start(continues, 2)
    followed: list[tuple[int, str]] = []

    async def follow() -> None:
        async for record in run.history(follow=True, after=1):
            followed.append((record.sequence, record.kind))

    async with Worker(client, [continues]):
        following = asyncio.create_task(follow())
        for left in (2, 1):
            await suspended(run, f"pause {left}")
            async with asyncio.timeout(10):
                while not followed or followed[-1][1] != "Suspended":
                    await asyncio.sleep(0.005)
            await run.resume(f"pause {left}")
        await asyncio.wait_for(following, 10)

    assert followed == [
        (2, "Suspended"),
        (3, "Continued"),
        (4, "RunStarted"),
        (5, "Unparked"),
        (6, "Suspended"),
        (7, "AnswerReceived"),
        (8, "RunCompleted"),
    ]


async def unknown_calls(run: Run[object]) -> None:
    for call in (
        run.result(timeout=5),
        run.describe(),
        run.resume("x"),
        run.signal("x"),
        run.cancel(),
        run.terminate(),
        run.retry(),
        run.resolve("x#1"),
    ):
        with pytest.raises(RunNotFoundError, match="no run 'nobody' is known; it was never started here"):
            await call
    with pytest.raises(RunNotFoundError):
        async for _ in run.history():
            pass


async def test_an_unknown_run_is_said_to_be_unknown_by_every_call(client: Relight) -> None:
    await unknown_calls(client.get_run("nobody"))


async def test_a_run_that_has_not_begun_is_not_said_to_be_unknown_by_fork(client: Relight) -> None:
    run = await client.start(pauses)

    with pytest.raises(RefusedError, match="has not begun; fork it when it has a history"):
        await run.fork(after="pause#1")
    with pytest.raises(RunNotFoundError):
        await client.get_run("nobody").fork(after="pause#1")


async def test_result_gives_up_after_its_timeout_and_the_run_goes_on(client: Relight) -> None:
    run = await client.start(pauses, id="patient")

    with pytest.raises(WaitTimedOut, match=r"run 'patient' had no result within 0.05 s; it goes on"):
        await run.result(timeout=0.05)

    async with Worker(client, [pauses]):
        await run.resume("pause")
        assert await run.result(timeout=10) == "slow"


async def test_a_client_that_is_not_open_says_how_to_open_it(shared_server: EmbeddedServer) -> None:
    closed = Relight(shared_server.url)

    with pytest.raises(RelightError, match=r"not open; use `async with Relight\(…\) as client:`"):
        await closed.start(process, Order(id="o"))
    with pytest.raises(RelightError, match="not open"):
        closed.get_run("x")
    with pytest.raises(RelightError, match="not open"):
        _ = [run async for run in closed.runs()]
    with pytest.raises(RelightError, match="not open"):
        async with Worker(closed, [process]):
            pass


async def test_a_worker_takes_runs_of_its_queues_only(client: Relight) -> None:
    slow = await client.start(pauses)
    await slow.resume("pause")
    moved = await client.start(pauses, queue="fast")
    await moved.resume("pause")

    async with Worker(client, [pauses], queues=["fast"]):
        assert await moved.result(timeout=10) == "fast"
        assert (await slow.describe()).status == "queued"
    async with Worker(client, [pauses]):
        assert await slow.result(timeout=10) == "slow"


async def test_a_worker_advances_at_most_its_concurrency_of_runs_at_once(client: Relight) -> None:
    running: list[int] = []
    highest: list[int] = []
    full = asyncio.Event()

    @step
    async def works(number: int) -> None:
        running.append(number)
        highest.append(len(running))
        if len(running) == 2:
            full.set()
        await full.wait()
        await asyncio.sleep(0)
        running.remove(number)

    @workflow
    async def busy(ctx: WorkflowContext, number: int) -> None:
        await works(number)

    async with Worker(client, [busy], concurrency=2):
        runs = [await client.start(busy, number) for number in range(6)]
        await asyncio.gather(*(run.result(timeout=20) for run in runs))

    assert max(highest) == 2


async def test_waiting_runs_do_not_count_against_the_concurrency(client: Relight) -> None:
    async with Worker(client, [pauses], concurrency=1):
        runs = [await client.start(pauses) for _ in range(4)]
        for run in runs:
            await suspended(run, "pause")
        for run in runs:
            await run.resume("pause")

        assert [await run.result(timeout=10) for run in runs] == ["slow"] * 4


@pytest.mark.parametrize("concurrency", [0, 100_001])
async def test_a_concurrency_out_of_range_is_refused(client: Relight, concurrency: int) -> None:
    with pytest.raises(InvalidValueError, match=f"concurrency: {concurrency} is out of range; pass 1 to 100000"):
        Worker(client, [process], concurrency=concurrency)


async def test_a_parked_run_only_takes_decisions(client: Relight) -> None:
    async with Worker(client, [pauses]):
        run = await client.start(pauses)
        await suspended(run, "pause")

        with pytest.raises(RefusedError, match=r"is waiting, not parked; there is nothing to decide"):
            await run.retry()
        with pytest.raises(RefusedError, match=r"step 'x#1' of run '.*' does not wait for a person.*: none"):
            await run.resolve("x#1", result=1)
        with pytest.raises(RefusedError, match=r"result, error and rerun exclude each other; pass one"):
            await run.resolve("x#1", result=1, rerun=True)
        await until(run, lambda described: described.status == "waiting")


async def test_who_follows_a_history_is_told_that_the_client_was_closed(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    begun = asyncio.Event()

    async def follow(run: Run[str]) -> None:
        async for _ in run.history(follow=True):
            begun.set()

    async with Relight(shared_server.url, namespace=namespace) as other, Worker(other, [pauses]):
        async with Relight(shared_server.url, namespace=namespace) as client:
            following = asyncio.create_task(follow(await client.start(pauses)))
            await asyncio.wait_for(begun.wait(), 10)

        with pytest.raises(RelightError, match="not open"):
            await asyncio.wait_for(following, 10)


async def test_a_handle_goes_on_when_its_client_is_opened_again(shared_server: EmbeddedServer, namespace: str) -> None:
    client = Relight(shared_server.url, namespace=namespace)
    async with client:
        run = await client.start(pauses)
        assert (await run.describe()).status == "queued"

    with pytest.raises(RelightError, match="not open"):
        await run.describe()
    async with client:
        assert (await run.describe()).status == "queued"
        await run.resume("pause")
