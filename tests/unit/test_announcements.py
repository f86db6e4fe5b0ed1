"""When leases are announced."""

from __future__ import annotations

from relight.actors.jetstream.announcements import AGE_S_MAX, next_age_s, pause_s_of
from relight.config.limits import LIMITS

LEAST_S = LIMITS.announce_s


def test_a_busy_worker_announces_only_what_is_held_for_longer() -> None:
    ages = [LEAST_S]
    for _ in range(10):
        ages.append(next_age_s(ages[-1], announced=40, age_s_min=LEAST_S))

    assert ages == sorted(ages)
    assert ages[-1] == AGE_S_MAX


def test_a_worker_that_has_become_quiet_announces_soon_again() -> None:
    age_s, looks_s = AGE_S_MAX, 0.0
    while age_s > LEAST_S:
        looks_s += age_s
        age_s = next_age_s(age_s, announced=0, age_s_min=LEAST_S)

    assert age_s == LEAST_S
    assert looks_s < 3


def test_a_few_leases_at_a_time_are_announced_at_full_pace() -> None:
    assert next_age_s(LEAST_S, announced=3, age_s_min=LEAST_S) == LEAST_S


def test_a_busy_worker_with_many_neighbours_looks_as_often_as_with_few() -> None:
    assert pause_s_of(AGE_S_MAX, neighbours=60, announce_s=LEAST_S) == AGE_S_MAX


def test_all_workers_together_send_no_more_than_anybody_can_hear() -> None:
    for neighbours in (4, 40, 400):
        assert neighbours / pause_s_of(LEAST_S, neighbours=neighbours, announce_s=LEAST_S) <= 800
