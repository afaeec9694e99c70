"""Sets of vectors to score: drawn, but with true pairs, so that attention finds something and recalls mean something.

Shapes: n items, r vectors of the longest item, d width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lile.matching.config import MatchingConfig
from lile.matching.matcher import IterativeMatching

SPREAD_WORDS = 3.0  # standard deviation of a caption's length


@dataclass(frozen=True)
class Data:
    """n images and n texts; image i belongs to text i."""

    images: Tensor
    """[n, r, d]"""
    texts: Tensor
    """[n, r, d]"""
    image_keep: Tensor | None = None
    text_keep: Tensor | None = None

    def first(self, images: int, texts: int) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """Return the first items and their masks, as ``matcher.scores`` takes them."""
        v_keep = None if self.image_keep is None else self.image_keep[:images]
        w_keep = None if self.text_keep is None else self.text_keep[:texts]
        return self.images[:images], self.texts[:texts], v_keep, w_keep


def maps(n: int, m: int, d: int, *, noise: float = 1.0, seed: int = 1) -> Data:
    """Return m maps an item, as the pooling's last layer leaves them: mean 0 and variance 1 over the width.

    Both sides of a pair see the same m hidden vectors, each through noise of its own and in an order of its own.
    """
    drawn = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, m, d, generator=drawn)
    order = torch.rand(n, m, generator=drawn).argsort(1)
    sides = []
    for seen in (hidden, hidden.gather(1, order[..., None].expand_as(hidden))):
        sides.append(functional.layer_norm(torch.randn(n, m, d, generator=drawn).mul_(noise).add_(seen), (d,)))
    return Data(*sides)


def ragged(n: int, regions: int, words: int, d: int, *, seed: int = 1) -> Data:
    """Return regions and words of unit length: every image has all its regions, a text about ``words`` words."""
    drawn = torch.Generator().manual_seed(seed)
    lengths_N = (words + SPREAD_WORDS * torch.randn(n, generator=drawn)).round().clamp(2, 2 * words).long()
    keep_NL = torch.arange(int(lengths_N.max())) < lengths_N[:, None]
    hidden = torch.randn(n, regions, d, generator=drawn)
    seen = hidden[:, torch.arange(keep_NL.shape[1]) % regions]
    texts = seen + torch.randn(seen.shape, generator=drawn)
    image_keep = torch.ones(n, regions, dtype=torch.bool)
    return Data(functional.normalize(hidden, dim=-1), functional.normalize(texts, dim=-1), image_keep, keep_NL)


def matcher_of(width: int, steps: int, seed: int = 1, **knobs: Any) -> IterativeMatching:
    """Return a matcher with freshly drawn gates."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return IterativeMatching(width, steps, MatchingConfig(**knobs))
