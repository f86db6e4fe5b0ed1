"""What only shows in a process of its own: the same bytes whatever the hash seed is, and what an import loads."""

from __future__ import annotations

import os
import subprocess
import sys


def said_by(program: str, hash_seed: str = "random") -> str:
    environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout


def said_by_other_processes(program: str) -> set[str]:
    return {said_by(program, seed) for seed in ("1", "2", "3")}


def test_sets_are_written_in_the_same_order_by_every_process_whatever_holds_them() -> None:
    program = (
        "from collections import OrderedDict, defaultdict, deque\n"
        "from dataclasses import dataclass\n"
        "from typing import NamedTuple\n"
        "from relight.sdk._values import value_type\n"
        "@dataclass(frozen=True)\n"
        "class Tag:\n"
        "    names: frozenset[str]\n"
        "class Named(NamedTuple):\n"
        "    names: set[str]\n"
        "class Index(defaultdict):\n"
        "    def __init__(self, names):\n"
        "        super().__init__(set, a=names)\n"
        "letters = {c * 3 for c in 'abcdefgh'}\n"
        "for value in (\n"
        "    [letters, {'k': (Tag(frozenset(letters)),)}, {Tag(frozenset({c})) for c in letters}],\n"
        "    defaultdict(set, a=letters),\n"
        "    OrderedDict(a=letters),\n"
        "    deque([letters]),\n"
        "    Named(letters),\n"
        "    Index(letters),\n"
        "    [defaultdict(list, a=[{'b': Named(letters)}])],\n"
        "):\n"
        # Before 2.14 pydantic writes a deque only where it is annotated.
        "    annotation = deque[set[str]] if isinstance(value, deque) else object\n"
        "    print(value_type(annotation).encode(value, what='x'))\n"
    )

    (written,) = said_by_other_processes(program)

    assert len(written.splitlines()) == 7


def test_the_digest_of_a_set_is_the_same_in_every_process() -> None:
    program = (
        "from relight.sdk._values import signature_types\n"
        "def step(a, b: set[str], *c): ...\n"
        "words = {'one', 'two', 'three', 'four'}\n"
        "print(signature_types(step).digest(({'k': words}, words, frozenset(words)), {}))"
    )

    assert len(said_by_other_processes(program)) == 1


def test_values_import_neither_asyncio_nor_nats() -> None:
    program = (
        "import sys, relight.sdk._values as values\n"
        "names = [n for n in sys.modules if n.startswith('relight.sdk._values')]\n"
        "seen = [getattr(v, '__name__', '') for n in names for v in vars(sys.modules[n]).values()]\n"
        "bad = [name for name in seen if name in ('asyncio', 'nats')]\n"
        "print(len(names), bad)"
    )

    assert said_by(program) == "6 []\n"


def test_importing_the_face_loads_no_engine() -> None:
    code = "import sys, relight; print(sorted({'nats', 'pydantic', 'structlog', 'asyncio'} & set(sys.modules)))"

    assert said_by(code) == "[]\n"
