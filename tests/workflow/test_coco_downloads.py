"""COCO's way from four zip files on a server to records: fetched, unpacked, read; the archives gone, nothing to do."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from karpathy import entries, write_coco

ROOT = Path(__file__).resolve().parents[2]
ARCHIVES = ("train2014", "val2014", "annotations", "split")
IMAGES = "results/photos/data/images.csv"


class Site(ThreadingHTTPServer):
    """A server of a folder that remembers what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        site = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path.strip("/"))
                super().do_GET()

            def log_message(self, *args: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A server of COCO's four archives, laid out as published."""
    source, folder = tmp_path / "source", tmp_path / "site"
    write_coco(source)
    folder.mkdir()
    for name in ("train2014", "val2014"):
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as file:
            for path in sorted((source / name).iterdir()):
                file.write(path, f"{name}/{path.name}")
    with zipfile.ZipFile(folder / "annotations.zip", "w") as file:
        for path in sorted((source / "annotations").iterdir()):
            file.write(path, f"annotations/{path.name}")
        file.writestr("annotations/instances_train2014.json", "{}")
    with zipfile.ZipFile(folder / "split.zip", "w") as file:
        file.write(source / "dataset_coco.json", "dataset_coco.json")
        file.writestr("dataset_flickr8k.json", "{}")
    server = Site(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def work(site: Site, tmp_path: Path) -> Path:
    """A working folder with a config that fetches from the server; the check of weights and disk has passed."""
    archives = {name: {"url": f"http://127.0.0.1:{site.server_port}/{name}.zip"} for name in ARCHIVES}
    block = {"kind": "coco", "archives": archives, "encoders": {"image": "tiny_vit", "text": "tiny_roberta"}}
    (tmp_path / "work" / "results" / "photos").mkdir(parents=True)
    (tmp_path / "work" / "results" / "photos" / "check.txt").write_text("")
    (tmp_path / "work" / "photos.yaml").write_text(yaml.safe_dump({"datasets": {"photos": block}}))
    return tmp_path / "work"


def snakemake(work: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(work)]
    command += ["--cores", "2", "--configfile", str(work / "photos.yaml"), *words, "--", IMAGES]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_from_the_site_to_records_and_never_again(site, work):
    done = snakemake(work)
    assert done.returncode == 0, done.stderr[-5000:]
    assert Counter(site.asked) == {f"{name}.zip": 1 for name in ARCHIVES}
    images = read(work / IMAGES)
    assert [row["image_id"] for row in images] == [f"coco:{image['cocoid']}" for image in entries()]
    assert {row["path"] for row in images} == {
        f"resources/photos/{image['filepath']}/{image['filename']}" for image in entries()
    }
    reasons = {row["reason"] for row in read(work / "results/photos/data/report.csv")}
    assert reasons == {"split_unlike_published"}, "eighteen images are not 123,287"

    below = work / "resources" / "photos"
    assert not list(below.glob("*.zip")), "nothing lies there twice"
    assert sorted(path.name for path in (below / "annotations").glob("*.json")) == [
        ".unpacked.json", "captions_train2014.json", "captions_val2014.json",
    ]  # fmt: skip
    assert "Nothing to be done" in snakemake(work, "--dry-run").stderr + snakemake(work, "--dry-run").stdout

    # As after a change of the code of both rules: they run again, and nothing is fetched or unpacked.
    stamps = {path: path.stat().st_mtime_ns for path in (below / "train2014").iterdir()}
    again = snakemake(work, "--forcerun", "download_archive", "unpack_archive")
    assert again.returncode == 0, again.stderr[-5000:]
    assert again.stderr.count("rule download_archive:") == again.stderr.count("rule unpack_archive:") == 4
    assert len(site.asked) == 4
    assert stamps == {path: path.stat().st_mtime_ns for path in (below / "train2014").iterdir()}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_archive_cut_short_on_the_site_and_mended(site, work):
    whole = (site.folder / "val2014.zip").read_bytes()
    (site.folder / "val2014.zip").write_bytes(whole[: len(whole) // 2])
    done = snakemake(work)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "resources/photos/val2014.zip: cannot be unpacked" in said
    assert "Delete every file here whose name begins with val2014." in said
    below = work / "resources" / "photos"
    assert not (below / "val2014").exists()

    (site.folder / "val2014.zip").write_bytes(whole)
    for path in below.glob("val2014.*"):
        path.unlink()
    mended = snakemake(work)
    assert mended.returncode == 0, mended.stderr[-5000:]
    assert len(read(work / IMAGES)) == len(entries())
    assert json.loads((below / "val2014.unpacked").read_text())["files"] == 13
