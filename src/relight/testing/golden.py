"""Golden histories: what a run recorded once, kept beside the tests, compared with what it records today.

Two questions, and the first is the graver one. Does the old history still replay? If not, runs that are under way will
be stuck when this code is deployed. Does today's run record the same facts and requests? If not, the workflow does
something else than it did; that may be meant. Times, places in the code, tracebacks, seeds and who did the work are not
compared.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from relight.sdk._history import History, Moment, read_history, without_traceback, written
from relight.sdk._workflow import Workflow
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.testing.replaying import replay

__all__ = ("GoldenFailure", "check_golden")

_WORK = (r.Claimed, r.StepHeartbeat)
"""Records of who worked and how far, not of what the workflow did."""

_BEGUN = r.Unparked("delay")
"""A start that was claimed before its code ran has one."""

_CHANCE = frozenset({"place", "seed", "client", "by", "due_ms", "retry_at_ms", "not_before_ms", "code"})


class GoldenFailure(AssertionError):
    """A run does not record today what it recorded once."""


def check_golden(history: History, file: Path, *, workflows: Sequence[Workflow[..., Any]], updates: bool) -> None:
    """Replay the history in the file on today's code, and compare it with today's history.

    Args:
        updates: Write the file instead.

    Raises:
        GoldenFailure: There is no file, or today's history is another.
        NonDeterminismError: The one in the file does not replay.
    """
    if updates:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(written(history))
        return
    if not file.exists():
        raise GoldenFailure(f"there is no golden history {file}; pytest --relight-update records it")
    golden = read_history(file)
    replay(file, workflows=workflows)
    differences = list(difflib.unified_diff(_facts(golden), _facts(history), str(file), "today", lineterm=""))
    if differences:
        remedy = "runs under way go on with today's code, but new ones do something else"
        said = "\n".join(differences)
        raise GoldenFailure(f"{said}\n{remedy}; if that is meant, pytest --relight-update records it anew")


def _facts(history: History) -> list[str]:
    return [_in_words(one) for one in history.moments if not isinstance(one.record, _WORK) and one.record != _BEGUN]


def _in_words(moment: Moment) -> str:
    fields: Mapping[str, object] = msgspec.json.decode(encode(without_traceback(moment.record)))
    said = [f"{name}={msgspec.json.encode(value).decode()}" for name, value in fields.items() if name not in _CHANCE]
    return " ".join(said)
