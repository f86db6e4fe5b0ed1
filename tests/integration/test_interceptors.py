"""Interceptors: around starts, signals, runs and steps, with headers that travel along."""

from __future__ import annotations

from typing import Any

import pytest
from tests.runs import recorded, suspended

from relight import (
    Interceptor,
    Relight,
    RequestCall,
    RunCall,
    RunFailed,
    SignalCall,
    StartCall,
    StepCall,
    StepFailed,
    Worker,
    WorkflowContext,
    step,
    workflow,
)
from relight.config.server import EmbeddedServer
from relight.sdk._interceptors import Next
from relight.subjects import records as r

seen: list[str] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


class Tenant(Interceptor):
    """Sends a header with starts and signals, and reads it around runs and steps."""

    def __init__(self, name: str = "acme") -> None:
        self.name = name

    async def start(self, call: StartCall, next: Next[StartCall]) -> Any:
        seen.append(f"start {call.workflow} {call.run_id}")
        call.headers["tenant"] = self.name
        return await next(call)

    async def signal(self, call: SignalCall, next: Next[SignalCall]) -> Any:
        seen.append(f"signal {call.name}")
        call.headers["tenant"] = self.name
        return await next(call)

    async def request(self, call: RequestCall, next: Next[RequestCall]) -> Any:
        call.headers["tenant"] = self.name
        answer = await next(call)
        seen.append(f"request {call.name} of {call.run_id}: {answer}")
        return answer

    async def run(self, call: RunCall, next: Next[RunCall]) -> Any:
        seen.append(f"run {call.workflow} for {call.headers.get('tenant')} replaying {call.is_replaying()}")
        result = await next(call)
        seen.append(f"run ended replaying {call.is_replaying()}")
        return result

    async def step(self, call: StepCall, next: Next[StepCall]) -> Any:
        seen.append(f"step {call.info.name}#{call.info.attempt} for {call.headers.get('tenant')}")
        return await next(call)


@step
async def works() -> str:
    seen.append("works")
    return "worked"


@workflow
async def flow(ctx: WorkflowContext) -> str:
    result = await works()
    await ctx.wait_for_signal("go", type=object)
    await ctx.suspend("pause")
    return result


