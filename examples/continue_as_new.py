"""A run that lives for ever: when its history has become long, it goes on with a new one under the same id."""

import asyncio

from relight import Relight, Worker, WorkflowContext, step, workflow

ORDERS_IN_ONE_HISTORY = 3  # A real run takes thousands: `limits.history_records_warn` is 10,000 records.


@step
async def book(total: float, amount: float) -> float:
    return total + amount


@workflow
async def ledger(ctx: WorkflowContext, count: int, total: float) -> str:
    for _ in range(ORDERS_IN_ONE_HISTORY):
        amount = await ctx.wait_for_signal("order", type=float)
        if amount == 0:
            return f"{count} orders, {total} in all"
        count, total = count + 1, await book(total, amount)
    ctx.continue_as_new(count, total)  # Signals that have come meanwhile are kept.


async def main() -> None:
    async with Relight.local() as client, Worker(client, [ledger]):
        run = await client.start(ledger, 0, 0.0)
        for amount in (10.0, 2.5, 5.0, 5.0, 5.0, 5.0, 10.0, 0.0):
            await run.signal("order", amount)
        print(await run.result())  # waits across all histories
        print(len([record async for record in run.history()]), "records of the last history")


if __name__ == "__main__":
    asyncio.run(main())
