"""ARCH's whole way for real: both zip files from a server, the published caption files, five folds, Table 2.

Only what cannot be had here is made up: the images (generated, under the real names) and the encoders' weights (tiny,
in the hubs' own file layouts). Everything between is the shipped config and the real rules.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.data]
ROOT = Path(__file__).resolve().parents[2]
WITHOUT_IMAGE = 35  # book rows whose image the release lacks; which ones is not published
VIT = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 3, "num_heads": 3, "num_classes": 0}


def pictures(count: int = 64) -> list[dict[str, bytes]]:
    """Encoded pictures of noise: what is in them does not matter here."""
    from PIL import Image

    random, found = np.random.default_rng(0), []
    for _ in range(count):
        image = Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        files = {}
        for kind in ("png", "jpeg"):
            image.save(buffer := io.BytesIO(), kind)
            files[kind] = buffer.getvalue()
        found.append(files)
    return found


def write_zip(captions: Path, archive: Path, kept: int | None, kind: str, suffix: str) -> None:
    """A set as published: captions.json and images/<uuid>.<suffix>, in a folder of the set's name."""
    rows, drawn = list(json.loads(captions.read_text()).values()), pictures()
    with zipfile.ZipFile(archive, "w") as file:
        file.write(captions, f"{archive.stem}/captions.json")
        for number, row in enumerate(rows[:kept]):
            file.writestr(f"{archive.stem}/images/{row['uuid']}.{suffix}", drawn[number % len(drawn)][kind])


@pytest.fixture
def site(test_data, tmp_path):
    """The address of a server that holds both archives."""
    folder = tmp_path / "site"
    folder.mkdir()
    source = test_data / "arch_captions"
    write_zip(source / "books_set/captions.json", folder / "books_set.zip", -WITHOUT_IMAGE, "png", "png")
    write_zip(source / "pubmed_set/captions.json", folder / "pubmed_set.zip", None, "jpeg", "jpg")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def encoders(tmp_path) -> dict[str, Path]:
    """A tiny DeiT and a tiny RoBERTa as their hubs lay them out."""
    import timm
    from safetensors.torch import save_file
    from transformers import RobertaConfig, RobertaModel

    deit, roberta, shipped = tmp_path / "deit", tmp_path / "roberta", ROOT / "config" / "encoders" / "tiny_roberta"
    deit.mkdir()
    model = timm.create_model("deit_tiny_patch16_224", pretrained=False, **VIT)
    save_file(model.state_dict(), deit / "model.safetensors")
    pretrained = {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    config = {"architecture": "deit_tiny_patch16_224", "model_args": VIT, "pretrained_cfg": pretrained}
    (deit / "config.json").write_text(json.dumps({**config, "num_classes": 0}))
    small = RobertaConfig.from_pretrained(shipped, hidden_size=24, intermediate_size=32, num_attention_heads=2)
    RobertaModel(small, add_pooling_layer=False).save_pretrained(roberta)
    for file in shipped.glob("token*"):
        shutil.copy(file, roberta)
    return {"image": deit, "text": roberta}


def overlay(site: str, encoders: dict[str, Path]) -> dict:
    """What a user would write to take the tables of ARCH from elsewhere with small encoders."""
    archives = {name: {"url": f"{site}/{name}.zip"} for name in ("books_set", "pubmed_set")}
    return {
        "datasets": {"arch": {"archives": archives, "encoders": {"image": "small_deit", "text": "small_roberta"}}},
        "encoders": {
            "small_deit": {"modality": "image", "weights": str(encoders["image"]), "image_size_px": 32},
            "small_roberta": {"modality": "text", "weights": str(encoders["text"]), "max_tokens": 64},
        },
        "models": {
            "lile_small": {
                "maps": 2,
                "width": 16,
                "steps": 1,
                "training": {"epochs": 1, "learning_rate": 1.0e-3, "validation_images": 100},
            }
        },
        "tables": {"arch": {"models": ["lile_small"]}},
    }


@pytest.mark.timeout(1800)
def test_arch_from_the_site_to_table_2(site, encoders, tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text(json.dumps(overlay(site, encoders)))
    work = tmp_path / "work"
    words = ["--directory", str(work), "--cores", "2", "--configfile", str(config), "--", "results/tables/arch.csv"]
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-5000:]

    report = (work / "results/arch/data/report.md").read_text()
    images = (work / "results/arch/data/images.csv").read_text().splitlines()
    assert len(images) - 1 in range(7575, 7580), report
    reasons = [row["reason"] for row in csv.DictReader((work / "results/arch/data/report.csv").open())]
    assert any("image" in reason for reason in reasons), report

    rows = list(csv.DictReader((work / "results/tables/arch.csv").open()))
    published = {row["row"] for row in rows if row["source"] == "published"}
    assert "LILE" in published
    ours = [row for row in rows if row["row"] == "lile_small" and row["metric"] == "R10"]
    assert {(row["protocol"], row["direction"]) for row in ours} == {
        (protocol, way) for protocol in ("own", "group") for way in ("i2t", "t2i")
    }
    assert {row["folds"] for row in ours} == {"5"}
    receipt = json.loads((work / "results/arch/lile_small/mlflow.json").read_text())
    assert len(receipt["child_run_ids"]) == 5
    again = subprocess.run([*command[:3], "--dry-run", *command[3:]], capture_output=True, text=True, env=environment)
    assert "Nothing to be done" in again.stdout + again.stderr
