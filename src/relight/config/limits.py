"""Every bound of Relight, with its unit and the reason for its size."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("KIB", "LIMITS", "MIB", "Limits")

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds that hold for every deployment; what a deployment may choose is in `settings`."""

    slots: int = 64
    """Fixed for ever: a run id hashes to a slot, and the slot is in the subject."""

    id_characters_max: int = 128
    """Of one id or name. Subjects hold four of them and must stay far below nats-server's 4 KiB control line."""

    payload_bytes_max: int = 512 * KIB
    """Of what is always part of a record, and of a start: half of nats-server's default max_payload, for there is more
    in a turn."""

    turn_bytes_max: int = 768 * KIB
    """Of one journal message; a turn that would be larger is split over several. Below max_payload with headers."""

    value_inline_bytes_max: int = 64 * KIB
    """A larger value is stored apart and a record names it: turns of several values stay one message."""

    value_bytes_max: int = 128 * MIB
    """Of one encoded value that is stored apart; it is held in memory as a whole where it is used."""

    value_chunk_bytes: int = 256 * KIB
    """Of the messages in which it is stored: far below max_payload, few enough for 100 MB."""

    digest_in_loop_bytes_max: int = 1 * MIB
    """A larger value is digested in a thread: this one takes a few milliseconds."""

    notice_bytes_max: int = 16 * KIB
    """Of an end that travels with its notice; a larger one is read by those who wait for it."""

    mailbox_messages_max: int = 10_000
    """Unread messages in the mailbox of one run. The next one is refused, but no decision of a person on it."""

    mailbox_purge: int = 1_000
    """Consumed messages after which a run's mailbox is purged up to its cursor."""

    mailbox_batch: int = 256
    """Messages read from a mailbox at once: a group of wakes becomes one turn."""

    callbacks_per_record_max: int = 100_000
    """Loop callbacks one record may cause before the run parks: user code that never blocks would hang a worker."""

    due_ms_max: int = 9_214_646_400_000
    """In ms since 1970: 2262. nats-server counts nanoseconds in 64 bits; what is scheduled later is due at once."""

    concurrency_max: int = 100_000
    """Runs that one worker may be told to work on at once: what it asks its consumers for."""

    ack_wait_s: float = 10.0
    """After this long without a renewal the server redelivers a lease. Longer than a leader election (6 s seen)."""

    renew_s: float = 3.0
    """Between renewals of a lease: three tries fit into `ack_wait_s`."""

    new_spread_s: float = 1.0
    """With several servers a start is begun without a look only so long after it was stored: longer than a packet that
    is lost on a route delays it. With one server half of `ack_wait_s`."""

    anchor_s: float = 60.0
    """Between two looks at the server's clock. Workers whose clocks differ by `ask_s` don't answer each other."""

    announce_s: float = 0.005
    """Leases older than this are announced to the other workers, by a busy worker later; most runs of short steps never
    are."""

    claim_s: float = 0.010
    """A start without a turn for this long gets a `claimed` turn, so that others can see whose it is."""

    mailbox_look_s: float = 0.25
    """After its first turn a run that still works looks for messages that came before its journal existed."""

    lease_s_max: float = 3600.0
    """A lease held this long is changed for a fresh one: an old one pins the floor of its consumer."""

    linger_s: float = 1.0
    """A waiting run stays in its owner's memory this long, so that a burst of wakes costs one replay."""

    starts_at_once: int = 200
    """Of `start_many`, that wait for their acknowledgement. More gain nothing: a stream writes one after the other."""

    resting_max: int = 250
    """Waiting runs that one worker keeps in memory; dropping one costs only a replay."""

    resting_bytes_max: int = 32 * MIB
    """Of their histories together, with the large values: decoded they take several times as much."""

    ask_s: float = 0.5
    """How long an owner, or all workers, have to answer before they count as silent."""

    return_s: float = 2.5
    """Whoever was cut off may take so long to be back: up to two seconds lie between two tries."""

    runs_asked_max: int = 1_000
    """Of which one question to all workers asks. With the longest ids it takes half of the default `max_payload`."""

    nak_delay_s: float = 1.0
    """Before a message that can't be treated now is delivered again (silent owner, unknown workflow)."""

    nak_delay_max_s: float = 30.0
    """Upper bound of that delay, which doubles with each delivery."""

    deaths_max: int = 3
    """A run whose owners died this often without progress is quarantined."""

    loop_blocked_warn_s: float = 1.0
    """A worker whose loop has not moved for this long is named in the log, with the frame that blocks it."""

    loop_blocked_end_s: float = 30.0
    """A worker whose loop has not moved for this long is ended: its leases go to others."""

    retry_local_s: float = 1.0
    """Waits up to this long are kept by the owner; longer ones become durable timers and hold no worker."""

    tombstone_s: int = 3600
    """How long a retired run's id stays taken. Longer than any outbox or start can be under way."""

    latest_subjects_max: int = 1_000
    """Subjects of which one request may ask for the last messages; nats-server answers for 1,024 at most."""

    retirements_at_once: int = 64
    """Runs that are retired together: what is read for them stays far below `latest_subjects_max`."""

    stuck_recheck_s: int = 3600
    """A stuck run is tried again this often even if nobody announced other code."""

    stuck_wakes_per_s: float = 50.0
    """A worker that announces other code wakes stuck runs at most this fast."""

    append_retry_s: float = 0.05
    """First pause before an append with unknown outcome is tried again; doubles up to `append_retry_max_s`."""

    append_retry_max_s: float = 2.0
    """Upper bound of that pause."""

    publish_timeout_s: float = 5.0
    """Without an acknowledgement for this long the outcome of a publish is unknown."""

    publishes_waiting_max: int = 20_000
    """Publishes of one connection that wait for their acknowledgement; the next ones wait for a place."""

    drain_s: float = 10.0
    """What running steps get to finish after SIGTERM."""

    runs_listed_max: int = 1_000
    """Newest runs that a scan of subjects lists."""

    names_carried_max: int = 200
    """Ids of signals, and names of suspensions, that a run that continues as new remembers: a repeat is found among the
    latest. At most 100 KiB of each, so that the turn fits into one message."""

    requests_carried_max: int = 64
    """Ids of requests that a run that continues as new remembers."""

    answers_carried_max: int = 32
    """Answers to requests that a run that continues as new keeps for those who have not heard them."""

    answers_carried_bytes_max: int = 32 * KIB
    """Of the results among them; beyond it only those of the last turn are kept."""

    history_records_warn: int = 10_000
    """Records of one history from which a warning is logged."""

    history_records_max: int = 100_000
    """Records of one history from which its run is parked: a replay of more takes seconds, and it would never end."""

    history_records_more: int = 1_000
    """What a run that was parked for its length may add once somebody lets it go on, to continue as new."""


LIMITS = Limits()
