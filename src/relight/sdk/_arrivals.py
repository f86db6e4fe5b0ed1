"""What others have sent to a run's code: given to whoever waits for it, else kept until somebody does."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TypeAlias, TypeVar, final

from msgspec import Raw

from relight.errors import StepFailed
from relight.subjects.records import End

__all__ = ("Arrivals", "Waits")

T = TypeVar("T")

Waits: TypeAlias = deque[tuple[int, "asyncio.Future[T]"]]
"""Those of one kind and name, in order, with the numbers under which they were recorded."""


@final
class Arrivals:
    """Signals, answers, ends of children and awakeables of one activation.

    Attributes:
        suspensions: Waits for answers, by name.
        answers: Those that came early, by name.
        signal_waits: Waits for signals, by name.
        signals: Those that nobody has received, by name.
        awakeables: By number; who has none yet waits.
        end_waits: Waits for the ends of children, by their ids.
        ends: Of children, by their ids.
    """

    __slots__ = ("answers", "awakeables", "end_waits", "ends", "signal_waits", "signals", "suspensions")

    def __init__(self) -> None:
        self.suspensions: dict[str, Waits[Raw]] = {}
        self.answers: dict[str, Raw] = {}
        self.signal_waits: dict[str, Waits[Raw]] = {}
        self.signals: dict[str, deque[Raw]] = {}
        self.awakeables: dict[int, asyncio.Future[Raw]] = {}
        self.end_waits: dict[str, Waits[End]] = {}
        self.ends: dict[str, End] = {}

    def take_signal(self, name: str, data: Raw) -> None:
        waits = self.signal_waits.get(name)
        while waits:
            _, future = waits.popleft()
            if not future.done():
                future.set_result(data)
                return
        self.signals.setdefault(name, deque()).append(data)

    def take_answer(self, name: str, data: Raw) -> None:
        waits = self.suspensions.get(name)
        if waits:
            _, future = waits.popleft()
            _resolve(future, data)
        else:
            self.answers[name] = data

    def take_end(self, child: str, end: End) -> None:
        self.ends[child] = end
        for _, waiting in self.end_waits.pop(child, ()):
            _resolve(waiting, end)

    def complete(self, awakeable: int, data: Raw) -> None:
        future = self.awakeables.get(awakeable)
        if future is not None:
            _resolve(future, data)

    def fail(self, awakeable: int, reason: str) -> None:
        future = self.awakeables.get(awakeable)
        if future is not None and not future.done():
            step = f"awakeable {awakeable}"
            future.set_exception(StepFailed(reason, error_type="relight.AwakeableFailed", step=step))

    def unread(self) -> list[Raw]:
        """Return what came and nobody has received."""
        return [*(data for kept in self.signals.values() for data in kept), *self.answers.values()]

    def close(self) -> None:
        """Let go of all futures: what waits for them may lead back here."""
        self.suspensions.clear()
        self.signal_waits.clear()
        self.awakeables.clear()
        self.end_waits.clear()


def _resolve(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
