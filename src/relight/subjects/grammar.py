"""The subjects of protocol v1: one function to build each, one total function to parse any.

    relight.<ns>.start.<slot>.<queue>.<run>
    relight.<ns>.wake.<slot>.<queue>.<run>
    relight.<ns>.log.<slot>.<run>
    relight.<ns>.timer.<slot>.<run>.<timer>
    relight.<ns>.owner.<worker>
    relight.<ns>.owner.announcements
    relight.<ns>.done.<client>.<run>
    relight.<ns>.answer.<client>.<run>

The builders take validated ids (`ids.token`; of messages `ids.IdInMessage`), so they never check: a subject can't be
injected through them.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass

from relight.subjects.ids import Namespace, QueueName, RunId, Slot, WorkerId, is_token, slot_of, token

__all__ = (
    "ANNOUNCEMENTS",
    "EVERY_WORKER",
    "RETIRED",
    "AnswerSubject",
    "DoneSubject",
    "LogSubject",
    "OwnerSubject",
    "StartSubject",
    "Subject",
    "Subjects",
    "TimerSubject",
    "WakeSubject",
    "parse",
)

EVERY_WORKER = WorkerId("every-worker")
"""Who asks this owner asks all workers at once."""

ANNOUNCEMENTS = WorkerId("announcements")
"""Under this owner the workers tell each other which leases they hold."""

RETIRED = QueueName("retired")
"""No queue: under it a retired run keeps its id for a while. The fence of starts sees it, no consumer does."""


@dataclass(frozen=True)
class StartSubject:
    namespace: Namespace
    slot: Slot
    queue: QueueName
    run: RunId


@dataclass(frozen=True)
class WakeSubject:
    namespace: Namespace
    slot: Slot
    queue: QueueName
    run: RunId


@dataclass(frozen=True)
class LogSubject:
    namespace: Namespace
    slot: Slot
    run: RunId


@dataclass(frozen=True)
class TimerSubject:
    namespace: Namespace
    slot: Slot
    run: RunId
    timer: str


@dataclass(frozen=True)
class OwnerSubject:
    namespace: Namespace
    worker: WorkerId


@dataclass(frozen=True)
class DoneSubject:
    namespace: Namespace
    client: str
    run: RunId


@dataclass(frozen=True)
class AnswerSubject:
    namespace: Namespace
    client: str
    run: RunId


Subject = StartSubject | WakeSubject | LogSubject | TimerSubject | OwnerSubject | DoneSubject | AnswerSubject


class Subjects:
    """Builds the subjects of one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = Namespace(token("namespace (RELIGHT_NAMESPACE)", namespace))
        self._root = f"relight.{self.namespace}"

    def start(self, queue: str, run: str) -> str:
        return f"{self._root}.start.{slot_of(run)}.{queue}.{run}"

    def start_any_queue(self, run: str) -> str:
        """The filter that fences a start: a run id is taken in whichever queue it was started."""
        return f"{self._root}.start.{slot_of(run)}.*.{run}"

    def start_fenced(self, queue: str, run: str) -> tuple[str, str]:
        """The subject of a start, and `start_any_queue`."""
        slot = slot_of(run)
        return f"{self._root}.start.{slot}.{queue}.{run}", f"{self._root}.start.{slot}.*.{run}"

    def wake(self, queue: str, run: str) -> str:
        return f"{self._root}.wake.{slot_of(run)}.{queue}.{run}"

    def wake_any_queue(self, run: str) -> str:
        """The mailbox of a run, as a filter that needs no queue."""
        return f"{self._root}.wake.{slot_of(run)}.*.{run}"

    def log(self, run: str) -> str:
        return f"{self._root}.log.{slot_of(run)}.{run}"

    def timer(self, run: str, timer: str) -> str:
        return f"{self._root}.timer.{slot_of(run)}.{run}.{timer}"

    def timers(self, run: str) -> str:
        """All timers of one run, as a filter."""
        return f"{self._root}.timer.{slot_of(run)}.{run}.*"

    def timer_of_any_run(self, timer: str) -> str:
        """All timers of one id, as a filter."""
        return f"{self._root}.timer.*.*.{timer}"

    def every_start(self) -> str:
        """All starts, as a filter."""
        return f"{self._root}.start.*.*.*"

    def owner(self, worker: str) -> str:
        return f"{self._root}.owner.{worker}"

    def announcements(self) -> str:
        """Where the workers tell each other which leases they hold: core notices, not stored."""
        return self.owner(ANNOUNCEMENTS)

    def done(self, client: str, run: str) -> str:
        return f"{self._root}.done.{client}.{run}"

    def answer(self, client: str, run: str) -> str:
        """Where an owner tells a client that its request was answered."""
        return f"{self._root}.answer.{client}.{run}"

    # Large values: a NATS object store of the namespace, whose subjects ADR-20 fixes.

    @property
    def bucket(self) -> str:
        return f"RELIGHT_{self.namespace}"

    def value_name(self, run: str, digest: str) -> str:
        """The object's name."""
        return f"{run}/{digest}"

    def value(self, run: str, digest: str) -> str:
        """Where an object is described."""
        return f"$O.{self.bucket}.M.{urlsafe_b64encode(self.value_name(run, digest).encode()).decode()}"

    def value_chunks(self, nuid: str) -> str:
        """Where the chunks of one try to store an object are: `<run>.<digest>.<try>`."""
        return f"$O.{self.bucket}.C.{nuid}"

    # Data keys of sealed runs, wrapped: a key-value bucket of NATS.

    @property
    def key_bucket(self) -> str:
        return f"RELIGHT_{self.namespace}_KEYS"

    def key(self, run: str, name: str) -> str:
        """Where a data key is stored."""
        return f"$KV.{self.key_bucket}.{run}.{name}"

    def starts_of_queue(self, queue: str) -> str:
        """The consumers' filters: one each, so that the server walks one subject tree."""
        return f"{self._root}.start.*.{queue}.*"

    def wakes_of_queue(self, queue: str) -> str:
        return f"{self._root}.wake.*.{queue}.*"

    def of_slot(self, slot: int) -> tuple[str, ...]:
        """What the stream that carries `slot` stores."""
        return (
            f"{self._root}.start.{slot}.*.*",
            f"{self._root}.wake.{slot}.*.*",
            f"{self._root}.log.{slot}.*",
            f"{self._root}.timer.{slot}.*.*",
        )

    def of_every_slot(self) -> tuple[str, ...]:
        """What a stream that carries all slots stores."""
        return (
            f"{self._root}.start.*.*.*",
            f"{self._root}.wake.*.*.*",
            f"{self._root}.log.*.*",
            f"{self._root}.timer.*.*.*",
        )


