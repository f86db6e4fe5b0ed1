"""Bad input: one line of the right class, which names value, limit and remedy; nothing is lost, nothing floods."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel
from tests.runs import kinds, recorded, suspended, until

from relight import (
    InvalidIdError,
    InvalidValueError,
    PayloadTooLargeError,
    RefusedError,
    Relight,
    RelightError,
    Retry,
    RunFailed,
    StepFailed,
    UnavailableError,
    UnsuitableServerError,
    Worker,
    WorkflowContext,
    step,
    workflow,
)
from relight.config.guarded import find_binary
from relight.config.limits import LIMITS
from relight.subjects import records as r
from relight.testing import TestEnvironment

LIMIT = LIMITS.payload_bytes_max


class Order(BaseModel):
    id: str
    cents: int


@step
async def gives(count: int) -> str:
    return "x" * count


@workflow
async def takes(ctx: WorkflowContext, order: Order) -> str:
    return order.id


@workflow
async def pauses(ctx: WorkflowContext) -> str:
    answer = await ctx.suspend("pause", type=str)
    return str(len(answer))


@workflow
async def gives_back(ctx: WorkflowContext, count: int) -> str:
    try:
        return await gives(count)
    except StepFailed as error:
        return f"{error.error_type} {error}"


@workflow
async def tells(ctx: WorkflowContext, count: int) -> None:
    ctx.set_details("x" * count)
    await ctx.suspend("pause", "x" * count)


BAD_IDS = {
    "": "must not be empty",
    "a.b": "white space or control characters; use '-' or '_'",
    "a*": "use '-' or '_'",
    "a>": "use '-' or '_'",
    "a b": "use '-' or '_'",
    "a\tb": "use '-' or '_'",
    "a\nb": "use '-' or '_'",
    "a\x00b": "use '-' or '_'",
    "a\x7fb": "use '-' or '_'",
    "a\u2028b": "use '-' or '_'",
    "$JS": r"must not begin with \$",
    "x" * 129: "has 129 characters; the limit is 128; give a shorter one",
}


@pytest.mark.parametrize("bad", BAD_IDS, ids=repr)
async def test_a_bad_run_id_or_queue_is_refused_everywhere_and_nothing_is_stored(client: Relight, bad: str) -> None:
    calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
        lambda: client.start(pauses, id=bad),
        lambda: client.start(pauses, queue=bad),
        lambda: client.complete(f"{bad}~1~abc"),
    ]
    for call in calls:
        with pytest.raises(InvalidIdError, match=BAD_IDS[bad]) as refused:
            await call()
        assert "\n" not in str(refused.value)
        assert len(str(refused.value)) < 300
    with pytest.raises(InvalidIdError, match=BAD_IDS[bad]):
        client.get_run(bad)
    with pytest.raises(InvalidIdError, match=BAD_IDS[bad]):
        Worker(client, [pauses], queues=[bad])
    with pytest.raises(InvalidIdError, match=BAD_IDS[bad]):
        workflow(queue=bad)(pauses.function)
    assert [run.id async for run in client.runs()] == []


@pytest.mark.parametrize("bad", ["", "a\nb", "a\x00b", "x" * 129], ids=repr)
async def test_a_bad_name_is_refused_everywhere(client: Relight, bad: str) -> None:
    run = await client.start(pauses)
    calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
        lambda: client.start(bad, type=str),
        lambda: run.resume(bad),
        lambda: run.signal(bad),
        lambda: run.signal("fine", id=bad),
    ]
    for call in calls:
        with pytest.raises(InvalidIdError, match=r"must be printable text of 1 to 128 characters") as refused:
            await call()
        assert "\n" not in str(refused.value)
    with pytest.raises(InvalidIdError, match="printable text"):
        workflow(name=bad)(pauses.function)
    with pytest.raises(InvalidIdError, match="printable text"):
        gives.options(name=bad)


@workflow
async def names(ctx: WorkflowContext, bad: str, way: str) -> None:
    ways: dict[str, Callable[[], Awaitable[object]]] = {
        "suspend": lambda: ctx.suspend(bad),
        "wait_for_signal": lambda: ctx.wait_for_signal(bad, type=int),
        "signals": lambda: anext(aiter(ctx.signals(bad, type=int))),
        "requests": lambda: anext(aiter(ctx.requests(bad, type=int))),
        "signal": lambda: ctx.signal("another", bad),
        "step": lambda: ctx.step(bad, str),
        "start": lambda: ctx.start(bad, type=int),
        "tags": lambda: ctx.start("child", type=int, tags={bad: "value"}),
    }
    await ways[way]()


@pytest.mark.parametrize("bad", ["", "a\nb", "x" * 129], ids=repr)
@pytest.mark.parametrize(
    "way", ["suspend", "wait_for_signal", "signals", "requests", "signal", "step", "start", "tags"]
)
async def test_so_is_one_that_a_workflow_gives(bad: str, way: str) -> None:
    async with TestEnvironment([names]) as environment:
        run = await environment.client.start(names, bad, way)

        with pytest.raises(RunFailed, match="must be printable text of 1 to 128 characters") as refused:
            await run.result()
        assert refused.value.error_type == "relight.errors.InvalidIdError"
        assert await kinds(run) == ["RunStarted", "RunFailed"]


@pytest.mark.parametrize("bad", [5, None, b"bytes"], ids=repr)
async def test_an_id_that_is_no_text_is_refused_with_its_type(client: Relight, bad: Any) -> None:
    with pytest.raises(InvalidIdError, match=f"must be a string, not {type(bad).__name__}"):
        await client.start(pauses, id=bad)


async def test_names_may_be_any_printable_text_and_ids_of_full_length_work(client: Relight) -> None:
    @workflow(name="Prüfe > alles.*")
    async def odd(ctx: WorkflowContext) -> str:
        await ctx.suspend("été 1.2 > *")
        return "done"

    async with Worker(client, [odd]):
        run = await client.start(odd, id="é" * 128, queue="default")
        await suspended(run, "été 1.2 > *")
        await run.resume("été 1.2 > *")
        assert await run.result(timeout=10) == "done"


async def test_arguments_that_do_not_fit_are_refused_by_parameter_and_path(client: Relight) -> None:
    unfit: list[tuple[tuple[Any, ...], str]] = [
        (({"id": "o", "cents": "many"},), "cents"),
        (("text",), "order"),
        ((object(),), "order"),
    ]
    for arguments, named in unfit:
        with pytest.raises(InvalidValueError, match=named) as refused:
            await client.start(takes, *arguments)
        assert "\n" not in str(refused.value)
        assert "; " in str(refused.value), "a remedy follows"
    with pytest.raises(InvalidValueError, match=r"argument 'order' of takes: it is missing; pass exactly"):
        await client.start(takes)  # type: ignore[call-arg,arg-type]  # pyright: ignore  # the point
    with pytest.raises(TypeError, match="unknown options of start: quueue"):
        await client.start(takes, Order(id="o", cents=1), quueue="x")  # type: ignore[call-overload]  # pyright: ignore  # the point
    with pytest.raises(InvalidValueError, match="the datetime has no time zone"):
        await client.start(takes, Order(id="o", cents=1), at=datetime(2030, 1, 1))
    with pytest.raises(InvalidValueError, match=r"delay: -1.0 s is out of range; pass 0 seconds to 100 years"):
        await client.start(takes, Order(id="o", cents=1), delay=-1)
    with pytest.raises(RefusedError, match="at= and delay= exclude each other; pass one"):
        await client.start(takes, Order(id="o", cents=1), at=datetime.now().astimezone(), delay=1)
    with pytest.raises(RefusedError, match="on_conflict='maybe' is unknown; pass 'attach' or 'fail'"):
        await client.start(takes, Order(id="o", cents=1), on_conflict="maybe")  # type: ignore[call-overload]  # pyright: ignore  # the point
    with pytest.raises(InvalidIdError, match="tag value 5 must be printable text of 1 to 128 characters"):
        await client.start(takes, Order(id="o", cents=1), tags={"a": 5})  # type: ignore[dict-item]  # pyright: ignore  # the point
    with pytest.raises(InvalidValueError, match=r"tags: \['a'\] is no mapping; pass names and values"):
        await client.start(takes, Order(id="o", cents=1), tags=["a"])  # type: ignore[call-overload]  # pyright: ignore  # the point
    with pytest.raises(InvalidIdError, match="queue 'a/b' must not contain '/'"):
        await client.start(takes, Order(id="o", cents=1), queue="a/b")
    assert [run.id async for run in client.runs()] == []


async def test_what_no_run_can_have_is_not_looked_for(client: Relight) -> None:
    wanted: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"status": "faild"}, InvalidValueError, "status: 'faild' is unknown; pass one of queued, "),
        ({"tags": ["a"]}, InvalidValueError, r"tags: \['a'\] is no mapping"),
        ({"tags": {"a": 1}}, InvalidIdError, "tag value 1 must be printable text"),
    ]
    for filters, error, named in wanted:
        with pytest.raises(error, match=named):
            _ = [run async for run in client.runs(**filters)]
    with pytest.raises(InvalidIdError, match="awakeable token 5 is none"):
        await client.complete(5)  # type: ignore[arg-type]  # pyright: ignore  # the point


@workflow
async def maps_what_is_no_step(ctx: WorkflowContext) -> None:
    await ctx.map(len, ["a"])  # type: ignore[call-overload]  # pyright: ignore  # the point


async def test_a_map_over_what_is_no_step_fails_the_run_at_once(client: Relight) -> None:
    async with Worker(client, [maps_what_is_no_step]):
        with pytest.raises(RunFailed, match="<built-in function len> is no step and no workflow; decorate it"):
            await client.call(maps_what_is_no_step)


async def test_arguments_by_name_that_do_not_fit_fail_the_run_with_parameter_and_path(client: Relight) -> None:
    async with Worker(client, [takes]):
        with pytest.raises(RunFailed, match="cents") as failed:
            await client.call("takes", {"id": "o", "cents": "many"}, type=str)
        with pytest.raises(RunFailed, match=r"order"):
            await client.call("takes", type=str)

    assert failed.value.error_type == "relight.errors.InvalidValueError"
    assert "\n" not in str(failed.value)


async def test_data_that_is_no_json_is_refused_with_the_remedy(client: Relight) -> None:
    run = await client.start(pauses)
    calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
        lambda: run.resume("pause", object()),
        lambda: run.signal("note", {1: object()}),
        lambda: client.start("takes", object(), type=str),
        lambda: run.signal("note", "\ud800"),
        lambda: run.cancel(reason="\ud800"),
        lambda: run.terminate(reason="\ud800"),
    ]
    for call in calls:
        with pytest.raises(InvalidValueError, match=r"; pass ") as refused:
            await call()
        assert "\n" not in str(refused.value)
    assert (await run.describe()).waits_for[0].startswith("a worker of queue 'default' since ")


def too_large(what: str, size: int) -> str:
    return f"{what} is {size} bytes; the limit is {LIMIT}; store it elsewhere and pass a reference"


@pytest.fixture
async def strict(client: Relight, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Relight]:
    """A client that allows values of `LIMIT` bytes."""
    monkeypatch.setenv("RELIGHT_VALUE_BYTES_MAX", str(LIMIT))
    async with Relight(list(client.settings.servers), namespace=client.settings.namespace) as one:
        yield one


async def test_data_at_the_limit_passes_and_one_byte_more_is_refused(strict: Relight) -> None:
    run = await strict.start(pauses)
    fits, over = "x" * (LIMIT - 2), "x" * (LIMIT - 1)
    calls: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "the answer to 'pause'": lambda: run.resume("pause", over),
        "signal 'note'": lambda: run.signal("note", over),
        "request 'note'": lambda: run.request("note", over, type=str),
        "the reason": lambda: run.cancel(reason=over),
        "an argument": lambda: strict.start("takes", over, type=str),
    }
    for what, call in calls.items():
        with pytest.raises(PayloadTooLargeError) as refused:
            await call()
        assert str(refused.value) == too_large(what, LIMIT + 1)

    await run.signal("note", fits)
    await run.resume("pause", fits)
    async with Worker(strict, [pauses]):
        assert await run.result(timeout=10) == str(LIMIT - 2)


@step(retry=Retry(attempts=1), on_exhausted="park")
async def breaks() -> str:
    raise RuntimeError("broken")


@workflow
async def needs_others(ctx: WorkflowContext) -> list[int]:
    answer = ctx.awakeable(type=str)
    ctx.set_details(answer.token)
    return [len(await answer), len(await breaks())]


async def test_what_others_say_of_awakeables_and_steps_at_the_limit_passes_and_one_byte_more_is_refused(
    strict: Relight,
) -> None:
    fits, over = "x" * (LIMIT - 2), "x" * (LIMIT - 1)
    async with Worker(strict, [needs_others]):
        run = await strict.start(needs_others)
        token = str((await until(run, lambda described: described.details is not None)).details)
        with pytest.raises(PayloadTooLargeError) as refused:
            await strict.complete(token, over)
        assert str(refused.value) == too_large("the answer", LIMIT + 1)

        await strict.complete(token, fits)
        await until(run, lambda described: described.parked == "retries_exhausted")
        with pytest.raises(PayloadTooLargeError) as refused:
            await run.resolve("breaks", result=over)
        assert str(refused.value) == too_large("the result", LIMIT + 1)

        await run.resolve("breaks", result=fits)
        assert await run.result(timeout=10) == [LIMIT - 2, LIMIT - 2]


async def test_a_start_at_the_limit_passes_and_one_byte_more_is_refused(client: Relight) -> None:
    @workflow
    async def measures(ctx: WorkflowContext, first: list[str], *rest: str) -> int:
        return len(first) + len(rest)

    part = "x" * (client.settings.value_inline_bytes_max - 2)
    parts = [part] * (LIMIT // len(part))
    with pytest.raises(PayloadTooLargeError, match="the start is") as refused:
        await client.start("measures", [], *parts, type=int)
    rest = len(part) - (refused.value.size_bytes - LIMIT)

    with pytest.raises(PayloadTooLargeError) as one_more:
        await client.start("measures", [], *parts[1:], part[: rest + 1], type=int)

    assert str(one_more.value) == too_large("the start", LIMIT + 1)
    async with Worker(client, [measures]):
        assert await client.call("measures", [], *parts[1:], part[:rest], type=int) == len(parts)


async def test_a_result_at_the_limit_passes_and_one_byte_more_fails_the_step_without_a_retry(strict: Relight) -> None:
    async with Worker(strict, [gives_back]):
        assert await strict.call(gives_back, LIMIT - 2) == "x" * (LIMIT - 2)
        run = await strict.start(gives_back, LIMIT - 1)
        told = await run.result(timeout=10)

    assert told == "relight.errors.PayloadTooLargeError " + too_large("the result of step 'gives'", LIMIT + 1)
    assert await recorded(strict, run, r.StepAttemptFailed) == []


async def test_details_and_data_of_suspensions_at_the_limit_pass_and_one_byte_more_fails_the_run(
    strict: Relight,
) -> None:
    async with Worker(strict, [tells]):
        run = await strict.start(tells, LIMIT - 2)
        described = await suspended(run, "pause")
        assert described.details == "x" * (LIMIT - 2)
        await run.resume("pause")
        await run.result(timeout=10)

        with pytest.raises(RunFailed) as failed:
            await strict.call(tells, LIMIT - 1)
    assert str(failed.value) == too_large("details", LIMIT + 1)
    assert failed.value.error_type == "relight.errors.PayloadTooLargeError"


async def test_an_awakeable_token_that_is_none_is_refused(client: Relight) -> None:
    with pytest.raises(InvalidIdError, match=r"token 'nonsense' is none; pass what ctx.awakeable\(\).token was"):
        await client.complete("nonsense")
    with pytest.raises(RefusedError, match="no run 'run' is known"):
        await client.complete("run~1~abc")
    run = await client.start(pauses)
    with pytest.raises(InvalidIdError) as refused:
        await client.complete(f"{run.id}~1~abc")
    assert str(refused.value) == (
        f"awakeable token '{run.id}~1~abc' is none of run '{run.id}'; pass what ctx.awakeable().token was"
    )
    with pytest.raises(InvalidIdError, match="is none of run"):
        await client.complete(f"{run.id}~one~abc")


def unused_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


@asynccontextmanager
async def nothing_listens(port: int) -> AsyncGenerator[None]:
    yield


@asynccontextmanager
async def greets_with(port: int, greeting: bytes) -> AsyncGenerator[None]:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", port):
        yield


def too_old(port: int) -> AbstractAsyncContextManager[None]:
    return greets_with(port, b'INFO {"version":"2.11.9","headers":true,"max_payload":1048576,"jetstream":true}\r\n')


def no_nats(port: int) -> AbstractAsyncContextManager[None]:
    return greets_with(port, b"220 mail.example.org ESMTP\r\n")


@asynccontextmanager
async def without_jetstream(port: int) -> AsyncGenerator[None]:
    arguments = (find_binary(), "-a", "127.0.0.1", "-p", str(port))
    server = await asyncio.create_subprocess_exec(*arguments, stderr=asyncio.subprocess.DEVNULL)
    try:
        yield
    finally:
        server.terminate()
        await server.wait()


async def refusal(serving: Callable[[int], AbstractAsyncContextManager[None]]) -> RelightError:
    """What opening a client says of this server."""
    port = unused_port()
    async with serving(port):
        with pytest.raises(RelightError) as refused:
            async with Relight(f"nats://127.0.0.1:{port}"):
                pass
    return refused.value


async def test_an_unsuitable_server_is_one_line_and_no_flood(capfd: pytest.CaptureFixture[str]) -> None:
    unreachable, other, old, bare = await asyncio.gather(
        refusal(nothing_listens), refusal(no_nats), refusal(too_old), refusal(without_jetstream)
    )

    assert isinstance(unreachable, UnavailableError)
    assert re.search(r"no NATS server let us in at nats://127\.0\.0\.1:\d+ within 5 s \(.*111", str(unreachable))
    assert isinstance(other, UnavailableError)
    assert isinstance(old, UnsuitableServerError)
    assert re.search(r"nats-server 2\.11\.9 is too old; install nats-server 2\.14.* or later", str(old))
    assert isinstance(bare, UnsuitableServerError)
    assert str(bare) == "this NATS server has no JetStream; start nats-server with -js"
    assert not any("\n" in str(one) for one in (unreachable, other, old, bare))
    captured = capfd.readouterr()
    assert "Traceback" not in captured.err + captured.out
    assert len((captured.err + captured.out).splitlines()) < 10


async def test_no_server_named_is_refused_with_both_ways_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RELIGHT_URL", raising=False)

    with pytest.raises(InvalidValueError, match=r"no server is named.*RELIGHT_URL.*Relight\.local\(\)"):
        async with Relight():
            pass
