"""What a verb prints: colours and tables for people at a terminal, plain lines in a pipe, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ("Cell", "Output", "cell_of", "fitted", "one_line", "printable", "shortened", "status_style")

Cell = str | tuple[str, str]
"""A text, or a text with its style."""

_STATUS_STYLES = {
    "queued": "dim",
    "running": "cyan",
    "waiting": "yellow",
    "paused": "yellow",
    "parked": "bold magenta",
    "completed": "green",
    "failed": "bold red",
    "cancelled": "dim",
    "terminated": "red",
    "timed_out": "red",
    "unreadable": "bold red",
}


@final
class Output:
    """Standard output. Every method prints at once, so that what follows a run is seen while it happens."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        self.is_terminal = not is_json and sys.stdout.isatty()

    def json(self, document: Mapping[str, object]) -> None:
        """One object on one line."""
        print(json.dumps(document, ensure_ascii=False), flush=True)

    def line(self, *cells: Cell) -> None:
        """The cells, one behind the other."""
        if self.is_terminal:
            self._console.print(_text(cells), soft_wrap=True)
        else:
            print("".join(_plain(one) for one in cells), flush=True)

    def pairs(self, pairs: Sequence[tuple[str, Cell]]) -> None:
        """Names with what they stand for, which may be several lines each."""
        width = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            text, style = cell_of(value)
            for number, part in enumerate(text.splitlines() or [""]):
                label = name if number == 0 else ""
                self.line((f"{label:<{width}}  ", "dim"), (part, style))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, least: Sequence[int] = ()) -> None:
        """A table as wide as the terminal; in a pipe nothing is cut off and two spaces part the columns.

        On a narrow terminal each column keeps its `least` width; without any, the last one gives way first.
        """
        if self.is_terminal:
            self._rich_table(columns, rows, least)
            return
        lines = [[_plain(one) for one in row] for row in (columns, *rows)]
        widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
        for line in lines:
            print("  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip(), flush=True)

    def row(self, cells: Sequence[Cell], widths: Sequence[tuple[int, int]]) -> None:
        """One row of a table that is not known to its end.

        A terminal cuts off what is too wide for its column, which is between its least and its greatest width; but the
        last column runs on.
        """
        fitting = fitted(widths, self._console.width) if self.is_terminal else [greatest for _, greatest in widths]
        padded: list[Cell] = []
        for index, ((text, style), width) in enumerate(zip(map(cell_of, cells), fitting, strict=True)):
            is_cut = self.is_terminal and index < len(cells) - 1
            padded.append((f"{shortened(text, width) if is_cut else text:<{width}}  ", style))
        if self.is_terminal:
            line = _text(padded)
            line.rstrip()
            self._console.print(line, soft_wrap=True)
        else:
            print("".join(map(_plain, padded)).rstrip(), flush=True)

    def _rich_table(self, columns: Sequence[str], rows: Sequence[Sequence[Cell]], least: Sequence[int]) -> None:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="dim", show_edge=False)
        widths = _widths_of(columns, rows, least, self._console.width) if least else [None] * len(columns)
        for index, (name, width) in enumerate(zip(columns, widths, strict=True)):
            is_last = index == len(columns) - 1
            table.add_column(name, no_wrap=not is_last, overflow="fold" if is_last else "ellipsis", width=width)
        for row in rows:
            table.add_row(*(_text((one,)) for one in row))
        self._console.print(table)

    @cached_property
    def _console(self) -> Console:
        from rich.console import Console

        return Console(highlight=False, markup=False, emoji=False)


def fitted(widths: Sequence[tuple[int, int]], columns: int) -> list[int]:
    """Return how wide each column of a table is, between its least and its greatest width, two spaces between them."""
    least, greatest = (sum(one) for one in zip(*widths, strict=True))
    room = columns - 2 * (len(widths) - 1)
    share = min(1.0, max(0.0, (room - least) / max(1, greatest - least)))
    return [first + int((second - first) * share) for first, second in widths]


def _widths_of(
    columns: Sequence[str], rows: Sequence[Sequence[Cell]], least: Sequence[int], room: int
) -> list[int | None]:
    lines = [[cell_of(one)[0] for one in row] for row in (columns, *rows)]
    needed = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [*fitted([(min(one, first), one) for first, one in zip(least, needed, strict=True)], room)]


def cell_of(cell: Cell) -> tuple[str, str]:
    """Return text and style of a cell; control characters that a run's data may hold do not reach the terminal."""
    text, style = (cell, "") if isinstance(cell, str) else cell
    return printable(text), style


def printable(text: str) -> str:
    """Return the text with everything escaped that a terminal may take for a command; lines stay lines."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)


def one_line(text: str) -> str:
    """Return the text on one line, fit for a terminal."""
    return printable(" ".join(text.split()))


def shortened(text: str, limit: int) -> str:
    """Return at most `limit` characters of the text on one line."""
    line = one_line(text)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def status_style(status: str) -> str:
    """Return the style of a run's status."""
    return _STATUS_STYLES.get(status, "")


def _plain(cell: Cell) -> str:
    return cell_of(cell)[0]


def _text(cells: Sequence[Cell]) -> Text:
    from rich.text import Text

    return Text.assemble(*map(cell_of, cells))
