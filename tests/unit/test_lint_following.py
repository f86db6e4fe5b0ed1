"""Calls are followed through the project, in all the ways in which code calls code; steps are not."""

from __future__ import annotations

import pytest
from tests.linted import findings, linted, rules

from relight.errors import RefusedError

HEAD_WITH_CODE = """
import asyncio, contextlib, functools, time
from dataclasses import dataclass, field

def now():
    return time.time()

async def wait(call):
    return call()

def pick(fn, *rest):
    return fn

class Base:
    def __init__(self, clock=time.time):
        self.clock = clock
        self.parts = []

    def inherited(self):
        return self._inner()

    def _inner(self):
        return 1

class Shop(Base):
    def __init__(self):
        super().__init__()

    def _inner(self):
        return now()

    @property
    def age(self):
        return now()

    @staticmethod
    def fixed():
        return now()

    @classmethod
    def named(cls):
        return cls()._inner()

    async def __aenter__(self):
        now()
        return self

    async def __aexit__(self, *error):
        pass

    def __call__(self):
        return now()

    @step
    async def recorded(self):
        return now()

@dataclass
class Order:
    id: str
    made: float = field(default_factory=time.time)

@contextlib.contextmanager
def scope():
    yield now()

def timed(function):
    @functools.wraps(function)
    def wrapper(*args):
        began = time.time()
        return function(*args), began
    return wrapper

@timed
def measured():
    return 1

@step
async def outside():
    return now()

@step(name="later")
def plain():
    return now()

shop = Shop()
lazily = step(now)
"""


@pytest.mark.parametrize(
    "body",
    [
        "now()",
        "value = [now() for one in '12']",
        "await wait(now)",
        "await wait(lambda: now())",
        "read = now\nread()",
        "pick(now)()",
        "list(map(now, '12'))",
        "functools.partial(now)()",
        "await asyncio.gather(*[wait(one) for one in (now,)])",
        "asyncio.get_running_loop().call_later(1, now)",
        "def inner():\n    return now()\ninner()",
        "async def inner():\n    return now()\nasyncio.create_task(inner())",
        "def outer():\n    def inner():\n        return now()\n    return inner\nouter()()",
        "Shop().inherited()",
        "made = Shop()\nmade._inner()",
        "shop._inner()",
        "shop.age",
        "Shop.fixed()",
        "Shop.named()",
        "async with Shop() as one:\n    pass",
        "shop()",
        "given._inner()",
        "Order('1')",
        "with scope():\n    pass",
        "measured()",
        "await outside.function()",
        "try:\n    pass\nfinally:\n    now()",
        "match given:\n    case 1:\n        now()",
        "if (value := now()):\n    pass",
        "return now()",
    ],
)
def test_what_is_called_is_followed(body: str) -> None:
    assert rules(body, head=HEAD_WITH_CODE, parameters="given: Shop") == ["clock"]


@pytest.mark.parametrize(
    "body",
    [
        "await outside()",
        "await plain()",
        "await lazily()",
        "await step(now)()",
        "await step(name='now')(now)()",
        "await outside.options(name='other')()",
        "await ctx.step('now', now)",
        "await ctx.step('now', shop.age_now)",
        "await asyncio.gather(*(one() for one in (outside, plain)))",
        "await shop.recorded()",
        "Order('1', 2.0)",
        "Order(id='1', made=2.0)",
        "now is given",
        "def inner():\n    return now()",
        "@step\nasync def inner():\n    return now()\nawait inner()",
        "return 1\nnow()",
    ],
)
def test_steps_and_what_is_not_called_are_not_followed(body: str) -> None:
    assert rules(body, head=HEAD_WITH_CODE, parameters="given: Shop") == []


def test_the_way_from_the_workflow_is_named() -> None:
    (found,) = findings(
        """
        from shop.prices import Prices

        @workflow
        async def flow(ctx: WorkflowContext) -> float:
            return Prices().total()
        """,
        shop__prices="""
        from . import clocks

        class Prices:
            def total(self):
                return clocks.read()
        """,
        shop__clocks="import time as t\n\ndef read():\n    return t.time()\n",
    )

    assert (found.path, found.line, found.function) == ("shop/clocks.py", 5, "read")
    assert found.chain == "flow (app.py:7) → Prices.total (shop/prices.py:7) → read"


@pytest.mark.parametrize(
    "imported",
    [
        "import shop.clocks\nread = shop.clocks.read",
        "import shop.clocks as clocks\nread = clocks.read",
        "from shop import clocks\nread = clocks.read",
        "from shop.clocks import read",
        "from shop.clocks import *",
        "from shop import read",
        "from shop.again import read_again as read",
        "try:\n    from missing import read\nexcept ImportError:\n    from shop.clocks import read",
    ],
)
def test_all_kinds_of_imports_lead_to_the_function(imported: str) -> None:
    found = findings(
        f"{imported}\n@workflow\nasync def flow(ctx):\n    read()\n",
        shop__init="from .clocks import read\n",
        shop__clocks="import time\nfrom .again import read_again\n\ndef read():\n    return time.time()\n",
        shop__again="from .clocks import read as read_again\n",
    )

    assert [(one.path, one.rule) for one in found] == [("shop/clocks.py", "clock")]


