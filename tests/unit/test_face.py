"""What users import, by name."""

from __future__ import annotations

import pytest

import relight


@pytest.mark.parametrize("name", relight.__all__)
def test_the_face_gives_what_it_names(name: str) -> None:
    assert getattr(relight, name) is getattr(relight, name)
    assert name in dir(relight)


def test_what_the_face_does_not_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'relight' has no attribute 'nothing'"):
        _ = relight.nothing  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
