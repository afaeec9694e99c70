"""The archive: any number of items, in any order, by any number of workers; resumed, never half."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lile.data.records import check_records, read_captions, read_images
from lile.data.synthetic import archive
from lile.data.synthetic.archive import items, write_archive
from lile.errors import InputError

SIZE = 32


def images_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of 120 small items, drawn in this process."""
    folder = tmp_path_factory.mktemp("archive")
    write_archive(folder, seed=0, count=120, size_px=SIZE)
    return folder


def test_items_stream_lazily():
    started = time.perf_counter()
    first = list(islice(items(0, 1_000_000, 96), 40))
    assert time.perf_counter() - started < 2
    assert [item.image_id for item in first] == [f"demo:{index:06d}" for index in range(40)]
    assert first[39].file == "000/000039.png"
    assert first[0].pixels().shape == (96, 96, 3)


def test_an_item_does_not_depend_on_the_count():
    short, long = list(items(7, 115, SIZE)), list(islice(items(7, 1_000_000, SIZE), 115))
    assert short == long
    assert list(items(8, 115, SIZE)) != short


def test_about_a_sixth_of_the_images_shares_its_caption():
    every = list(items(2, 4000, SIZE))
    assert [item.image_id for item in every] == [f"demo:{index:06d}" for index in range(4000)]
    sizes = Counter(item.group for item in every)
    assert set(sizes.values()) == {1, 2, 3}
    shared = [item for item in every if sizes[item.group] > 1]
    assert 0.15 <= len(shared) / len(every) <= 0.20
    captions: dict[str, set[str]] = {}
    for item in every:
        captions.setdefault(item.group, set()).add(item.caption)
    assert all(len(texts) == 1 for texts in captions.values())
    assert len(Counter(next(iter(texts)) for texts in captions.values())) > 0.93 * len(captions)
    one, two = shared[0].pixels(), shared[1].pixels()
    assert (one != two).mean() > 0.5, "sub-figures are other pictures"


@pytest.mark.parametrize("count", [99, 0, -1, 1_000_001, 800.0, "800", True, None])
def test_absurd_counts_are_refused_at_once(count: object, tmp_path: Path):
    with pytest.raises(InputError, match=r"items is .* from 100 to 1,000,000"):
        items(0, count, 96)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="items is"):
        write_archive(tmp_path / "images", 0, count, 96)  # type: ignore[arg-type]
    assert not (tmp_path / "images").exists()


def test_other_absurd_arguments_are_refused_at_once():
    with pytest.raises(InputError, match="size_px"):
        items(0, 100, 5)
    with pytest.raises(InputError, match="seed"):
        items(-1, 100, 96)


def test_records_keep_the_contract(made: Path):
    records = write_archive(made, seed=0, count=120, size_px=SIZE, name="mine")
    check_records(records)
    assert len(records.images) == len(records.captions) == 120
    assert records.report.empty
    assert records.images["image_id"].iloc[5] == "mine:000005"
    assert set(records.images["split"]) == {""}
    for path, item in zip(records.images["path"], items(0, 120, SIZE), strict=True):
        with Image.open(path) as image:
            assert image.mode == "RGB"
            assert (np.asarray(image) == item.pixels()).all()


def test_workers_change_no_byte(made: Path, tmp_path: Path):
    write_archive(tmp_path / "images", seed=0, count=120, size_px=SIZE, workers=2)
    assert images_of(tmp_path / "images") == images_of(made)


def test_a_stopped_run_goes_on_where_it_was(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    drawn: list[Path] = []
    save = archive._save

    def save_some(pixels: np.ndarray, path: Path) -> None:
        if len(drawn) == 50:
            raise OSError(28, "No space left on device", str(path))
        save(pixels, path)
        drawn.append(path)

    monkeypatch.setattr(archive, "_save", save_some)
    with pytest.raises(OSError, match="No space left"):
        write_archive(tmp_path, seed=0, count=120, size_px=SIZE)
    drawn[7].write_bytes(drawn[7].read_bytes()[:100])  # cut short, as by a power cut
    drawn[8].write_bytes(b"")
    kept = drawn[9].stat().st_mtime_ns
    monkeypatch.setattr(archive, "_save", save)
    write_archive(tmp_path, seed=0, count=120, size_px=SIZE)
    assert images_of(tmp_path) == images_of(made)
    assert drawn[9].stat().st_mtime_ns == kept


def test_a_full_disk_leaves_no_half_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(self: Image.Image, path: Path, **_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match=r"cannot write the image: No space left.*000000\.png"):
        write_archive(tmp_path, seed=0, count=100, size_px=SIZE)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["about.json"]


def test_another_seed_or_size_draws_all_again(tmp_path: Path):
    write_archive(tmp_path, seed=0, count=100, size_px=SIZE)
    before = images_of(tmp_path)
    write_archive(tmp_path, seed=1, count=100, size_px=SIZE)
    after = images_of(tmp_path)
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path):
    (tmp_path / "holiday.png").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"holiday\.png"):
        write_archive(tmp_path, seed=0, count=100, size_px=SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.png"]


def test_the_script_writes_tables_and_images(project_root: Path, tmp_path: Path):
    config = {"dataset": "demo", "seed": 0, "items": 100, "size_px": SIZE, "verify": "decode"}
    command = [sys.executable, str(project_root / "workflow" / "scripts" / "read_synthetic.py")]
    command += ["--config-json", json.dumps(config), "--out-dir", "out/data", "--threads", "1", "--log", "x.log"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    images, captions = (
        read_images(tmp_path / "out/data/images.csv"),
        read_captions(tmp_path / "out/data/captions.csv"),
    )
    assert len(images) == len(captions) == 100
    assert images["path"].iloc[0] == "out/data/images/000/000000.png"
    config["items"] = 5
    command[3] = json.dumps(config)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "items is 5" in done.stderr
    assert "Traceback" not in done.stderr
