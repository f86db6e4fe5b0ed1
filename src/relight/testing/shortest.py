"""The shortest list that still does it: delta debugging (Zeller's ddmin, without its step of testing single chunks)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import TypeVar

__all__ = ("shortest",)

T = TypeVar("T")


async def shortest(
    items: Sequence[T],
    repeats: Callable[[Sequence[T]], Awaitable[Sequence[T] | None]],
    *,
    kind: Callable[[T], Hashable],
    tries_max: int,
) -> Sequence[T]:
    """Leave items out while the rest still does it, first whole kinds, then smaller and smaller chunks.

    Args:
        items: All of them do it.
        repeats: Tries some of them; returns those that mattered, None if they do not do it.
        kind: What an item is.
        tries_max: How often `repeats` is called at most.
    """
    left = tries_max
    for one in dict.fromkeys(kind(item) for item in items):
        fewer = [item for item in items if kind(item) != one]
        if len(fewer) < len(items) and left > 0:
            left -= 1
            items = _or(await repeats(fewer), items)
    size = max(1, len(items) // 2)
    while items and left > 0:
        before = len(items)
        start = 0
        while start < len(items) and left > 0:
            left -= 1
            kept = await repeats([*items[:start], *items[start + size :]])
            start, items = (start + size, items) if kept is None else (start, kept)
        if size == 1 and len(items) == before:
            break
        size = max(1, size // 2)
    return items


def _or(found: Sequence[T] | None, otherwise: Sequence[T]) -> Sequence[T]:
    return otherwise if found is None else found
