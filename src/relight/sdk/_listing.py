"""The newest runs, and which of them stand as they are wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, get_args

import structlog

from relight.actors.door import Stored
from relight.actors.starts import StoredStart, start_in
from relight.config.limits import LIMITS
from relight.errors import InvalidValueError, ProtocolError, RunNotFoundError
from relight.sdk._run import Run, RunStatus
from relight.sdk._starting import checked_tags
from relight.sdk._values import value_type

if TYPE_CHECKING:
    from relight.sdk._client import Relight

__all__ = ("listed",)

log = structlog.get_logger("relight")


async def listed(
    relight: Relight, *, workflow: str | None, status: RunStatus | None, tags: Mapping[str, str]
) -> AsyncIterator[Run[object]]:
    """What `Relight.runs` promises."""
    tags = checked_tags(tags)
    if status is not None and status not in get_args(RunStatus):
        raise InvalidValueError("status", "", f"{status!r} is unknown", f"pass one of {', '.join(get_args(RunStatus))}")
    for one in await relight.door.newest(relight.subjects.every_start(), limit=LIMITS.runs_listed_max):
        start = _readable(one)
        if start is None or (workflow is not None and start.started.workflow != workflow):
            continue
        if any(start.started.tags.get(name) != value for name, value in tags.items()):
            continue
        # The queue is not passed on: it may take hours until whoever iterates comes to this run.
        run: Run[object] = Run(relight, start.run, value_type(object))
        if status is None or await _stands(run, status):
            yield run


def _readable(stored: Stored) -> StoredStart | None:
    try:
        return start_in(stored)
    except ProtocolError as error:
        log.warning("start_unreadable", subject=stored.subject, error=str(error))
        return None


async def _stands(run: Run[object], status: RunStatus) -> bool:
    try:
        return (await run.describe()).status == status
    except RunNotFoundError:
        return False  # It was retired meanwhile.
    except ProtocolError as error:
        log.warning("run_unreadable", run=run.id, error=str(error))
        return False
