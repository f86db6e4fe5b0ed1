"""What the keepers of the workers tell each other: who lives, and which leases he holds.

Announcements are core notices: some are lost, and nothing but promptness depends on them. A lease is named by its
consumer and its stream sequence alone, because that is how the server keys acknowledgements (seen: a token with another
delivery count or time stamp naks, renews and acks just as well). This makes an announced lease 5 to 8 bytes long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec
from msgspec import Struct

from relight.errors import ProtocolError
from relight.subjects.codec import UNREADABLE
from relight.subjects.ids import ConsumerInMessage, IdInMessage

__all__ = (
    "AGE_S_MAX",
    "EVERY_CONSUMER",
    "Announcement",
    "LeaseName",
    "consumer_of",
    "decode_announcement",
    "encode_announcement",
    "grouped",
    "in_pieces",
    "lease_of",
    "next_age_s",
    "pause_s_of",
    "token_of",
)

EVERY_CONSUMER = "*"
"""In `wants`: all leases, of whichever consumer."""

SEQUENCES_PER_ANNOUNCEMENT_MAX = 20_000
"""About 160 KB; with the longest sequences that exist still below nats-server's default max_payload."""

AGE_S_MAX = 0.25
"""A lease that old is announced, however busy the worker is."""

_ANNOUNCED_AT_A_LOOK = 3
_NEIGHBOURS_AT_FULL_PACE = 4
_ROOT = "$JS.ACK."


class LeaseName(NamedTuple):
    """A delivery's place. `consumer` is `<stream>.<consumer>`, with domain and account hash in front if given."""

    consumer: str
    sequence: int


class Announcement(Struct, frozen=True, omit_defaults=True, tag="announcement", tag_field="type"):
    """One notice of one worker. Without further fields it only says that the worker lives.

    Attributes:
        worker: Who speaks.
        frees: Whether he sees deaths, and frees the leases of the dead.
        held: Stream sequences of leases, by consumer; added to what was said before.
        whole: `held` replaces what was said before of the consumers in it.
        ended: Leases that he no longer holds.
        wants: Asks the others for all leases that they hold, of these consumers at least, at once: also the youngest.
        freed: He has freed the leases of this dead worker.
        leaves: He is about to end in order: his connections will close, and that is no death.
    """

    worker: IdInMessage
    frees: bool = False
    held: dict[ConsumerInMessage, list[int]] = {}
    whole: bool = False
    ended: dict[ConsumerInMessage, list[int]] = {}
    wants: tuple[str, ...] = ()
    freed: str = ""
    leaves: bool = False


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Announcement)

encode_announcement = _encoder.encode


def decode_announcement(data: bytes) -> Announcement:
    """Return the announcement in a notice.

    Raises:
        ProtocolError: The bytes are no announcement of this protocol.
    """
    try:
        return _decoder.decode(data)
    except UNREADABLE as error:
        raise ProtocolError(f"unreadable announcement ({error}): {data[:80]!r}") from error


def consumer_of(token: str) -> str:
    """Return the consumer in an acknowledgement subject of the short form; cheap, for the path of every run."""
    return token[len(_ROOT) :].rsplit(".", 5)[0]


def lease_of(token: str) -> LeaseName | None:
    """Return the lease that an acknowledgement subject names, None if it is none of a form that we know.

    The forms are `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>`, and the
    same with `<domain>.<account hash>` before the stream and one more token at the end.
    """
    match token.split("."):
        case ["$JS", "ACK", stream, consumer, _, sequence, _, _, _] if sequence.isdecimal():
            return LeaseName(f"{stream}.{consumer}", int(sequence))
        case ["$JS", "ACK", domain, account, stream, consumer, _, sequence, _, _, _, *_] if sequence.isdecimal():
            return LeaseName(f"{domain}.{account}.{stream}.{consumer}", int(sequence))
        case _:
            return None


def token_of(lease: LeaseName, *, delivery: int = 1) -> str:
    """Return an acknowledgement subject for a lease.

    Of the rest the server looks only at the consumer sequence, and only in a `-NAK`, which it ignores unless `delivery`
    is above the consumer's acknowledgement floor and no more than what it has delivered (seen).
    """
    return f"{_ROOT}{lease.consumer}.1.{lease.sequence}.{delivery}.1.0"


def grouped(leases: Iterable[LeaseName]) -> dict[str, list[int]]:
    """Return the leases' sequences by consumer, as an announcement carries them."""
    groups: dict[str, list[int]] = {}
    for consumer, sequence in leases:
        groups.setdefault(consumer, []).append(sequence)
    return groups


def next_age_s(age_s: float, *, announced: int, age_s_min: float) -> float:
    """Return the age at which leases are announced from now on.

    To announce what is over a moment later costs a busy worker a tenth of its time. So the age grows while more than a
    few are `announced` at a look. What a worker that dies has not announced yet is found by the sweep.
    """
    if announced > _ANNOUNCED_AT_A_LOOK:
        return min(2 * age_s, AGE_S_MAX)
    return max(0.9 * age_s, age_s_min)


def pause_s_of(age_s: float, *, neighbours: int, announce_s: float) -> float:
    """Return the pause until the next look at the leases.

    With more than a few neighbours each announces less often: no worker hears more than about 800 announcements a
    second.
    """
    return max(age_s, announce_s * neighbours / _NEIGHBOURS_AT_FULL_PACE)


def in_pieces(groups: Mapping[str, list[int]]) -> Iterator[tuple[dict[str, list[int]], bool]]:
    """Cut a whole table into announcements below the payload limit; each with whether it replaces or adds."""
    if sum(map(len, groups.values())) <= SEQUENCES_PER_ANNOUNCEMENT_MAX:
        yield dict(groups), True
        return
    for consumer, sequences in groups.items():
        for start in range(0, max(len(sequences), 1), SEQUENCES_PER_ANNOUNCEMENT_MAX):
            yield {consumer: sequences[start : start + SEQUENCES_PER_ANNOUNCEMENT_MAX]}, start == 0
