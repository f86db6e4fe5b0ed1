"""What users put in is compressed and encrypted before it leaves the process; a key is rotated, and one destroyed."""

import asyncio
import os

from relight import Encryption, Keys, Relight, SealedError, Worker, WorkflowContext, Zstd, step, workflow


@step
async def diagnose(patient: str) -> str:
    return f"{patient} has a cold"


@workflow
async def consultation(ctx: WorkflowContext, patient: str) -> str:
    return await diagnose(patient)


async def main() -> None:
    # In production: RELIGHT_ENCRYPTION_KEYS, or a KeyProvider of your own that asks a key management service.
    keys = {"2026": os.urandom(32)}
    async with Relight.local(codecs=[Zstd(), Encryption(Keys(keys))]) as client, Worker(client, [consultation]):
        ann = await client.start(consultation, "Ann")
        print(await ann.result())

    # Rotation: new runs are under the newest key, those of the old one stay readable while it is there.
    keys["2027"] = os.urandom(32)
    async with Relight.local(codecs=[Zstd(), Encryption(Keys(keys))]) as client, Worker(client, [consultation]):
        ben = await client.start(consultation, "Ben")
        print(await ben.result())
        print(await client.get_run(ann.id, type=str).result())

        await client.get_run(ann.id).shred()  # Ann wants to be forgotten.

    async with Relight.local(codecs=[Zstd(), Encryption(Keys(keys))]) as client:
        try:
            await client.get_run(ann.id, type=str).result()
        except SealedError as error:
            print(str(error).partition(", ")[2])
        print([record.kind async for record in client.get_run(ann.id).history()])


if __name__ == "__main__":
    asyncio.run(main())
