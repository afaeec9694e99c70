"""Lines of base64 become a store: the right boxes for the right image, and a message for whatever a file can hold."""

from __future__ import annotations

import base64
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lile.errors import InputError
from lile.features.bottom_up import number_of, store_bottom_up
from lile.features.libraries import TSV_COLUMNS as READ
from lile.features.store import TokenStore

WIDTH, HEIGHT = 640, 480
LXMERT = ("image_id", "image_h", "image_w", "objects_id", "objects_conf", "num_boxes", "boxes", "features")


def made(number: int, count: int, width: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Features and boxes in pixels of an image."""
    random = np.random.default_rng(number)
    corners = np.sort(random.uniform(0, 1, (count, 2, 2)), axis=1).reshape(count, 4)
    boxes_px = (corners * [WIDTH, HEIGHT, WIDTH, HEIGHT]).astype(np.float32)
    return random.normal(size=(count, width)).astype(np.float32), boxes_px


def text(array: np.ndarray) -> str:
    return base64.b64encode(array.astype("<f4").tobytes()).decode()


def cells(number: int, count: int, width: int = 8) -> dict[str, str]:
    features, boxes_px = made(number, count, width)
    return {
        "image_id": str(number), "image_w": str(WIDTH), "image_h": str(HEIGHT), "num_boxes": str(count),
        "boxes": text(boxes_px), "features": text(features), "objects_id": "AAAA", "objects_conf": "AAAA",
    }  # fmt: skip


def line(values: dict[str, str], columns: Sequence[str] = READ) -> str:
    return "\t".join(values[column] for column in columns) + "\r\n"  # as the csv module writes it


def table(numbers: Sequence[int]) -> pd.DataFrame:
    return pd.DataFrame({"image_id": [f"coco:{number}" for number in numbers]})


SIZES = {42: 10, 7: 36, 391895: 100, 9: 12}


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Two files; in the second an image that the dataset has not, and one for the second time."""
    paths = [tmp_path / "a.tsv", tmp_path / "b.tsv"]
    paths[0].write_text("".join(line(cells(number, SIZES[number])) for number in (42, 7)), newline="")
    second = [line(cells(number, SIZES.get(number, 5))) for number in (391895, 1000, 9)]
    paths[1].write_text("".join([*second, line(cells(42, 11))]), newline="")
    return paths


@pytest.mark.parametrize("shards", [1, 2])
def test_every_image_has_its_own_features_and_boxes(files, tmp_path, shards, caplog):
    paths = [tmp_path / f"shard-{shard}.h5" for shard in range(shards)]
    images = table([9, 391895, 42, 7])
    with caplog.at_level(logging.WARNING, "lile"):
        for shard, path in enumerate(paths):
            store_bottom_up(images, files, READ, path, name="up", shard=shard, shards=shards)
    assert "1 lines of images that came before (the first holds), 1 of no image of the dataset" in caplog.text
    with TokenStore(paths, expect={"library": "bottom_up"}, geometry=True) as store:
        if shards == 1:
            assert store.ids == ["coco:42", "coco:7", "coco:391895", "coco:9"], "the order of the files"
        rows = store.rows_of([f"coco:{number}" for number in SIZES])
        assert store.lengths(rows).tolist() == list(SIZES.values())
        tokens, keep = store.read(rows)
    for place, (number, count) in enumerate(SIZES.items()):
        features, boxes_px = made(number, count)
        np.testing.assert_array_equal(tokens[place, keep[place], :8], features.astype(np.float16))
        shares = boxes_px / [WIDTH, HEIGHT, WIDTH, HEIGHT]
        np.testing.assert_allclose(tokens[place, keep[place], 8:12], shares, atol=1e-3)
    about = [TokenStore([path]).about for path in paths]
    assert [one["others"] for one in about] == [1] * shards
    assert sum(one["repeated"] for one in about) == 1


def test_another_order_of_columns_and_more_of_them(tmp_path):
    path = tmp_path / "lxmert.tsv"
    values = cells(391895, 36, 2048) | {"image_id": "COCO_val2014_000000391895"}
    path.write_text(line(values, LXMERT))
    assert store_bottom_up(table([391895]), [path], LXMERT, tmp_path / "shard.h5", name="up") == 1
    assert TokenStore([tmp_path / "shard.h5"]).width == 2048
    swapped = [{"image_w": "image_h", "image_h": "image_w"}.get(column, column) for column in LXMERT]
    with pytest.raises(InputError, match=r"a box is not within the image, 480 x 640 pixels.*image_h before image_w"):
        store_bottom_up(table([391895]), [path], swapped, tmp_path / "shard.h5", name="up")


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("coco:42", 42),
        ("train:000012", 12),
        ("COCO_val2014_000000000042.jpg", 42),
        ("42", 42),
        ("a1b", None),
        ("", None),
    ],
)
def test_the_number_of_an_id(said, number):
    assert number_of(said) == number


