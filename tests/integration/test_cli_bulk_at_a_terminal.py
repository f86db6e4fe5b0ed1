"""A decision about many runs as a person makes it: asked first, shown how far it is, interrupted and gone on with."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal, TypeAlias

import pytest
from tests.crash.apps_proxy import Proxy
from tests.integration.cli_process import Terminal
from tests.integration.parking import park_for
from tests.integration.pseudo_terminal import CONTROL_C, at_a_terminal
from tests.runs import until

from relight import Relight, Retry, Run, Worker, WorkflowContext, step, workflow
from relight.cli.choosing import every_run
from relight.config.server import EmbeddedServer
from relight.subjects.codec import encode
from relight.subjects.messages import Start
from relight.subjects.records import RunStarted
from relight.subjects.turn import VERSION

RUNS = 50
Decision: TypeAlias = Literal["retry", "cancel", "terminate"]
_IN_THE_END: dict[Decision, str] = {"retry": "completed", "cancel": "cancelled", "terminate": "terminated"}
_DECLINED: list[str] = []


@step(retry=Retry(attempts=1), on_exhausted="park")
async def charge(customer: str) -> str:
    if customer in _DECLINED:
        raise ValueError(f"no charge for {customer}")
    return f"charged {customer}"


@workflow
async def payment(ctx: WorkflowContext, customer: str) -> str:
    return await charge(customer)


@pytest.fixture
def variables(shared_server: EmbeddedServer, namespace: str) -> dict[str, str]:
    return {"RELIGHT_URL": shared_server.url, "RELIGHT_NAMESPACE": namespace}


async def parked(client: Relight, number: int) -> list[Run[str]]:
    _DECLINED[:] = [f"p-{one}" for one in range(number)]
    async with Worker(client, [payment]):
        runs = [run async for run in client.start_many(payment, list(_DECLINED), id=str)]
        for run in runs:
            await until(run, lambda seen: seen.status == "parked")
    return runs


async def test_a_person_is_asked_first_and_nothing_is_done_without_a_yes(
    client: Relight, variables: dict[str, str], tmp_path: Path
) -> None:
    runs = await parked(client, 3)

    for typed in ("n\n", "\n", CONTROL_C):
        async with at_a_terminal("terminate", "--status", "parked", directory=tmp_path, variables=variables) as person:
            await person.until("terminate 3 runs (3 of payment)? [y/N]")
            person.type(typed)
            code = await person.code()
            assert code == (130 if typed == CONTROL_C else 0), person.said
            assert "defect" not in person.said
            assert "terminated" not in person.said

    assert {(await run.describe()).status for run in runs} == {"parked"}
    async with at_a_terminal("terminate", "--status", "parked", directory=tmp_path, variables=variables) as person:
        await person.until("[y/N]")
        person.type("y\n")
        assert await person.code() == 0
        assert "told to end at once: 3 runs" in person.said


async def test_a_run_that_came_to_wait_for_a_person_while_many_were_confirmed_is_not_retried(
    client: Relight, variables: dict[str, str], tmp_path: Path
) -> None:
    _, run = await parked(client, 2)

    async with at_a_terminal("retry", "--status", "parked", directory=tmp_path, variables=variables) as person:
        await person.until("retry 2 runs (2 of payment)? [y/N]")
        await park_for(client, run, "unknown_outcome", "charge#1")
        person.type("y\n")
        code = await person.code()

    assert code == 0, person.said
    assert "told to go on: 1 run\n" in person.said
    assert "left out 1 run (unknown_outcome: p-1)" in person.said
    assert await client.door.count(client.subjects.wake("default", run.id)) == 0


async def test_what_a_person_is_asked_holds_no_command_to_his_terminal(
    client: Relight, variables: dict[str, str], tmp_path: Path
) -> None:
    start = Start(VERSION, RunStarted("pay\x1b]0;owned\x07\nment", "default"))
    await client.door.publish(client.subjects.start("default", "hostile"), encode(start))

    async with at_a_terminal("terminate", "--status", "queued", directory=tmp_path, variables=variables) as person:
        await person.until("[y/N]: ")
        person.type("n\n")
        await person.code()

    assert "terminate 1 run (1 of pay\\x1b]0;owned\\x07 ment)? [y/N]: " in person.said


@pytest.mark.parametrize("decision", ["retry", "cancel", "terminate"])
async def test_what_was_interrupted_in_the_middle_is_gone_on_with_and_each_run_is_told_once(
    client: Relight, shared_server: EmbeddedServer, variables: dict[str, str], tmp_path: Path, decision: Decision
) -> None:
    words = (decision, "--status", "parked", "--workflow", "payment")
    runs = await parked(client, RUNS)
    middle = [one.run for one in await every_run(client)][RUNS // 2]
    subject = client.subjects.wake("default", middle)
    async with Proxy(shared_server.url) as proxy:
        slow = {**variables, "RELIGHT_URL": proxy.url}
        async with at_a_terminal(*words, directory=tmp_path, variables=slow) as person:
            await person.until(f"{decision} {RUNS} runs")
            proxy.connections[-1].hold_after(f"PUB {subject} ".encode(), "server")
            person.type("y\n")
            await asyncio.wait_for(proxy.connections[-1].was_triggered.wait(), 20)
            await person.until(f"{decision} ━")
            person.type(CONTROL_C)
            code, said = await person.code(), person.said

    rest = await Terminal(tmp_path, variables).run(*words, "--yes", "--json")

    assert code == 130, said
    assert f"/{RUNS}" in said
    assert "repeat the command to go on" in said
    assert "Traceback" not in said
    told_before = rest.document["told_before"]
    assert 0 < told_before < RUNS
    assert rest.document["done"] == RUNS - told_before
    mailboxes = [await client.door.count(client.subjects.wake("default", run.id)) for run in runs]
    assert mailboxes == [1] * RUNS
    _DECLINED.clear()
    async with Worker(client, [payment]):
        for run in runs:
            await until(run, lambda seen: seen.status == _IN_THE_END[decision])
