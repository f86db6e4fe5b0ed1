"""A line that a workflow's code writes is written once: not again in a replay, and not lost where code runs first."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable, MutableMapping
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from relight import WorkflowContext, step, workflow
from relight.cli.logging import configure_logging
from relight.testing import TestEnvironment


@step
async def count() -> int:
    return 1


@workflow
async def counts(ctx: WorkflowContext) -> None:
    ctx.log.info("before")
    await count()
    ctx.log.info("between")
    await count()
    ctx.log.info("after")


@workflow
async def begins_anew(ctx: WorkflowContext, rounds: int) -> None:
    ctx.log.info(f"begins {rounds}", replaying=ctx.is_replaying)
    if rounds == 0:
        return
    await ctx.wait_for_signal("go", type=str)
    ctx.continue_as_new(rounds - 1)


def of_run(lines: Iterable[MutableMapping[str, Any]], run: str) -> list[str]:
    return [one["event"] for one in lines if one["run"] == run]


async def test_a_fork_writes_the_lines_of_code_that_runs_there_first() -> None:
    with capture_logs() as lines:
        async with TestEnvironment([counts]) as environment:
            origin = await environment.start(counts)
            await origin.result()
            fork = await origin.fork(after="count#1")
            await fork.result()

    assert of_run(lines, origin.id) == ["before", "between", "after"]
    assert of_run(lines, fork.id) == ["between", "after"]


@pytest.mark.parametrize("unread", [10, 100_000])
async def test_a_new_history_writes_its_first_lines_whatever_was_carried_over(unread: int) -> None:
    with capture_logs() as lines:
        async with TestEnvironment([begins_anew]) as environment:
            run = await environment.start(begins_anew, 1)
            await run.signal("other", "x" * unread)
            await run.signal("go", "now")
            await run.result()

    assert of_run(lines, run.id) == ["begins 1", "begins 0"]
    assert [one["replaying"] for one in lines] == [False, False]


def test_a_line_holds_no_command_to_the_terminal() -> None:
    lines = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        configure_logging(level="info", format="plain", stream=lines)

        structlog.get_logger("ours").info("said\x1b[2J", run="\x1b]0;owned\x07")
        try:
            raise ValueError("\x1b[2J")
        except ValueError:
            logging.getLogger("theirs").exception("it is %s", "\x9b2J")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        structlog.reset_defaults()

    assert not {"\x1b", "\x07", "\x9b"} & set(lines.getvalue())
    assert "run=\\x1b]0;owned\\x07" in lines.getvalue()
    assert "ValueError: \\x1b[2J\n" in lines.getvalue()