def test_an_import_in_a_function_is_followed() -> None:
    found = findings(
        "@workflow\nasync def flow(ctx):\n    from prices import total\n    total()\n",
        prices="import random\n\ndef total():\n    return random.random()\n",
    )

    assert [one.rule for one in found] == ["random"]


def test_a_module_of_the_standard_library_is_never_the_projects() -> None:
    found = findings(
        "import random\n@workflow\nasync def flow(ctx):\n    random.random()\n", random="def random(): ..."
    )

    assert [one.rule for one in found] == ["random"]


def test_classes_that_speak_of_themselves_are_walked_through() -> None:
    head = """
    class Node(Node):
        def __init__(self, other):
            self.next = Node.next if other else self.next
            self.last = Node(self).next
    """

    assert rules("Node(1).next.next.last", head=head) == []


def test_functions_that_call_each_other_are_walked_through_once() -> None:
    head = "import time\ndef first(n):\n    return second(n)\ndef second(n):\n    time.time()\n    return first(n - 1)"

    assert rules("first(3)\nsecond(3)", head=head) == ["clock"]


def test_imports_that_go_round_lead_to_nothing() -> None:
    found = findings(
        "from first import name\n@workflow\nasync def flow(ctx):\n    name()\n",
        first="from second import name\n",
        second="from first import name\n",
    )

    assert found == ()


def test_a_function_with_ever_other_arguments_is_not_walked_through_for_ever() -> None:
    levels = [f"def f{n}(call):\n    f{n + 1}(lambda: call)\n    f{n + 1}(lambda: 1)\n" for n in range(20)]
    head = f"import time\n{''.join(levels)}def f20(call):\n    time.time()\n"

    assert rules("f0(ctx.now)", head=head) == ["clock"]


def test_a_long_chain_of_methods_is_walked_through_in_no_time() -> None:
    assert rules(f"notes{'.where(1)' * 100}\nimport time\ntime.time()", parameters="notes: object") == ["clock"]


def test_a_workflow_that_is_called_in_line_is_followed() -> None:
    found = findings(
        "from flows import other\n@workflow\nasync def flow(ctx):\n    await other(ctx)\n",
        flows="import time\n@workflow\nasync def other(ctx):\n    ctx.now()\n    time.time()\n",
    )

    assert [one.path for one in found] == ["flows.py"]


@pytest.mark.parametrize(
    "code",
    [
        "@workflow\nasync def flow(ctx): time.time()",
        "@workflow(queue='q')\nasync def flow(ctx): time.time()",
        "import relight\n@relight.workflow\nasync def flow(ctx): time.time()",
        "import relight as r\n@r.workflow()\nasync def flow(ctx): time.time()",
        "from relight import workflow as durable\n@durable\nasync def flow(ctx): time.time()",
        "async def plain(ctx): time.time()\nflow = workflow(plain)",
        "async def plain(ctx): time.time()\nflow = workflow(name='f')(plain)",
        "def make():\n    @workflow\n    async def flow(ctx): time.time()\n    return flow",
        "def make(read):\n    def deeper():\n        @workflow\n        async def flow(ctx): time.time()\n",
        "class Flows:\n    def make(self):\n        @workflow\n        async def flow(ctx): time.time()\n",
        "if True:\n    @workflow\n    async def flow(ctx): time.time()\n",
    ],
)
def test_workflows_are_found_however_they_are_made(code: str) -> None:
    report = linted(f"import time\n{code}\n")

    assert report.workflows == 1
    assert [one.rule for one in report.findings] == ["clock"]


def test_a_workflow_in_a_function_sees_what_surrounds_it() -> None:
    code = """
    def make(names: set[str]):
        import time
        read = time.time

        @workflow
        async def flow(ctx):
            read()
            for name in names:
                print(name)
    """

    assert [one.rule for one in findings(code)] == ["clock", "set-order"]


def test_workflows_that_are_imported_count_and_others_do_not() -> None:
    flows = "import time\n@workflow\nasync def one(ctx): time.time()\n@workflow\nasync def two(ctx): time.sleep(1)\n"

    report = linted("from flows import one", flows=flows)

    assert report.workflows == 1
    assert [one.rule for one in report.findings] == ["clock"]


def test_what_is_no_workflow_may_do_what_it_wants() -> None:
    assert findings("import time\ndef main(): time.time()\n@workflow\nasync def flow(ctx): ...\nmain()") == ()


def test_a_file_that_is_no_python_is_refused_with_its_line() -> None:
    with pytest.raises(RefusedError, match=r"prices\.py:3: "):
        linted("from prices import total\n@workflow\nasync def flow(ctx): total()", prices="x = 1\ndef (")


def test_code_is_looked_through_however_long_an_expression_is() -> None:
    assert rules(f"{'1 + ' * 600}random.random()", head="import random") == ["random"]


def test_code_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"app\.py (has code that is nested too deeply|can't be read)"):
        linted(f"@workflow\nasync def flow(ctx): {' + '.join(['ctx'] * 20_000)}")
