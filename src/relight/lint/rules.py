"""What is looked for in a workflow's code, why it is wrong there, and what to do instead."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = (
    "CLOCK",
    "ENVIRONMENT",
    "FILE",
    "GLOBAL_STATE",
    "NETWORK",
    "PROCESS",
    "RANDOM",
    "RULES",
    "SET_ORDER",
    "SLEEP",
    "THREAD",
    "UUID",
    "Rule",
)


@dataclass(frozen=True)
class Rule:
    """One kind of finding.

    Attributes:
        name: By which it is allowed at a place, for ever.
        finds: What it finds, for the manual.
        problem: Follows what was found, to make a sentence.
        remedy: What to write instead.
    """

    name: str
    finds: str
    problem: str
    remedy: str


CLOCK = Rule(
    "clock",
    "`datetime.now()`, `utcnow()`, `today()`, `time.time()`, `monotonic()`, `perf_counter()` and their like",
    "reads this machine's clock, which says something else in each replay",
    "use ctx.now()",
)
SLEEP = Rule(
    "sleep",
    "`time.sleep()`",
    "holds up all runs of the worker and is waited for again in each replay",
    "use await ctx.sleep(…)",
)
RANDOM = Rule(
    "random",
    "`random`, `secrets`, `os.urandom()`, `numpy.random`; not a generator with a seed",
    "gives something else in each replay",
    "use ctx.random; make secrets in a @step",
)
UUID = Rule("uuid", "`uuid.uuid1()`, `uuid4()`, `uuid6()`, `uuid7()`", RANDOM.problem, "use ctx.uuid4()")
NETWORK = Rule(
    "network",
    "`socket`, `urllib`, `http.client`, `requests`, `httpx`, `aiohttp`, connections of asyncio and anyio, clients of "
    "well-known services, models and agents among them, a client of Relight",
    "reaches outside, and would do so again in each replay",
    "do it in a @step",
)
THREAD = Rule(
    "thread",
    "`threading`, `concurrent.futures`, `asyncio.to_thread()`, `run_in_executor()`",
    "runs code whose order is not recorded",
    "do it in a @step; a plain function runs in a thread there",
)
PROCESS = Rule(
    "process",
    "`subprocess`, `multiprocessing`, `os.system()`, `asyncio.create_subprocess_exec()`, signal handlers",
    "starts or steers a process, and would do so again in each replay",
    "do it in a @step",
)
FILE = Rule(
    "file",
    "`open()`, `input()`, methods of `Path` that touch the disk, `shutil`, `tempfile`, `glob`, `sqlite3`, `os`",
    "depends on files that the next worker may lack or find changed",
    "do it in a @step",
)
ENVIRONMENT = Rule(
    "environment",
    "`os.environ`, `os.getenv()`, `os.getpid()`, `sys.argv`, `platform`, `id()`, `hash()`",
    "differs from worker to worker",
    "pass it to the run as an argument, or read it in a @step",
)
SET_ORDER = Rule(
    "set-order",
    "what depends on the order of a set: loops, comprehensions, `list()`, `join()`, formatting, unpacking, `pop()`, "
    "`max()` with a key; "
    "not `sorted()`, `len()`, `in`, nor sets of tasks or numbers",
    "is a set, whose order differs from process to process",
    "use sorted(…), or keep a list or a dict",
)
GLOBAL_STATE = Rule(
    "global-state",
    "module-level variables that functions change, locks, events and queues among them, objects that all runs share, "
    "and containers in the body of a class",
    "is shared by all runs of one process and gone in the next",
    "keep it in a local variable, pass it on, or let a @step keep and return it",
)

RULES = (
    CLOCK,
    SLEEP,
    RANDOM,
    UUID,
    NETWORK,
    THREAD,
    PROCESS,
    FILE,
    ENVIRONMENT,
    SET_ORDER,
    GLOBAL_STATE,
)
"""All of them, in the order in which the manual lists them."""