def parse(subject: str) -> Subject | None:
    """Return what a subject says, or None if it is none of ours."""
    match subject.split("."):
        case ["relight", namespace, "start", slot, queue, run]:
            return _checked(StartSubject, namespace, slot, run, QueueName(queue), RunId(run))
        case ["relight", namespace, "wake", slot, queue, run]:
            return _checked(WakeSubject, namespace, slot, run, QueueName(queue), RunId(run))
        case ["relight", namespace, "log", slot, run]:
            return _checked(LogSubject, namespace, slot, run, RunId(run))
        case ["relight", namespace, "timer", slot, run, timer]:
            return _checked(TimerSubject, namespace, slot, run, RunId(run), timer)
        case ["relight", namespace, "owner", worker]:
            return OwnerSubject(Namespace(namespace), WorkerId(worker)) if _tokens(namespace, worker) else None
        case ["relight", namespace, "done", client, run]:
            return DoneSubject(Namespace(namespace), client, RunId(run)) if _tokens(namespace, client, run) else None
        case ["relight", namespace, "answer", client, run]:
            return AnswerSubject(Namespace(namespace), client, RunId(run)) if _tokens(namespace, client, run) else None
        case _:
            return None


def _checked(kind: Callable[..., Subject], namespace: str, slot: str, run: str, *rest: str) -> Subject | None:
    if not _tokens(namespace, *rest) or slot != str(slot_of(run)):
        return None
    return kind(Namespace(namespace), slot_of(run), *rest)


def _tokens(*tokens: str) -> bool:
    return all(map(is_token, tokens))
