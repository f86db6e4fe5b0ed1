"""Variables that all runs of a process share are found when something changes them, and constants are not."""

from __future__ import annotations

import pytest
from tests.linted import findings, rules

HEAD_WITH_STATE = """
import itertools
from collections import defaultdict

RATES = {"EUR": 1.0}
NAMES = ["a"]
CACHE: dict[str, int] = {}
SEEN = set()
QUEUE = defaultdict(list)
HANDLERS = {}
NUMBERS = itertools.count()
count = 0
limit = 3

def remember(name):
    CACHE[name] = 1

@step
async def see(name: str) -> None:
    SEEN.add(name)

def put(name):
    QUEUE[name].append(1)
    limit = 4
    NAMES = []
    NAMES.append(name)

def bump():
    global count
    count += 1

def handler(function):
    HANDLERS[function.__name__] = function
    return function

@handler
def handled():
    return 1

NAMES.append("b")

class State:
    total = 0

    def __init__(self):
        self.items = []
        self.size = 0

    def add(self, item):
        self.items.append(item)
        self.size += 1

state = State()

class Registry:
    known: dict[str, type] = {}
    fixed = 1

    def __init_subclass__(cls):
        Registry.known[cls.__name__] = cls
"""


@pytest.mark.parametrize(
    "body",
    [
        "CACHE.get('a')",
        "'a' in CACHE",
        "CACHE['a'] = 1",
        "del CACHE['a']",
        "remember('a')",
        "SEEN.add('a')",
        "len(SEEN)",
        "count + 1",
        "bump()",
        "global limit\nlimit = 4",
        "NAMES.append('c')",
        "NAMES[0] = 'd'",
        "RATES.update(USD=2.0)",
        "State.total += 1",
        "state.size = 2",
        "state.items.append(1)",
        "state.add(1)",
        "next(NUMBERS)",
    ],
)
def test_what_runs_share_is_found(body: str) -> None:
    found = rules(body, head=HEAD_WITH_STATE)

    assert set(found) == {"global-state"}


@pytest.mark.parametrize(
    "body",
    [
        "RATES['EUR']",
        "NAMES[0], len(NAMES), limit",
        "NAMES = []\nNAMES.append('c')",
        "RATES.get('EUR')",
        "HANDLERS['handled']",
        "await see('a')",
        "own = {}\nown['a'] = 1\nown.update(b=2)",
        "own = State()\nown.add(1)\nown.size = 2\nown.items.append(2)",
        "own = list(NAMES)\nown.append('c')",
        "state.size, State.total, Registry(), Registry.fixed",
        "numbers = itertools.count()\nnext(numbers)",
        "[one for one in NAMES]",
    ],
)
def test_what_nobody_changes_is_not_found(body: str) -> None:
    assert rules(body, head=HEAD_WITH_STATE) == []


def test_a_variable_of_another_module_is_found_with_who_changes_it() -> None:
    (found,) = findings(
        "import store\n@workflow\nasync def flow(ctx):\n    return store.CACHE['a']\n",
        store="CACHE = {}\n\ndef fill():\n    CACHE['a'] = 1\n",
    )

    assert found.rule == "global-state"
    assert found.message.startswith("CACHE (fill changes it: store.py:5)")


def test_a_variable_that_was_imported_by_name_is_found() -> None:
    code = "from store import CACHE\n@workflow\nasync def flow(ctx):\n    CACHE.clear()\n    print(CACHE)\n"

    found = findings(code, store="CACHE = {}\n\ndef fill():\n    CACHE['a'] = 1\n")

    assert [(one.rule, one.line) for one in found] == [("global-state", 5), ("global-state", 6)]


def test_an_attribute_of_a_module_that_is_set_is_found() -> None:
    found = findings("import store\n@workflow\nasync def flow(ctx):\n    store.LIMIT = 3\n", store="LIMIT = 2\n")

    assert [one.rule for one in found] == ["global-state"]


SYNCHRONIZERS = """
import asyncio, anyio

LIMIT = asyncio.Semaphore(1)
LOCK = asyncio.Lock()
EVENT = asyncio.Event()
QUEUE: asyncio.Queue[int] = asyncio.Queue()
CAPACITY = anyio.CapacityLimiter(1)

@step
async def limited() -> None:
    async with LIMIT:
        pass
"""


@pytest.mark.parametrize(
    "body",
    [
        "async with LIMIT:\n    pass",
        "async with LOCK:\n    await limited()",
        "await EVENT.wait()",
        "QUEUE.put_nowait(1)",
        "await QUEUE.get()",
        "async with CAPACITY:\n    pass",
    ],
)
def test_runs_do_not_wait_on_each_other_in_one_process(body: str) -> None:
    assert rules(body, head=SYNCHRONIZERS) == ["global-state"]


@pytest.mark.parametrize("body", ["async with asyncio.Lock():\n    await limited()", "await limited()"])
def test_a_lock_of_the_run_itself_or_of_a_step_is_as_good_as_any(body: str) -> None:
    assert rules(body, head=SYNCHRONIZERS) == []


CLASSES = """
from dataclasses import dataclass, field
from pydantic import BaseModel

class Base:
    history: list[str] = []
    count = 0
    replaced = []

    def __init__(self):
        self.replaced = []

class Flow(Base):
    cache = {}

    def use(self):
        CHANGE

class Model(BaseModel):
    items: list[str] = []

@dataclass
class Data:
    items: list[str] = field(default_factory=list)
"""


@pytest.mark.parametrize(
    "change",
    [
        "self.history.append('a')",
        "self.cache['a'] = 1",
        "del self.cache['a']",
        "Flow.cache['a'] = 1",
        "type(self).count += 1",
        "self.__class__.history.append('a')",
        "self.__class__.count = 1",
    ],
)
def test_a_container_in_the_body_of_a_class_is_one_for_all_runs(change: str) -> None:
    assert rules("Flow().use()", head=CLASSES.replace("CHANGE", change)) == ["global-state"]


@pytest.mark.parametrize(
    "change",
    [
        "self.count += 1",
        "self.replaced.append('a')",
        "self.history = []",
        "return self.history[0]",
        "return self.cache",
    ],
)
def test_an_attribute_of_the_instance_is_its_own(change: str) -> None:
    assert rules("Flow().use()", head=CLASSES.replace("CHANGE", change)) == []


@pytest.mark.parametrize("body", ["Model().items.append('a')", "Data().items.append('a')"])
def test_models_and_dataclasses_have_copies(body: str) -> None:
    assert rules(body, head=CLASSES.replace("CHANGE", "pass")) == []
