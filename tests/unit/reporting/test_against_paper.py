"""Paper, ours and their difference, worked out by hand."""

from __future__ import annotations

import pytest

from lile.errors import InputError
from lile.reporting.against_paper import COLUMNS, against_paper
from lile.reporting.published import read_published

OURS = {"a": [43.9, 60.0, 64.4, 36.7, 52.2, 61.7, 318.0], "b": [0.0] * 7, "c": [0.0] * 7}


@pytest.fixture
def arch(project_root):
    return read_published(project_root / "config" / "published" / "arch.csv")


def test_the_paper_is_within_where_it_lies_less_than_a_spread_away(tidy, spec, arch):
    frame = against_paper(spec(compare={"a": "LILE"}), tidy(OURS, std=1.0), {"own": arch})
    assert list(frame.columns) == list(COLUMNS)
    keyed = frame.set_index(["direction", "metric"])
    assert keyed.loc[("i2t", "R1"), ["paper", "ours", "difference", "std"]].tolist() == [44.8, 43.9, -0.9, 1.0]
    assert keyed["within"].tolist() == [True, False, True, True, True, True, True]
    assert keyed.loc[("both", "Rsum"), ["paper", "paper_sum_of_recalls"]].tolist() == [317.1, 317.2]
    assert keyed["paper_sum_of_recalls"].notna().sum() == 1
    assert set(frame["method"]) == {"LILE"}
    assert set(frame["note"]) == {""}


def test_without_a_spread_nothing_is_within_or_outside(tidy, spec, arch):
    frame = against_paper(spec(compare={"a": "IMRAM"}), tidy(OURS, std=None), {"own": arch})
    assert len(frame) == 7
    assert frame["within"].isna().all()
    assert frame["low"].isna().all()


def test_intervals_are_taken_along(tidy, spec, arch):
    rows = tidy(OURS)
    frame = against_paper(
        spec(compare={"a": "LILE"}), rows.assign(low=rows["mean"] - 2, high=rows["mean"] + 2), {"own": arch}
    )
    assert frame["low"].tolist() == pytest.approx([value - 2 for value in OURS["a"]])


def test_each_protocol_is_compared_with_its_own_file_and_other_data_are_named(tidy, spec, project_root):
    files = {
        protocol: read_published(project_root / "config" / "published" / f"coco_{size}.csv")
        for protocol, size in (("own", "5k"), ("own_blocks", "1k"))
    }
    frame = against_paper(spec(compare={"b": "PVSE"}), tidy(OURS, protocols=("own", "own_blocks", "group")), files)
    totals = frame[frame["metric"] == "Rsum"].set_index("protocol")["paper"]
    assert totals.to_dict() == {"own": 374.4, "own_blocks": 492.8}
    assert frame["note"].str.startswith("the paper measured on OTHER data than arch").all()


def test_a_protocol_that_was_not_evaluated_has_nothing_to_compare(tidy, spec, arch):
    assert against_paper(spec(compare={"a": "LILE"}), tidy(OURS), {"own_blocks": arch}).empty


@pytest.mark.parametrize(("compare", "shown"), [({}, True), ({}, False), ({"a": "LILE"}, False)])
def test_a_header_where_there_is_nothing_to_compare(tidy, spec, arch, compare, shown):
    frame = against_paper(spec(compare=compare), tidy(OURS), {"own": arch} if shown else {})
    assert frame.to_csv(index=False).strip() == ",".join(COLUMNS)


@pytest.mark.parametrize(
    ("compare", "message"),
    [
        ({"a": "LIEL"}, r"compare.a: 'LIEL' is not a published method of this table; did you mean LILE\?"),
        ({"d": "LILE"}, "compare.d: not a row of this table; there are: a, b, c"),
        ({"a": "LILE", "z": "z"}, "there are: PVSE, IMRAM, CLIP zero-shot, LILE"),
    ],
)
def test_an_unknown_row_or_method_is_refused_with_the_nearest_name(tidy, spec, arch, compare, message):
    with pytest.raises(InputError, match=message):
        against_paper(spec(compare=compare), tidy(OURS), {"own": arch})
