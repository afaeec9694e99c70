"""Archives: all or nothing, and nothing outside the folder."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import zipfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from lile.data import unpack as module
from lile.data.archives import MARKER
from lile.data.unpack import unpack, unpack_archive
from lile.errors import InputError
from lile.files import sha256_of

ARCH = {
    "books_set/": b"",
    "books_set/README.md": b"# Books",
    "books_set/captions.json": b'{"0": {"figure_id": "00", "letter": "A", "caption": "A tumor.", "uuid": "u-1"}}',
    "books_set/images/u-1.png": np.random.default_rng(0).bytes(5_000),
    "books_set/images/u-2.png": np.random.default_rng(1).bytes(3_000),
    "__MACOSX/books_set/._captions.json": b"junk",
    "books_set/.DS_Store": b"junk",
}
KEPT = ["README.md", "captions.json", "images/u-1.png", "images/u-2.png"]


def zip_of(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def files_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != MARKER)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return zip_of(tmp_path / "books_set.zip", ARCH)


@pytest.mark.parametrize("top", ["books_set/", "", "ARCH/books/books_set/", "./books_set/"])
def test_the_layouts_of_arch(tmp_path: Path, top: str):
    members = {f"{top}{name.removeprefix('books_set/')}": data for name, data in ARCH.items() if name != "books_set/"}
    archive, folder = zip_of(tmp_path / "a.zip", members), tmp_path / "arch" / "books_set"
    facts = unpack(archive, folder, root_file="captions.json")
    assert files_in(folder) == KEPT
    for name in KEPT:
        assert (folder / name).read_bytes() == ARCH[f"books_set/{name}"]
    assert facts == json.loads((folder / MARKER).read_text())
    assert (facts["archive"], facts["files"]) == ("a.zip", 4)
    assert os.listdir(folder.parent) == ["books_set"]


def test_as_it_is_without_a_root(archive: Path, tmp_path: Path):
    unpack(archive, tmp_path / "out")
    assert files_in(tmp_path / "out") == [f"books_set/{name}" for name in KEPT]


def test_again_does_nothing(archive: Path, tmp_path: Path):
    first = unpack(archive, tmp_path / "out", root_file="captions.json")
    before = (tmp_path / "out" / "captions.json").stat()
    assert unpack(archive, tmp_path / "out", root_file="captions.json") == first
    after = (tmp_path / "out" / "captions.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_another_archive_replaces(archive: Path, tmp_path: Path):
    unpack(archive, tmp_path / "out", root_file="captions.json")
    zip_of(archive, {"captions.json": b"{}"})
    unpack(archive, tmp_path / "out", root_file="captions.json")
    assert files_in(tmp_path / "out") == ["captions.json"]
    assert sorted(os.listdir(tmp_path)) == ["books_set.zip", "out"]


def test_a_torn_marker_and_leftovers_of_a_killed_run(archive: Path, tmp_path: Path):
    unpack(archive, tmp_path / "out", root_file="captions.json")
    (tmp_path / "out" / MARKER).write_text("{")
    (tmp_path / ".out.part").mkdir()
    (tmp_path / ".out.part" / "old").write_text("x")
    unpack(archive, tmp_path / "out", root_file="captions.json")
    assert files_in(tmp_path / "out") == KEPT
    assert sorted(os.listdir(tmp_path)) == ["books_set.zip", "out"]


def test_an_empty_folder_is_taken_and_a_users_is_not(archive: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    unpack(archive, tmp_path / "empty", root_file="captions.json")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "captions.json").write_text("my own")
    with pytest.raises(InputError, match=r"not unpacked here.*download: false"):
        unpack(archive, tmp_path / "mine", root_file="captions.json")
    assert (tmp_path / "mine" / "captions.json").read_text() == "my own"


def link() -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo("books_set/images/link.png")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info, b"/etc/passwd"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../evil.txt", "outside the folder"),
        ("books_set/../../evil.txt", "outside the folder"),
        ("/tmp/evil.txt", "outside the folder"),
        ("C:/evil.txt", "outside the folder"),
        ("..\\evil.txt", "outside the folder"),
        ("books_set/CAPTIONS.json", "stands twice"),
        (f"books_set/{MARKER}", "stands twice"),
        (link(), "link or device"),
    ],
)
def test_unsafe_members_are_refused(archive: Path, tmp_path: Path, name: object, words: str):
    with zipfile.ZipFile(archive, "a") as opened:
        info, data = name if isinstance(name, tuple) else (name, b"evil")
        opened.writestr(info, data)
    with pytest.raises(InputError, match=f"nothing was unpacked.*{words}"):
        unpack(archive, tmp_path / "deep" / "out", root_file="captions.json")
    assert sorted(os.listdir(tmp_path)) == ["books_set.zip"]
    assert not Path("/tmp/evil.txt").exists()


def test_bombs_are_refused(tmp_path: Path):
    bomb = zip_of(tmp_path / "a.zip", {"captions.json": bytes(120_000_000)})
    with pytest.raises(InputError, match=r"120000000.*zip bomb"):
        unpack(bomb, tmp_path / "out")
    assert os.listdir(tmp_path) == ["a.zip"]


def test_a_size_that_lies(archive: Path, tmp_path: Path):
    """The directory announces 10 bytes, the member holds more: never more than announced is written."""
    data = archive.read_bytes()
    place = data.rindex(b"books_set/captions.json") - 46
    assert data[place : place + 4] == b"PK\x01\x02"
    archive.write_bytes(data[: place + 24] + (10).to_bytes(4, "little") + data[place + 28 :])
    with pytest.raises(InputError, match=r"cannot be unpacked.*download it again"):
        unpack(archive, tmp_path / "out", root_file="captions.json")
    assert os.listdir(tmp_path) == ["books_set.zip"]


def damaged(archive: Path) -> None:
    data = bytearray(archive.read_bytes())
    data[data.index(b"books_set/images/u-1.png") + 500] ^= 0xFF
    archive.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (damaged, "cannot be unpacked"),
        (lambda path: path.write_bytes(path.read_bytes()[:4_000]), "cannot be unpacked"),
        (lambda path: path.write_bytes(b"<html>Not found</html>"), "cannot be unpacked"),
        (lambda path: path.write_bytes(b""), "cannot be unpacked"),
        (lambda path: path.unlink(), "no such file"),
        (lambda path: zip_of(path, {}), "holds no file"),
        (lambda path: zip_of(path, {"pubmed/x.json": b"{}"}), r"holds no captions.json; at its top: \['pubmed'\]"),
    ],
)
def test_damaged_archives(archive: Path, tmp_path: Path, spoil: object, words: str):
    spoil(archive)
    with pytest.raises(InputError, match=words):
        unpack(archive, tmp_path / "out", root_file="captions.json")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / ".out.part").exists()


def test_a_damaged_new_archive_leaves_the_old_folder(archive: Path, tmp_path: Path):
    unpack(archive, tmp_path / "out", root_file="captions.json")
    damaged(archive)
    with pytest.raises(InputError):
        unpack(archive, tmp_path / "out", root_file="captions.json")
    assert files_in(tmp_path / "out") == KEPT


def test_encrypted(archive: Path, tmp_path: Path):
    data = bytearray(archive.read_bytes())
    place = data.rindex(b"books_set/captions.json") - 46
    data[place + 8] |= 1
    archive.write_bytes(bytes(data))
    with pytest.raises(InputError, match="encrypted"):
        unpack(archive, tmp_path / "out")


def test_no_room(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage(10, 5, 5))
    with pytest.raises(InputError, match=r"5 bytes free, \d+ needed"):
        unpack(archive, tmp_path / "out")
    assert os.listdir(tmp_path) == ["books_set.zip"]


def test_a_disk_that_fills_up_leaves_nothing(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        unpack(archive, tmp_path / "out")
    assert os.listdir(tmp_path) == ["books_set.zip"]


def facts_of_archive(archive: Path) -> dict[str, object]:
    return {"size": archive.stat().st_size, "sha256": sha256_of(archive)}


def settle(archive: Path, folder: Path, known: dict, **options: object) -> dict:
    return unpack_archive(
        archive, folder, **known, **{"root_file": "captions.json", "alone": False, "keep": False, **options}
    )


def test_the_archive_goes_once_its_files_are_there(archive: Path, tmp_path: Path):
    known, folder = facts_of_archive(archive), tmp_path / "books_set"
    facts = settle(archive, folder, known)
    assert (files_in(folder), archive.exists()) == (KEPT, False)
    assert settle(archive, folder, known) == facts, "again, without the archive: nothing to do"
    assert files_in(folder) == KEPT


def test_the_archive_stays_where_it_is_to_be_kept(archive: Path, tmp_path: Path):
    settle(archive, tmp_path / "books_set", facts_of_archive(archive), keep=True)
    assert archive.exists()


def test_an_unpacking_killed_midway_loses_nothing(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    known, folder = facts_of_archive(archive), tmp_path / "books_set"
    with monkeypatch.context() as patched:
        patched.setattr(module.shutil, "copyfileobj", killed)
        with pytest.raises(KeyboardInterrupt):
            settle(archive, folder, known)
    assert os.listdir(tmp_path) == ["books_set.zip"]
    settle(archive, folder, known)
    assert files_in(folder) == KEPT


def test_neither_archive_nor_folder(archive: Path, tmp_path: Path):
    known = facts_of_archive(archive)
    archive.unlink()
    with pytest.raises(InputError, match=r"books_set\.zip: gone, and .*books_set\.json to download it again"):
        settle(archive, tmp_path / "books_set", known)


COCO = {
    "annotations/captions_train2014.json": b"{}",
    "annotations/captions_val2014.json": b"{}",
    "annotations/instances_train2014.json": b"outlines",
    "annotations/more/captions_test.json": b"{}",
    "LICENSE": b"text",
}


def test_files_of_a_pattern_alone(tmp_path: Path):
    archive = zip_of(tmp_path / "annotations.zip", COCO)
    unpack(archive, tmp_path / "out", root_file="captions_*.json", alone=True)
    assert files_in(tmp_path / "out") == ["captions_train2014.json", "captions_val2014.json"]


def test_a_pattern_that_nothing_has(tmp_path: Path):
    archive = zip_of(tmp_path / "train2014.zip", COCO)
    with pytest.raises(InputError, match=r"holds no \*\.jpg; at its top: \['LICENSE', 'annotations'\]"):
        unpack(archive, tmp_path / "out", root_file="*.jpg", alone=True)


def test_an_archive_cut_short(archive: Path, tmp_path: Path):
    archive.write_bytes(archive.read_bytes()[:-400])
    known = facts_of_archive(archive)
    with pytest.raises(InputError, match="damaged, or cut short"):
        settle(archive, tmp_path / "books_set", known)
    assert os.listdir(tmp_path) == ["books_set.zip"]


def test_the_script(archive: Path, tmp_path: Path, project_root: Path):
    script = str(project_root / "workflow/scripts/unpack_archive.py")
    folder, record = tmp_path / "arch" / "books_set", tmp_path / "books_set.json"
    record.write_text(json.dumps({"url": "https://example.org/books_set.zip", **facts_of_archive(archive)}))
    marker = tmp_path / "arch" / "books_set.unpacked"
    config = {"archive": "books_set", "root_file": "captions.json", "alone": False}
    call = [sys.executable, script, "--config-json", json.dumps(config), "--zip", str(archive)]
    call += ["--record", str(record), "--folder", str(folder), "--marker", str(marker)]
    subprocess.run([*call, "--keep"], check=True, capture_output=True)
    assert files_in(folder) == KEPT
    assert json.loads(marker.read_text())["files"] == 4
    assert archive.exists()
    subprocess.run(call, check=True, capture_output=True)
    assert not archive.exists()
