"""What the command says when something is wrong: one line, the right exit code, never a traceback of ours."""

from __future__ import annotations

import asyncio
import secrets
import sys
from pathlib import Path

import pytest
from tests.integration.cli_process import APP, Terminal, environment, one_line_of
from tests.raw_nats import connected, create_stream

from relight import Relight
from relight.config.server import EmbeddedServer

APP_WITH_TWO_OF_ONE_NAME = """
from relight import WorkflowContext, workflow

@workflow(name="same")
async def first(ctx: WorkflowContext) -> None: ...

@workflow(name="same")
async def second(ctx: WorkflowContext) -> None: ...
"""

IMPORTS = "from relight import *\n"
APP_THAT_FAILS = """
def deep():
    raise ValueError("the user's own mistake")

deep()
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("start", "hello", "Ann"), "'Ann' is no JSON"),
        (("start", "hello", "@missing.json"), "No such file"),
        (("start", "hello", "--wiat"), "no such option: --wiat"),
        (("start", "--wiat"), "no such option: --wiat"),
        (("signal", "run", "--idd", "5"), "no such option: --idd"),
        (("resume", "-abc", "go"), "no such option: -abc"),
        (("complete", "--json", "--tokn"), "no such option: --tokn"),
        (("start", "hello", "1e400"), "1e400 is larger than a number can be"),
        (("fork", "run"), "give --after STEP"),
        (("fork", "run", "--before", "step#1", "--args", "[]"), "give --after STEP"),
        (("start", "hello", "--delay", "soon"), "'soon' is no duration"),
        (("runs", "--status", "asleep"), "give one of queued, running"),
        (("resolve", "run", "step", "--rerun", "--result", "1"), "exactly one of --result"),
        (("dev", "app.py", "--url", "nats://127.0.0.1:4222"), "has a server of its own"),
        (("unknown",), "No such command"),
    ],
)
async def test_wrong_usage_ends_with_2(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    answer = await Terminal(tmp_path, {}).run(*words)

    assert answer.code == 2
    assert said in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    "words",
    [("start", "--", "--wiat"), ("signal", "--id", "5", "--", "-abc", "-go", "-1"), ("resume", "run", "go", "-1")],
)
async def test_names_may_begin_with_a_hyphen_behind_two_of_them(tmp_path: Path, words: tuple[str, ...]) -> None:
    answer = await Terminal(tmp_path, {}).run(*words)

    assert "no server is named" in one_line_of(answer)


async def test_settings_that_can_not_be_used_are_named_with_their_variables(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.read_text())
    (tmp_path / "file").touch()
    place = await Terminal(tmp_path, {"RELIGHT_LOCAL_DIRECTORY": "file/below"}).run("dev", "app.py")
    name = await Terminal(tmp_path, {"RELIGHT_NAMESPACE": "a.b"}).run("runs")

    assert one_line_of(place).startswith("local_directory (RELIGHT_LOCAL_DIRECTORY): 'file/below' can't be used: ")
    assert one_line_of(name).startswith("namespace (RELIGHT_NAMESPACE) 'a.b' must not ")


async def test_without_a_server_the_ways_to_one_are_named(tmp_path: Path) -> None:
    said = one_line_of(await Terminal(tmp_path, {}).run("runs"))

    for way in ("--url", "RELIGHT_URL", "Relight.local()", "relight dev"):
        assert way in said


async def test_a_server_that_does_not_answer_is_one_line_for_every_kind_of_verb(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, {"RELIGHT_URL": "nats://127.0.0.1:1"})

    verb, worker, doctor = await asyncio.gather(
        terminal.run("runs", "--json"), terminal.run("worker", str(APP)), terminal.run("doctor")
    )

    for answer in (verb, worker, doctor):
        assert "no NATS server let us in" in one_line_of(answer)
    assert verb.out == ""
    assert worker.out.count("connection_error") <= 1
    assert doctor.out.startswith("bad ")


async def test_an_account_without_jetstream_is_one_line(tmp_path: Path, shared_server: EmbeddedServer) -> None:
    terminal = Terminal(tmp_path, {"RELIGHT_URL": shared_server.system_url})

    verb, doctor = await asyncio.gather(terminal.run("runs"), terminal.run("doctor", "--json"))

    assert "has no JetStream" in one_line_of(verb)
    assert "has no JetStream" in doctor.document["text"]
    assert doctor.code == 1


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("twice.py", APP_WITH_TWO_OF_ONE_NAME, "two workflows are named 'same'"),
        ("empty.py", "x = 1", "has no workflow"),
        ("ends.py", "import sys; sys.exit(3)", "ended the process while it was imported"),
        ("typing.py", "x = 1", "rename the file"),
        ("missing.py", None, "is no file"),
        ("plain.py", f"{IMPORTS}@workflow\ndef plain(ctx): ...\n", "plain.py:2: @workflow needs an `async def`"),
        ("retries.py", f"{IMPORTS}@step(\n    retry=3)\ndef one(): ...\n", "retries.py:2: retry: 3 is no Retry"),
        (
            "below.py",
            f"{IMPORTS}def made():\n    return Retry(attempts=-1)\nmade()\n",
            "below.py:3: Retry.attempts: -1",
        ),
    ],
)
async def test_an_unsuitable_application_is_one_line(
    tmp_path: Path, shared_server: EmbeddedServer, name: str, code: str | None, said: str
) -> None:
    if code is not None:
        tmp_path.joinpath(name).write_text(code)

    answer = await Terminal(tmp_path, {"RELIGHT_URL": shared_server.url}).run("worker", name)

    assert said in one_line_of(answer)


async def test_an_application_that_fails_to_import_shows_its_own_frames_only(tmp_path: Path) -> None:
    tmp_path.joinpath("app.py").write_text(APP_THAT_FAILS)

    answer = await Terminal(tmp_path, {"RELIGHT_URL": "nats://127.0.0.1:1"}).run("worker", "app.py")

    assert answer.code == 1
    assert "the user's own mistake" in answer.err
    assert 'app.py", line 5' in answer.err
    assert "relight/cli" not in answer.err
    assert "importlib" not in answer.err


@pytest.mark.parametrize(
    ("package", "module", "said"),
    [
        ("", "LIMIT = int('ten')", "invalid literal for int"),
        ("", "def needs(one): ...\nneeds()", "missing 1 required positional argument"),
        ("", "import relight_has_no_such", "No module named 'relight_has_no_such'"),
        ("LIMIT = int('ten')", "", "invalid literal for int"),
        ("import shop.nothing", "", "No module named 'shop.nothing'"),
    ],
)
async def test_a_module_that_fails_to_import_is_not_said_to_be_missing(
    tmp_path: Path, package: str, module: str, said: str
) -> None:
    tmp_path.joinpath("shop").mkdir()
    tmp_path.joinpath("shop", "__init__.py").write_text(package)
    tmp_path.joinpath("shop", "flows.py").write_text(module)

    answer = await Terminal(tmp_path, {"RELIGHT_URL": "nats://127.0.0.1:1"}).run("worker", "shop.flows")

    assert answer.code == 1
    assert said in answer.err
    assert "there is no module" not in answer.err
    assert "importlib" not in answer.err


@pytest.mark.parametrize("name", ["missing", "package.missing", "package.flows.deeper", ".package", "package.", "a..b"])
async def test_a_module_that_is_missing_is_said_to_be(tmp_path: Path, name: str) -> None:
    tmp_path.joinpath("package").mkdir()
    tmp_path.joinpath("package", "flows.py").touch()

    answer = await Terminal(tmp_path, {"RELIGHT_URL": "nats://127.0.0.1:1"}).run("worker", name)

    assert one_line_of(answer) == f"there is no module {name!r}; give a file (app.py) or a module"


async def test_a_module_and_a_name_in_it_can_be_given(tmp_path: Path) -> None:
    tmp_path.joinpath("package").mkdir()
    tmp_path.joinpath("package", "flows.py").write_text(APP_WITH_TWO_OF_ONE_NAME + "\nboth = [first, second]\n")
    terminal = Terminal(tmp_path, {"RELIGHT_URL": "nats://127.0.0.1:1"})

    unknown, missing, none = await asyncio.gather(
        terminal.run("worker", "package.flows:third"),
        terminal.run("worker", "package.missing"),
        terminal.run("worker", "package.flows:__name__"),
    )

    assert "no attribute 'third'" in one_line_of(unknown)
    assert "there is no module 'package.missing'" in one_line_of(missing)
    assert "has no workflow" in one_line_of(none)


async def test_help_loads_neither_the_engine_nor_what_draws_tables(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "importtime", "-m", "relight.cli", "--help",
        env=environment({}), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, loaded = await process.communicate()

    names = {line.rpartition("|")[2].strip() for line in loaded.decode().splitlines()}
    assert "relight.cli.application" in names
    assert names.isdisjoint({"rich", "watchfiles", "pydantic", "nats", "structlog", "relight.sdk._client"})


async def test_doctor_says_what_is_promised(tmp_path: Path, shared_server: EmbeddedServer) -> None:
    namespace = f"doc{secrets.token_hex(4)}"
    plain = {"RELIGHT_URL": shared_server.url, "RELIGHT_NAMESPACE": namespace}
    without = await Terminal(tmp_path, plain).run("doctor", "--json")
    async with Relight(shared_server.url, namespace=namespace):
        terminal = Terminal(tmp_path, {**plain, "RELIGHT_SYSTEM_URL": shared_server.system_url})
        machine, person = await asyncio.gather(terminal.run("doctor", "--json"), terminal.run("doctor"))

    before = {one["topic"]: one for one in without.documents}
    assert without.code == 0
    assert before["fsync"]["text"] == "not visible without the system account"
    assert before["system account"]["verdict"] == "warning"
    assert "none yet" in before["streams"]["text"], "looking makes nothing"
    after = {one["topic"]: one for one in machine.documents}
    assert set(after["server"]) == {"verdict", "topic", "text", "remedy"}
    assert (after["fsync"]["text"], after["replicas"]["text"]) == ("every 120 s", "R1, one server")
    assert after["system account"]["verdict"] == "ok"
    assert "3 replicas and `sync_interval: always`" in after["promise"]["text"]
    assert person.code == 0
    assert person.out.splitlines()[0].split()[:2] == ["ok", "server"]


async def test_doctor_names_a_stream_that_can_not_be_used(tmp_path: Path, shared_server: EmbeddedServer) -> None:
    namespace = f"doc{secrets.token_hex(4)}"
    async with connected(shared_server.url) as connection:
        await create_stream(connection, f"RELIGHT_{namespace}_RUN_0")

    answer = await Terminal(tmp_path, {}).run("doctor", "--url", shared_server.url, "--namespace", namespace)

    assert "exists with subjects" in one_line_of(answer)
    assert "bad      streams" in answer.out


async def test_doctor_says_that_no_client_starts_with_another_number_of_streams(
    tmp_path: Path, shared_server: EmbeddedServer
) -> None:
    namespace = f"doc{secrets.token_hex(4)}"
    async with Relight(shared_server.url, namespace=namespace):
        pass
    variables = {"RELIGHT_URL": shared_server.url, "RELIGHT_NAMESPACE": namespace, "RELIGHT_SHARDS": "8"}

    verb, doctor = await asyncio.gather(
        Terminal(tmp_path, variables).run("runs"), Terminal(tmp_path, variables).run("doctor")
    )

    assert "exists with subjects" in one_line_of(verb)
    assert (
        one_line_of(doctor)
        == f"streams: {one_line_of(verb)}; promise: nothing: Relight does not start on these streams"
    )
