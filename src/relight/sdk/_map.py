"""`ctx.map`: one call for each item, a bounded number of them at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar, final

from relight.errors import InvalidValueError, MapFailed, RelightError
from relight.sdk._child import to_the_end

__all__ = ("Mapping",)

R = TypeVar("R")
T = TypeVar("T")


@final
class Mapping(Generic[T, R]):
    """The state of one `ctx.map`."""

    def __init__(
        self,
        call: Callable[[T], Awaitable[R]],
        items: Iterable[T],
        *,
        concurrency: int,
        max_failures: int,
        min_success: int | None,
    ) -> None:
        _check("concurrency", concurrency, 1)
        _check("max_failures", max_failures, 0)
        if min_success is not None:
            _check("min_success", min_success, 1)
        self._call = call
        self._items = enumerate(items)
        self._concurrency = concurrency
        self._max_failures = max_failures
        self._min_success = min_success
        self._lanes = concurrency
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._results: dict[int, R] = {}
        self._failures: dict[int, Exception] = {}

    async def run(self) -> list[R]:
        """Return the results in the items' order; those that failed, or were not needed, are left out."""
        lanes: list[asyncio.Future[None]] = [asyncio.ensure_future(self._work()) for _ in range(self._concurrency)]
        for lane in lanes:
            lane.add_done_callback(self._lane_ended)
        try:
            # Not `asyncio.wait`, which looks at all lanes again for each that ends.
            await self._over
        finally:
            await _stop([one for one in lanes if not one.done()])
        if len(self._failures) > self._max_failures:
            raise MapFailed(self._results, self._failures)
        return [self._results[index] for index in sorted(self._results)]

    def _lane_ended(self, lane: asyncio.Future[None]) -> None:
        self._lanes -= 1
        if self._over.done():
            return
        if not lane.cancelled() and (error := lane.exception()) is not None:
            self._over.set_exception(error)
        elif self._lanes == 0 or self._is_decided():
            self._over.set_result(None)

    async def _work(self) -> None:
        """Take one item after the other, until none is left or the rest is not needed."""
        for index, item in self._items:
            try:
                self._results[index] = await self._call(item)
            except RelightError as error:
                self._failures[index] = error
            if self._is_decided():
                return

    def _is_decided(self) -> bool:
        enough = self._min_success is not None and len(self._results) >= self._min_success
        return enough or len(self._failures) > self._max_failures


async def _stop(lanes: list[asyncio.Future[None]]) -> None:
    """Cancel them and wait until they have ended, also when cancelled meanwhile: children have clean-up to do."""
    for one in lanes:
        one.cancel()
    if lanes:
        await to_the_end(asyncio.gather(*lanes, return_exceptions=True))


def _check(name: str, value: int, least: int) -> None:
    if value < least:
        raise InvalidValueError(f"map({name}=)", "", f"{value} is less than {least}", f"pass {least} or more")
