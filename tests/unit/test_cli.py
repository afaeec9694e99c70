"""What a person types answers at once, and says what is wrong in one line."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from lile.cli import app

HEAVY = ("torch", "timm", "transformers", "mlflow", "pandas", "snakemake", "h5py")


@pytest.fixture
def lile():
    """A function that runs a command in this process."""
    return lambda *words: CliRunner().invoke(app, list(words), catch_exceptions=False)


@pytest.fixture
def own_config(tmp_path):
    """A config of one's own: drawn images, encoders with random weights, no table."""
    for name in ("vit", "roberta"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "roberta" / "tokenizer.json").write_text("{}")
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"""
datasets:
  mine: {{kind: synthetic, items: 200, encoders: {{image: my_vit, text: my_roberta}}}}
encoders:
  my_vit: {{modality: image, library: timm, weights: random, config: {tmp_path}/vit}}
  my_roberta: {{modality: text, library: transformers, weights: random, config: {tmp_path}/roberta}}
"""
    )
    return path


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom lile.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit: pass\n"
        f"print('heavy:', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "check" in done.stdout
    assert "heavy: []" in done.stdout


def test_version_names_the_packages(lile):
    done = lile("version")
    assert done.exit_code == 0
    assert {"python", "torch", "lile"} <= {line.split()[0] for line in done.stdout.splitlines()}


def test_check_speaks_of_the_datasets_in_the_file_only(lile, own_config):
    done = lile("check", str(own_config))
    assert done.exit_code == 0, done.output
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[0] == "this machine"
    assert "mine" in lines
    assert "arch" not in lines
    assert "PASS data: 200 synthetic images will be drawn" in lines
    assert any(line.startswith("WARN image encoder my_vit: random weights") for line in lines)


def test_a_failing_check_leaves_with_status_1(lile, own_config):
    (own_config.parent / "vit" / "config.json").unlink()
    done = lile("check", str(own_config), "--dataset", "mine")
    assert done.exit_code == 1
    assert "FAIL image encoder my_vit: config.json missing" in done.stdout
    assert "1 failed" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "no-such-file.yaml"], "no-such-file.yaml"),
        (["check", "{config}", "--dataset", "mien"], "no dataset 'mien' in the config; try mine"),
    ],
)
def test_a_users_mistake_is_one_line(lile, own_config, words, said):
    done = lile(*(word.format(config=own_config) for word in words))
    assert done.exit_code == 1
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_misspelt_key_is_named(lile, own_config):
    own_config.write_text(own_config.read_text().replace("items:", "itmes:"))
    done = lile("check", str(own_config))
    assert done.exit_code == 1
    assert "itmes" in done.stderr
    assert "Traceback" not in done.stderr
