"""A canary in secrets, on a real server: however the code misbehaves, it is found nowhere."""

from __future__ import annotations

import asyncio
import json
import logging
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from tests.crash.workers_in_memory import workers_in_memory
from tests.raw_nats import connected
from tests.runs import until

from relight import (
    Relight,
    RequestRejected,
    Retry,
    RunCancelled,
    RunFailed,
    Secret,
    SecretExposedError,
    StepFailed,
    Worker,
    Workflow,
    WorkflowContext,
    step,
    workflow,
)
from relight.config.server import EmbeddedServer
from relight.subjects import records as r

CANARY = 'canary"quetzal\\zyzzyva'
KEY = Secret("key")
LEAKS: list[str] = []


@step
async def returns(key: Secret) -> dict[str, object]:
    return {"keys": [{key.reveal(): 1}]}


@step
async def returns_bytes(key: Secret) -> bytes:
    return f"user:{key.reveal()}".encode()


@step
def returns_in_a_thread(key: Secret) -> str:
    return json.dumps({"arguments": json.dumps({"key": key.reveal()})})


@step(retry=Retry(attempts=2, delay=0.01))
async def raises(key: Secret) -> None:
    try:
        raise KeyError(key.reveal())
    except KeyError as error:
        error.add_note(f"with {key.reveal()}")
        raise RuntimeError(f"can't use {key.reveal()!r}") from error


@step(retry=Retry(attempts=1))
async def beats(key: Secret) -> None:
    step.heartbeat({"at": key.reveal()})


@step(retry=Retry(attempts=1))
async def starts(key: Secret, client_url: str, namespace: str) -> None:
    async with Relight(client_url, namespace=namespace) as client:
        await client.start(harmless, key.reveal(), id="never")


@step(retry=Retry(attempts=1))
async def signals(key: Secret, client_url: str, namespace: str) -> None:
    async with Relight(client_url, namespace=namespace) as client:
        await client.get_run("any").signal("word", [key.reveal()])


@step(retry=Retry(attempts=1))
async def leaks(key: Secret) -> None:
    LEAKS.append(key.reveal())


@workflow
async def harmless(ctx: WorkflowContext, text: str) -> str:
    return text


@workflow
async def misbehaves(ctx: WorkflowContext, key: Secret, url: str, namespace: str) -> list[str]:
    said: list[str] = []
    calls: list[Any] = [returns(key), returns_bytes(key), returns_in_a_thread(key), raises(key), beats(key)]
    calls += [starts(key, url, namespace), signals(key, url, namespace)]
    for one in calls:
        try:
            await one
        except StepFailed as error:
            said += [str(error), error.error_type, error.traceback]
    await leaks(key)
    ctx.log.warning(f"it is {LEAKS[0]}", of=[LEAKS[0]])
    return said


@workflow
async def fails(ctx: WorkflowContext, key: Secret) -> None:
    await leaks(key)
    raise ValueError(f"{LEAKS[0]} is refused")


@workflow
async def suspends(ctx: WorkflowContext, key: Secret, way: str) -> object:
    await leaks(key)
    match way:
        case "suspends":
            await ctx.suspend("review", LEAKS[0])
        case "shows":
            ctx.set_details({"key": LEAKS[0]})
            await ctx.sleep(1)
        case "replies":
            async for request in ctx.requests("ask", type=object):
                await request.reply(LEAKS[0])
        case "rejects":
            async for request in ctx.requests("ask", type=object):
                await request.reject(f"not {LEAKS[0]}")
                break
        case "calls":
            await ctx.call(harmless, LEAKS[0])
        case "continues":
            ctx.continue_as_new(KEY, LEAKS[0])
        case _:
            return {way: LEAKS[0]}
    return None


def traces(data: bytes) -> bool:
    plain = CANARY.encode()
    once = json.dumps(CANARY)[1:-1].encode()
    coded = [b64encode(b"\0" * skipped + plain)[4:-4] for skipped in range(3)]
    return any(one in data for one in (b"quetzal", b"zyzzyva", plain, once, *coded))


def in_store(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and traces(path.read_bytes())]


