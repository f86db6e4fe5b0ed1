"""As many copies of everything: of what only who uses it has, too."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from tests.cluster_of_three import ClusterOfThree
from tests.integration.cli_process import Terminal
from tests.raw_nats import connected

from relight import Encryption, Keys, Relight


async def copies_of(cluster: ClusterOfThree, namespace: str) -> dict[str, int]:
    """Return the copies of each stream of a namespace."""
    async with connected(cluster.urls) as connection:
        reply = await connection.request("$JS.API.STREAM.LIST", b"", timeout=10)
    configs = [one["config"] for one in json.loads(reply.data)["streams"]]
    return {one["name"]: one["num_replicas"] for one in configs if namespace in one["name"]}


async def test_who_was_not_told_of_the_copies_stores_large_values_and_data_keys_in_as_many(
    cluster: ClusterOfThree, namespace: str, tmp_path: Path
) -> None:
    codecs = [Encryption(Keys({"first": secrets.token_bytes(32)}))]
    variables = {"RELIGHT_URL": cluster.urls[0], "RELIGHT_NAMESPACE": namespace, "RELIGHT_SHARDS": "2"}
    operator = await Terminal(tmp_path, {**variables, "RELIGHT_REPLICAS": "3"}).run("runs")

    async with Relight(cluster.urls, namespace=namespace, codecs=codecs) as client:
        await client.start("unknown", "a" * 600_000, id="large", type=str)

    assert operator.code == 0, operator.err
    assert await copies_of(cluster, namespace) == {
        f"RELIGHT_{namespace}_RUN_0": 3,
        f"RELIGHT_{namespace}_RUN_1": 3,
        f"OBJ_RELIGHT_{namespace}": 3,
        f"KV_RELIGHT_{namespace}_KEYS": 3,
    }


async def test_a_stream_that_is_missing_is_made_anew_with_the_copies_of_the_others(
    cluster: ClusterOfThree, namespace: str, tmp_path: Path
) -> None:
    variables = {"RELIGHT_URL": cluster.urls[0], "RELIGHT_NAMESPACE": namespace, "RELIGHT_SHARDS": "2"}
    await Terminal(tmp_path, {**variables, "RELIGHT_REPLICAS": "3"}).run("runs")
    async with connected(cluster.urls) as connection:
        await connection.request(f"$JS.API.STREAM.DELETE.RELIGHT_{namespace}_RUN_1", b"", timeout=10)

    async with Relight(cluster.urls, namespace=namespace):
        pass

    assert set((await copies_of(cluster, namespace)).values()) == {3}