async def test_headers_travel_from_the_start_to_run_and_steps_and_with_signals(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    async with Relight(shared_server.url, namespace=namespace, interceptors=[Tenant()]) as client:
        run = await client.start(flow, id="one")
        async with Worker(client, [flow], interceptors=[Tenant()]):
            await run.signal("go")
            await suspended(run, "pause")
        async with Worker(client, [flow], interceptors=[Tenant()]):
            await run.resume("pause")
            assert await run.result(timeout=10) == "worked"

        [signal] = await recorded(client, run, r.SignalReceived)
        assert signal.headers == {"tenant": "acme"}
    assert sorted(seen) == sorted(
        [
            "start flow one",
            "signal go",
            "run flow for acme replaying False",
            "step works#1 for acme",
            "works",
            "run flow for acme replaying True",
            "run ended replaying False",
        ]
    )
    assert seen[0] == "start flow one"


@workflow
async def doubles(ctx: WorkflowContext) -> None:
    async for request in ctx.requests("double", type=int):
        await request.reply(2 * request.data)
        break


async def test_headers_travel_with_requests_whose_answers_are_seen(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    async with Relight(shared_server.url, namespace=namespace, interceptors=[Tenant()]) as client:
        run = await client.start(doubles, id="one")
        async with Worker(client, [doubles]):
            assert await run.request("double", 4, type=int, timeout=10) == 8

        [request] = await recorded(client, run, r.RequestReceived)
        assert request.headers == {"tenant": "acme"}
    assert seen == ["start doubles one", "request double of one: 8"]


class Named(Interceptor):
    def __init__(self, name: str) -> None:
        self.name = name

    async def step(self, call: StepCall, next: Next[StepCall]) -> Any:
        seen.append(f"{self.name} before")
        result = await next(call)
        seen.append(f"{self.name} after")
        return f"{result} {self.name}"


async def test_the_first_interceptor_is_outermost_and_may_change_the_result(client: Relight) -> None:
    @workflow
    async def short(ctx: WorkflowContext) -> str:
        return await works()

    async with Worker(client, [short], interceptors=[Named("outer"), Named("inner")]):
        assert await client.call(short) == "worked inner outer"

    assert seen == ["outer before", "inner before", "works", "inner after", "outer after"]


class Refuses(Interceptor):
    async def start(self, call: StartCall, next: Next[StartCall]) -> Any:
        raise PermissionError("not allowed to start")

    async def step(self, call: StepCall, next: Next[StepCall]) -> Any:
        raise PermissionError("not allowed to run")


async def test_an_interceptor_that_raises_refuses_the_start(shared_server: EmbeddedServer, namespace: str) -> None:
    async with Relight(shared_server.url, namespace=namespace, interceptors=[Refuses()]) as client:
        with pytest.raises(PermissionError, match="not allowed to start"):
            await client.start(flow, id="refused")

        assert [run.id async for run in client.runs()] == []


async def test_what_an_interceptor_raises_around_a_step_is_the_steps_failure(client: Relight) -> None:
    @workflow
    async def short(ctx: WorkflowContext) -> str:
        try:
            return await works.options(on_exhausted="fail", total_timeout=0)()
        except StepFailed as error:
            return f"{error.error_type} {error}"

    async with Worker(client, [short], interceptors=[Refuses()]):
        assert await client.call(short) == "builtins.PermissionError not allowed to run"


async def test_an_interceptor_around_the_run_may_fail_it(client: Relight) -> None:
    class Guard(Interceptor):
        async def run(self, call: RunCall, next: Next[RunCall]) -> Any:
            raise PermissionError(f"{call.workflow} is closed")

    async with Worker(client, [flow], interceptors=[Guard()]):
        with pytest.raises(RunFailed, match="flow is closed"):
            await client.call(flow)


@workflow
async def child(ctx: WorkflowContext) -> str:
    return await works()


@workflow
async def sends(ctx: WorkflowContext) -> str:
    await ctx.signal("other", "go")
    return await ctx.call(child, id="child")


async def test_a_workers_interceptors_are_around_what_its_runs_send(client: Relight) -> None:
    other = await client.start(flow, id="other")
    async with Worker(client, [sends, child, flow], interceptors=[Tenant()]):
        assert await client.call(sends) == "worked"
        await suspended(other, "pause")

    [signal] = await recorded(client, other, r.SignalReceived)
    assert signal.headers == {"tenant": "acme"}
    assert [one for one in seen if one.startswith(("start", "signal"))] == ["signal go", "start child child"]
    assert "step works#1 for acme" in seen


class Signs(Interceptor):
    """Adds its name to a header of what is sent."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def start(self, call: StartCall, next: Next[StartCall]) -> Any:
        call.headers["by"] = f"{call.headers.get('by', '')} {self.name}"
        return await next(call)

    async def signal(self, call: SignalCall, next: Next[SignalCall]) -> Any:
        call.headers["by"] = f"{call.headers.get('by', '')} {self.name}"
        return await next(call)


async def test_its_clients_are_inside_of_them_and_what_both_have_is_around_it_once(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    both = Signs("both")
    async with Relight(shared_server.url, namespace=namespace, interceptors=[both, Signs("client")]) as client:
        other = await client.start(flow, id="other")
        async with Worker(client, [sends, child, flow], interceptors=[Signs("worker"), both]):
            await client.call(sends)
            await suspended(other, "pause")

        [signal] = await recorded(client, other, r.SignalReceived)
        [started] = await recorded(client, client.get_run("child"), r.RunStarted)
    assert signal.headers == {"by": " worker both client"}
    assert started.headers == {"by": " both client worker both client"}, "a child has its parent's headers, too"
