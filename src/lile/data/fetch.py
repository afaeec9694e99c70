"""An archive of a dataset, fetched unless what it holds lies unpacked already.

The archive is no declared output of its rule: Snakemake deletes those before it runs a rule again, and a change of a
line of code must not fetch 20 GB a second time.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from lile.data.archives import facts_of, holds
from lile.data.download import download, expected_of

log = logging.getLogger(__name__)


def fetch_archive(url: str, archive: Path, folder: Path, *, size: int | None, sha256: str | None) -> dict[str, Any]:
    """Bring an archive to its place, unless ``folder`` holds what was in it.

    Args:
        url: http or https.
        archive: the zip file. Beside it ``<name>.first.json`` keeps what the first download brought.
        folder: where it is unpacked to.
        size: expected bytes; None takes the recorded size, or any.
        sha256: expected hex digest; None takes the recorded digest, or any.

    Returns:
        ``{"url", "size", "sha256"}``.

    Raises:
        InputError: as :func:`lile.data.download.download`.
        OSError: the folder cannot be written.
    """
    record = archive.with_name(f"{archive.name}.first.json")
    expected = expected_of(size, sha256, record)
    facts = facts_of(folder)
    if facts is not None and expected.sha256 is not None and holds(folder, expected.size, expected.sha256):
        log.info("%s holds what is in %s: nothing to fetch", folder, url)
        return {"url": url, "size": facts["size"], "sha256": facts["sha256"]}
    return download(url, archive, size=size, sha256=sha256, record=record)
