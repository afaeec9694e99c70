"""Groups are connected components: checked against a slow search, and on shapes that hurt a naive union-find."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from lile.data.groups import groups_from

links_strategy = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 6)), max_size=20)


def slow_groups(links: list[tuple[str, int]]) -> dict[str, str]:
    """Grow each item's component until nothing is added."""
    answer = {}
    for start, _ in links:
        reached, grew = {start}, True
        while grew:
            keys = {key for item, key in links if item in reached}
            larger = {item for item, key in links if key in keys}
            grew, reached = larger > reached, reached | larger
        answer[start] = min(reached)
    return answer


@given(links_strategy)
def test_same_as_a_slow_search(links):
    assert groups_from(links) == slow_groups(links)


@given(links_strategy, st.integers(0, 1000))
def test_order_makes_no_difference(links, seed):
    shuffled = random.Random(seed).sample(links, len(links))
    assert groups_from(links) == groups_from(shuffled)


def test_chain_of_many_is_one_group():
    links = [(f"{n:06d}", key) for n in range(100_000) for key in (n, n + 1)]
    assert set(groups_from(links).values()) == {"000000"}


def test_nothing_gives_nothing():
    assert groups_from([]) == {}
