"""Finished blocks of a score matrix on disk, each a file of its own until the ranks are known.

Shapes: R images and C texts of one block.
"""

from __future__ import annotations

import logging
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from lile.evaluation.grid import Block, Grid
from lile.files import replacing

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BlockStore:
    """Finished blocks on disk.

    Args:
        folder: is made where missing. Its name stands for what the scores are made from: a block of another name is
            another evaluation's.
        grid: the blocks.
        archives: files written by :meth:`pack`, looked into where ``folder`` lacks a block.
    """

    folder: Path
    grid: Grid
    archives: Sequence[Path] = ()

    def holds(self, block: Block) -> bool:
        """Whether the block is there, of the right shape and finite. A damaged one counts as not there."""
        try:
            scores_RC = self.read(block)
        except FileNotFoundError:
            return False
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            log.warning("%s in %s is damaged (%s): it is computed again", block.name, self.folder, error)
            return False
        fits = scores_RC.shape == block.shape and scores_RC.dtype == np.float32
        return fits and bool(np.isfinite(scores_RC).all())

    def read(self, block: Block) -> np.ndarray:
        """Return the block's scores, float32 [R, C]. Raises ``FileNotFoundError`` where it is not there."""
        path = self.folder / block.name
        archive = None if path.is_file() else self._packed.get(f"{self.folder.name}/{block.name}")
        if archive is None:
            return np.load(path, allow_pickle=False)
        with zipfile.ZipFile(archive) as file, file.open(f"{self.folder.name}/{block.name}") as handle:
            return np.lib.format.read_array(handle, allow_pickle=False)

    def write(self, block: Block, scores_RC: np.ndarray) -> None:
        """Keep a finished block, atomically. Raises ``OSError`` and leaves no half file."""
        with replacing(self.folder / block.name) as part, part.open("wb") as handle:
            np.save(handle, np.ascontiguousarray(scores_RC, dtype=np.float32))

    def pack(self, path: Path, blocks: Sequence[Block]) -> None:
        """Write these blocks as one file, atomically: a zip of their files, streamed."""
        with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as file:
            for block in blocks:
                file.write(self.folder / block.name, f"{self.folder.name}/{block.name}")

    def remove(self) -> None:
        """Remove the folder, with what a killed process may have left half written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @cached_property
    def _packed(self) -> dict[str, Path]:
        """Which archive holds which member."""
        found: dict[str, Path] = {}
        for path in self.archives:
            try:
                with zipfile.ZipFile(path) as file:
                    found |= dict.fromkeys(file.namelist(), path)
            except (OSError, zipfile.BadZipFile) as error:
                log.warning("%s holds no score blocks (%s): they are computed again", path, error)
        return found
