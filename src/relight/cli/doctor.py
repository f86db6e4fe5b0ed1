"""`relight doctor`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from relight.cli.output import one_line
from relight.cli.verb import AlreadySaidError, Edge, verb

if TYPE_CHECKING:
    from relight.actors.jetstream.client import Access
    from relight.actors.jetstream.inspection import Inspection, ServerSight, StreamSight
    from relight.cli.checks import Check, Findings
    from relight.cli.output import Output
    from relight.config.settings import Settings

__all__ = ("doctor",)

_STYLES = {"ok": "green", "warning": "yellow", "bad": "bold red"}


@verb("doctor")
async def doctor(edge: Edge) -> None:
    """Check the server, and say what is promised with it."""
    from relight.cli.logging import quiet_logging

    settings = edge.place.settings
    quiet_logging(settings.log_level)
    async with edge.place.access() as (access, system):
        checks = await _checks(access, system, settings)
    _print(edge.output, checks)
    bad = [one for one in checks if one.verdict == "bad"]
    if bad:
        print(one_line("; ".join(f"{one.topic}: {one.text}" for one in bad)), file=sys.stderr)
        raise AlreadySaidError


async def _checks(access: Access, system: Access | None, settings: Settings) -> list[Check]:
    from relight.actors.jetstream.inspection import open_inspection
    from relight.cli.checks import Check, checks_of
    from relight.errors import UnavailableError, UnsuitableServerError

    try:
        async with open_inspection(access) as inspection:
            return checks_of(await _findings(inspection, system, settings))
    except UnavailableError as error:
        return [Check("bad", "server", str(error), "start it, or correct --url or RELIGHT_URL")]
    except UnsuitableServerError as error:
        return [Check("bad", "server", str(error))]


async def _findings(inspection: Inspection, system: Access | None, settings: Settings) -> Findings:
    from relight.cli.checks import Findings
    from relight.errors import IncompatibleStreamError

    problem, streams, apart, queues = "", list["StreamSight"](), list["StreamSight"](), list[str]()
    try:
        streams = await _streams(inspection, settings)
        apart = await _apart(inspection, settings) if streams else []
        queues = await _queues(inspection, streams, settings)
    except IncompatibleStreamError as error:
        problem = str(error)
    servers, system_problem = await _servers(system)
    return Findings(
        url=inspection.url,
        version=inspection.version,
        payload_bytes_max=inspection.payload_bytes_max,
        namespace=settings.namespace,
        streams=streams,
        apart=apart,
        queues=queues,
        problem=problem,
        skew_s=await inspection.skew_s(str(streams[0].config["name"])) if streams else None,
        servers=servers,
        system_problem=system_problem,
    )


async def _streams(inspection: Inspection, settings: Settings) -> list[StreamSight]:
    """Return the streams of the namespace. Raises `IncompatibleStreamError`."""
    from relight.actors.jetstream.streams import check_stream, shards_of, stream_config, stream_name
    from relight.errors import IncompatibleStreamError

    namespace, found = settings.namespace, list["StreamSight"]()
    first = await inspection.stream(stream_name(namespace, 0))
    if first is None:
        return []
    # As a client judges it: one that was told a number expects that one.
    shards = settings.shards if "shards" in settings.model_fields_set else shards_of(namespace, first.config)
    for shard in range(shards):
        sight = await inspection.stream(stream_name(namespace, shard))
        if sight is None:
            raise IncompatibleStreamError(f"{stream_name(namespace, shard)} is missing; the next client makes it anew")
        check_stream(sight.config, stream_config(namespace, shard, shards, settings.replicas))
        found.append(sight)
    return found


async def _apart(inspection: Inspection, settings: Settings) -> list[StreamSight]:
    """Return the streams of large values and of data keys, as far as there are any."""
    from relight.actors.jetstream.streams import keys_config, values_stream_name

    names = (values_stream_name(settings.namespace), str(keys_config(settings.namespace, 1)["name"]))
    sights = [await inspection.stream(one) for one in names]
    return [one for one in sights if one is not None]


async def _queues(inspection: Inspection, streams: list[StreamSight], settings: Settings) -> list[str]:
    """Return the queues that have consumers. Raises `IncompatibleStreamError` for one that can't be used."""
    from relight.actors.jetstream.streams import Kind, check_consumer, consumer_config
    from relight.config.limits import LIMITS

    queues: set[str] = set()
    kinds: tuple[Kind, Kind] = ("start", "wake")
    for stream in streams:
        for consumer in await inspection.consumers(str(stream.config["name"])):
            for kind in kinds:
                queue = str(consumer["name"]).removeprefix(f"{kind}-")
                if queue != consumer["name"]:
                    check_consumer(
                        str(stream.config["name"]), consumer, consumer_config(settings.namespace, kind, queue, LIMITS)
                    )
                    queues.add(queue)
    return sorted(queues)


async def _servers(system: Access | None) -> tuple[Sequence[ServerSight] | None, str]:
    from relight.actors.jetstream.inspection import server_sights
    from relight.errors import RelightError

    if system is None:
        return None, ""
    try:
        servers = await server_sights(system)
    except RelightError as error:
        return None, str(error)
    return (servers, "") if servers else (None, "the user of RELIGHT_SYSTEM_URL is not of the system account")


def _print(output: Output, checks: list[Check]) -> None:
    for one in checks:
        if output.is_json:
            output.json({"verdict": one.verdict, "topic": one.topic, "text": one.text, "remedy": one.remedy})
            continue
        output.line((f"{one.verdict:<9}", _STYLES[one.verdict]), (f"{one.topic:<16}", "bold"), one.text)
        if one.remedy:
            output.line((f"{'':<25}→ {one.remedy}", "dim"))
