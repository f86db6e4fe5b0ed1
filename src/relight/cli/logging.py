"""Log lines of the process, configured once: this is the edge, the library itself never does it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from io import StringIO
from typing import TYPE_CHECKING, TextIO, final

import structlog

from relight.cli.output import printable

if TYPE_CHECKING:
    from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

    from relight.config.settings import LogFormat, LogLevel

__all__ = ("configure_logging", "quiet_logging", "redact_logging")


def configure_logging(*, level: LogLevel, format: LogFormat, stream: TextIO) -> None:
    """Send the lines of structlog and of the standard library to a stream, the same way.

    An application that configures either of them itself, when it is imported, has the last word.

    Args:
        level: The least severe lines that are written.
        format: `plain` for people, with colours on a terminal; `json` for programs.
        stream: Where they go.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso" if format == "json" else "%H:%M:%S", utc=format == "json"),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(format, stream)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def redact_logging(redact: Callable[[str], str]) -> None:
    """Let lines pass through `redact` when they are written, whoever writes them."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Redacting(handler.formatter or logging.Formatter(), redact))


@final
class _Redacting(logging.Formatter):
    def __init__(self, formatter: logging.Formatter, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._formatter = formatter
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(self._formatter.format(record))


def quiet_logging(level: LogLevel) -> None:
    """For verbs that answer and end: their one line on standard error says it all, unless everything was asked for."""
    configure_logging(level=level if level == "debug" else "error", format="plain", stream=sys.stderr)
    if level != "debug":
        logging.disable(logging.CRITICAL)


def _rendering(format: LogFormat, stream: TextIO) -> list[Processor]:
    if format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    return [
        _printable,
        structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), pad_event_to=0, pad_level=False, exception_formatter=_traceback
        ),
    ]


def _printable(_logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
    """Escape what a terminal may take for a command: much of what is logged was sent by somebody."""
    return {name: printable(value) if isinstance(value, str) else value for name, value in line.items()}


def _traceback(stream: TextIO, error: ExcInfo) -> None:
    text = StringIO()
    structlog.dev.plain_traceback(text, error)
    stream.write(printable(text.getvalue()))
