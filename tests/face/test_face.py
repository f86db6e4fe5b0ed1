"""The public face: what the checkers say of its use, and the names and parameters that other programs rely on."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import relight
import relight.testing

USAGES = sorted(Path(__file__).parent.glob("usage_*.py"))


def marked_lines() -> set[tuple[str, int]]:
    """Files and numbers of the lines that must be refused."""
    lines = [(one.name, number, line) for one in USAGES for number, line in enumerate(one.read_text().splitlines(), 1)]
    return {(file, number) for file, number, line in lines if re.search(r"\s# refused", line)}


def refused_lines(command: Sequence[str], directory: Path) -> set[tuple[str, int]]:
    """Files and numbers of the lines that a checker calls errors in copies, away from this project's settings."""
    for usage in USAGES:
        shutil.copy(usage, directory)
    checked = subprocess.run(
        (sys.executable, "-m", *command, *(usage.name for usage in USAGES)),
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    found = re.findall(r"(usage_\w+\.py):(\d+)(?::\d+)?(?: -|:) error: ", checked.stdout)
    assert found, checked.stdout + checked.stderr
    return {(file, int(number)) for file, number in found}


def test_mypy_infers_every_type_and_refuses_exactly_the_marked_lines(tmp_path: Path) -> None:
    assert refused_lines(("mypy", "--strict"), tmp_path) == marked_lines()


def test_pyright_infers_every_type_and_refuses_exactly_the_marked_lines(tmp_path: Path) -> None:
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict", "pythonVersion": "3.11"}')

    assert refused_lines(("pyright", "--pythonpath", sys.executable), tmp_path) == marked_lines()


CALLABLES: dict[str, tuple[Callable[..., Any], str]] = {
    "RetryAfter": (relight.RetryAfter.__init__, "self, delay, reason=''"),
    "StepFailed.matches": (relight.StepFailed.matches, "self, *types"),
    "Step.options": (relight.Step[..., Any].options, "self, **options"),
    "step.info": (relight.step.info, ""),
    "step.heartbeat": (relight.step.heartbeat, "details=None"),
    "step.last_heartbeat": (relight.step.last_heartbeat, "type"),
    "step.deps": (relight.step.deps, "type"),
    "ctx.now": (relight.WorkflowContext.now, "self"),
    "ctx.uuid4": (relight.WorkflowContext.uuid4, "self"),
    "ctx.set_details": (relight.WorkflowContext.set_details, "self, value"),
    "ctx.compensate": (relight.WorkflowContext.compensate, "self, undo, /, *args, **kwargs"),
    "ctx.step": (relight.WorkflowContext.step, "self, name, function, /, *args, **kwargs"),
    "ctx.sleep": (relight.WorkflowContext.sleep, "self, duration"),
    "ctx.sleep_until": (relight.WorkflowContext.sleep_until, "self, time"),
    "ctx.suspend": (relight.WorkflowContext.suspend, "self, name, data=None, *, type=object, timeout=None"),
    "ctx.wait_for_signal": (relight.WorkflowContext.wait_for_signal, "self, name, *, type, timeout=None"),
    "ctx.signals": (relight.WorkflowContext.signals, "self, name, *, type"),
    "ctx.requests": (relight.WorkflowContext.requests, "self, name, *, type"),
    "ctx.awakeable": (relight.WorkflowContext.awakeable, "self, *, type, timeout=None"),
    "ctx.signal": (relight.WorkflowContext.signal, "self, run_id, name, data=None"),
    "Run.result": (relight.Run[Any].result, "self, *, timeout=None"),
    "Run.resume": (relight.Run[Any].resume, "self, name, data=None"),
    "Run.signal": (relight.Run[Any].signal, "self, name, data=None, *, id=None"),
    "Run.request": (relight.Run[Any].request, "self, name, data=None, *, type, timeout=None, id=None"),
    "Run.describe": (relight.Run[Any].describe, "self"),
    "Run.history": (relight.Run[Any].history, "self, *, follow=False, after=0"),
    "Run.cancel": (relight.Run[Any].cancel, "self, *, reason=''"),
    "Run.terminate": (relight.Run[Any].terminate, "self, *, reason=''"),
    "Run.retry": (relight.Run[Any].retry, "self"),
    "Run.resolve": (relight.Run[Any].resolve, "self, step, *, result=None, error=None, rerun=False"),
    "Relight.local": (relight.Relight.local, "directory=None, *, namespace=None, interceptors=(), codecs=None"),
    "Relight.start": (relight.Relight.start, "self, workflow, /, *args, **options"),
    "Relight.signal_with_start": (
        relight.Relight.signal_with_start,
        "self, workflow, /, *args, signal, data=None, signal_id=None, **options",
    ),
    "Relight.call": (relight.Relight.call, "self, workflow, /, *args, **options"),
    "Relight.get_run": (relight.Relight.get_run, "self, id, *, type=object"),
    "Relight.runs": (relight.Relight.runs, "self, *, workflow=None, status=None, tags=None"),
    "Relight.complete": (relight.Relight.complete, "self, token, value=None"),
    "Relight.fail": (relight.Relight.fail, "self, token, reason"),
    "Worker.run": (relight.Worker.run, "self"),
    "TestEnvironment": (relight.testing.TestEnvironment.__init__, "self, workflows, *, deps=None, secrets=None"),
    "TestEnvironment.fake": (relight.testing.TestEnvironment.fake, "self, step, /"),
    "TestEnvironment.start": (relight.testing.TestEnvironment.start, "self, workflow, /, *args, **options"),
    "TestEnvironment.until": (relight.testing.TestEnvironment.until, "self, run, *, suspended"),
    "TestEnvironment.replay": (relight.testing.TestEnvironment.replay, "self, run"),
}


@pytest.mark.parametrize("name", CALLABLES)
def test_a_callable_of_the_face_has_the_parameters_that_were_promised(name: str) -> None:
    function, promised = CALLABLES[name]
    signature = inspect.signature(function)
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]

    assert str(inspect.Signature(bare)).replace("<class 'object'>", "object") == f"({promised})"


