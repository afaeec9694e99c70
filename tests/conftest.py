"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real test data; skips where it is absent."""
    folder = Path(os.environ.get("LILE_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "README.md").is_file():
        pytest.skip(f"no test data in {folder}: set LILE_TEST_DATA")
    return folder.resolve()
