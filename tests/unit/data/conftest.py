"""A server that behaves as badly as servers do, and a download from it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_server import Site, Target, serving


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture
def target(tmp_path: Path, site: Site) -> Target:
    return Target(tmp_path, site)
