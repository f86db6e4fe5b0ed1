"""A secret is passed by its name; the step that needs it reveals it, and what would record it is refused."""

import asyncio

from relight import Relight, Retry, Secret, StepFailed, Worker, WorkflowContext, step, workflow

VAULT = {"stripe_key": "sk_live_4f9a1c77"}  # by default RELIGHT_SECRET_STRIPE_KEY in the worker's environment


@step
async def charge(customer: str, key: Secret) -> str:
    headers = {"Authorization": f"Bearer {key.reveal()}"}
    return f"charged {customer} with {len(headers)} header"


@step
async def careless(key: Secret) -> dict[str, str]:
    return {"used": key.reveal()}  # would be in the history for ever: refused


@step(retry=Retry(attempts=1))
async def unlucky(key: Secret) -> None:
    url = f"https://api.example.com?key={key.reveal()}"
    raise ValueError(f"no answer from {url}")


@workflow
async def bill(ctx: WorkflowContext, customer: str, key: Secret) -> list[str]:
    said = [await charge(customer, key)]
    for one in (careless, unlucky):
        try:
            await one(key)
        except StepFailed as error:
            said.append(str(error))
    return said


async def main() -> None:
    async with Relight.local() as client, Worker(client, [bill], secrets=VAULT.get):
        for line in await client.call(bill, "ann", Secret("stripe_key")):
            print(line)


if __name__ == "__main__":
    asyncio.run(main())
