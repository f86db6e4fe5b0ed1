"""`ctx.continue_as_new`: what ends a history, and how much may be carried over into the next one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast, final

from msgspec import Raw

from relight.config.limits import KIB
from relight.errors import PayloadTooLargeError

__all__ = ("Continuation", "check_room", "continuation_in")

_RECORD_BYTES = KIB
"""At most, of a signal without its data, or of a child: names are 128 characters at most."""


@final
class Continuation(BaseException):
    """Raised in a workflow that continues as new. No `Exception`: code that handles those must not keep it."""

    def __init__(self, arguments: tuple[Raw, ...]) -> None:
        super().__init__("the run continues as new")
        self.arguments = arguments


def continuation_in(error: BaseException) -> Continuation | None:
    """Return what ends a history: as it was raised, or as the only error of a task group around the call."""
    while isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        if len(group.exceptions) != 1:
            return None  # Something failed beside it.
        error = group.exceptions[0]
    return error if isinstance(error, Continuation) else None


def check_room(
    arguments: Sequence[Raw], unread: Iterable[Raw], *, children: int, inline_bytes_max: int, bytes_max: int
) -> None:
    """Refuse what can't be carried over in one message: then a crash could come between.

    Of values that are stored apart only references are carried over.

    Raises:
        PayloadTooLargeError: The arguments, with what nobody has received, are too large together.
    """
    own = sum(len(one) for one in arguments if len(one) <= inline_bytes_max)
    kept = [len(data) if len(data) <= inline_bytes_max else 0 for data in unread]
    size = own + sum(kept) + (len(kept) + children) * _RECORD_BYTES
    if size > bytes_max:
        more = f" with {len(kept)} unread signals and {children} open children" if kept or children else ""
        raise PayloadTooLargeError(
            f"what is carried over, the new arguments{more},", size_bytes=size, limit_bytes=bytes_max
        )
