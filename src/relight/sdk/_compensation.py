"""What undoes the steps of a run that fails or is cancelled: registered by its code, run in reverse order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, cast, final

from relight.errors import StepFailed
from relight.sdk._place import caller
from relight.sdk._step import Step
from relight.sdk._values import as_they_are
from relight.subjects.records import CompensationRegistered

if TYPE_CHECKING:
    from relight.sdk._activation import Activation

__all__ = ("Compensations",)

_NAMED_MAX = 100
_REASON_CHARACTERS_MAX = 500
"""Together they keep the record of the end small; everything is in the history."""


class _Undo(NamedTuple):
    step: Step[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    digest: str
    place: str


@final
class Compensations:
    """The undos of one activation.

    Attributes:
        not_undone: Why those failed that did, by the keys of their steps.
    """

    def __init__(self, activation: Activation) -> None:
        self.not_undone: dict[str, str] = {}
        self._activation = activation
        self._registered: list[_Undo] = []

    def register(self, undo: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep the call for later, with its arguments as they are now."""
        if not isinstance(undo, Step):
            raise TypeError(f"ctx.compensate: {undo!r} is no step; decorate it with @step")
        step = cast("Step[..., Any]", undo)
        digest = step.signature.digest(args, kwargs)
        place = caller()
        args, kwargs = as_they_are(args, kwargs, what=step.name)
        self._registered.append(_Undo(step, args, kwargs, digest, place))
        self._activation.ask(CompensationRegistered(step.name, digest, place))

    async def run(self) -> None:
        """Undo, the latest first. One that fails leaves the others their turn; a cancellation waits for all."""
        task = self._activation.loop.create_task(self._undo_all())
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                continue  # The run is ending already.

    async def _undo_all(self) -> None:
        while self._registered:
            undo = self._registered.pop()
            try:
                await self._activation.await_step(undo.step, undo.args, undo.kwargs, undo.place, undo.digest)
            except StepFailed as error:
                if len(self.not_undone) < _NAMED_MAX:
                    self.not_undone[error.step] = f"{error.error_type}: {error}"[:_REASON_CHARACTERS_MAX]
