"""Example workflows that are crashed everywhere, each with the world around it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from relight import (
    RefusedError,
    RequestRejected,
    Retry,
    Run,
    RunEndedError,
    RunFailed,
    Secret,
    StepFailed,
    UnavailableError,
    WorkflowContext,
    step,
    workflow,
)
from relight.actors.run.state import RunState
from relight.subjects import records as r
from relight.testing.stage import Stage, stage_here
from relight.testing.trial import Scenario

__all__ = ("SCENARIOS", "SECRETS")


@step
async def add(one: int, other: int) -> int:
    return one + other


@step
def in_a_thread(text: str) -> str:
    return text.upper()


@step
async def slow(text: str) -> str:
    """Takes five seconds of the stage's time; on a real server it is quick."""
    stage = stage_here()
    if stage is not None:
        await stage.sleep(5)
    return text


@step
async def never_ends() -> str:
    stage = stage_here()
    if stage is not None:
        await stage.sleep(1_000_000)
    else:
        await asyncio.Event().wait()
    return "never"


@workflow
async def in_sequence(ctx: WorkflowContext, count: int) -> int:
    total = 0
    for number in range(count):
        total = await add(total, number)
    return total


@workflow
async def gathers(ctx: WorkflowContext) -> list[int]:
    return list(await asyncio.gather(add(1, 1), add(2, 2), add(3, 3)))


@step(retry=Retry(attempts=1))
async def fails() -> int:
    raise LookupError("nothing there")


@workflow
async def group_with_a_failure(ctx: WorkflowContext) -> str:
    said = "no failure"
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(never_ends())
            group.create_task(fails())
    except* StepFailed as failed:
        kept = await add(20, 1)
        said = f"{kept} {len(failed.exceptions)}"
    return said


@workflow
async def step_against_timer(ctx: WorkflowContext) -> str:
    try:
        async with asyncio.timeout(2):
            return await never_ends()
    except TimeoutError:
        return await slow("too late")


@workflow
async def signal_against_timer(ctx: WorkflowContext) -> str:
    heard = asyncio.ensure_future(ctx.wait_for_signal("word", type=str))
    timer = asyncio.ensure_future(ctx.sleep(300))
    done, pending = await asyncio.wait((heard, timer), return_when=asyncio.FIRST_COMPLETED)
    for one in pending:
        one.cancel()
    return await slow(heard.result() if heard in done else "silence")


@workflow
async def suspends_and_sleeps(ctx: WorkflowContext, start: int) -> int:
    first = await add(start, 1)
    answer = await ctx.suspend("review", {"first": first}, type=int)
    await ctx.sleep(2)
    return await add(first, answer)


@workflow
async def takes_signals(ctx: WorkflowContext) -> list[str]:
    heard: list[str] = []
    async for text in ctx.signals("item", type=str):
        if text == "end":
            break
        heard.append(await slow(text))
    return heard


@step(retry=Retry(attempts=3, delay=5, jitter=0))
async def fails_at_first(until: int) -> int:
    if step.info().attempt < until:
        raise ConnectionError("away")
    return step.info().attempt


@workflow
async def retries(ctx: WorkflowContext) -> list[int]:
    durable = await fails_at_first(3)
    brief = await fails_at_first.options(name="briefly", retry=Retry(delay=0.05, jitter=0))(2)
    return [durable, brief]


@step(effect="unsafe")
async def send(text: str) -> str:
    return f"sent {text}"


@workflow
async def sends_unsafely(ctx: WorkflowContext) -> str:
    return await send(str(await add(1, 2)))


@workflow
async def waits_for_awakeable(ctx: WorkflowContext) -> str:
    answer = ctx.awakeable(type=str)
    ctx.set_details(answer.token)
    return await slow(await answer)


async def complete_it(stage: Stage, run: Run[Any]) -> None:
    """Whoever has the token answers."""
    await stage.until(lambda: stage.observer.state(run.id).details is not None)
    token = (await run.describe()).details
    await stage.client.complete(str(token), "by token")


@workflow
async def signals_another(ctx: WorkflowContext, other: str) -> str:
    with suppress(StepFailed):  # A signal that nobody acknowledged has come, and the run has ended since.
        await ctx.signal(other, "word", "from a run")
    return "told"


async def start_the_other(stage: Stage, run: Run[Any]) -> None:
    await stage.client.start(signals_another, run.id, id="other")


@workflow
async def cleans_up(ctx: WorkflowContext) -> str:
    try:
        await ctx.wait_for_signal("never", type=str)
    except asyncio.CancelledError:
        await add(1, 1)
        await ctx.sleep(3)
        await slow("clean")
        raise
    return "not cancelled"


