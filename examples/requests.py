"""A run that is asked: each message gets an answer, or a reason why not."""

import asyncio

from relight import Relight, RequestRejected, Run, Worker, WorkflowContext, step, workflow

STOCK = {"jam": 2, "bread": 5}


@step
async def reserve(item: str, count: int) -> bool:
    return STOCK.get(item, 0) >= count


@workflow
async def cart(ctx: WorkflowContext) -> dict[str, int]:
    items: dict[str, int] = {}
    async for request in ctx.requests("add", type=str):  # `order` ends it
        if request.data == "order":
            await request.reply(items)
            break
        if await reserve(request.data, items.get(request.data, 0) + 1):
            items[request.data] = items.get(request.data, 0) + 1
            await request.reply(items)
        else:
            await request.reject(f"no more {request.data}")
    return items


async def add(run: Run[dict[str, int]], item: object) -> None:
    try:
        # With an id of your own, another process may ask again, and gets the answer that was given: `id="add-17"`.
        print(item, "->", await run.request("add", item, type=dict[str, int], timeout=20))
    except RequestRejected as rejected:
        where = f" (at {rejected.path})" if rejected.path else ""
        print(item, "-> rejected:", rejected.reason.partition(";")[0] + where)


async def main() -> None:
    async with Relight.local() as client, Worker(client, [cart]):
        run = await client.start(cart)
        for item in ("bread", "jam", "jam", "jam", 5, "order"):
            await add(run, item)
        print(await run.result())


if __name__ == "__main__":
    asyncio.run(main())