@pytest.mark.parametrize(
    ("called", "wanted"),
    [
        (relight.Relight, ("url", "namespace", "credentials", "tls")),
        (relight.Worker, ("relight", "workflows", "queues", "concurrency", "lifespan", "interceptors")),
    ],
)
def test_a_class_of_the_face_takes_the_arguments_that_were_promised(
    called: Callable[..., object], wanted: tuple[str, ...]
) -> None:
    given = inspect.signature(called).parameters

    assert set(wanted) <= set(given)


def test_options_and_records_have_the_fields_that_were_promised() -> None:
    assert set(relight.StepOptions.__annotations__) == {
        "name",
        "retry",
        "timeout",
        "total_timeout",
        "effect",
        "on_exhausted",
    }
    assert set(relight.WorkflowOptions.__annotations__) == {"name", "pin", "queue", "timeout"}
    assert set(relight.StartOptions.__annotations__) == {
        "id",
        "queue",
        "delay",
        "at",
        "timeout",
        "tags",
        "on_conflict",
    }
    retry = {one.name: one.default for one in dataclasses.fields(relight.Retry)}
    assert retry == {"attempts": 5, "delay": 1.0, "factor": 2.0, "delay_max": 60.0, "jitter": 0.1, "never": ()}
    described = {one.name for one in dataclasses.fields(relight.RunDescription)}
    assert described >= {
        "status",
        "parked",
        "waits_for",
        "suspended",
        "details",
        "since",
        "attempt",
        "last_error",
        "worker",
        "history_records",
        "history_bytes",
    }
    assert set(inspect.signature(relight.StepInfo).parameters) == {
        "run_id",
        "name",
        "attempt",
        "idempotency_key",
        "deadline",
    }
    assert {name for name in vars(relight.WorkflowContext) if not name.startswith("_")} >= {
        "run_id",
        "workflow",
        "queue",
        "parent_id",
        "started_at",
        "deadline",
        "is_replaying",
        "random",
        "log",
    }


def test_errors_of_the_face_stand_under_the_bases_that_were_promised() -> None:
    for name in ("StepFailed", "RunFailed", "RunCancelled", "RunTimedOut", "WaitTimedOut", "ConflictError"):
        assert issubclass(getattr(relight, name), relight.RelightError)
    assert issubclass(relight.WaitTimedOut, TimeoutError)
    for steering in (relight.TerminalError, relight.RetryAfter):
        assert not issubclass(steering, relight.RelightError)
