"""Scores of a few test images against each other's texts, kept for a picture such as the paper's Figure 2.

Shapes: N images, U unique texts (score columns), B images of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from lile.evaluation.grid import Matrix, Scores

BATCH = 32


def diagonal_batch(
    scores: np.ndarray | Scores,
    image_ids: Sequence[str],
    text_ids: Sequence[str],
    image_groups: Sequence[str],
    descriptions: pd.DataFrame,
    size: int = BATCH,
) -> dict[str, np.ndarray]:
    """Return the scores of the first images against their own first texts: only the diagonal is right.

    Images that share a group or a text with one before them are passed over, for off the diagonal they would be right,
    too. Every model scored on the same test part gets the same batch.

    Args:
        scores: of N images and U unique texts: a matrix [N, U], or blocks of one.
        image_ids: of the rows.
        text_ids: of the columns.
        image_groups: group of each image, [N].
        descriptions: ``image_id, text_id`` of these images' descriptions, the first ones first.
        size: B at most.

    Returns:
        ``batch_scores`` float32 [B, B] and ``batch_image_ids`` [B].
    """
    first = descriptions.drop_duplicates("image_id").set_index("image_id").loc[list(image_ids)].reset_index()
    repeats = first["text_id"].duplicated() | pd.Series(list(image_groups)).duplicated()
    chosen = first[~repeats][:size]
    column_of = {text_id: column for column, text_id in enumerate(text_ids)}
    columns_B = np.array([column_of[text_id] for text_id in chosen["text_id"]])
    blocks = Matrix(scores) if isinstance(scores, np.ndarray) else scores
    return {
        "batch_scores": _picked(blocks, chosen.index.to_numpy(), columns_B),
        "batch_image_ids": np.asarray(chosen["image_id"].tolist(), dtype=np.str_),
    }


def _picked(scores: Scores, rows_B: np.ndarray, columns_B: np.ndarray) -> np.ndarray:
    """Return the scores at all pairs of rows and columns, [B, B]; reads each block that holds one once."""
    picked_BB = np.empty((len(rows_B), len(columns_B)), dtype=np.float32)
    for block in scores.grid:
        i = np.flatnonzero((rows_B >= block.rows.start) & (rows_B < block.rows.stop))
        j = np.flatnonzero((columns_B >= block.columns.start) & (columns_B < block.columns.stop))
        if len(i) and len(j):
            inside = np.ix_(rows_B[i] - block.rows.start, columns_B[j] - block.columns.start)
            picked_BB[np.ix_(i, j)] = scores.read(block)[inside]
    return picked_BB