async def cancel_it(stage: Stage, run: Run[Any]) -> None:
    await stage.until(lambda: bool(stage.observer.state(run.id).waits) or stage.observer.state(run.id).end is not None)
    await run.cancel(reason="enough")


async def terminate_it(stage: Stage, run: Run[Any]) -> None:
    await stage.until(lambda: bool(stage.observer.state(run.id).waits) or stage.observer.state(run.id).end is not None)
    await run.terminate(reason="enough")


@step(retry=Retry(attempts=2, delay=0.05, jitter=0), on_exhausted="park")
async def exhausts() -> str:
    raise ConnectionError("away for good")


@workflow
async def parks(ctx: WorkflowContext) -> str:
    return await slow(await exhausts())


async def retry_and_resolve_it(stage: Stage, run: Run[Any]) -> None:
    """A person has it tried again, and then says what became of it."""

    def state() -> RunState:
        return stage.observer.state(run.id)

    def exhausted() -> int:
        records = stage.observer.records(run.id)
        return sum(isinstance(one, r.Parked) and one.reason == "retries_exhausted" for one in records)

    def is_parked() -> bool:
        return state().parked is not None and exhausted() > decided

    decided = 0
    while state().end is None:
        await stage.until(lambda: is_parked() or state().end is not None)
        decided = exhausted()
        with suppress(RefusedError):  # It was told before: it goes on, or has ended.
            await (run.retry() if decided == 1 else run.resolve("exhausts#1", result="by hand"))


@workflow
async def in_line(ctx: WorkflowContext, count: int) -> str:
    first = await in_sequence(ctx, count)
    second = await gathers(ctx)
    return f"{first} {second} {await in_a_thread('x')}"


@workflow
async def waits_with_a_step(ctx: WorkflowContext) -> str:
    """A suspension is open while a step runs and a timer is armed."""
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(ctx.suspend("both", type=str, timeout=600))
        text = group.create_task(slow("step"))
        group.create_task(ctx.sleep(2))
    return f"{answer.result()} {text.result()}"


@workflow
async def doubled(ctx: WorkflowContext, number: int) -> int:
    if number < 0:
        raise ValueError("negative")
    return await add(number, number)


@workflow
async def calls_children(ctx: WorkflowContext) -> str:
    """One child that ends well and one that fails, at the same time."""
    well, failed = await asyncio.gather(ctx.call(doubled, 1), ctx.call(doubled, -1), return_exceptions=True)
    return f"{well} {isinstance(failed, RunFailed) and failed.matches(ValueError)}"


@workflow
async def tidies_up(ctx: WorkflowContext) -> str:
    try:
        return await ctx.wait_for_signal("never", type=str)
    except asyncio.CancelledError:
        await add(1, 1)
        raise


@workflow
async def waits_for_children(ctx: WorkflowContext) -> str:
    """Ends before its children: one is cancelled, for one it waits."""
    await ctx.start(tidies_up, id="cancelled", on_parent_close="cancel")
    await ctx.start(doubled, 3, id="awaited", on_parent_close="wait")
    return "ended"


@workflow
async def holds_a_tree(ctx: WorkflowContext) -> str:
    return await ctx.call(tidies_up)


@workflow
async def leaves_a_child(ctx: WorkflowContext) -> str:
    """Both time out at its deadline."""
    await ctx.start(tidies_up, on_parent_close="detach")
    await ctx.sleep(1_000)
    return "not timed out"


@workflow
async def maps(ctx: WorkflowContext) -> str:
    return f"{await ctx.map(slow, ['a', 'b'], concurrency=2)} {await ctx.map(doubled, [-4], max_failures=1)}"


@workflow
async def patches(ctx: WorkflowContext) -> str:
    text = await slow("new" if ctx.patched("first") else "old")
    return f"{text} {'new' if ctx.patched('second') else 'old'}"


@workflow
async def continues(ctx: WorkflowContext, left: int, heard: str) -> str:
    """Goes on under three histories; takes one signal in each, whenever it came; a child lives across them."""
    if left == 3:
        await ctx.start(tidies_up)
    heard += await slow(await ctx.wait_for_signal("item", type=str))
    if left > 1:
        ctx.continue_as_new(left - 1, heard)
    return f"{heard} {await add(left, left)}"


@workflow(pin="version")
async def stays_with_its_version(ctx: WorkflowContext) -> int:
    total = await add(1, 1)
    total = await add(total, await ctx.suspend("review", type=int))
    return await add(total, 1)


@step(retry=Retry(attempts=2, delay=0.05, jitter=0))
async def cannot_undo(what: str) -> None:
    raise ConnectionError(f"{what} is away")


