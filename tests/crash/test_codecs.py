"""What users put in leaves the process sealed, and all that is promised holds all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.crash.workflows import SCENARIOS

from relight import Encryption, Keys, Zstd
from relight.actors.codecs import Codec
from relight.testing.crash import sweep
from relight.testing.trial import Trial

KEYS = Keys({"first": bytes(range(32))})
NAMES = ("carries", "calls_children", "answers_requests", "continues", "forked", "suspends_and_sleeps", "undoes")


def codecs() -> tuple[Codec, ...]:
    return (Zstd(), Encryption(KEYS))


@pytest.mark.parametrize("name", SCENARIOS)
async def test_each_example_ends_as_it_does_without_codecs(name: str) -> None:
    plain, sealed = Trial(SCENARIOS[name]), Trial(replace(SCENARIOS[name], codecs=codecs()))

    expected = await plain.play()

    assert await sealed.play() == expected
    assert sealed.problems == []


@pytest.mark.parametrize("name", NAMES)
async def test_it_ends_alike_wherever_a_process_dies(name: str) -> None:
    scenario = replace(SCENARIOS[name], codecs=codecs())

    report = await sweep(scenario, workers=2)

    assert report.crashes >= 4 * report.operations
