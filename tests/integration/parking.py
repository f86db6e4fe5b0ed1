"""Parks a run for a reason that would take a death, or damage, to come about."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from relight import Relight, Run
from relight.subjects import records as r
from relight.subjects.codec import decode_turn, encode
from relight.subjects.turn import Turn, hash_of

__all__ = ("park_for",)


async def park_for(client: Relight, run: Run[Any], reason: str, step: str = "") -> None:
    """Add a turn to the run's history, as an owner would; no worker may hold the run."""
    log = client.subjects.log(run.id)
    last = await client.door.last(log)
    assert last is not None
    turn = decode_turn(last.data)
    assert isinstance(turn, Turn)
    parked = r.Parked(reason=reason, message="by the test", step=step)
    following = replace(
        turn, number=turn.number + 1, append=f"{reason}.1", previous=hash_of(last.data), records=(parked,)
    )
    await client.door.publish(log, encode(following), fence=last.sequence)
