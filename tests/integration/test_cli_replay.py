"""`relight replay`: what the server has recorded, on today's code."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.integration.cli_process import Terminal, background, one_line_of
from tests.runs import suspended

from relight import Relight, Worker, WorkflowContext, step, workflow
from relight.config.server import EmbeddedServer
from relight.sdk._history import history_of, written

TODAY = """
from relight import WorkflowContext, step, workflow

@step
async def pack(order: str) -> str: ...

@step
async def send(order: str) -> str: ...

@workflow
async def ship(ctx: WorkflowContext, order: str) -> str:
    await pack(order)
    await ctx.suspend("pickup")
    return await send(order)
"""
SETS = """
import asyncio
from relight import WorkflowContext, step, workflow

async def names() -> set[str]:
    return {f"name-{number}" for number in range(12)}

NAMES = asyncio.run(names())

@step
async def greet(name: str) -> None: ...

@workflow
async def greetings(ctx: WorkflowContext) -> None:
    for name in NAMES:
        await greet(name)
"""
OTHER = TODAY.replace('    await ctx.suspend("pickup")\n', "    await send(order)\n")


@step
async def pack(order: str) -> str:
    return order


@step
async def send(order: str) -> str:
    return order


@workflow
async def ship(ctx: WorkflowContext, order: str) -> str:
    await pack(order)
    await ctx.suspend("pickup")
    return await send(order)


@workflow
async def elsewhere(ctx: WorkflowContext) -> None:
    await ctx.suspend("never")


@pytest.fixture
def terminal(shared_server: EmbeddedServer, namespace: str, tmp_path: Path) -> Terminal:
    tmp_path.joinpath("today.py").write_text(TODAY)
    tmp_path.joinpath("other.py").write_text(OTHER)
    return Terminal(tmp_path, {"RELIGHT_URL": shared_server.url, "RELIGHT_NAMESPACE": namespace})


async def test_the_gate_passes_code_that_fits_and_stops_at_the_first_difference_with_both_places(
    client: Relight, terminal: Terminal
) -> None:
    async with Worker(client, [ship, elsewhere]):
        ended, waiting = await client.start(ship, "a", id="ended"), await client.start(ship, "b", id="waiting")
        unknown = await client.start(elsewhere)
        for run, name in ((ended, "pickup"), (waiting, "pickup"), (unknown, "never")):
            await suspended(run, name)
        await ended.resume("pickup")
        await ended.result(timeout=20)
    await client.start(ship, "c", id="not-begun")

    passed = await terminal.run("replay", "today.py", "--from-server")
    counted = await terminal.run("replay", "--from-server", "--sample", "2", "today.py", "--json")
    stopped = await terminal.run("replay", "other.py", "--from-server")
    difference = await terminal.run("replay", "other.py", "--from-server", "--json")

    assert (passed.code, passed.err) == (0, "")
    assert passed.out == (
        "ok: 2 histories replay on today's code; skipped: 1 of unknown workflow elsewhere, 1 without a history yet\n"
    )
    skipped = {"unknown_workflow": 1, "without_history": 1, "unreadable": 0}
    assert counted.document == {"replayed": 1, "skipped": skipped, "difference": None}
    assert "leaves its history" in one_line_of(stopped)
    assert "suspension 'pickup'" in stopped.out
    assert difference.code == 1
    found = difference.document["difference"]
    assert (found["run"], found["workflow"]) == ("waiting", "ship")
    assert found["recorded_at"].startswith("integration/test_cli_replay.py:")
    assert found["actual_at"].endswith("/other.py:13")
    assert found["actual"].startswith("step send#1")


async def test_the_application_is_loaded_as_a_worker_loads_it(client: Relight, terminal: Terminal) -> None:
    terminal.directory.joinpath("sets.py").write_text(SETS)
    with background("worker", "sets.py", directory=terminal.directory, variables=terminal.variables) as worker:
        await client.call("greetings", type=None)
        worker.terminate()
        worker.wait(20)

    passed = await terminal.run("replay", "sets.py", "--from-server")

    assert (passed.code, passed.out, passed.err) == (0, "ok: 1 history replays on today's code\n", "")


async def test_a_history_that_is_damaged_is_named_and_counted(client: Relight, terminal: Terminal) -> None:
    async with Worker(client, [ship]):
        run = await client.start(ship, "a", id="damaged")
        await suspended(run, "pickup")
    await client.door.publish(client.subjects.log("damaged"), b"no turn")

    told = await terminal.run("replay", "today.py", "--from-server")
    counted = await terminal.run("replay", "today.py", "--from-server", "--json")

    assert told.out == "ok: 0 histories replay on today's code; skipped: 1 that can't be read\n"
    assert told.code == 0
    assert told.err.startswith("run damaged was not replayed: ")
    assert len(told.err.splitlines()) == 1
    assert counted.document["skipped"] == {"unknown_workflow": 0, "without_history": 0, "unreadable": 1}


async def test_a_history_with_a_gap_is_damaged_and_no_run_that_has_not_begun(
    client: Relight, terminal: Terminal
) -> None:
    async with Worker(client, [ship]):
        run = await client.start(ship, "a", id="with-a-gap")
        await suspended(run, "pickup")
        await run.resume("pickup")
        await run.result(timeout=20)
    first, *rest = await client.door.read(client.subjects.log(run.id), after=0, limit=10)
    assert rest
    await client.door.remove(first.subject, first.sequence)

    told = await terminal.run("replay", "today.py", "--from-server")

    assert told.out == "ok: 0 histories replay on today's code; skipped: 1 that can't be read\n"
    assert told.err.startswith("run with-a-gap was not replayed: ")


async def test_a_history_in_a_file_is_replayed_without_a_server(client: Relight, terminal: Terminal) -> None:
    async with Worker(client, [ship]):
        run = await client.start(ship, "a")
        await suspended(run, "pickup")
    history = history_of([one async for one in run.history()])
    terminal.directory.joinpath("ship.jsonl").write_bytes(written(history))
    alone = Terminal(terminal.directory, {})

    passed = await alone.run("replay", "today.py", "ship.jsonl", "--json")
    stopped = await alone.run("replay", "other.py", "ship.jsonl")
    missing = await alone.run("replay", "today.py", "nowhere.jsonl")
    wrong = await alone.run("replay", "today.py")

    assert passed.document["replayed"] == 1
    assert "leaves its history" in one_line_of(stopped)
    assert "nowhere.jsonl" in one_line_of(missing)
    assert wrong.code == 2


async def test_what_is_said_of_a_hostile_file_holds_no_command_to_the_terminal(
    client: Relight, terminal: Terminal
) -> None:
    async with Worker(client, [ship]):
        run = await client.start(ship, "a")
        await suspended(run, "pickup")
    history = history_of([one async for one in run.history()])._replace(run="\x1b]0;owned\x07\nship")
    terminal.directory.joinpath("hostile.jsonl").write_bytes(written(history))

    told = await Terminal(terminal.directory, {}).run("replay", "other.py", "hostile.jsonl")

    assert one_line_of(told).startswith("run \\x1b]0;owned\\x07 ship of ship leaves its history: ")
    assert "\x1b" not in told.out


async def test_a_history_without_its_large_values_is_no_difference(client: Relight, terminal: Terminal) -> None:
    async with Worker(client, [ship]):
        run = await client.start(ship, "a" * 70_000)
        await suspended(run, "pickup")
    history = history_of([one async for one in run.history()])
    terminal.directory.joinpath("large.jsonl").write_bytes(written(history))

    told = await Terminal(terminal.directory, {}).run("replay", "today.py", "large.jsonl")

    assert told.code == 1
    assert "is stored apart from the history" in one_line_of(told)
    assert "large.jsonl" in one_line_of(told)
