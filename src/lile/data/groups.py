"""Which items are the same content: connected components, by union-find, in near-linear time."""

from __future__ import annotations

from collections.abc import Hashable, Iterable


class UnionFind:
    """Disjoint sets over the integers 0, 1, ...; ``add`` makes the next one.

    Source: Tarjan and van Leeuwen (1984), union by size with path halving. Deviation: none.
    """

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._sizes: list[int] = []

    def add(self) -> int:
        """Make a set of one and return its number."""
        self._parents.append(len(self._parents))
        self._sizes.append(1)
        return len(self._parents) - 1

    def find(self, item: int) -> int:
        """Return the number that stands for the set ``item`` is in."""
        parents = self._parents
        while parents[item] != item:
            parents[item] = parents[parents[item]]
            item = parents[item]
        return item

    def union(self, one: int, other: int) -> None:
        """Make one set of the two sets that ``one`` and ``other`` are in."""
        one, other = self.find(one), self.find(other)
        if one == other:
            return
        if self._sizes[one] < self._sizes[other]:
            one, other = other, one
        self._parents[other] = one
        self._sizes[one] += self._sizes[other]


def groups_from(links: Iterable[tuple[str, Hashable]]) -> dict[str, str]:
    """Put items that share a key, directly or through other items, into one group.

    Args:
        links: ``(item, key)`` pairs in any order. An item may have many keys and a key many items. An item
            with nothing to share takes part with a key of its own.

    Returns:
        For each item, in order of first appearance, the smallest item (as strings sort) of its group. The answer
        does not depend on the order of ``links``.
    """
    sets = UnionFind()
    items: dict[str, int] = {}
    keys: dict[Hashable, int] = {}
    for item, key in links:
        number = items[item] if item in items else items.setdefault(item, sets.add())
        if key in keys:
            sets.union(number, keys[key])
        else:
            keys[key] = number
    smallest: dict[int, str] = {}
    for item, number in items.items():
        root = sets.find(number)
        if root not in smallest or item < smallest[root]:
            smallest[root] = item
    return {item: smallest[sets.find(number)] for item, number in items.items()}
