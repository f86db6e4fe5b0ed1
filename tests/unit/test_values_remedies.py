"""What is advised for a value that is refused."""

from __future__ import annotations

from typing import Any

import pytest

from relight.errors import InvalidValueError
from relight.sdk._values_type import value_type


@pytest.mark.parametrize(
    ("annotation", "value", "remedy"),
    [
        (int, None, "it is None: return what int takes"),
        (list[int], None, r"it is None: return what list\[int\] takes"),
        (list[int] | tuple[int, ...], (1,), "use one of the types, or put it in a model"),
    ],
    ids=str,
)
def test_the_remedy_fits_what_is_wrong(annotation: Any, value: object, remedy: str) -> None:
    with pytest.raises(InvalidValueError, match=remedy):
        value_type(annotation).record(value, what="result")
