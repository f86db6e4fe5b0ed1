"""From when on a waiting run may be taken over without a question: nobody keeps its coroutine or runs its steps then.

Its last owner may still be there, kept from letting go by messages that lead to no record. From a moment before that
on it must not answer for such a message unless it has looked at the journal since the message came: it may be sent
because of a newer turn, of which the owner has not heard.
"""

from __future__ import annotations

from relight.actors.run.state import RunState
from relight.config.limits import LIMITS

__all__ = ("is_anybodys", "rests_nowhere")


def rests_nowhere(last_turn_ms: int, now_ms: int) -> bool:
    """Whether a run without open steps may be taken over unasked, whose last turn was made then."""
    return now_ms - last_turn_ms >= 1200 * LIMITS.linger_s


def is_anybodys(state: RunState, last_turn_ms: int, now_ms: int) -> bool:
    """Whether somebody may have taken this run over unasked: by a clock that goes a sixth of that time before his."""
    return not state.steps and now_ms - last_turn_ms >= 1000 * LIMITS.linger_s
