"""Replays of a beginning of a history, with and without passing over results that come next anyway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relight import Workflow
from relight.actors import program as p
from relight.actors.run.replay import Moment, Script
from relight.actors.run.shelf import Shelf
from relight.config.limits import LIMITS
from relight.sdk._execution import Launcher
from relight.sdk._programs import WorkflowPrograms
from relight.subjects import records as r

__all__ = ("after", "assert_same_both_ways")

_PLACES_MAX = 60


class Blind:
    """Foresees nothing, so that the code waits for each result."""

    def result_of(self, step: str, digest: str, /) -> None:
        del step, digest

    def pass_over(self) -> None:
        raise AssertionError("nothing was foreseen")


class Counting:
    """Foresees what the script does, and counts."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.count = 0

    def result_of(self, step: str, digest: str, /) -> Any:
        return self._script.result_of(step, digest)

    def pass_over(self) -> None:
        self.count += 1
        self._script.pass_over()


def after(workflows: Sequence[Workflow[..., Any]], moments: Sequence[Moment], *, is_blind: bool) -> tuple[object, int]:
    """Return how the code stands after this beginning of a history, and how many results it did not wait for."""
    started = next(record for record, _ in moments if isinstance(record, r.RunStarted))
    programs = WorkflowPrograms(workflows, Launcher(threads=1, interceptors=(), sender=None), code="")
    program = programs.create("crash", started)
    script = Script(program, Shelf(LIMITS.value_inline_bytes_max))
    foresight = Counting(script)
    changes = [one.change for one, _ in moments if isinstance(one, r.PatchMarked)]
    try:
        with program.replaying(changes, Blind() if is_blind else foresight):
            script.replay(moments)
        loop: Any = program.loop
        stands: object = (script.rest(), program.at_ms, loop.time(), loop._number, loop.is_closed())
    except p.BrokenProgramError as error:
        stands = str(error)
    finally:
        program.close()
    return stands, foresight.count


def assert_same_both_ways(workflows: Sequence[Workflow[..., Any]], moments: Sequence[Moment]) -> None:
    """Code that passes over results must stand after some beginnings of a history where it stands after waiting."""
    for place in _first_places(moments):
        seen, _ = after(workflows, moments[:place], is_blind=False)
        waited, _ = after(workflows, moments[:place], is_blind=True)
        assert seen == waited, f"after {place} of {len(moments)} records"


def _first_places(moments: Sequence[Moment]) -> Sequence[int]:
    """Return the lengths of some beginnings of a history in which the code runs."""
    first = 1 + next(place for place, (record, _) in enumerate(moments) if isinstance(record, r.RunStarted))
    return range(first, len(moments) + 1, max(1, (len(moments) - first) // _PLACES_MAX))
