"""A step that must not run twice: interrupted, it is not repeated; the run parks and a person says what happened."""

import asyncio
import os
import sys

from relight import Relight, Run, Worker, WorkflowContext, step, workflow


@step(effect="unsafe")
async def wire_money(cents: int) -> str:
    print(f"wiring {cents} cents, and then the worker dies", flush=True)
    await asyncio.sleep(1)
    os._exit(9)  # as good as kill -9: has the money gone out, or not?


@workflow
async def pay(ctx: WorkflowContext, cents: int) -> str:
    return await wire_money(cents)


async def work() -> None:
    async with Relight.local() as client:
        await Worker(client, [pay]).run()


async def until(run: Run[str], kind: str) -> None:
    async for record in run.history(follow=True):
        if record.kind == kind:
            return


async def main() -> None:
    async with Relight.local() as client:
        victim = await asyncio.create_subprocess_exec(sys.executable, __file__, "worker")
        run = await client.start(pay, 5_000)
        await until(run, "StepStarted")
        async with Worker(client, [pay]):  # it takes over when the victim dies
            await until(run, "Parked")
            print((await run.describe()).last_error)
            await run.resolve("wire_money", result="seen on the account statement")
            print(await run.result())
        await victim.wait()


if __name__ == "__main__":
    asyncio.run(work() if "worker" in sys.argv else main())
