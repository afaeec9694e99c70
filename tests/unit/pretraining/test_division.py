"""Which pictures are held out: whole slides, every class, and what is said where slides are not known."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import Any

import pandas as pd
import pytest

from lile.errors import InputError
from lile.pretraining.census import Census, take_census
from lile.pretraining.config import ColumnsConfig, DataConfig
from lile.pretraining.division import RANDOM_SPLIT, Division, divide
from lile.pretraining.sources import Item, list_pictures


def divided(data: DataConfig, *, seed: int = 0, validation: bool = True) -> tuple[Census, Division]:
    census = take_census(list_pictures(data), data)
    return census, divide(census, data, seed, validation=validation)


def made_up(groups: list[tuple[str, str, int]], **keys: Any) -> Census:
    """A census of (label, group, how many) without files."""
    items = [
        Item(f"{n}-{k}", f"{n:04d}-{k}", label, group)
        for n, (label, group, count) in enumerate(groups)
        for k in range(count)
    ]
    classes = sorted({item.label for item in items})
    facts = {"source": "made up", "report": [], "grouped": True, "split": False} | keys
    return Census(items=items, digests=[item.name for item in items], classes=classes, **facts)


def test_no_slide_is_on_two_sides_and_every_class_on_all(patches):
    data = DataConfig(kind="folder", root=str(patches), group_pattern=r"^(\w+/s\d)_", held_out=0.2, validation=0.25)
    for seed in range(5):
        census, division = divided(data, seed=seed)
        sides = [{census.items[place].group for place in part} for part in division.parts().values()]
        assert [len(side) for side in sides] == [9, 3, 3]
        assert len(set.union(*sides)) == 15
        assert sorted([*division.train, *division.validation, *division.held_out]) == list(range(60))
        assert division.by == "group"
        assert RANDOM_SPLIT not in division.warnings


def test_slides_that_hold_several_classes_stay_whole(patches):
    data = DataConfig(kind="folder", root=str(patches), group_pattern=r"/(s\d)_", held_out=0.2, validation=0.25)
    census, division = divided(data)
    sides = [{census.items[place].group for place in part} for part in division.parts().values()]
    assert [len(side) for side in sides] == [3, 1, 1]


def test_without_slides_each_class_gives_its_share_and_the_leak_is_said(patches):
    data = DataConfig(kind="folder", root=str(patches), held_out=0.2, validation=0.25)
    census, division = divided(data)
    for part, count in (("held_out", 4), ("validation", 4), ("train", 12)):
        assert set(Counter(census.items[place].label for place in division.parts()[part]).values()) == {count}
    assert division.by == "random"
    assert RANDOM_SPLIT in division.warnings


def test_the_seed_decides_and_nothing_else(patches):
    data = DataConfig(kind="folder", root=str(patches), held_out=0.2)
    assert divided(data)[1] == divided(data)[1]
    assert divided(data)[1].held_out != divided(data, seed=1)[1].held_out


def test_copies_are_never_on_two_sides(patches):
    for number in range(6):
        shutil.copy(patches / "gland" / "s0_0.png", patches / "gland" / f"copy{number}.png")
    for seed in range(8):
        data = DataConfig(kind="folder", root=str(patches), held_out=0.2)
        census, division = divided(data, seed=seed)
        held, trained = (
            {census.digests[place] for place in part}
            for part in (division.held_out, [*division.train, *division.validation])
        )
        assert not held & trained


def test_sizes_of_classes_and_slides_differ():
    census = made_up([("rare", f"r{n}", 2) for n in range(6)] + [("often", f"o{n}", 10 + 7 * n) for n in range(20)])
    data = DataConfig(kind="folder", root="x", held_out=0.25)
    for seed in range(10):
        division = divide(census, data, seed, validation=False)
        held = Counter(census.items[place].label for place in division.held_out)
        assert held["rare"] in (2, 4)
        assert 0.15 * 1530 < held["often"] < 0.35 * 1530


def test_slides_larger_than_the_share_are_held_out_all_the_same():
    census = made_up([(name, f"{name}{n}", 10) for name in ("a", "b") for n in range(3)])
    division = divide(census, DataConfig(kind="folder", root="x", held_out=0.05), 0, validation=False)
    assert Counter(census.items[place].label for place in division.held_out) == {"a": 10, "b": 10}


def test_a_class_on_one_slide_cannot_be_divided():
    census = made_up([("a", "a0", 10), *(("b", f"b{n}", 5) for n in range(4))])
    with pytest.raises(InputError, match=r"no picture of a in the part .* at least three slides"):
        divide(census, DataConfig(kind="folder", root="x"), 0, validation=False)


def test_the_datas_own_split_holds(patches):
    paths = sorted(patches.rglob("*.png"))
    rows = [
        {"image": str(path.relative_to(patches)), "label": path.parent.name, "slide": path.name[:2],
         "part": "Test" if path.name.endswith("_3.png") else "train"} for path in paths
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(patches / "list.csv", index=False)
    columns = ColumnsConfig(split="part", group="slide")
    census, division = divided(DataConfig(kind="csv", file=str(patches / "list.csv"), columns=columns))
    assert all(census.items[place].name.endswith("_3.png") for place in division.held_out)
    assert len(division.held_out) == 15
    assert any("tears 5 groups" in said for said in division.warnings), "this split is a bad one"


def test_copies_that_a_given_split_leaks_are_counted(patches):
    rows = [
        {"image": str(path.relative_to(patches)), "label": path.parent.name, "split": "train"}
        for path in sorted(patches.rglob("*.png"))
    ]
    for name in ("gland", "nerve", "stroma"):
        shutil.copy(patches / name / "s0_0.png", patches / f"{name}.png")
        rows.append({"image": f"{name}.png", "label": name, "split": "test"})
    pd.DataFrame(rows).to_csv(patches / "list.csv", index=False)
    columns = ColumnsConfig(split="split")
    _, division = divided(DataConfig(kind="csv", file=str(patches / "list.csv"), columns=columns), validation=False)
    assert any("3 held-out pictures have the very bytes" in said for said in division.warnings)


def test_a_split_without_a_class_on_one_side(patches):
    rows = [
        {"image": str(path.relative_to(patches)), "label": path.parent.name,
         "split": "test" if path.parent.name == "gland" else "train"} for path in sorted(patches.rglob("*.png"))
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(patches / "list.csv", index=False)
    data = DataConfig(kind="csv", file=str(patches / "list.csv"), columns=ColumnsConfig(split="split"))
    with pytest.raises(InputError, match="the data's own split leaves them out"):
        divided(data, validation=False)
