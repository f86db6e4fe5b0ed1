"""`python -m benchmarks [--only NAME] [--quick]`: JSON lines on standard output, progress on standard error."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator

from benchmarks import (
    children,
    conversation,
    failover,
    idle,
    import_time,
    messages,
    replay,
    retention,
    sequential_step,
    sustained,
    throughput,
    timers,
    waiting,
    wake,
)
from benchmarks.row import Row

_ROWS: dict[str, Callable[..., Iterator[Row]]] = {
    "sequential_step": sequential_step.rows,
    "workflows": throughput.rows,
    "sequential_step_always": sequential_step.rows_always,
    "workflows_always": throughput.rows_always,
    "sustained": sustained.rows,
    "idle": idle.rows,
    "wake": wake.rows,
    "failover": failover.rows,
    "children": children.rows,
    "conversation": conversation.rows,
    "waiting": waiting.rows,
    "retention": retention.rows,
    "replay": replay.rows,
    "timers": timers.rows,
    "messages": messages.rows,
    "import": import_time.rows,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed and memory beside the floor.")
    parser.add_argument("--only", choices=_ROWS, metavar="NAME", help=f"one of: {', '.join(_ROWS)}")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: minutes become seconds")
    options = parser.parse_args()
    for name, rows in _ROWS.items():
        if options.only in (None, name):
            _run(name, rows, is_quick=options.quick)


def _run(name: str, rows: Callable[..., Iterator[Row]], *, is_quick: bool) -> None:
    began = time.monotonic()
    print(f"{name} …", file=sys.stderr, flush=True)
    for row in rows(is_quick=is_quick):
        print(json.dumps(row.as_json()), flush=True)
        print(f"  {_in_words(row)}", file=sys.stderr, flush=True)
    print(f"  ({time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)


def _in_words(row: Row) -> str:
    line = row.as_json()
    said = f"{row.name}: {line['value']:g} {row.unit}"
    if row.ratio is not None:
        said += f", {line['ratio']:g} times the floor of {line['floor']:g}"
    if row.goal is not None:
        said += f"; reach {row.goal.reach:g}: {_yes(line['reaches'])}; aim {row.goal.aim:g}: {_yes(line['meets_aim'])}"
    return said


def _yes(is_met: bool) -> str:
    return "yes" if is_met else "NO"


if __name__ == "__main__":
    main()
