"""The verbs of the command against a real server, with `relight worker` beside them."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.integration.cli_process import APP, Terminal, background, one_line_of
from tests.integration.pseudo_terminal import at_a_terminal
from tests.runs import until as runs_until

from relight import Relight, RunFailed, RunStatus
from relight.config.server import EmbeddedServer
from relight.subjects.codec import encode
from relight.subjects.messages import Start
from relight.subjects.records import RunStarted
from relight.subjects.turn import VERSION

APP_WITH_NAMES = """
from relight import WorkflowContext, workflow

@workflow(name="same")
async def first(ctx: WorkflowContext) -> str:
    return "first"

@workflow(name="same")
async def second(ctx: WorkflowContext) -> str:
    return "second"

@workflow
async def other(ctx: WorkflowContext) -> str:
    return "other"

both = [other, second]
"""


@pytest.fixture(scope="module")
def variables(shared_server: EmbeddedServer) -> dict[str, str]:
    return {
        "RELIGHT_URL": shared_server.url,
        "RELIGHT_SYSTEM_URL": shared_server.system_url,
        "RELIGHT_NAMESPACE": f"cli{secrets.token_hex(4)}",
    }


@pytest.fixture(scope="module")
def worker(variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    directory = tmp_path_factory.mktemp("cli_worker")
    with background("worker", str(APP), directory=directory, variables=variables, is_marked=False) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "worker_started" in said, said + process.stdout.read()
        yield
        process.send_signal(signal.SIGTERM)
        said = process.stdout.read()
        assert "worker_draining" in said
        assert process.wait(20) == 0


@pytest.fixture
def terminal(variables: dict[str, str], tmp_path: Path, worker: None) -> Terminal:
    return Terminal(tmp_path, variables)


@pytest_asyncio.fixture
async def client(variables: dict[str, str], worker: None) -> AsyncIterator[Relight]:
    async with Relight(variables["RELIGHT_URL"], namespace=variables["RELIGHT_NAMESPACE"]) as relight:
        yield relight


async def started(client: Relight, workflow: str, *arguments: object, until: RunStatus) -> str:
    """Start a run and return its id once it stands so."""
    run = await client.start(workflow, *arguments, type=object)
    async with asyncio.timeout(20):
        while (await run.describe()).status != until:
            await asyncio.sleep(0.01)
    return run.id


async def test_history_prints_what_stands_before_a_break_and_then_tells_of_it(
    terminal: Terminal, client: Relight
) -> None:
    run = client.get_run(await started(client, "notes", until="waiting"))
    log = client.subjects.log(run.id)
    await run.signal("other", "x")
    await runs_until(run, lambda described: described.history_records == 3)
    await run.signal("other", "y")
    await runs_until(run, lambda described: described.history_records == 4)
    await client.door.remove(log, (await client.door.read(log, after=0, limit=9))[1].sequence)

    seen, shown = await asyncio.gather(terminal.run("history", run.id), terminal.run("show", run.id))

    assert seen.code == 1
    printed = [one for one in ("run started", "signal awaited", "signal received") if one in seen.out]
    assert printed == ["run started", "signal awaited"]
    assert re.fullmatch(rf"the history of run '{run.id}' is damaged: turn 3 .* follows turn 1\n", seen.err)
    assert "1970" not in shown.out
    assert "its history is damaged" in shown.out


async def test_start_prints_the_id_and_with_wait_the_result(terminal: Terminal) -> None:
    plain, waited, machine = await asyncio.gather(
        terminal.run("start", "hello", '"Ann"', "--id", "greeting"),
        terminal.run("start", "hello", '"Ann"', "2", "--wait"),
        terminal.run("start", "hello", '"Ann"', "--id", "greeting", "--wait", "--json"),
    )

    assert (plain.code, plain.out, plain.err) == (0, "greeting\n", "")
    assert (waited.code, waited.out) == (0, '["hello Ann", "hello Ann"]\n')
    assert machine.document == {"run": "greeting", "status": "completed", "result": ["hello Ann"]}


async def test_json_arguments_come_from_a_file_or_from_standard_input(terminal: Terminal) -> None:
    terminal.directory.joinpath("name.json").write_text('"Zoë"', encoding="utf-8")

    from_file, from_input = await asyncio.gather(
        terminal.run("start", "hello", "@name.json", "--wait"),
        terminal.run("start", "hello", "-", "--wait", typed='"Bob"'),
    )

    assert (json.loads(from_file.out), json.loads(from_input.out)) == (["hello Zoë"], ["hello Bob"])


async def test_a_run_that_failed_is_one_line_on_standard_error(terminal: Terminal) -> None:
    said = one_line_of(await terminal.run("start", "broken", "--id", "lost", "--wait"))
    program = await terminal.run("start", "broken", "--wait", "--json")

    assert said.startswith("run lost ended without a result: builtins.KeyError: ")
    assert "second line" in said
    (document,) = program.documents
    assert (document["status"], document["error"]) == ("failed", said.partition("result: ")[2])
    assert f"run {document['run']} ended" in one_line_of(program)


async def test_a_suspended_run_says_what_it_waits_for_and_which_command_answers_it(
    terminal: Terminal, client: Relight
) -> None:
    run = await started(client, "reviews", 100, until="waiting")

    shown, machine = await asyncio.gather(terminal.run("show", run), terminal.run("show", run, "--json"))
    first = await terminal.run("resume", run, "fraud-review", '{"approved": true}', "--json")
    second = await terminal.run("resume", run, "fraud-review", "null")

    assert "the answer to suspension 'fraud-review'" in shown.out
    assert f"relight resume {run} fraud-review JSON" in shown.out
    assert machine.document["commands"] == [f"relight resume {run} fraud-review JSON"]
    assert machine.document["waits"][0]["data"] == {"cents": 100}
    assert machine.document["details"] == {"stage": "review"}
    assert first.document == {"run": run, "resumed": "fraud-review", "is_early": False}
    assert "answered already" in one_line_of(second)


async def test_an_answer_that_the_run_does_not_wait_for_is_kept_and_said_to_be_early(
    terminal: Terminal, client: Relight
) -> None:
    run = await started(client, "reviews", 100, until="waiting")
    pending = await client.start("nobody-works-on-this", type=str, queue="elsewhere")

    mistyped = await terminal.run("resume", run, "fraud-reviw", "true")
    machine = await terminal.run("resume", run, "fraud-reviwe", "true", "--json")
    before = await terminal.run("resume", pending.id, "go", "true")
    right = await terminal.run("resume", run, "fraud-review", "true")

    kept = "just before: it is kept until it is waited for\n"
    assert mistyped.out == f"sent the answer to 'fraud-reviw' of run {run}, which waited for 'fraud-review' {kept}"
    assert machine.document["is_early"]
    assert before.out == f"sent the answer to 'go' of run {pending.id}, which waited for no answer {kept}"
    assert right.out == f"sent the answer to 'fraud-review' of run {run}\n"


async def test_show_gives_programs_a_large_result_and_tells_people_where_it_is(
    terminal: Terminal, client: Relight
) -> None:
    run = await client.start("hello", "Ann", 10_000, type=list[str])
    result = await run.result(timeout=20)

    machine, people = await asyncio.gather(terminal.run("show", run.id, "--json"), terminal.run("show", run.id))
    (value,) = await client.door.subjects(client.subjects.value_chunks(f"{run.id}.*.*"), limit=10)
    await client.door.purge(value)
    without = await terminal.run("show", run.id, "--json")

    assert machine.document["result"] == result == ["hello Ann"] * 10_000
    assert re.search(r"^result +117.2 KiB, stored apart as ", people.out, re.MULTILINE), people.out
    assert without.document["status"] == "completed"


async def test_history_tells_what_happened_where_and_follows_until_the_end(terminal: Terminal, client: Relight) -> None:
    run = await client.start("hello", "Ann", type=object)

    followed = (await terminal.run("history", run.id, "--follow", "--json")).documents
    later = (await terminal.run("history", run.id, "--after", "3", "--follow", "--json")).documents
    whole, lines = await asyncio.gather(terminal.run("history", run.id), terminal.run("history", run.id, "--follow"))
    table = whole.out.splitlines()

    assert [one["kind"] for one in followed] == ["RunStarted", "StepScheduled", "StepCompleted", "RunCompleted"]
    assert [one["sequence"] for one in followed] == [1, 2, 3, 4]
    assert later == followed[3:]
    assert followed[2]["result"] == "hello Ann"
    assert table[0].split() == ["time", "(UTC)", "worker", "what", "which", "place", "result"]
    assert [line.split() for line in lines.out.splitlines()] == [line.split() for line in table]
    for part in ("step completed", "greet#1", "cli_app.py:", '"hello Ann"'):
        assert part in table[3]


async def test_history_is_followed_with_results_and_errors_on_a_narrow_terminal(
    terminal: Terminal, client: Relight
) -> None:
    run = await client.start("broken", type=object)

    words = ("history", run.id, "--follow")
    async with at_a_terminal(*words, directory=terminal.directory, variables=terminal.variables, columns=80) as person:
        code = await person.code()

    heading, *_, end = person.said.splitlines()
    assert code == 0
    assert heading.split() == ["time", "(UTC)", "worker", "what", "which", "place", "result"]
    assert end.endswith("KeyError: 'first line\\nsecond line \\x1b[31mred'"), end


async def test_runs_lists_the_newest_first_and_by_workflow_and_status(terminal: Terminal, client: Relight) -> None:
    older = await started(client, "review", 1, until="waiting")
    newer = await started(client, "review", 2, until="waiting")

    listed, table = await asyncio.gather(
        terminal.run("runs", "--workflow", "review", "--status", "waiting", "--limit", "2", "--json"),
        terminal.run("runs", "--limit", "1"),
    )

    assert [one["run"] for one in listed.documents] == [newer, older]
    assert {one["workflow"] for one in listed.documents} == {"review"}
    heading, row = table.out.splitlines()
    assert heading.split() == ["run", "workflow", "status", "since", "waits", "for"]
    assert row.startswith(newer)


async def test_runs_says_which_can_not_be_read_and_lists_the_others(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    terminal = Terminal(tmp_path, {"RELIGHT_URL": shared_server.url, "RELIGHT_NAMESPACE": namespace})
    async with Relight(shared_server.url, namespace=namespace) as client:
        for id in ("one", "two", "three"):
            await client.start("hello", "Ann", id=id, type=object)
        await client.door.publish(client.subjects.log("two"), b"no turn")

    listed, table, queued = await asyncio.gather(
        terminal.run("runs", "--json"), terminal.run("runs"), terminal.run("runs", "--status", "queued", "--json")
    )

    assert [(one["run"], one["status"]) for one in listed.documents] == [
        ("three", "queued"),
        ("two", "unreadable"),
        ("one", "queued"),
    ]
    assert (listed.code, listed.err) == (0, "")
    assert "unreadable message" in listed.documents[1]["problem"]
    assert "unreadable message" in table.out.splitlines()[2]
    assert [one["run"] for one in queued.documents] == ["three", "one"]
    assert queued.err.startswith("run two can't be read: unreadable message")


async def test_runs_says_when_filters_have_not_seen_all(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    terminal = Terminal(tmp_path, {"RELIGHT_URL": shared_server.url, "RELIGHT_NAMESPACE": namespace})
    async with Relight(shared_server.url, namespace=namespace) as client:
        start = encode(Start(v=VERSION, run=RunStarted("hello", "default")))
        subjects = [client.subjects.start("default", f"run-{number}") for number in range(1_000)]
        await asyncio.gather(*(client.door.publish(one, start) for one in subjects))

    enough, none, parked = await asyncio.gather(
        terminal.run("runs", "--workflow", "hello", "--limit", "2", "--json"),
        terminal.run("runs", "--workflow", "payment", "--json"),
        terminal.run("runs", "--status", "parked", "--json"),
    )

    assert (len(enough.documents), enough.err) == (2, "")
    assert (none.code, none.out) == (0, "")
    assert none.err == parked.err == "only the newest 1,000 runs were looked at; older ones are not listed\n"


async def test_a_signal_with_an_id_counts_once(terminal: Terminal, client: Relight) -> None:
    run = await client.start("notes", type=object)

    for text, id in (('"one"', "n1"), ('"one"', "n1"), ('"two"', "n2")):
        assert (await terminal.run("signal", run.id, "note", text, "--id", id)).code == 0

    assert await run.result(timeout=20) == ["one", "two"]


async def test_a_request_prints_its_answer_or_why_there_is_none(terminal: Terminal, client: Relight) -> None:
    run = await client.start("asked", type=object)

    answered, as_json, rejected, shown = await asyncio.gather(
        terminal.run("request", run.id, "double", "4", "--timeout", "20s"),
        terminal.run("request", run.id, "double", "5", "--id", "r-1", "--json"),
        terminal.run("request", run.id, "double", "-4"),
        terminal.run("show", run.id),
    )

    assert (answered.code, answered.out.strip()) == (0, '{"doubled": 8}')
    assert as_json.document == {"run": run.id, "requested": "double", "answer": {"doubled": 10}}
    assert one_line_of(rejected) == "not positive"
    assert f"relight request {run.id} double JSON" in shown.out
    await run.terminate()


async def test_an_awakeable_is_completed_by_its_token(terminal: Terminal, client: Relight) -> None:
    run = await started(client, "token", until="waiting")
    token = (await terminal.run("show", run, "--json")).document["waits"][0]["name"]

    completed, refused = await asyncio.gather(
        terminal.run("complete", token, '"done"', "--json"), terminal.run("complete", "nonsense", "1")
    )

    assert completed.document == {"completed": token}
    assert await client.get_run(run).result(timeout=20) == "done"
    assert "is none" in one_line_of(refused)


async def test_a_run_is_paused_until_a_person_lets_it_go_on(terminal: Terminal, client: Relight) -> None:
    run = await started(client, "review", 8, until="waiting")

    asked = await terminal.run("pause", run, "--json")
    await runs_until(client.get_run(run), lambda described: described.status == "paused")
    shown, listed = await asyncio.gather(terminal.run("show", run), terminal.run("runs", "--json"))
    told = await terminal.run("unpause", run)
    refused = await terminal.run("unpause", run)

    assert asked.document == {"run": run, "decided": "pause"}
    assert f"relight unpause {run}" in shown.out
    assert next(one for one in listed.documents if one["run"] == run)["status"] == "paused"
    assert (told.code, told.err) == (0, "")
    assert "is not paused" in one_line_of(refused)


@pytest.mark.parametrize(("verb", "kind"), [("cancel", "RunCancelled"), ("terminate", "RunTerminated")])
async def test_a_run_is_ended_with_a_reason(terminal: Terminal, client: Relight, verb: str, kind: str) -> None:
    run = await started(client, "review", 3, until="waiting")

    asked = await terminal.run(verb, run, "--reason", "not needed", "--json")
    last = (await terminal.run("history", run, "--follow", "--json")).documents[-1]

    assert asked.document == {"run": run, "decided": verb}
    assert (last["kind"], last["reason"]) == (kind, "not needed")
    assert re.search(r"^reason +not needed$", (await terminal.run("show", run)).out, re.MULTILINE)
    assert "has ended" in one_line_of(await terminal.run(verb, run))


async def test_a_parked_run_is_resolved_by_a_person(terminal: Terminal, client: Relight) -> None:
    run, other = (
        await started(client, "payment", 5, until="parked"),
        await started(client, "payment", 6, until="parked"),
    )

    shown, refused, retried = await asyncio.gather(
        terminal.run("show", run),
        terminal.run("resolve", run, "other", "--rerun"),
        terminal.run("retry", other, "--json"),
    )
    resolved = await terminal.run("resolve", run, "charge#1", "--result", '"by hand"')

    assert f"relight retry {run}" in shown.out
    assert "in charge\n" in shown.out, "where it has failed"
    assert "does not wait for a person" in one_line_of(refused)
    assert retried.document == {"run": other, "decided": "retry"}
    assert (resolved.code, resolved.err) == (0, "")
    assert await client.get_run(run).result(timeout=20) == "by hand"


async def test_a_step_may_have_returned_null(terminal: Terminal, client: Relight) -> None:
    run = await started(client, "payment", 7, until="parked")

    resolved = await terminal.run("resolve", run, "charge", "--result", "null")

    assert resolved.code == 0, resolved
    assert await client.get_run(run).result(timeout=20) is None


async def test_a_parked_step_is_failed_or_run_again_by_a_person(terminal: Terminal, client: Relight) -> None:
    file = terminal.directory / "file"
    failed, again = (
        await started(client, "reads", str(file), until="parked"),
        await started(client, "reads", str(file), until="parked"),
    )
    file.write_text("now it is there")

    told, as_json = await asyncio.gather(
        terminal.run("resolve", failed, "read", "--error", "no such luck"),
        terminal.run("resolve", again, "read#1", "--rerun", "--json"),
    )

    assert (told.code, told.out, told.err) == (0, f"sent what became of step read of run {failed}\n", "")
    assert as_json.document == {"run": again, "decided": "resolve"}
    with pytest.raises(RunFailed, match="no such luck"):
        await client.get_run(failed).result(timeout=20)
    assert await client.get_run(again).result(timeout=20) == "now it is there"


@pytest.mark.parametrize("target", ["package.flows:second", "package/flows.py:both"])
async def test_a_worker_runs_the_workflows_of_one_name_in_a_module(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path, target: str
) -> None:
    tmp_path.joinpath("package").mkdir()
    tmp_path.joinpath("package", "flows.py").write_text(APP_WITH_NAMES)
    variables = {"RELIGHT_URL": shared_server.url, "RELIGHT_NAMESPACE": namespace}

    with background("worker", target, directory=tmp_path, variables=variables) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "worker_started" in said, said + process.stdout.read()
        answer = await Terminal(tmp_path, variables).run("start", "same", "--wait")
        process.send_signal(signal.SIGTERM)

        assert process.wait(20) == 0
    assert (answer.code, answer.out) == (0, '"second"\n'), answer


async def test_what_is_not_known_is_one_line(terminal: Terminal, client: Relight) -> None:
    await client.start("hello", "Ann", type=object, id="taken")

    unknown, followed, invalid, taken, going = await asyncio.gather(
        terminal.run("show", "nobody"),
        terminal.run("history", "nobody", "--follow"),
        terminal.run("show", "a.b"),
        terminal.run("start", "hello", '"Bob"', "--id", "taken"),
        terminal.run("retry", "taken"),
    )

    assert "no run 'nobody' is known" in one_line_of(unknown)
    assert "no run 'nobody' is known" in one_line_of(followed)
    assert "must not begin with $ or contain" in one_line_of(invalid)
    assert "other arguments" in one_line_of(taken)
    assert "not parked" in one_line_of(going)


async def test_every_worker_orders_sets_alike(client: Relight) -> None:
    run = await client.start("seed", type=str | None)

    assert await run.result(timeout=20) == "0"


async def test_fork_prints_the_id_of_a_run_whose_origin_show_names(client: Relight, terminal: Terminal) -> None:
    await client.call("hello", "Eve", id="forked-eve", type=object)
    step = "greet#1"

    forked = await terminal.run("fork", "forked-eve", "--after", step, "--replace", f'{step}="bye"', "--id", "fork-eve")
    result = await client.get_run("fork-eve", type=object).result(timeout=20)
    again, other, shown, wrong, unknown = await asyncio.gather(
        terminal.run("fork", "forked-eve", "--before", step, "--json"),
        terminal.run("fork", "forked-eve", "--after", step, "--args", '"Eve"'),
        terminal.run("show", "fork-eve", "--json"),
        terminal.run("fork", "forked-eve"),
        terminal.run("fork", "forked-eve", "--after", "nothing#1"),
    )

    assert (forked.code, forked.out) == (0, "fork-eve\n")
    assert result == ["bye"]
    assert again.document["origin"] == shown.document["origin"] == "forked-eve"
    assert (wrong.code, other.code) == (2, 2)
    assert "is no list" in other.err
    assert "'nothing#1'" in one_line_of(unknown)


async def test_diff_says_where_two_runs_part(client: Relight, terminal: Terminal) -> None:
    await asyncio.gather(
        client.call("hello", "Ann", id="diff-ann", type=object),
        client.call("hello", "Bob", id="diff-bob", type=object),
    )

    people, machine = await asyncio.gather(
        terminal.run("diff", "diff-ann", "diff-bob"), terminal.run("diff", "diff-ann", "diff-bob", "--json")
    )

    assert people.code == 0, people
    assert people.out.startswith("they part after 0 records that are the same\n")
    assert "hello Bob" in people.out
    assert machine.document["parting"]["right"]["arguments"] == ["Bob"]
    assert {"what": "run", "field": "arguments", "left": ["Ann"], "right": ["Bob"]} in machine.document["differences"]
    assert machine.document["same"] is False
