"""Counts what is replayed of histories."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from relight.actors import journal
from relight.actors.run.draft import Draft
from relight.subjects.turn import Turn

__all__ = ("replayed_pages",)


def replayed_pages(monkeypatch: pytest.MonkeyPatch, *, turns: int) -> list[int]:
    """Have histories read so many turns at a time, and return how many each replay has taken."""
    monkeypatch.setattr(journal, "_PAGE_TURNS", turns)
    pages: list[int] = []
    replay = Draft.replay

    def counted(one: Draft, turns: Sequence[Turn]) -> None:
        pages.append(len(turns))
        replay(one, turns)

    monkeypatch.setattr(Draft, "replay", counted)
    return pages
