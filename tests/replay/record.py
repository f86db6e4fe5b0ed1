"""Record histories of example workflows that have none yet: `python -m tests.replay.record`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.crash.workflows import SCENARIOS

from relight.testing.trial import Point, Scenario, Trial

HISTORIES = Path(__file__).parent / "histories"


async def record(name: str, scenario: Scenario) -> None:
    """Write one undisturbed history, and one of a run whose worker died."""
    died = Point(side="worker", number=2, moment="after", leases_freed=True)
    for suffix, point in (("", None), ("-died", died)):
        file = HISTORIES / f"{name}{suffix}.jsonl"
        if file.exists():
            continue
        trial = Trial(scenario, point=point)
        await trial.play()
        assert not trial.problems, trial.problems
        file.write_bytes(b"".join(line + b"\n" for line in trial.stage.observer.journal("crash")))
        print(f"recorded {file.name}")


async def main() -> None:
    HISTORIES.mkdir(exist_ok=True)
    for name, scenario in SCENARIOS.items():
        await record(name, scenario)


if __name__ == "__main__":
    asyncio.run(main())