@workflow
async def undoes(ctx: WorkflowContext) -> str:
    """Fails after three steps, one of which can't be undone."""
    for text in ("flight", "hotel"):
        ctx.compensate(slow, f"no {text}")
        await add(1, 1)
    ctx.compensate(cannot_undo, "car")
    return str(await fails())


@workflow
async def undoes_when_cancelled(ctx: WorkflowContext) -> str:
    ctx.compensate(add, 1, 2)
    ctx.compensate(slow, "no flight")
    return await ctx.wait_for_signal("never", type=str)


@workflow
async def answers_requests(ctx: WorkflowContext, total: int) -> int:
    """Answers each by a step; rejects one; continues as new between two; ends with one that it has not answered."""
    async for asked in ctx.requests("add", type=int):
        if asked.data < 0:
            await asked.reject("negative")
        elif asked.data == 0:
            return total
        else:
            total = await add(total, asked.data)
            await asked.reply(total)
            if asked.data == 2:
                ctx.continue_as_new(total)
    return total


async def ask_it(stage: Stage, run: Run[Any]) -> None:
    """Whoever asks again after a crash gets the answers that were given."""
    said: list[object] = []
    for id, number in {"a": 1, "b": -1, "c": 2, "d": 3}.items():
        said.append(await _asked(run, number, id))
    with suppress(RunEndedError):
        await run.request("add", 0, type=int, id="e")
    assert said == [1, "negative", 3, 6], said


async def _asked(run: Run[Any], number: int, id: str) -> object:
    while True:
        try:
            return await run.request("add", number, type=int, id=id)
        except RequestRejected as rejected:
            return rejected.reason
        except UnavailableError:
            continue


@workflow
async def is_paused(ctx: WorkflowContext) -> list[str]:
    """Held while a step is under way, a signal comes and a timer falls due."""
    async with asyncio.TaskGroup() as group:
        heard = group.create_task(ctx.wait_for_signal("word", type=str))
        said = group.create_task(slow("under way"))
        group.create_task(ctx.sleep(2))
    return [heard.result(), said.result(), await slow("after")]


async def pause_it(stage: Stage, run: Run[Any]) -> None:
    def has(kind: type) -> bool:
        turns = stage.observer.turns(run.id)
        return any(isinstance(record, kind) for turn in turns for record in turn.records)

    def is_over() -> bool:
        return stage.observer.state(run.id).end is not None

    await stage.until(lambda: has(r.SignalAwaited) or is_over())
    if not has(r.Paused):
        await run.pause()
    await stage.until(lambda: has(r.Paused) or is_over())
    await run.signal("word", "meanwhile", id="w-1")
    await stage.sleep(10)
    if not has(r.Unpaused):
        await run.unpause()


async def pause_and_cancel_it(stage: Stage, run: Run[Any]) -> None:
    await stage.until(lambda: bool(stage.observer.state(run.id).waits) or stage.observer.state(run.id).end is not None)
    await run.pause()
    await stage.sleep(10)
    await run.cancel(reason="enough")


@workflow
async def forked(ctx: WorkflowContext, first: str, second: str) -> str:
    return f"{await slow(first)} {await slow(second)}"


async def fork_it(stage: Stage, run: Run[Any]) -> None:
    """A run beside it goes on from its first step with another argument."""
    await stage.until(lambda: any(isinstance(one, r.StepCompleted) for one in stage.observer.records(run.id)))
    fork = await run.fork(after="slow#1", args=("a", "c"), id="fork")
    assert await fork.result() == "a c"


LARGE = 70_000
"""Characters of a value that is stored apart."""


@step
async def grown(text: str) -> str:
    return text * 2


@step(retry=Retry(attempts=2, delay=1))
async def beats_and_fails(text: str) -> int:
    """Its second attempt has what the first one has left."""
    left = step.last_heartbeat(str)
    if left is None:
        step.heartbeat(text)
        raise LookupError("not yet")
    return len(left)


@workflow
async def gives_back(ctx: WorkflowContext, text: str) -> str:
    return text + "!"


@workflow
async def carries(ctx: WorkflowContext, text: str) -> str:
    """All is large: arguments and results, a signal, an answer, a reply, details, a heartbeat."""
    ctx.set_details(text)
    twice = await grown(text)
    heard = await ctx.wait_for_signal("more", type=str)
    answer = await ctx.suspend("review", text, type=str)
    async for asked in ctx.requests("echo", type=str):
        await asked.reply(asked.data + "?")
        break
    back = await ctx.call(gives_back, twice)
    assert back == f"{twice}!"
    return f"{await beats_and_fails(text)} {heard}{answer}"


