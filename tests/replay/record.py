"""Record histories of example workflows that have none yet: `python -m tests.replay.record`."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

from msgspec import structs
from tests.crash.workflows import SCENARIOS

from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.turn import GENESIS, Turn, hash_of, opens_history
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
        file.write_bytes(b"".join(line + b"\n" for line in without_tracebacks(trial.stage.observer.turns("crash"))))
        if values := trial.stage.observer.values("crash"):
            lines = b"".join(values[digest] + b"\n" for digest in sorted(values))
            file.with_suffix(".values.gz").write_bytes(gzip.compress(lines, mtime=0))
        print(f"recorded {file.name}")


def without_tracebacks(turns: list[Turn]) -> list[bytes]:
    """Return the turns as they would be stored had no error a traceback, which names paths of the recording machine."""
    lines: list[bytes] = []
    previous = turns[0].previous if opens_history(turns[0]) else GENESIS
    for turn in turns:
        records = tuple(without_traceback(one) for one in turn.records)
        lines.append(encode(structs.replace(turn, records=records, previous=previous)))
        previous = hash_of(lines[-1])
    return lines


def without_traceback(record: r.Record) -> r.Record:
    if isinstance(record, r.StepFailed | r.StepAttemptFailed | r.RunFailed):
        return structs.replace(record, error=structs.replace(record.error, traceback=""))
    return record


async def main() -> None:
    HISTORIES.mkdir(exist_ok=True)
    for name, scenario in SCENARIOS.items():
        await record(name, scenario)


if __name__ == "__main__":
    asyncio.run(main())
