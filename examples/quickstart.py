import asyncio

from relight import Relight, Worker, WorkflowContext, step, workflow


@step
async def fetch(city: str) -> int:
    print(f"fetching {city}")
    return len(city)


@workflow
async def report(ctx: WorkflowContext, cities: list[str]) -> int:
    temperatures = [await fetch(city) for city in cities]  # each one is recorded, then never fetched again
    await ctx.sleep(2)  # kill -9 this process here, and start it again
    return max(temperatures)


async def main() -> None:
    async with Relight.local() as client, Worker(client, [report]):
        run = await client.start(report, ["Lyon", "Oslo", "Nairobi"], id="report-1")
        print(await run.result())


if __name__ == "__main__":
    asyncio.run(main())
