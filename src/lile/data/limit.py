"""The first so many images of each split: a quick look at a large dataset, without opening the rest."""

from __future__ import annotations

from collections import Counter

from lile.data.records import OVER_LIMIT, ReportRow


class FirstImages:
    """Counts a file's images in their order, and says which of them are among the first of their split."""

    def __init__(self, limit: int | None) -> None:
        """Take ``limit`` images of each split, images without one being a split too; ``None`` takes all."""
        self._limit = limit
        self._sizes: Counter[str] = Counter()

    def takes(self, split: str) -> bool:
        """Count one more image of ``split``; return whether it is among the first."""
        self._sizes[split] += 1
        return self._limit is None or self._sizes[split] <= self._limit

    def report(self) -> list[ReportRow]:
        """Return one line for each split of which images were left out: there may be a million of them."""
        return [
            ReportRow("", "", "", "warned", OVER_LIMIT, f"{split or 'no split'}: the first {self._limit} of {size}")
            for split, size in self._sizes.items()
            if self._limit is not None and size > self._limit
        ]