async def test_a_canary_is_found_nowhere_however_the_code_misbehaves(
    server: EmbeddedServer, namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    heard: list[bytes] = []
    async with connected(server.url) as raw, Relight(server.url, namespace=namespace) as client:

        async def hear(message: Any) -> None:
            heard.append(message.subject.encode() + message.data + str(message.headers).encode())

        await raw.subscribe(">", cb=hear)  # pyright: ignore[reportUnknownMemberType]  # its options are untyped
        async with Worker(client, [misbehaves, harmless, fails, suspends], secrets={"key": CANARY}.get):
            said = await client.call(misbehaves, KEY, server.url, namespace, id="m-1")
            with pytest.raises(RunFailed, match=r"\[secret key\] is refused") as failed:
                await client.call(fails, KEY, id="f-1")
            stuck = ["suspends", "shows", "replies", "continues", "returns"]
            for way in stuck:
                run = await client.start(suspends, KEY, way, id=f"s-{way}")
                asked = asyncio.ensure_future(run.request("ask", None, type=object)) if way == "replies" else None
                described = await until(run, lambda described: described.parked is not None)
                assert described.parked == "stuck"
                assert "secret 'key' stands in it" in (described.last_error or "")
                heard.append(repr(described).encode())
                if asked is not None:
                    asked.cancel()
            run = await client.start(suspends, KEY, "rejects", id="s-rejects")
            with pytest.raises(RequestRejected, match=r"not \[secret key\]"):
                await run.request("ask", None, type=object)
            with pytest.raises(RunFailed, match="the start of child") as refused:
                await client.call(suspends, KEY, "calls", id="s-calls")
            for id in ("m-1", "f-1", "s-calls"):
                heard.append(repr(await client.get_run(id).describe()).encode())
                heard += [repr(record).encode() async for record in client.get_run(id).history()]
        await raw.flush()
    server.stop()

    assert len(said) == 3 * 7
    assert {said[at + 1] for at in (0, 3, 6, 12, 15, 18)} == {"relight.errors.SecretExposedError"}
    assert refused.value.matches(StepFailed)
    out = capfd.readouterr()
    texts = [*said, str(failed.value), failed.value.traceback, str(refused.value), caplog.text, out.out, out.err]
    assert not any(traces(text.encode()) for text in texts)
    assert len(heard) > 100
    assert [one for one in heard if traces(one)] == []
    assert in_store(tmp_path) == []


@workflow
async def sleeps(ctx: WorkflowContext) -> None:
    await ctx.sleep(1000)


@workflow
async def gives_up(ctx: WorkflowContext, key: Secret) -> None:
    await leaks(key)
    child = await ctx.start(sleeps, id="child")
    await child.cancel(reason=f"it is {LEAKS[0]}")


async def test_the_reason_for_which_a_child_is_cancelled_is_redacted() -> None:
    LEAKS.clear()
    async with workers_in_memory() as site:
        await site.add(gives_up, sleeps, secrets={"key": CANARY}.get)
        run = await site.result(site.client.start(gives_up, KEY))
        await site.result(run.result())

        with pytest.raises(RunCancelled, match=r"it is \[secret key\]"):
            await site.result(site.client.get_run("child").result())

        stored = [*site.records("child"), *site.records(run.id)]
        assert [one for one in stored if traces(repr(one).encode())] == []


def answers(word: str) -> Workflow[..., Any]:
    """Return one workflow in two versions: they answer a request, and one of them with a secret in its words."""

    @workflow(name="answers")
    async def one(ctx: WorkflowContext, key: Secret) -> None:
        async for request in ctx.requests("ask", type=str):
            if word == "rejects":
                await request.reject(f"not {LEAKS[0]}")
            else:
                await request.reply("yes")

    return one


async def test_a_divergence_is_told_without_secrets() -> None:
    async with workers_in_memory() as site:
        worker = await site.add(answers("replies"), fails, secrets={"key": CANARY}.get)
        run = await site.result(site.client.start(answers("replies"), KEY))
        assert await site.result(run.request("ask", "?", type=str)) == "yes"
        await site.pass_time(3)  # Its owner lets go of it.
        worker.kill()
        await site.add(answers("rejects"), fails, secrets={"key": CANARY}.get)
        with pytest.raises(RunFailed):
            await site.result(site.client.call(fails, KEY))

        await site.result(run.signal("any"))
        await site.until(lambda: bool(site.records(run.id, r.Parked)))

        [parked] = [one for one in site.records(run.id, r.Parked) if isinstance(one, r.Parked)]
        assert "the rejection of request" in parked.message
        assert "not [secret key]" in parked.message


async def test_a_secret_that_was_added_is_found_by_the_next_attempt(server: EmbeddedServer, namespace: str) -> None:
    vault: dict[str, str] = {}

    @step(retry=Retry(delay=0.01))
    async def needs(key: Secret) -> int:
        if step.info().attempt == 2:
            vault["key"] = CANARY
        return len(key.reveal())

    @workflow
    async def waits_for_it(ctx: WorkflowContext, key: Secret) -> int:
        return await needs(key)

    async with Relight(server.url, namespace=namespace) as client, Worker(client, [waits_for_it], secrets=vault.get):
        assert await client.call(waits_for_it, KEY) == len(CANARY)


def test_the_error_names_secret_and_place() -> None:
    error = SecretExposedError("key", "the result", "result.a")

    assert (error.secret, error.what, error.path) == ("key", "the result", "result.a")
