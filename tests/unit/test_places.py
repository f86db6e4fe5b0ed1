"""Dealing out places over streams."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relight.actors.jetstream.places import Places


def test_places_are_spread_evenly_at_first() -> None:
    places = Places(4)
    places.give(10)

    shares = places.deal([0, 1, 2, 3])

    assert sum(count for _, count in shares) == 10
    assert {stream for stream, _ in shares} == {0, 1, 2, 3}
    assert places.free == 0


def test_places_go_where_deliveries_come_from() -> None:
    places = Places(3)
    places.give(30)
    places.deal([0, 1, 2])
    for _ in range(10):
        places.take(1)

    places.give(10)
    shares = places.deal([0, 1, 2])

    assert shares == [(1, 10)]


def test_a_few_places_given_back_are_not_asked_for_one_by_one() -> None:
    places = Places(1)
    places.give(100)
    places.deal([0])
    places.take(0)

    places.give(1)

    assert places.deal([0]) == []
    assert not places.is_worth_asking


def test_one_place_goes_round_all_streams() -> None:
    places = Places(3)
    places.give(1)
    turns: list[int] = []

    for _ in range(6):
        ((stream, _),) = places.deal([0, 1, 2])
        turns.append(stream)
        places.give_up(stream)

    assert turns == [0, 1, 2, 0, 1, 2]


def test_what_a_pull_leaves_over_comes_back() -> None:
    places = Places(2)
    places.give(8)
    places.deal([0, 1])

    places.give_up(0, 3)
    places.give_up(1)

    assert (places.free, places.asked) == (7, [1, 0])


def test_where_something_has_come_again_places_are_wanted_for_what_else_comes_again() -> None:
    """The server counts only what was never delivered among those that wait."""
    places = Places(3)
    places.give(9)
    places.deal([0, 1, 2])
    for _ in range(3):
        places.take(1, comes_again=True)

    assert places.misplaced() in (0, 2)


def test_places_do_not_go_round_for_ever_in_search_of_what_comes_again() -> None:
    places = Places(4)
    places.give(6)
    places.deal([0, 1, 2, 3])
    for stream in range(4):
        while places.asked[stream] > (stream == 3):
            places.take(stream, comes_again=True)

    moves = 0
    while (misplaced := places.misplaced()) is not None:
        places.give_up(misplaced)
        places.deal([0, 1, 2, 3])
        moves += 1
        assert moves < 10


@given(
    streams=st.integers(1, 8),
    steps=st.lists(st.tuples(st.sampled_from(["give", "deal", "take", "give_up"]), st.integers(0, 40)), max_size=80),
)
def test_no_place_is_ever_lost_or_given_out_twice(streams: int, steps: list[tuple[str, int]]) -> None:
    places, total, taken = Places(streams), 0, 0

    for step, number in steps:
        stream = number % streams
        match step:
            case "give":
                places.give(number)
                total += number
            case "deal":
                dealt = places.deal(list(range(streams)))
                assert all(count > 0 for _, count in dealt)
            case "take" if places.asked[stream]:
                places.take(stream)
                taken += 1
            case "give_up":
                places.give_up(stream, number)
            case _:
                pass

        assert places.free >= 0
        assert places.free + sum(places.asked) + taken == total
