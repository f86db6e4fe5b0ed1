"""The shelf of a run: its large values on their way between the code, which sees values, and the records, which hold
references. No I/O: others put on it what was read, and store what is pending before they append.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from msgspec import Raw

from relight.actors import program as p
from relight.subjects import records as r
from relight.subjects.references import (
    Reference,
    digest_of,
    in_place,
    is_reference,
    reference_in,
    reference_to,
    references_in,
    with_values,
)

__all__ = ("NOT_FED", "Shelf")

NOT_FED = frozenset((r.Continued, r.RunCompleted, r.RequestReplied, r.Suspended, r.DetailsSet, r.StepHeartbeat))
"""Records of whose large values the code sees nothing."""


@final
class Shelf:
    """Values of one run that are at hand.

    Attributes:
        pending: To be stored before the records are appended that name them, by digest.
        is_used: The run has, or may have, values that are stored apart.
        bytes: Of all that the code was given of them.
    """

    __slots__ = (
        "_inline_bytes_max",
        "_uses",
        "_values",
        "bytes",
        "is_used",
        "pending",
    )

    def __init__(self, inline_bytes_max: int) -> None:
        self.pending: dict[str, bytes] = {}
        self.is_used = False
        self.bytes = 0
        self._inline_bytes_max = inline_bytes_max
        self._values: dict[str, bytes] = {}
        self._uses: dict[str, int] = {}

    def kept(self, value: Raw, *, is_fed: bool, digest: str = "") -> Raw:
        """Return what is recorded of a value: itself, or a reference while the value is pending.

        Args:
            value: Encoded.
            is_fed: The code will see it, in a fact that holds the reference.
            digest: Of it, if it is known already.
        """
        if len(value) <= self._inline_bytes_max and not is_reference(value):
            return value
        data = bytes(value)
        digest = digest or digest_of(data)
        self.is_used = True
        self.pending[digest] = data
        if is_fed:
            self.put(digest, data)
        return reference_to(digest, len(data))

    def relieved(self, request: r.Request) -> r.Request:
        """Return what is recorded of a request of one of the types `NOT_FED`; in no other the code gives values."""
        return with_values(request, lambda value: self.kept(value, is_fed=False))

    def put(self, digest: str, data: bytes) -> None:
        """Have a value at hand for one fact."""
        self.is_used = True
        self._values[digest] = data
        self.bytes += len(data)
        self._uses[digest] = self._uses.get(digest, 0) + 1

    def has_all(self, records: Iterable[r.Record]) -> bool:
        """Whether the code can be fed these."""
        fed = (record for record in records if type(record) not in NOT_FED)
        return all(one.digest in self._values for record in fed for one in references_in(record))

    def find(self, digest: str) -> bytes | None:
        return self._values.get(digest)

    def filled(self, fact: r.Fact) -> r.Fact:
        """Return a fact as the code sees it, and let go of its values.

        Raises:
            BrokenProgramError: A value is not at hand: it is missing where it was stored, or damaged.
        """
        references = references_in(fact)
        if not references or type(fact) in NOT_FED:
            return fact
        return in_place(fact, {one.digest: self._taken(one) for one in references})

    def seen(self, value: Raw) -> Raw:
        """Return a value, or the one at hand for which a reference stands."""
        reference = reference_in(value)
        return value if reference is None else Raw(self._values.get(reference.digest, value))

    def forget(self, fact: r.Fact) -> None:
        """Let go of the values of a fact that the code gets otherwise."""
        for one in references_in(fact):
            self._let_go(one.digest)

    def take_pending(self, records: Iterable[r.Record]) -> dict[str, bytes]:
        """Hand over what is to be stored before these records are appended."""
        if not self.pending:
            return {}
        pending, self.pending = self.pending, {}
        named = {one.digest for record in records for one in references_in(record)}
        return {digest: data for digest, data in pending.items() if digest in named}

    def _taken(self, reference: Reference) -> Raw:
        data = self._values.get(reference.digest)
        if data is None:
            raise p.BrokenProgramError(
                f"the value {reference.digest} ({reference.bytes} bytes) is missing where it was stored, or damaged"
            )
        self._let_go(reference.digest)
        return Raw(data)

    def _let_go(self, digest: str) -> None:
        left = self._uses.get(digest, 0) - 1
        if left > 0:
            self._uses[digest] = left
        else:
            self._uses.pop(digest, None)
            self._values.pop(digest, None)
