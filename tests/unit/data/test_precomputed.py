"""Folders of regions and captions: counts, rows that repeat, ids, and everything that can be wrong with the files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lile.data import npy_rows
from lile.data.npy_rows import place_of, row_at
from lile.data.precomputed import read_precomputed
from lile.data.precomputed_files import files_of
from lile.data.records import Records, check_records, report_text
from lile.errors import InputError

SPLITS = {"train": "train", "validation": "dev", "test": "test"}
COUNTS = {"train": 6, "dev": 3, "test": 2}


def regions(count: int, width: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4, width)).astype(np.float32)


def captions(word: str, count: int, per_image: int = 5) -> list[str]:
    return [f"Caption {line} of {word}." for line in range(count * per_image)]


def write_folder(root: Path, kind: str = "ims", repeat: int = 1) -> dict:
    for word, count in COUNTS.items():
        np.save(root / f"{word}_{kind}.npy", np.repeat(regions(count), repeat, axis=0))
        (root / f"{word}_caps.txt").write_text("\n".join(captions(word, count)) + "\n", encoding="utf-8")
    return {"root": str(root), "splits": SPLITS, "captions_per_image": 5, "limit": None, "drop_captions": []}


@pytest.fixture
def cfg(tmp_path) -> dict:
    return write_folder(tmp_path)


def read(cfg: dict) -> Records:
    records = read_precomputed(cfg)
    check_records(records)
    return records


def reasons(records: Records) -> list[str]:
    return records.report["reason"].tolist()


@pytest.mark.parametrize(("kind", "repeat"), [("ims", 1), ("feat", 1), ("ims", 5)])
def test_rows_once_or_as_often_as_captions_give_the_same_images(tmp_path, kind, repeat):
    records = read(write_folder(tmp_path, kind, repeat))
    images = records.images.set_index("image_id")
    assert images["split"].value_counts().to_dict() == {"train": 6, "validation": 3, "test": 2}
    assert images.index[0] == "train:000000"
    assert images.loc["dev:000002", "path"] == f"{tmp_path}/dev_{kind}.npy#{2 * repeat}"
    texts = records.captions[records.captions["image_id"] == "dev:000002"]["text"].tolist()
    assert texts == captions("dev", 3)[10:]
    assert reasons(records) == []


def test_counts_that_fit_neither_way_name_both_and_what_is_expected(cfg, tmp_path):
    np.save(tmp_path / "dev_ims.npy", regions(4))
    with pytest.raises(InputError) as raised:
        read_precomputed(cfg)
    for word in (
        "dev_caps.txt: 15 lines",
        "dev_ims.npy has 4 rows",
        "20 lines for a row per image",
        "captions_per_image",
    ):
        assert word in str(raised.value)


def test_rows_of_one_image_that_differ_are_named(tmp_path):
    cfg = write_folder(tmp_path, repeat=5)
    rows = np.load(tmp_path / "dev_ims.npy")
    rows[13, 2, 1] += 1
    np.save(tmp_path / "dev_ims.npy", rows)
    with pytest.raises(InputError, match=r"dev_ims\.npy: rows 10 and 13 differ.*dev:000002.*captions_per_image: 1"):
        read_precomputed(cfg)


def test_every_window_of_a_file_is_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(npy_rows, "WINDOW_BYTES", 1)  # one image at a time
    cfg = write_folder(tmp_path, repeat=5)
    assert len(read(cfg).images) == sum(COUNTS.values())
    rows = np.load(tmp_path / "test_ims.npy")
    rows[-1] *= 2
    np.save(tmp_path / "test_ims.npy", rows)
    with pytest.raises(InputError, match="rows 5 and 9 differ"):
        read_precomputed(cfg)


def test_one_caption_per_image(tmp_path):
    np.save(tmp_path / "all_ims.npy", regions(10))
    (tmp_path / "all_caps.txt").write_text("\n".join(captions("all", 10, 1)))
    cfg = {"root": str(tmp_path), "splits": {"train": None, "validation": None, "test": "all"}, "captions_per_image": 1}
    assert len(read(cfg).images) == 10
    with pytest.raises(InputError, match="captions_per_image: 1"):
        read_precomputed(cfg | {"captions_per_image": 5})


def test_ends_of_lines_blank_lines_and_odd_marks_leave_every_caption_in_its_place(cfg, tmp_path):
    lines = captions("dev", 3)
    lines[7] = "A line\x0bthat Python\u2028would cut."
    lines[4] = "  "
    path = tmp_path / "dev_caps.txt"
    path.write_bytes("\r\n".join([*lines, "", ""]).encode() + b"\r\n")
    records = read(cfg)
    texts = records.captions.set_index("caption_id")["text"]
    assert texts["dev:000001#2"] == "A line that Python would cut."
    assert texts["dev:000002#4"] == lines[14]
    assert reasons(records) == ["caption_empty"]
    assert records.report["row"].tolist() == ["dev_caps.txt:5"]


def test_blank_last_captions_count_where_the_array_needs_them(cfg, tmp_path):
    lines = captions("test", 2)
    (tmp_path / "test_caps.txt").write_text("\n".join([*lines[:8], "", "", "", ""]))
    records = read(cfg)
    assert reasons(records) == ["caption_empty"] * 2
    assert (records.captions["image_id"] == "test:000001").sum() == 3


def test_bytes_that_are_no_utf8_are_noted(cfg, tmp_path):
    text = (tmp_path / "dev_caps.txt").read_bytes().replace(b"Caption 3", b"Caf\xe9 3")
    (tmp_path / "dev_caps.txt").write_bytes(text)
    records = read(cfg)
    assert reasons(records) == ["caption_invalid_utf8"]
    assert "Caf\ufffd 3 of dev." in set(records.captions["text"])


@pytest.mark.parametrize("times", [1, 5])
def test_ids_of_images(cfg, tmp_path, times):
    (tmp_path / "dev_ids.txt").write_text("".join(f"{i}\n" * times for i in (391895, 522418, 184613)))
    ids = read(cfg).images["image_id"].tolist()
    assert [i for i in ids if i.startswith("dev")] == ["dev:391895", "dev:522418", "dev:184613"]
    assert ids[0] == "train:000000"


def test_ids_of_captions_are_told_and_not_used(cfg, tmp_path):
    (tmp_path / "dev_ids.txt").write_text("".join(f"{i}\n" for i in range(15)))
    records = read(cfg)
    assert reasons(records) == ["id_of_caption"]
    assert "dev:000002" in set(records.images["image_id"])


@pytest.mark.parametrize(
    ("text", "words"),
    [("1\n2\n", "2 ids for 3 images"), ("1\n2\n1\n", "the id '1' stands 2 times"), ("1\n\n2\n", "line 2 is blank")],
)
def test_ids_that_do_not_fit(cfg, tmp_path, text, words):
    (tmp_path / "dev_ids.txt").write_text(text)
    with pytest.raises(InputError, match=words):
        read_precomputed(cfg)


def test_images_without_usable_regions_are_dropped_and_listed(cfg, tmp_path):
    rows = regions(6)
    rows[1], rows[3, 0, 0], rows[4, 1, 2] = 0, np.nan, 1e6
    np.save(tmp_path / "train_ims.npy", rows)
    records = read(cfg)
    assert {"train:000001", "train:000003", "train:000004"} & set(records.images["image_id"]) == set()
    dropped = records.report[records.report["reason"].str.startswith("image_regions")]
    assert dropped["reason"].tolist() == ["image_regions_zero", *["image_regions_not_finite"] * 2]
    assert "train_ims.npy#1: all zero" in dropped["detail"].iloc[0]
    assert "| image_regions_not_finite | 2 |" in report_text(records)


def test_the_same_sentence_does_not_make_the_same_content(cfg, tmp_path):
    (tmp_path / "dev_caps.txt").write_text("A dog runs.\n" * 15)
    records = read(cfg)
    assert records.images["group"].nunique() == len(records.images)
    assert reasons(records) == ["caption_repeated"] * 12


def test_a_limit_and_excluded_captions(cfg):
    records = read(cfg | {"limit": 2, "drop_captions": ["Caption 0 of dev."]})
    assert records.images["split"].value_counts().to_dict() == {"train": 2, "validation": 2, "test": 2}
    assert sorted(reasons(records)) == ["caption_excluded", "over_limit", "over_limit"]


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (regions(3).astype(np.int32), "array of int32.*astype"),
        (regions(3)[:, 0], r"one vector per image.*array\[:, None\]"),
        (regions(3)[None], r"regions are \[images, regions, width\]"),
        (np.asfortranarray(regions(3)), "Fortran"),
        (regions(3, width=7), "width 7, but .*train_ims.npy has 5"),
    ],
)
def test_arrays_of_another_kind(cfg, tmp_path, array, words):
    np.save(tmp_path / "dev_ims.npy", array)
    with pytest.raises(InputError, match=words) as raised:
        read_precomputed(cfg)
    assert "dev_ims.npy" in str(raised.value)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_any_float_will_do(cfg, tmp_path, dtype):
    np.save(tmp_path / "dev_ims.npy", regions(3).astype(dtype))
    assert len(read(cfg).images) == 11


@pytest.mark.parametrize(
    ("kept", "words"), [(-1, "cut short: 367 bytes of 368"), (100, "no .npy file"), (0, "no .npy file")]
)
def test_a_file_that_is_cut_short(cfg, tmp_path, kept, words):
    path = tmp_path / "dev_ims.npy"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=words):
        read_precomputed(cfg)


def test_files_that_are_not_there_or_there_twice(cfg, tmp_path):
    np.save(tmp_path / "dev_feat.npy", regions(3, seed=1))
    with pytest.raises(InputError, match=r"dev_ims\.npy and .*dev_feat\.npy: both are there"):
        read_precomputed(cfg)
    (tmp_path / "dev_feat.npy").unlink()
    (tmp_path / "dev_feat.npy").symlink_to("dev_ims.npy")  # renamed for IMRAM
    assert len(read(cfg).images) == 11
    (tmp_path / "dev_caps.txt").unlink()
    with pytest.raises(InputError, match=r"dev_caps\.txt: no such file"):
        read_precomputed(cfg)
    with pytest.raises(InputError, match=r"no testall_ims\.npy or testall_feat\.npy for the split test"):
        read_precomputed(cfg | {"splits": SPLITS | {"validation": None, "test": "testall"}})
    with pytest.raises(InputError, match="no such folder"):
        read_precomputed(cfg | {"root": str(tmp_path / "none")})


def test_all_files_there_are_named(cfg, tmp_path):
    (tmp_path / "dev_ids.txt").write_text("1\n2\n3\n")
    names = [Path(file).name for file in files_of(cfg)]
    assert names == [
        "train_ims.npy", "train_caps.txt", "dev_ims.npy", "dev_caps.txt", "dev_ids.txt",
        "test_ims.npy", "test_caps.txt",
    ]  # fmt: skip


def test_a_place_is_a_row_or_a_picture():
    place = place_of(Path("some/folder#1/dev_ims.npy"), 12)
    assert row_at(place) == (Path("some/folder#1/dev_ims.npy"), 12)
    assert row_at("patches/a.npy#1.png") is None
    assert row_at("patches/1.png") is None


def test_memory_does_not_grow_with_the_file(tmp_path):
    """Mapped pages count as a process's memory as long as they are mapped: a window's worth, not the file's."""
    path = tmp_path / "large.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (2000, 36, 2048))  # 590 MB of nothing
    script = (
        "import resource, sys; from pathlib import Path; from lile.data.npy_rows import open_regions\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "array = open_regions(Path(sys.argv[1])); next(array.windows(1)).rows.max(); before = used()\n"
        "assert sum(len(window.rows) for window in array.windows(2000) if window.rows.max() == 0) == 2000\n"
        "print(used() - before)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2 * (npy_rows.WINDOW_BYTES >> 20) + 16
