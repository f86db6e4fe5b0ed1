"""Recorded histories on today's code."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from msgspec import Raw

from relight.errors import RefusedError
from relight.sdk._history import History, Moment, history_of, read_history
from relight.sdk._replaying import check_values, replay_open, replay_whole
from relight.sdk._run import Record
from relight.sdk._workflow import Workflow
from relight.subjects.references import in_place
from relight.subjects.turn import Turn

__all__ = ("replay", "replay_history", "with_values")

_NO_VALUES: Mapping[str, bytes] = MappingProxyType({})


def replay(history: str | Path | Iterable[Record], *, workflows: Sequence[Workflow[..., Any]] | None = None) -> None:
    """Replay a recorded history on today's code. No step runs, nothing is written, and no server is needed.

    Args:
        history: All records of a run, as `Run.history` gives them; or the path of a golden history.
        workflows: Where its workflow is looked for, by name; else in all modules that are loaded.

    Raises:
        NonDeterminismError: The code asks for something else than was recorded, or ends otherwise. Runs that are under
            way would be parked as stuck.
        RefusedError: It is no whole history, has values that are stored apart, or its workflow is not found, or found
            twice.
        OSError: The file can't be read.
    """
    recorded = read_history(Path(history)) if isinstance(history, str | Path) else history_of(history)
    candidates = _loaded() if workflows is None else workflows
    found = {id(one): one for one in candidates if one.name == recorded.started.workflow}
    if len(found) != 1:
        remedy = "pass workflows=[…]" if found else "import its module, or pass workflows=[…]"
        raise RefusedError(f"{len(found)} workflows are named {recorded.started.workflow!r}; {remedy}")
    check_values(recorded)
    _replay(tuple(found.values()), recorded)


def _loaded() -> list[Workflow[..., Any]]:
    # An entry may be None, which forbids the import, or whatever else somebody has put there.
    named = [value for module in list(sys.modules.values()) for value in list(getattr(module, "__dict__", {}).values())]
    return [cast("Workflow[..., Any]", one) for one in named if isinstance(one, Workflow)]


def replay_history(
    workflows: Sequence[Workflow[..., Any]], run: str, turns: Iterable[Turn], values: Mapping[str, bytes] = _NO_VALUES
) -> None:
    """Replay a history; no step runs, and nothing is written.

    Args:
        workflows: One of them is its own.
        run: Its id.
        turns: All of them.
        values: Those that are stored apart, by digest.

    Raises:
        RefusedError: A value is missing.
        NonDeterminismError: The code asks for something else than was recorded, or ends otherwise.
        UnknownWorkflowError: None of the workflows is the history's.
    """
    moments = [Moment(turn.at_ms, record) for turn in turns for record in turn.records]
    _replay(workflows, with_values(History(run, tuple(moments)), values))


def with_values(history: History, values: Mapping[str, bytes]) -> History:
    """Return a history with those values, by digest, in place of the references to them."""
    known = {digest: Raw(data) for digest, data in values.items()}
    moments = [one._replace(record=in_place(one.record, known)) for one in history.moments]
    return history._replace(moments=tuple(moments))


def _replay(workflows: Sequence[Workflow[..., Any]], history: History) -> None:
    """In a fork's copy nobody knows yet what the code does next: it goes on from there."""
    started = history.started
    is_fresh = started.origin is not None and len(history.moments) <= started.origin_records
    (replay_open if is_fresh else replay_whole)(workflows, history)
