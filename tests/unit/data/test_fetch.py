"""An archive by the rule's script, and one that is fetched no more once it is unpacked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bad_server import BODY, DIGEST, OTHER, Site, Target

from lile.data.archives import MARKER
from lile.data.fetch import fetch_archive
from lile.errors import InputError
from lile.files import write_json


def scripted(site: Site, target: Target, project_root: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the rule's script, which is to write what it knows of the archive."""
    script = str(project_root / "workflow/scripts/download_archive.py")
    config = json.dumps({"archive": "books_set", "url": site.url, "size": None, "sha256": None})
    call = [sys.executable, script, "--config-json", config, "--zip", str(target.path), "--folder", str(folder)]
    call += ["--record", str(target.path.with_suffix(".json"))]
    return subprocess.run(call, check=False, capture_output=True, text=True)


def test_the_script(site: Site, target: Target, project_root: Path, tmp_path: Path):
    """As the rule calls it: Snakemake deletes declared outputs before a rerun, the first record must outlive that."""
    declared = target.path.with_suffix(".json")
    assert scripted(site, target, project_root, tmp_path / "books_set").returncode == 0
    assert json.loads(declared.read_text())["sha256"] == DIGEST
    target.path.unlink()
    declared.unlink()
    site.body = OTHER
    again = scripted(site, target, project_root, tmp_path / "books_set")
    assert again.returncode == 1
    assert "to accept the new file" in again.stderr
    assert "Traceback" not in again.stderr
    assert not target.path.exists()
    assert not declared.exists()


def test_what_is_unpacked_is_not_fetched_again(site: Site, target: Target, tmp_path: Path):
    def fetch(**known: object) -> dict:
        return fetch_archive(site.url, target.path, folder, **{"size": None, "sha256": None, **known})

    folder = tmp_path / "books_set"
    facts = fetch()
    target.path.unlink()
    write_json(folder / MARKER, {"archive": "books_set.zip", "files": 4, **facts})
    asked = len(site.asked)
    assert fetch() == facts
    assert fetch(sha256=DIGEST, size=len(BODY)) == facts
    assert (len(site.asked), target.path.exists()) == (asked, False)
    with pytest.raises(InputError):
        fetch(sha256="0" * 64)
    assert len(site.asked) > asked, "another archive is wanted than the one unpacked"
    (tmp_path / "books_set" / MARKER).write_text("cut sho")
    assert fetch() == facts
    assert target.path.exists()
