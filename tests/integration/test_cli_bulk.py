"""One decision about many runs: counted first, then done; repeating it goes on where it was left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from pathlib import Path

import pytest
import structlog
from tests.integration.cli_process import Terminal, one_line_of
from tests.integration.parking import park_for
from tests.runs import until

from relight import Relight, Retry, Run, Worker, WorkflowContext, step, workflow
from relight.cli.bulk import Decision, decide_all
from relight.cli.choosing import Filters
from relight.cli.output import Output
from relight.cli.verb import AlreadySaidError, Edge
from relight.config.server import EmbeddedServer
from relight.errors import UnavailableError

_TRUSTED: set[str] = set()


@step(retry=Retry(attempts=1), on_exhausted="park")
async def charge(customer: str) -> str:
    if customer not in _TRUSTED:
        raise ValueError(f"no charge for {customer}")
    return f"charged {customer}"


@workflow
async def payment(ctx: WorkflowContext, customer: str) -> str:
    return await charge(customer)


@workflow
async def waiting(ctx: WorkflowContext) -> None:
    await ctx.suspend("never")


@pytest.fixture
def terminal(shared_server: EmbeddedServer, namespace: str, tmp_path: Path) -> Terminal:
    return Terminal(tmp_path, {"RELIGHT_URL": shared_server.url, "RELIGHT_NAMESPACE": namespace})


async def parked(client: Relight, *customers: str) -> list[Run[str]]:
    runs = [await client.start(payment, one, id=one) for one in customers]
    for run in runs:
        await until(run, lambda seen: seen.status == "parked")
    return runs


async def test_parked_runs_are_counted_then_retried_by_a_person_and_go_on_to_their_ends(
    client: Relight, terminal: Terminal
) -> None:
    choice = ("--status", "parked", "--workflow", "payment", "--since", "2h")
    async with Worker(client, [payment, waiting]):
        runs = await parked(client, "ann", "bob", "eve")
        other = await client.start(waiting)
        await until(other, lambda seen: bool(seen.suspended))
    before = [(await run.describe()).history_records for run in runs]

    counted = await terminal.run("retry", *choice, "--json")
    said = await terminal.run("retry", *choice)
    after = [(await run.describe()).history_records for run in runs]
    await runs[0].retry()
    rest = await terminal.run("retry", *choice, "--yes", "--json")
    again = await terminal.run("retry", *choice, "--yes", "--json")
    _TRUSTED.update(("ann", "bob", "eve"))
    async with Worker(client, [payment, waiting]):
        results = [await run.result(timeout=20) for run in runs]
    nothing = await terminal.run("retry", *choice, "--yes", "--json")

    assert counted.document["runs"] == 3
    assert counted.document["workflows"] == {"payment": 3}
    assert said.code == 0
    assert said.out.startswith("would retry 3 runs: 3 of payment\n")
    assert said.out.endswith("nothing was done; add --yes to do it\n")
    assert before == after
    assert {name: rest.document[name] for name in ("done", "told_before", "failed")} == {
        "done": 2,
        "told_before": 1,
        "failed": 0,
    }
    assert (again.document["done"], again.document["told_before"]) == (0, 3)
    assert results == ["charged ann", "charged bob", "charged eve"]
    assert nothing.document["done"] == 0


async def test_of_many_none_is_retried_of_which_a_person_must_say_what_happened_and_none_that_can_not_go_on(
    client: Relight, terminal: Terminal
) -> None:
    async with Worker(client, [payment]):
        runs = await parked(client, "kim", "lee", "max", "ned")
    for run, reason in zip(runs[1:], ("unknown_outcome", "corrupt", "sealed"), strict=True):
        await park_for(client, run, reason, "charge#1")

    counted = await terminal.run("retry", "--status", "parked", "--json")
    said = await terminal.run("retry", "--workflow", "payment")
    done = await terminal.run("retry", "--status", "parked", "--yes")
    mailboxes = [await client.door.count(client.subjects.wake("default", run.id)) for run in runs]
    cancelled = await terminal.run("cancel", "--status", "parked", "--json")
    sealed = await terminal.run("show", "ned", "--json")

    assert (counted.document["runs"], counted.document["examples"]) == (1, ["kim"])
    assert counted.document["left_out"] == {"unknown_outcome": 1, "corrupt": 1, "sealed": 1}
    assert "  kim  payment, parked (retries_exhausted)\n" in said.out
    assert "left out 1 run (unknown_outcome: lee): say what happened by `relight resolve`" in said.out
    assert "left out 1 run (corrupt: max): they can't go on; `relight terminate` ends them" in said.out
    assert done.out.startswith("told to go on: 1 run\nleft out 1 run (corrupt: max)")
    assert mailboxes == [1, 0, 0, 0]
    assert (cancelled.document["runs"], cancelled.document["left_out"]) == (4, {})
    assert sealed.document["commands"] == []


async def test_a_run_of_unknown_outcome_is_retried_by_its_name_and_a_corrupt_one_is_not(
    client: Relight, terminal: Terminal
) -> None:
    async with Worker(client, [payment]):
        unknown, corrupt = await parked(client, "oto", "pam")
    await park_for(client, unknown, "unknown_outcome", "charge#1")
    await park_for(client, corrupt, "corrupt")

    named = await terminal.run("retry", "oto")
    refused = await terminal.run("retry", "pam")

    assert (named.code, named.out) == (0, "told to go on: run oto\n")
    assert one_line_of(refused) == "run 'pam' is corrupt, and can't go on; what helps: relight terminate pam"
    assert await client.door.count(client.subjects.wake("default", "pam")) == 0


async def test_many_runs_are_cancelled_or_terminated_and_others_left_alone(client: Relight, terminal: Terminal) -> None:
    async with Worker(client, [payment, waiting]):
        (left,) = await parked(client, "zoe")
        runs = [await client.start(waiting) for _ in range(4)]
        for run in runs:
            await until(run, lambda seen: bool(seen.suspended))

        cancelled = await terminal.run("cancel", "--workflow", "waiting", "--yes", "--reason", "cleared")
        for run in runs:
            await until(run, lambda seen: seen.status == "cancelled")
        terminated = await terminal.run("terminate", "--status", "parked", "--yes", "--json")
        await until(left, lambda seen: seen.status == "terminated")

    assert (cancelled.code, cancelled.out) == (0, "asked for the end of 4 runs\n")
    assert terminated.document["done"] == 1


async def test_all_runs_there_are_can_not_be_meant_by_accident(terminal: Terminal) -> None:
    answers = await asyncio.gather(
        terminal.run("cancel"),
        terminal.run("terminate", "--yes"),
        terminal.run("retry", "some-run", "--status", "parked"),
        terminal.run("retry", "--status", "failed"),
        terminal.run("cancel", "--status", "nonsense"),
    )

    assert [one.code for one in answers] == [2, 2, 2, 2, 2]


async def test_runs_that_can_not_be_read_are_named_and_the_others_told(client: Relight, terminal: Terminal) -> None:
    async with Worker(client, [waiting]):
        for id in ("one", "two"):
            await until(await client.start(waiting, id=id), lambda seen: bool(seen.suspended))
    await client.start(waiting, id="torn")
    await client.door.publish(client.subjects.log("torn"), b"no turn")
    choice = ("terminate", "--status", "waiting")

    counted, said = await terminal.run(*choice, "--json"), await terminal.run(*choice)
    done = await terminal.run(*choice, "--yes", "--json")

    assert (counted.document["runs"], counted.document["unreadable"]) == (2, 1)
    assert "left out 1 run that can't be read (torn): look at each by `relight show`\n" in said.out
    assert (done.code, done.document["done"], done.document["unreadable"]) == (0, 2, 1)


@pytest.fixture
def logging_as_before() -> Generator[None]:
    """A verb is a process of its own, which says nothing but its line."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    logging.disable(logging.NOTSET)
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.usefixtures("logging_as_before")
async def test_why_a_run_was_not_reached_holds_no_command_to_the_terminal(
    client: Relight, shared_server: EmbeddedServer, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await client.start(waiting)

    async def tell(run: Run[object]) -> None:
        raise UnavailableError(f"{run.id} \x1b[2J\nis away")

    edge = Edge(shared_server.url, namespace, None, Output(is_json=False))
    with pytest.raises(AlreadySaidError):
        await decide_all(edge, Decision("cancel", "told", "Cancel", tell), Filters(), is_confirmed=True)

    said = capsys.readouterr().err
    assert said.endswith(" \\x1b[2J is away)\n")
    assert len(said.splitlines()) == 1