def test_ids_that_cannot_be_matched(files, tmp_path):
    for ids, words in ((["coco:a"], "ends in no number"), (["train:000000", "dev:000000"], "both end in 0.*_ids.txt")):
        with pytest.raises(InputError, match=words):
            store_bottom_up(pd.DataFrame({"image_id": ids}), files, READ, tmp_path / "shard.h5", name="up")


def test_images_that_no_file_has_are_counted_and_named(files, tmp_path):
    with pytest.raises(InputError, match=r"2 of 3 images are in none of .*a\.tsv, .*b\.tsv: coco:1, coco:2"):
        store_bottom_up(table([42, 1, 2]), files, READ, tmp_path / "shard.h5", name="up")
    assert not list(tmp_path.glob("*shard*"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": "A*=="}, "features: broken base64"),
        ({"boxes": "QUJD"}, "boxes: broken base64"),  # three bytes are no number
        (
            {"features": text(np.ones(35))},
            "features hold 35 numbers, not 8 of 12 boxes each; the first line has width 8",
        ),
        ({"features": text(np.ones((12, 9)))}, "features hold 108 numbers, not 8 of 12 boxes"),
        ({"boxes": text(np.ones((11, 4)))}, "boxes hold 44 numbers, not 4 of 12 boxes"),
        ({"num_boxes": "0"}, "num_boxes is '0', not a number above 0"),
        ({"num_boxes": "many"}, "num_boxes is 'many'"),
        ({"image_w": ""}, "image_w is ''"),
        ({"boxes": text(np.full((12, 4), np.nan))}, "a box is not within the image"),
        ({"features": text(np.full((12, 8), np.inf))}, "a feature is not finite"),
        ({"boxes": "AAAA\tAAAA"}, r"7 columns, but the config names 6 \(image_id, "),
    ],
)
def test_a_line_that_cannot_be_used_is_named_with_file_number_and_image(files, tmp_path, change, words):
    broken = tmp_path / "c.tsv"
    broken.write_text(line(cells(1, 10)) + line(cells(2, 12) | change))
    with pytest.raises(InputError, match=words) as raised:
        store_bottom_up(table([42, 2]), [files[0], broken], READ, tmp_path / "shard.h5", name="up")
    assert f"{broken}: line 2, image " in str(raised.value)
    assert "2" in str(raised.value).partition("image ")[2][:4]
    assert not list(tmp_path.glob("*shard*"))


@pytest.mark.parametrize("kept", [0.5, 0.95, 0.999])
def test_a_file_whose_last_line_is_cut(files, tmp_path, kept):
    whole = files[0].read_bytes()
    last = whole.index(b"\n") + 1
    files[0].write_bytes(whole[: last + int((len(whole) - last) * kept)])
    with pytest.raises(InputError, match=r"a\.tsv: line 2, image '?7'?: .*Is the line cut"):
        store_bottom_up(table([7]), files, READ, tmp_path / "shard.h5", name="up")


def test_what_is_no_file_of_regions(files, tmp_path):
    odd = tmp_path / "odd.tsv"
    for content, words in (
        (b"", "the file is empty"),
        (b"\n\n", "no line with regions"),
        (b"\t".join(name.encode() for name in READ) + b"\n", "'image_id' ends in no number. Is it a header"),
        (b"\x00" * 100, "columns, but the config names 6"),
    ):
        odd.write_bytes(content)
        with pytest.raises(InputError, match=words) as raised:
            store_bottom_up(table([7]), [odd], READ, tmp_path / "shard.h5", name="up")
        assert "odd.tsv" in str(raised.value)
    with pytest.raises(InputError, match="1 of 3 TSV files are missing"):
        store_bottom_up(table([7]), [*files, tmp_path / "none.tsv"], READ, tmp_path / "shard.h5", name="up")


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "large.tsv"
    features = text(np.ones((36, 2048)))
    boxes = text(np.tile([0, 0, 9, 9], (36, 1)))
    with path.open("w") as file:
        for number in range(150):  # 60 MB
            file.write("\t".join([str(number), "640", "480", "36", boxes, features]) + "\n")
    script = (
        "import resource, sys; from pathlib import Path; import pandas as pd\n"
        "from lile.features.bottom_up import store_bottom_up; from lile.features.libraries import TSV_COLUMNS\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "store = lambda n: store_bottom_up(pd.DataFrame({'image_id': list(map(str, range(n)))}), [Path(sys.argv[1])], "
        "TSV_COLUMNS, Path(sys.argv[1] + '.h5'), name='up')\n"
        "store(3); before = used(); store(150); print(used() - before)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 30
