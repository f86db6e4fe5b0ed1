"""Time: a durable sleep, a wait with a time limit, and a race that every replay decides in the same way."""

import asyncio

from relight import Relight, WaitTimedOut, Worker, WorkflowContext, step, workflow


@step
async def ask_slow_service() -> str:
    await asyncio.sleep(5)
    return "the slow answer"


@step
async def ask_fast_service() -> str:
    await asyncio.sleep(0.1)
    return "the fast answer"


@workflow
async def patient(ctx: WorkflowContext) -> str:
    try:
        return await ctx.wait_for_signal("hello", type=str, timeout=0.2)
    except WaitTimedOut as error:
        return str(error)


@workflow
async def race(ctx: WorkflowContext) -> str:
    services = [asyncio.ensure_future(one()) for one in (ask_slow_service, ask_fast_service)]
    done, pending = await asyncio.wait(services, timeout=3, return_when=asyncio.FIRST_COMPLETED)
    for one in pending:
        one.cancel()  # its step is told to stop, and whatever it still returns changes nothing
    return done.pop().result() if done else "nobody answered"


async def main() -> None:
    async with Relight.local() as client, Worker(client, [patient, race]):
        print(await client.call(patient))
        print(await client.call(race))


if __name__ == "__main__":
    asyncio.run(main())
