"""Reading a run's mailbox in sequence order. Deliveries only ring; what is consumed is read from the subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from relight.actors.door import Delivery, Door, LaterVersionError, Stored
from relight.config.limits import KIB, LIMITS
from relight.errors import ProtocolError, SealedError
from relight.subjects.codec import decode_wake, is_of_later_version
from relight.subjects.messages import Terminate, Wake

__all__ = ("Mail", "Mailbox", "decoded", "decoded_if_open")

log = structlog.get_logger("relight")

_BATCH_BYTES = 128 * KIB
"""Messages of one turn: together they must fit into its first journal message."""


@dataclass(frozen=True, slots=True)
class Mail:
    """A mailbox message; `wake` is None if it can't be read, which consumes it without effect."""

    sequence: int
    wake: Wake | None


class Mailbox:
    """The unread part of one run's mailbox.

    Attributes:
        has_more: Whether the last `read` left something unread.
    """

    def __init__(self, door: Door, subject: str) -> None:
        self._door = door
        self._subject = subject
        self._looked_up_to = 0
        self.has_more = False

    async def read(self, doorbells: Sequence[Delivery], *, after: int, to_the_end: bool) -> list[Mail]:
        """Return unread messages in order: at least the doorbells', or with `to_the_end` all that the leader has.

        Bounded by `limits.mailbox_batch`; `has_more` says whether to read again. Raises `UnavailableError`, and
        `SealedError` or `LaterVersionError` if one can't be read here: it is left where it is, with what follows it,
        unless a `Terminate` does. Where a key is missing, that can't be read either, nor could the end be written.
        """
        try:
            return await self._read(doorbells, after, to_the_end=to_the_end)
        except (SealedError, LaterVersionError) as error:
            if isinstance(error, SealedError) and self._door.seal is not None:
                raise
            terminate = await self._terminate(max(after, self._looked_up_to))
            if terminate is None:
                raise
            return [terminate]

    async def _terminate(self, after: int) -> Mail | None:
        while page := await self._page(after, 0):
            for stored in page:
                if b'"Terminate"' in stored.data:
                    wake = decoded_if_open(stored.subject, stored.data)
                    if isinstance(wake, Terminate):
                        return Mail(stored.sequence, wake)
            self._looked_up_to = after = page[-1].sequence
        return None

    async def _read(self, doorbells: Sequence[Delivery], after: int, *, to_the_end: bool) -> list[Mail]:
        self.has_more = False
        if not to_the_end:
            in_order = _consecutive(doorbells, after)
            if in_order is not None:
                return in_order
        target = max((one.sequence for one in doorbells), default=0)
        return await self._read_subject(after, target, to_the_end=to_the_end)

    async def _read_subject(self, after: int, target: int, *, to_the_end: bool) -> list[Mail]:
        mails: list[Mail] = []
        size = 0
        while to_the_end or after < target:
            page = await self._page(after, 0 if to_the_end else target)
            if not page:
                break
            for stored in page:
                try:
                    mails.append(Mail(stored.sequence, decoded(stored.subject, stored.data)))
                except (SealedError, LaterVersionError):
                    if not mails:
                        raise
                    self.has_more = True
                    return mails  # What came before it waits for nothing.
                after = stored.sequence
                size += len(stored.data)
                if len(mails) >= LIMITS.mailbox_batch or size >= _BATCH_BYTES:
                    self.has_more = True
                    return mails
        return mails

    async def _page(self, after: int, target: int) -> list[Stored]:
        # Only the leader may say that there is nothing more, and mostly there is nothing or one.
        first = await self._door.next(self._subject, after=after)
        if first is None:
            return []
        if first.sequence == target:
            return [first]
        return [first, *await self._door.read(self._subject, after=first.sequence, limit=LIMITS.mailbox_batch - 1)]


def _consecutive(doorbells: Sequence[Delivery], after: int) -> list[Mail] | None:
    """Return the doorbells' own messages if nothing can lie between them and the cursor.

    A message that was published under a fence on its own subject says which one came before it.
    """
    mails: list[Mail] = []
    for one in sorted(doorbells, key=lambda one: one.sequence):
        if one.sequence <= after:
            continue
        if one.fence is None or one.fence > after or len(mails) >= LIMITS.mailbox_batch:
            return None
        try:
            mails.append(Mail(one.sequence, decoded(one.subject, one.data)))
        except (SealedError, LaterVersionError):
            return None  # Read from the subject it is known to be left behind, with its doorbell.
        after = one.sequence
    return mails


def decoded(subject: str, data: bytes) -> Wake | None:
    """Return the message, or None if nobody can read it.

    Raises:
        SealedError: It can't be opened here.
        LaterVersionError: Only a later Relight can read it.
    """
    try:
        return decode_wake(data)
    except SealedError:
        raise
    except ProtocolError as error:
        if is_of_later_version(data):
            raise LaterVersionError(f"{subject} has a message for a later version of Relight; upgrade it") from error
        log.warning("message_unreadable", subject=subject, error=str(error))
        return None


def decoded_if_open(subject: str, data: bytes) -> Wake | None:
    """Return the message, or None if it can't be read here. For who looks for one in which nothing is sealed."""
    try:
        return decoded(subject, data)
    except (SealedError, LaterVersionError):
        return None
