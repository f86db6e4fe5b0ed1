"""What the linter says."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("Caller", "Finding")


@dataclass(frozen=True)
class Caller:
    """One link between the workflow and the place: this function calls the next one, in this line."""

    function: str
    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.function} ({self.path}:{self.line})"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One place that would not be the same in a replay.

    Attributes:
        path: The file; relative to the working directory if it is below it.
        line: From 1.
        column: From 1.
        rule: Its name, as `# relight: allow` takes it.
        message: What is there, and why it is wrong.
        remedy: What to write instead.
        function: In which it stands.
        callers: From the workflow to whoever calls the function; empty if the place is in the workflow itself.
    """

    path: str
    line: int
    column: int
    rule: str
    message: str
    remedy: str
    function: str
    callers: tuple[Caller, ...] = ()

    @property
    def chain(self) -> str:
        """How the workflow comes there, in words; empty if the place is in the workflow itself."""
        if not self.callers:
            return ""
        return f"{' → '.join(map(str, self.callers))} → {self.function}"

    def __str__(self) -> str:
        chain = f" [{self.chain}]" if self.callers else ""
        return f"{self.path}:{self.line}:{self.column}: {self.rule}: {self.message}; {self.remedy}{chain}"
