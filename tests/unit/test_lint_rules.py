"""Each rule finds what it says, however it was imported, and nothing that looks like it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.linted import findings, rules

from relight.lint.catalogue import rule_of_call
from relight.sdk._loop_refusals import PureLoop

IMPORTS = """
import asyncio, builtins, datetime, os, pathlib, random, secrets, shutil, socket, sqlite3, subprocess, sys, tempfile
import threading, time, urllib.request, uuid, concurrent.futures, multiprocessing, platform, signal, http.client
import aiohttp, anyio, httpx, requests, numpy as np, anyio.to_thread, redis, boto3, openai
import datetime as dt
from datetime import UTC, date, datetime as when
from os import environ, getenv
from pathlib import Path
from random import choice, Random
from time import time as t
from uuid import uuid4
"""


@pytest.mark.parametrize(
    ("rule", "body"),
    [
        ("clock", "time.time()"),
        ("clock", "t()"),
        ("clock", "time.monotonic_ns()"),
        ("clock", "time.perf_counter()"),
        ("clock", "time.localtime()"),
        ("clock", "time.strftime('%Y')"),
        ("clock", "dt.datetime.now(UTC)"),
        ("clock", "datetime.datetime.utcnow()"),
        ("clock", "when.today()"),
        ("clock", "date.today()"),
        ("clock", "read = time.time\nread()"),
        ("clock", "list(map(time.ctime, notes)) and max(notes, key=time.monotonic)"),
        ("clock", "import time as later\nlater.time()"),
        ("clock", "from time import time as later\nlater()"),
        ("sleep", "time.sleep(1)"),
        ("random", "random.random()"),
        ("random", "choice(notes)"),
        ("random", "random.shuffle(notes)"),
        ("random", "random.seed(1)"),
        ("random", "Random().random()"),
        ("random", "random.SystemRandom().random()"),
        ("random", "secrets.token_hex()"),
        ("random", "os.urandom(8)"),
        ("random", "np.random.rand()"),
        ("random", "sorted(notes, key=lambda note: random.random())"),
        ("uuid", "uuid.uuid1()"),
        ("uuid", "str(uuid4())"),
        ("network", "requests.get('u')"),
        ("network", "requests.session().get('u')"),
        ("network", "await httpx.AsyncClient().get('u')"),
        ("network", "aiohttp.ClientSession()"),
        ("network", "urllib.request.urlopen('u')"),
        ("network", "socket.create_connection(('h', 1))"),
        ("network", "http.client.HTTPSConnection('h')"),
        ("network", "await asyncio.open_connection('h', 1)"),
        ("network", "await asyncio.get_running_loop().create_connection(None)"),
        ("network", "await anyio.connect_tcp('h', 1)"),
        ("network", "redis.Redis()"),
        ("network", "boto3.client('s3')"),
        ("network", "openai.OpenAI()"),
        ("thread", "threading.Thread(target=print)"),
        ("thread", "threading.Lock()"),
        ("thread", "concurrent.futures.ThreadPoolExecutor()"),
        ("thread", "await asyncio.to_thread(print)"),
        ("thread", "await anyio.to_thread.run_sync(print)"),
        ("thread", "loop = asyncio.get_event_loop()\nawait loop.run_in_executor(None, print)"),
        ("process", "subprocess.run(['ls'])"),
        ("process", "os.system('ls')"),
        ("process", "await asyncio.create_subprocess_exec('ls')"),
        ("process", "multiprocessing.Process()"),
        ("process", "concurrent.futures.ProcessPoolExecutor()"),
        ("process", "signal.signal(signal.SIGTERM, print)"),
        ("file", "open('f')"),
        ("file", "builtins.open('f')"),
        ("file", "input()"),
        ("file", "Path('f').read_text()"),
        ("file", "(Path('d') / 'f').write_text('x')"),
        ("file", "path = pathlib.Path('d').parent\npath.joinpath('f').exists()"),
        ("file", "os.listdir()"),
        ("file", "os.path.exists('f')"),
        ("file", "shutil.copy('f', 'g')"),
        ("file", "tempfile.mkdtemp()"),
        ("file", "sqlite3.connect('f')"),
        ("file", "sys.stdin.read()"),
        ("environment", "os.environ['KEY']"),
        ("environment", "environ.get('KEY')"),
        ("environment", "getenv('KEY')"),
        ("environment", "os.getpid()"),
        ("environment", "sys.argv[1]"),
        ("environment", "platform.node()"),
        ("environment", "id(notes)"),
        ("environment", "hash('note')"),
        ("environment", "Path.cwd()"),
    ],
)
def test_what_a_replay_would_not_repeat_is_found(rule: str, body: str) -> None:
    assert rules(body, head=IMPORTS, parameters="notes: list[str]") == [rule]


@pytest.mark.parametrize(
    "body",
    [
        "ctx.now(), ctx.random.random(), ctx.uuid4(), ctx.random.choice(notes)",
        "rng = ctx.random\nrng.shuffle(notes)",
        "random = ctx.random\nrandom.choice(notes)",
        "await asyncio.sleep(1)",
        "async with asyncio.timeout(3), asyncio.TaskGroup() as group:\n    group.create_task(ctx.sleep(1))",
        "asyncio.get_running_loop().time()",
        "asyncio.Queue(), asyncio.Lock(), asyncio.Event()",
        "Random(7).random()",
        "dice = random.Random(ctx.run_id)\ndice.choice(notes)",
        "uuid.uuid5(uuid.NAMESPACE_URL, 'u'), uuid.UUID(int=1)",
        "datetime.datetime(2030, 1, 1), dt.timedelta(days=1), when.fromisoformat('2030-01-01')",
        "time.strftime('%Y', time.gmtime(0))",
        "secrets.compare_digest('a', 'b')",
        "pathlib.PurePath('a') / 'b', Path('a').name, Path('a').suffix, (Path('a') / 'b').parent",
        "os.path.join('a', 'b'), os.sep",
        "isinstance(notes, httpx.Response), httpx.URL('u'), httpx.Timeout(3)",
        "isinstance(notes, socket.socket)",
        "try:\n    await ctx.sleep(1)\nexcept (requests.ConnectionError, subprocess.CalledProcessError):\n    pass",
        "raise requests.HTTPError('no')",
        "time = ctx.now()\ntime.time()",
        "notes.open(), notes.now(), notes.get('u')",
        "await ctx.step('read', open, 'f')",
        "await ctx.step('read', lambda: Path('f').read_text())",
        "await ctx.step('read', time.time)",
    ],
)
def test_what_only_looks_like_it_is_not_found(body: str) -> None:
    assert rules(body, head=IMPORTS, parameters="notes: list[str]") == []


def test_a_parameter_hides_a_module_of_its_name() -> None:
    assert rules("random.choice([1]), open.read()", head=IMPORTS, parameters="random, open") == []


def test_the_type_of_a_parameter_says_what_its_methods_do() -> None:
    body = "await client.get('u')\npath.read_text()\nreal.url"

    found = rules(body, head=IMPORTS, parameters="client: httpx.AsyncClient, path: 'Path | None', real: httpx.Response")

    assert found == ["network", "file"]


def test_names_are_found_through_a_star_import() -> None:
    assert rules("time()\nlen([1])", head="from time import *") == ["clock"]


def test_a_client_that_the_module_made_is_known_in_the_workflow() -> None:
    head = "import httpx\nfrom relight import Relight\nclient = httpx.Client()\nrelight = Relight()"

    assert rules("client.get('u')\nawait relight.start(flow)", head=head) == ["network", "network"]


@pytest.mark.parametrize("method", sorted(name for name in vars(PureLoop) if not name.startswith("_")))
def test_what_the_loop_of_a_workflow_refuses_is_found(method: str) -> None:
    if method in {"run_forever", "run_until_complete", "stop", "set_task_factory"}:
        return  # Wrong, but each says so at once, whatever happens outside.

    assert hasattr(asyncio.AbstractEventLoop, method)
    assert rule_of_call(f"asyncio.AbstractEventLoop.{method}", 1) is not None


def test_a_finding_names_its_place_the_call_and_the_remedy() -> None:
    (found,) = findings(
        """
        import datetime as dt

        @workflow
        async def flow(ctx: WorkflowContext) -> str:
            return "ä" + str(dt.datetime.now())
        """
    )

    assert (found.path, found.line, found.column, found.rule) == ("app.py", 7, 22, "clock")
    assert found.message.startswith("datetime.datetime.now() reads")
    assert found.remedy == "use ctx.now()"
    assert (found.function, found.callers, found.chain) == ("flow", (), "")
    assert str(found).startswith("app.py:7:22: clock: datetime.datetime.now() ")


@pytest.mark.parametrize(
    ("comment", "count"),
    [
        ("# relight: allow clock", 0),
        ("# relight: allow clock, for the log alone", 0),
        ("# relight: allow random, clock", 0),
        ("# noqa: X1  # relight: allow clock", 0),
        ("# relight: allow random", 1),
        ("# relight: allow", 1),
        ("# clock", 1),
        ("; text = '# relight: allow clock'", 1),
    ],
)
def test_a_comment_allows_one_rule_in_one_line(comment: str, count: int) -> None:
    body = f"time.time()  {comment}" if comment.startswith("#") else f"time.time(){comment}"

    assert len(rules(body, head=IMPORTS)) == count
    assert len(rules(f"{body}\ntime.time()", head=IMPORTS)) == count + 1


def test_a_comment_stands_on_any_line_of_the_call() -> None:
    assert rules("time.strftime(\n    '%Y',  # relight: allow clock\n)", head=IMPORTS) == []


def test_the_manual_lists_the_rules_as_they_are() -> None:
    from relight.lint import RULES

    manual = Path(__file__).parents[2].joinpath("docs/lint.md").read_text(encoding="utf-8")

    for one in RULES:
        assert f"| `{one.name}` | {one.finds} | {one.remedy} |\n" in manual
    assert manual.count("\n| `") == len(RULES)