async def echo_it(stage: Stage, run: Run[Any]) -> None:
    while True:
        with suppress(UnavailableError):
            said = await run.request("echo", "q" * LARGE, type=str, id="echo")
            assert said == "q" * LARGE + "?"
            assert (await run.describe()).details == "a" * LARGE
            return


def _named(one: Scenario) -> str:
    if one.workflow is signal_against_timer and one.signals:
        return "signal_against_timer_heard"
    if one.with_start is not None:
        return f"{one.workflow.name}_with_its_start"
    if one.story is terminate_it:
        return f"{one.workflow.name}_terminated"
    if one.story is pause_and_cancel_it:
        return f"{one.workflow.name}_paused"
    if one.others == (signals_another,):
        return f"{one.workflow.name}_told_by_another"
    return f"{one.workflow.name}{'_delayed' if 'delay' in one.options else ''}"


SECRETS = {"key": "sk-canary-0123456789"}


@step
async def reveals(secret: Secret) -> int:
    return len(secret.reveal())


@step
def tells(secret: Secret) -> str:
    return f"it is {secret.reveal()}"


@workflow
async def keeps_a_secret(ctx: WorkflowContext, secret: Secret) -> list[int | str | Secret]:
    said: list[int | str | Secret] = [await reveals(secret)]
    try:
        await tells(secret)
    except StepFailed as error:
        said.append(str(error))
    said.append(await ctx.call(passes_a_secret, secret))
    ctx.set_details({"said": said, "with": secret})
    return said


@workflow
async def passes_a_secret(ctx: WorkflowContext, secret: Secret) -> Secret:
    await reveals(secret)
    return secret


SCENARIOS: dict[str, Scenario] = {
    _named(one): one
    for one in (
        Scenario(workflow=in_sequence, args=(3,)),
        Scenario(workflow=gathers),
        Scenario(workflow=group_with_a_failure),
        Scenario(workflow=step_against_timer),
        Scenario(workflow=signal_against_timer),
        Scenario(workflow=signal_against_timer, signals=[("word", "heard", "w-1")]),
        Scenario(workflow=signal_against_timer, story=start_the_other, others=(signals_another,)),
        Scenario(workflow=suspends_and_sleeps, args=(1,), answers={"review": 5}),
        Scenario(
            workflow=takes_signals,
            signals=[("item", "a", "1"), ("item", "b", "2"), ("item", "b", "2"), ("item", "end", "3")],
        ),
        Scenario(workflow=retries),
        Scenario(workflow=sends_unsafely),
        Scenario(workflow=waits_for_awakeable, story=complete_it),
        Scenario(workflow=cleans_up, story=cancel_it),
        Scenario(workflow=in_line, args=(2,)),
        Scenario(workflow=waits_with_a_step, answers={"both": "yes"}),
        Scenario(workflow=in_sequence, args=(1,), options={"delay": 60}),
        Scenario(workflow=calls_children, others=(doubled,)),
        Scenario(workflow=waits_for_children, others=(doubled, tidies_up)),
        Scenario(workflow=holds_a_tree, story=cancel_it, others=(tidies_up,)),
        Scenario(workflow=holds_a_tree, story=terminate_it, others=(tidies_up,)),
        Scenario(workflow=parks, story=retry_and_resolve_it),
        Scenario(workflow=maps, others=(doubled,)),
        Scenario(workflow=patches),
        Scenario(workflow=forked, args=("a", "b"), story=fork_it),
        Scenario(workflow=undoes),
        Scenario(workflow=is_paused, story=pause_it),
        Scenario(workflow=leaves_a_child, options={"timeout": 30}, others=(tidies_up,)),
        Scenario(workflow=cleans_up, story=pause_and_cancel_it),
        Scenario(workflow=undoes_when_cancelled, story=cancel_it),
        Scenario(
            workflow=continues,
            args=(3, ""),
            signals=[("item", "a", "1"), ("item", "b", "2"), ("item", "b", "2"), ("item", "c", "3")],
            others=(tidies_up,),
        ),
        Scenario(workflow=answers_requests, args=(0,), story=ask_it),
        Scenario(
            workflow=carries,
            args=("a" * LARGE,),
            signals=[("more", "s" * LARGE, "s-1")],
            answers={"review": "r" * LARGE},
            story=echo_it,
            others=(gives_back,),
        ),
        Scenario(
            workflow=keeps_a_secret,
            args=(Secret("key"),),
            others=(passes_a_secret,),
            secrets=SECRETS.get,
        ),
        Scenario(workflow=stays_with_its_version, answers={"review": 5}),
        Scenario(workflow=takes_signals, with_start=("item", "a", "1"), signals=[("item", "end", "2")]),
    )
}
