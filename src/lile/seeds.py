"""Randomness with a name: every seed is derived from the run's seed and what it is for."""

from __future__ import annotations

import hashlib


def seed_for(run_seed: int, *purpose: str | int) -> int:
    """Return a seed in [0, 2**32) that depends on the run's seed and on every word of ``purpose``.

    Args:
        run_seed: the config's ``seed``.
        purpose: what the randomness is for, from coarse to fine: ``"train", fold, "order", epoch``.
    """
    words = "/".join([str(run_seed), *(str(word) for word in purpose)])
    return int.from_bytes(hashlib.sha256(words.encode("utf-8")).digest()[:4], "big")
