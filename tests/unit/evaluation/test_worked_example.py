"""The example on docs/evaluation.md: its scores go through the code, and every number of its tables comes out."""

from __future__ import annotations

import gzip
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lile.evaluation.grid import Matrix
from lile.evaluation.metrics import fold_metrics
from lile.evaluation.relevance import relevance_of
from lile.evaluation.trec import RunNames, write_trec

PAGE = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text(encoding="utf-8").partition("## By hand")[2]
IMAGES = pd.DataFrame({"image_id": ["a", "b", "c"], "group": ["g", "g", "h"]})
DESCRIPTIONS = pd.DataFrame(
    [
        ("d1", "a", "gland"),
        ("d2", "a", "duct"),
        ("d3", "b", "gland"),
        ("d4", "c", "fat"),
        ("d5", "c", "nerve"),
    ],
    columns=["description_id", "image_id", "text_id"],
)
COLUMNS = ("R1", "R5", "MedR", "MeanR", "mAP", "Rprec")


def table(first: str) -> list[list[str]]:
    """The cells of the page's table whose header begins with a word, row by row."""
    block = PAGE.partition(f"\n| {first} |")[2].partition("\n\n")[0]
    rows = [row.strip("|").split("|") for row in block.splitlines()[1:]]
    return [[cell.strip().strip("`") for cell in row] for row in rows[1:]]


def scores() -> np.ndarray:
    return np.array([[float(cell) for cell in row[1:]] for row in table("score")], dtype=np.float32)


@pytest.fixture(scope="module")
def evaluated():
    texts = PAGE.partition("\n| score |")[2].splitlines()[0].replace(" ", "").strip("|").split("|")
    return fold_metrics(scores(), [row[0] for row in table("score")], texts, IMAGES, DESCRIPTIONS)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Per direction: query -> the lines of its list."""
    folder = tmp_path_factory.mktemp("trec")
    ids = IMAGES["image_id"].tolist()
    relevance = relevance_of(ids, ["gland", "duct", "fat", "nerve"], IMAGES["group"].tolist(), DESCRIPTIONS)
    names = RunNames(ids, DESCRIPTIONS["description_id"].tolist(), "lile")
    write_trec(folder, Matrix(scores()), relevance, names, None)
    lines = [
        line
        for way in ("i2t", "t2i")
        for line in gzip.decompress((folder / f"own.{way}.run.gz").read_bytes()).decode().splitlines()
    ]
    return {query: [line for line in lines if line.split()[0] == query] for query in [*ids, *names.description_ids]}


def test_the_text_says_what_the_example_is():
    text = " ".join(PAGE.split())
    for image, rows in DESCRIPTIONS.groupby("image_id"):
        said = re.search(rf"`{image}` has ((?:the descriptions )?(?:`d\d` \*\w+\*(?: and )?)+)", text)
        assert re.findall(r"`(d\d)` \*(\w+)\*", said[1]) == list(
            zip(rows["description_id"], rows["text_id"], strict=True)
        )


def test_every_list_and_every_querys_figures_are_those_of_the_code(evaluated, runs):
    _, arrays = evaluated
    queries = table("query")
    assert [row[0] for row in queries] == [*arrays["image_ids"], *arrays["description_ids"]]
    for place, (query, listed, right, first, average, at_r) in enumerate(queries):
        way, row = ("i2t", place) if place < 3 else ("t2i", place - 3)
        assert listed.split() == [line.split()[2] for line in runs[query]]
        places = [int(word) for word in right.split(", ")]
        owners = dict(zip(arrays["description_ids"], arrays["image_ids"][arrays["description_image"]], strict=True))
        own = [item for item in listed.split() if query in (owners.get(item), item) or owners.get(query) == item]
        assert places == [listed.split().index(item) + 1 for item in own]
        assert int(first) == arrays[f"own_{way}"][row] + 1 == places[0]
        terms, _, value = average.partition(" = ")
        counted = np.mean([number / place for number, place in enumerate(places, 1)])
        assert arrays[f"own_{way}_ap"][row] == pytest.approx(counted)
        assert float(Fraction(value or terms)) == pytest.approx(counted)
        if value:
            sums = [float(Fraction(term)) for term in re.findall(r"\d/\d", terms)]
            assert sum(sums) / len(places) == pytest.approx(counted)
        assert float(Fraction(at_r)) == arrays[f"own_{way}_rprec"][row]


def test_every_figure_of_the_fold_is_that_of_the_code(evaluated):
    content, _ = evaluated
    rows = table("figure")
    assert [row[0] for row in rows] == [
        *("own` text", "chance", "ceiling", "own` image", "chance", "ceiling"),
        *("group` text", "group` image"),
    ]
    for label, *cells in rows:
        if "`" in label:
            name, what = label.split("` ")
            figures = content["protocols"][name][{"text": "i2t", "image": "t2i"}[what]]
        levels = figures if "`" in label else figures[label]
        said = {name: float(cell) for name, cell in zip(COLUMNS, cells, strict=True) if cell}
        assert said.keys() == {name for name in COLUMNS if name in levels}
        for name, value in said.items():
            assert levels[name] == pytest.approx(value, abs=0.005 if name == "MeanR" else 0.05), (label, name)


def test_the_lines_of_the_run_are_those_of_the_code(runs):
    said = re.findall(r"`(b Q0 d\d \d [\d.]+)`", PAGE)
    assert len(said) == 3
    assert said == [line.removesuffix(" lile") for line in runs["b"][:3]]
