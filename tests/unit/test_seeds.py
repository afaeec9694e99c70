"""Seeds are a function of their names, and of nothing else."""

from __future__ import annotations

from lile.seeds import seed_for


def test_a_seed_never_changes_between_machines_and_versions():
    assert seed_for(0, "train", 0) == int.from_bytes(bytes.fromhex("58fa7e87"), "big")


def test_every_word_counts():
    names = [(0, "train", 0), (1, "train", 0), (0, "train", 1), (0, "folds", 0), (0, "train"), (0, "train", 0, "order")]
    seeds = [seed_for(*name) for name in names]
    assert len(set(seeds)) == len(names)
    assert all(0 <= seed < 2**32 for seed in seeds)
