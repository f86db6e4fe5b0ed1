"""The record that opens a history, made where a run is started: by a client, or by another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from msgspec import Raw

from relight.actors.fork import Arguments
from relight.config.limits import LIMITS
from relight.errors import InvalidValueError, PayloadTooLargeError, RefusedError
from relight.sdk._any_value import encode_as_ever, encode_sent
from relight.sdk._durations import due_ms, moment_ms, seconds
from relight.sdk._scope import activation
from relight.sdk._values import ValueType, digest, value_type
from relight.sdk._workflow import DEFAULT_QUEUE, StartOptions, Workflow
from relight.subjects.codec import encode
from relight.subjects.ids import QueueName, name_of, queue_name
from relight.subjects.messages import Start
from relight.subjects.records import RunStarted
from relight.subjects.turn import VERSION

__all__ = ("arguments_of", "result_type_of", "run_started", "start_message")


def run_started(
    workflow: object, args: tuple[object, ...], options: StartOptions, *, seed: str, client: str, now_ms: int
) -> RunStarted:
    """Return the first record of a run.

    Raises:
        RefusedError: That is no workflow.
        InvalidValueError: An argument or option does not fit.
        InvalidIdError: The name or the queue can't be one.
    """
    if isinstance(workflow, Workflow):
        known = cast("Workflow[..., Any]", workflow)
        name, queue, timeout_s = known.name, QueueName(known.queue), known.timeout_s
        arguments = known.signature.encode_arguments(args)
    elif isinstance(workflow, str):
        name, queue, timeout_s = name_of("workflow name", workflow), queue_name(DEFAULT_QUEUE), None
        # The bytes of a child's start are part of a step's digest in its parent's history.
        encode = encode_sent if activation() is None else encode_as_ever
        arguments = tuple(
            encode(one, what=f"argument {n}", bytes_max=LIMITS.value_bytes_max) for n, one in enumerate(args, 1)
        )
    else:
        raise RefusedError(f"{workflow!r} is no workflow; decorate it with @workflow, or pass its name")
    if "timeout" in options:
        timeout_s = seconds("timeout", options["timeout"])
    return RunStarted(
        workflow=name,
        queue=queue_name(options["queue"]) if "queue" in options else queue,
        arguments=tuple(Raw(one) for one in arguments),
        digest=digest([name.encode(), *arguments]),
        seed=seed,
        client=client,
        unchecked=isinstance(workflow, str),
        timeout_ms=None if timeout_s is None else round(timeout_s * 1000),
        not_before_ms=_not_before_ms(options, now_ms),
        tags=checked_tags(options["tags"]) if "tags" in options else {},
    )


def arguments_of(workflow: str, args: Sequence[object], *, bytes_max: int) -> Arguments:
    """Return arguments for a workflow that is known by name only.

    Raises:
        InvalidValueError: One can't be written as JSON.
        PayloadTooLargeError: One is larger than `bytes_max`.
    """
    values = tuple(Raw(encode_sent(one, what=f"argument {n}", bytes_max=bytes_max)) for n, one in enumerate(args, 1))
    return Arguments(values, digest([workflow.encode(), *(bytes(one) for one in values)]))


def result_type_of(workflow: object, type: object) -> ValueType[Any]:
    """The workflow's own, or what the caller says of one that is known by name only."""
    return cast("Workflow[..., Any]", workflow).signature.result if isinstance(workflow, Workflow) else value_type(type)


def _not_before_ms(options: StartOptions, now_ms: int) -> int | None:
    if "at" in options:
        # A workflow's far time is not refused: old histories have it. It waits until the server can count no further.
        return (due_ms if activation() is None else moment_ms)("at", options["at"])
    if "delay" in options:
        return now_ms + round(seconds("delay", options["delay"]) * 1000)
    return None


def checked_tags(tags: object) -> dict[str, str]:
    """Return the tags that a user passed. Raises `InvalidValueError` if they are no mapping, and `InvalidIdError`."""
    if not isinstance(tags, Mapping):
        raise InvalidValueError("tags", "", f"{tags!r} is no mapping", 'pass names and values, like {"tenant": "acme"}')
    pairs = cast("Mapping[object, object]", tags).items()
    return {name_of("tag", name): name_of("tag value", value) for name, value in pairs}


def start_message(started: RunStarted) -> bytes:
    """Return the message that starts a run. Raises `PayloadTooLargeError`."""
    data = encode(Start(v=VERSION, run=started))
    if len(data) > LIMITS.payload_bytes_max:
        raise PayloadTooLargeError("the start", size_bytes=len(data), limit_bytes=LIMITS.payload_bytes_max)
    return data
