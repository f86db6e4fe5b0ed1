"""Headers that travel with a run: a tenant set by the client is there in every step, on any worker."""

import asyncio
from contextvars import ContextVar
from typing import Any

from relight import Interceptor, Relight, StartCall, StepCall, Worker, WorkflowContext, step, workflow

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


class Tenancy(Interceptor):
    async def start(self, call: StartCall, next: Any) -> Any:
        call.headers["tenant"] = tenant.get()
        return await next(call)

    async def step(self, call: StepCall, next: Any) -> Any:
        tenant.set(call.headers["tenant"])
        return await next(call)


class Tracing(Interceptor):
    async def step(self, call: StepCall, next: Any) -> Any:
        print(f"{call.info.name} begins, attempt {call.info.attempt}")
        try:
            return await next(call)
        finally:
            print(f"{call.info.name} ends")


@step
async def load_invoices() -> str:
    return f"invoices of {tenant.get()}"


@workflow
async def bill(ctx: WorkflowContext) -> str:
    return await load_invoices()


async def main() -> None:
    tenancy = Tenancy()
    async with Relight.local(interceptors=[tenancy]) as client:
        async with Worker(client, [bill], interceptors=[Tracing(), tenancy]):
            for name in ("acme", "globex"):
                tenant.set(name)
                print(await client.call(bill))


if __name__ == "__main__":
    asyncio.run(main())
