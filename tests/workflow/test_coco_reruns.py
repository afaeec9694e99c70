"""COCO's archives: which edit fetches, unpacks or reads them again. The rules behind are in test_rerun_matrix.py."""

from __future__ import annotations

import pytest
import yaml

TARGETS = ["results/photos/data/images.csv"]
CONFIGS = ["--configfile", "photos.yaml", "edit.yaml"]
PHOTOS = {"kind": "coco", "encoders": {"image": "tiny_vit", "text": "tiny_roberta"}}

READ = {"read_coco photos"}
UNPACK = READ | {"unpack_archive photos"}
DOWNLOAD = UNPACK | {"download_archive photos"}

CODE = {
    "src/lile/data/coco.py": READ,
    "src/lile/data/limit.py": READ,
    "src/lile/data/assemble.py": READ,
    "src/lile/data/unpack.py": UNPACK,
    "src/lile/data/fetch.py": DOWNLOAD,
    "src/lile/data/archives.py": DOWNLOAD,
    "src/lile/data/arch.py": set(),
    "src/lile/data/pairs.py": set(),
    "workflow/scripts/read_coco.py": READ,
}
CONFIG = {
    "captions_per_image": (4, READ),
    "images": (None, set()),
    "limit": (9, READ),
    "verify": ("header", READ),
    "archives": ({"split": {"url": "https://example.org/split.zip"}}, DOWNLOAD),
    "keep_archives": (True, set()),
}


@pytest.fixture(scope="module")
def finished(project):
    """The project after the records of a COCO were read."""
    (project.root / "photos.yaml").write_text(yaml.safe_dump({"datasets": {"photos": PHOTOS}}))
    (project.root / "edit.yaml").write_text("{}\n")
    project.finish(TARGETS, *CONFIGS)
    return project


def test_after_a_run_there_is_nothing_to_do(finished):
    assert finished.plan(TARGETS, *CONFIGS) == set()


@pytest.mark.parametrize("name", sorted(CODE))
def test_edited_code(finished, name):
    with finished.edited(name, "", "\nEDITED = True\n"):
        assert finished.plan(TARGETS, *CONFIGS) == CODE[name]


@pytest.mark.parametrize("key", sorted(CONFIG))
def test_an_edited_key(finished, key):
    value, expected = CONFIG[key]
    with finished.edited("edit.yaml", "{}\n", yaml.safe_dump({"datasets": {"photos": {key: value}}})):
        assert finished.plan(TARGETS, *CONFIGS) == expected


def test_one_archive_of_four(finished):
    edit = {"datasets": {"photos": {"archives": {"split": {"url": "https://example.org/split.zip"}}}}}
    with finished.edited("edit.yaml", "{}\n", yaml.safe_dump(edit)):
        jobs = finished.jobs(TARGETS, *CONFIGS)
    assert [rule for rule, _ in jobs] == ["download_archive", "read_coco", "unpack_archive"]
    assert all("archive=split" in body for rule, body in jobs if rule != "read_coco")
