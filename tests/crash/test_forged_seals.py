"""Messages that anybody can seal who knows the name of a codec: compression needs no key."""

from __future__ import annotations

from base64 import b64encode

import pytest
from msgspec import Raw
from tests.crash.workers_in_memory import WorkersInMemory

from relight import Encryption, Keys, WorkflowContext, Zstd, workflow
from relight.actors.codecs import Codec, DamagedError
from relight.config.limits import MIB
from relight.errors import PayloadTooLargeError
from relight.subjects.codec import encode
from relight.subjects.messages import Sealed, Signal

ENCRYPTION = Encryption(Keys({"first": bytes(range(32))}))
OF_UNKNOWN_SIZE = b"(\xb5/\xfd\x00\x009\x00\x00relight"


def place(kind: str) -> bytes:
    return b"\0".join((b"memory", b"x", kind.encode(), b"zstd:-"))


@workflow
async def listens(ctx: WorkflowContext) -> str:
    return await ctx.wait_for_signal("go", type=str) + await ctx.wait_for_signal("on", type=str)


def forged() -> bytes:
    signal = Zstd().encode(encode(Signal("go", Raw(b'"evil"'), "forged")), key=b"", place=b"")
    return encode(Sealed(of="Signal", name="go", sealed=f"zstd:-:{b64encode(signal).decode()}"))


@pytest.mark.parametrize("codecs", [(), (ENCRYPTION,), (Zstd(), ENCRYPTION)], ids=["plain", "encrypted", "both"])
async def test_a_message_that_was_sealed_by_other_codecs_than_its_run_is_consumed_without_effect(
    site: WorkersInMemory, codecs: tuple[Codec, ...]
) -> None:
    await site.add(listens, codecs=codecs or (ENCRYPTION,))
    async with site.another_client(*codecs) as client:
        run = await site.result(client.start(listens, id="x"))
        await site.pass_time(5)

        await site.result(site.server.door("forger").publish(client.subjects.wake("default", "x"), forged()))
        await site.pass_time(5)
        await site.result(run.signal("go", "a"))
        await site.result(run.signal("on", "b"))

        assert await site.result(run.result()) == "ab"


@pytest.mark.parametrize("kind", ["wake", "value"])
def test_a_mailbox_message_or_chunk_decompresses_to_what_one_may_have(kind: str) -> None:
    zstd = Zstd()
    largest, larger = (zstd.encode(b"x" * size, key=b"", place=place("log")) for size in (MIB, MIB + 1))

    assert len(zstd.decode(largest, key=b"", place=place(kind))) == MIB
    assert len(zstd.decode(larger, key=b"", place=place("log"))) == MIB + 1
    with pytest.raises(DamagedError):
        zstd.decode(larger, key=b"", place=place(kind))


@pytest.mark.parametrize(
    "data",
    [OF_UNKNOWN_SIZE, Zstd().encode(b"a", key=b"", place=b"") * 2, Zstd().encode(b"a", key=b"", place=b"") + b"a"],
    ids=["of unknown size", "two frames", "something behind it"],
)
def test_what_is_not_one_frame_that_says_its_size_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedError):
        Zstd().decode(data, key=b"", place=place("log"))


@pytest.mark.parametrize(("kind", "bytes_max"), [("wake", MIB), ("value", MIB), ("log", 8 * MIB)])
def test_what_nobody_would_decompress_is_not_compressed(kind: str, bytes_max: int) -> None:
    Zstd().encode(b"x" * bytes_max, key=b"", place=place(kind))

    with pytest.raises(PayloadTooLargeError):
        Zstd().encode(b"x" * (bytes_max + 1), key=b"", place=place(kind))
