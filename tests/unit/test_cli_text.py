"""What the command reads and writes, without a server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from msgspec import Raw

from relight import WorkflowContext, workflow
from relight.cli.arguments import read_json, read_seconds
from relight.cli.changes import source_directories
from relight.cli.invocation import example
from relight.cli.output import Output, fitted, one_line, printable, shortened
from relight.cli.starting import awaited
from relight.cli.timeline import Timeline
from relight.cli.words import age, command, kind_in_words, size
from relight.subjects import records as r
from relight.testing import TestEnvironment

AT = datetime(2030, 1, 1, 12, 0, 0, 123_000, tzinfo=UTC)


@pytest.mark.parametrize(("text", "value"), [("-5", -5), ('"a"', "a"), ("null", None), ('{"a": [1.5]}', {"a": [1.5]})])
def test_json_is_read_as_it_stands(text: str, value: object) -> None:
    assert read_json(text) == value


@pytest.mark.parametrize(
    "text", ["", "Ann", "{", "NaN", "-Infinity", "1e400", "[-1e400]", "[" * 100_000, "@/no/such/file", "--wiat"]
)
def test_what_is_no_json_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        read_json(text)

    assert len(str(caught.value)) < 300


def test_a_bare_word_is_told_how_it_is_quoted() -> None:
    with pytest.raises(typer.BadParameter, match=r"""'"Ann"'"""):
        read_json("Ann")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5h", 5400), ("10m", 600), ("2d", 172_800), ("500ms", 0.5)]
)
def test_durations_have_units(text: str, seconds: float) -> None:
    assert read_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "soon", "1 week", "1e3"])
def test_what_is_no_duration_is_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        read_seconds(text)


def test_nothing_that_a_terminal_would_obey_is_printed() -> None:
    assert printable("\x1b[31mred\x07\u202e") == "\\x1b[31mred\\x07\\u202e"
    assert printable("two\nlines") == "two\nlines"
    assert one_line("two\n  lines\r\n\x1b[0m") == "two lines \\x1b[0m"
    assert shortened("0123456789", 5) == "0123…"


@pytest.mark.parametrize(
    ("columns", "widths"), [(20, [4, 2, 10]), (30, [4, 6, 15]), (40, [4, 11, 20]), (200, [4, 12, 22])]
)
def test_columns_fit_the_terminal_between_their_least_and_their_greatest_widths(
    columns: int, widths: list[int]
) -> None:
    assert fitted([(4, 4), (2, 12), (10, 22)], columns) == widths


def test_a_table_in_a_pipe_is_aligned_and_complete(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(is_json=False)

    output.table(("run", "said"), [("a", ("x" * 300, "red")), ("longer", "y")])

    assert capsys.readouterr().out.splitlines() == ["run     said", f"a       {'x' * 300}", "longer  y"]


def test_on_a_narrow_terminal_each_column_of_a_table_keeps_its_least_width(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    output = Output(is_json=False)
    output.is_terminal = True

    output.table(("time", "which", "result"), [("12:00:00.123", "s" * 60, "r" * 60)], least=(12, 6, 10))

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 40
    time, which, _ = lines[1].split()
    assert time == "12:00:00.123"
    assert which.startswith("sssss")
    assert sum(line.count("r") for line in lines[1:]) == 60


def test_the_timeline_names_waits_and_places_after_the_record_that_made_them() -> None:
    timeline = Timeline()

    suspended = timeline.row(AT, "w", r.Suspended(wait=3, name="review", place="/src/app.py:7"))
    cancelled = timeline.row(AT, "w", r.WaitCancelled(wait=3))
    completed = timeline.row(AT, "w", r.StepCompleted(step="charge#1", result=Raw(b'{"id": 1}')))

    assert (suspended[3], cancelled[3], cancelled[4]) == ("review", "review", ("app.py:7", "dim"))
    assert suspended[0] == ("12:00:00.123", "dim")
    assert completed[5] == '{"id": 1}'


def test_the_timeline_says_that_an_answer_was_refused_where_the_code_asks_again() -> None:
    again = r.Suspended(wait=4, name="review", data=Raw(b"1"), problem="review.amount: it is no number")

    row = Timeline().row(AT, "w", again)

    assert row[5] == "again: the one before was refused: review.amount: it is no …"


def test_the_timeline_names_children_and_gives_places_to_nothing_else() -> None:
    timeline = Timeline()

    scheduled = timeline.row(
        AT, "w", r.ChildScheduled(child="a-child-1", workflow="b", queue="q", close="wait", place="/src/app.py:9")
    )
    awaited = timeline.row(AT, "w", r.ChildAwaited(wait=4, child="a-child-1", place="/src/app.py:9"))
    cancelled = timeline.row(AT, "w", r.WaitCancelled(wait=4))
    ended = timeline.row(AT, "w", r.ChildEnded(child="a-child-1", end=r.RunTimedOut()))
    details = timeline.row(AT, "w", r.DetailsSet(data=Raw(b"1")))
    paused = timeline.row(AT, "w", r.Paused())

    assert [one[3] for one in (scheduled, awaited, cancelled, ended)] == ["a-child-1"] * 4
    assert ended[4] == ("app.py:9", "dim")
    assert details[4] == paused[4] == ("", "dim")


def test_every_record_has_a_row() -> None:
    failure = r.Failure(type="builtins.ValueError", message="no")
    records: list[r.Record] = [
        r.RunStarted(workflow="hello", queue="default", arguments=(Raw(b'"Ann"'),)),
        r.StepFailed(step="a#1", error=failure),
        r.StepAttemptFailed(step="a#1", attempt=1, error=failure, retry_at_ms=0),
        r.TimerArmed(timer=1, due_ms=0),
        r.AwakeableCreated(wait=2, token="run~2~x"),
        r.AwakeableCompleted(awakeable=2, data=Raw(b"1")),
        r.Parked(reason="stuck", message="why"),
        r.Claimed(cause="lease"),
        r.RunFailed(error=failure),
        r.StepCompleted(step="a#1", result=Raw(b'{"$relight.value":"1f2e","bytes":20000002}')),
    ]
    timeline = Timeline()

    said = [timeline.row(AT, "w", one)[-1] for one in records]

    assert said == [
        'hello("Ann")',
        "ValueError: no",
        "attempt 1: ValueError: no",
        "due 1970-01-01 00:00:00.000",
        "run~2~x",
        "1",
        "stuck: why",
        "lease",
        "ValueError: no",
        "19.1 MiB, stored apart as 1f2e",
    ]


def test_words_are_short() -> None:
    assert [age(one) for one in (-5, 900, 61_000, 7_200_000, 200_000_000)] == ["0 s", "1 s", "1 min", "2 h", "2 d"]
    assert [size(one) for one in (12, 1536, 3 * 1024 * 1024)] == ["12 B", "1.5 KiB", "3.0 MiB"]
    assert kind_in_words("StepAttemptFailed") == "step attempt failed"


async def test_who_no_longer_waits_for_a_run_is_told_its_id(capsys: pytest.CaptureFixture[str]) -> None:
    @workflow
    async def waits(ctx: WorkflowContext) -> None:
        await ctx.suspend("review")

    async with TestEnvironment([waits]) as env:
        run = await env.start(waits, id="ann")
        await env.until(run, suspended="review")

        waiting = asyncio.create_task(awaited(run))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    assert capsys.readouterr().err == "run ann goes on; to see how it stands: relight show ann\n"


@pytest.mark.parametrize(
    ("words", "options", "text"),
    [
        (("show", "ann"), (), "relight show ann"),
        (("resolve", "ann", "charge#1"), ("--result", "JSON"), "relight resolve ann 'charge#1' --result JSON"),
        (("show", "-abc"), (), "relight show -- -abc"),
        (("resolve", "-abc", "charge#1"), ("--result", "JSON"), "relight resolve --result JSON -- -abc 'charge#1'"),
        (("signal", "ann", "-go", "JSON"), (), "relight signal -- ann -go JSON"),
    ],
)
def test_a_command_can_be_pasted_whatever_the_names_begin_with(
    words: tuple[str, ...], options: tuple[str, ...], text: str
) -> None:
    assert command(*words, options=options) == text


def test_the_example_of_a_workflow_can_be_pasted() -> None:
    @workflow(queue="mails")
    async def send(ctx: WorkflowContext, to: str, data: dict[str, int], urgent: bool = False) -> None: ...

    assert example(send) == "relight start send '\"to\"' '{}' --queue mails"


def test_directories_with_python_files_are_watched_before_others_and_some_never(tmp_path: Path) -> None:
    for name in ("package/module.py", "data/rows.csv", ".relight/x.py", "venv/y.py", "other/pyvenv.cfg", "other/z.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    assert source_directories(tmp_path) == [tmp_path / "package", tmp_path, tmp_path / "data"]


def test_what_is_due_on_another_day_is_said_with_its_date() -> None:
    today, later = Timeline(), AT + timedelta(days=2)

    soon = today.row(AT, "w", r.TimerArmed(timer=1, due_ms=round(AT.timestamp() * 1000) + 1_000))
    timer = today.row(AT, "w", r.TimerArmed(timer=2, due_ms=round(later.timestamp() * 1000)))
    failed = r.StepAttemptFailed("charge#1", 1, r.Failure("builtins.OSError", "down"), round(later.timestamp() * 1000))
    again = today.row(AT, "w", failed)

    assert str(later.year) not in str(soon[5])
    assert f"due {later:%Y-%m-%d %H:%M:%S}" in str(timer[5])
    assert f"again {later:%Y-%m-%d %H:%M:%S}" in str(again[5])
