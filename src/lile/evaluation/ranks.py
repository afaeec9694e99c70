"""Where the first right item stands in each query's list, without ever sorting a list.

Shapes: N images, U unique texts (score columns), D descriptions, Q queries, G gallery items.

Relevance is many-to-many and comes in two protocols: ``own`` (an image and its own descriptions) and ``group`` (all
items of the same group: one figure, one caption, one case). Descriptions with the same text are separate gallery items
that share the text's score, so their ties are exact. Ties count against the query: the rank is the number of items
that are not relevant and score at least as high as the best relevant one, which is the place of the first hit in the
least favourable order. Source: PAPER.md section 6.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from lile.errors import InputError
from lile.evaluation.grid import Matrix, Scores, check_finite
from lile.evaluation.relevance import PROTOCOLS, ByProtocol, Relevance, relevance_of

PIECE_PAIRS = 1 << 22  # pairs looked at together, where many descriptions share a block's texts


def fold_ranks(
    scores: np.ndarray | Scores,
    image_ids: Sequence[str],
    text_ids: Sequence[str],
    image_groups: Sequence[str],
    descriptions: pd.DataFrame,
    protocols: Sequence[str] = PROTOCOLS,
) -> ByProtocol:
    """Return the first-hit ranks of all queries of a fold, for both directions.

    Image to text (``i2t``): every image asks, all descriptions answer. Text to image (``t2i``): every description asks
    (one that repeats a text too), all images answer.

    Args:
        scores: finite scores of images (rows) and unique texts (columns): a matrix [N, U], or blocks of one.
        image_ids: of the rows, unique.
        text_ids: of the columns, unique.
        image_groups: group of each image, [N].
        descriptions: ``image_id`` and ``text_id`` of the descriptions of these images, [D] rows.
        protocols: which of ``PROTOCOLS`` are wanted.

    Returns:
        ``{"own" | "group": {"i2t": int64 [N], "t2i": int64 [D]}}``, 0-based.

    Raises:
        InputError: ids that do not match or repeat, an image without description, a score that is not finite.
    """
    relevance = relevance_of(image_ids, text_ids, image_groups, descriptions)
    return stream_ranks(checked_scores(scores, image_ids, text_ids), relevance, protocols)


def checked_scores(scores: np.ndarray | Scores, image_ids: Sequence[str], text_ids: Sequence[str]) -> Scores:
    """Return scores to be read in blocks, after a look at every one.

    Raises:
        InputError: they are not of so many images and texts, or one is not finite (the pair is named).
    """
    shape = scores.shape if isinstance(scores, np.ndarray) else (scores.grid.images, scores.grid.texts)
    if shape != (len(image_ids), len(text_ids)):
        raise InputError(
            f"evaluation: scores have shape {shape}, ids say ({len(image_ids)}, {len(text_ids)}): "
            "pass the ids the scores were made from"
        )
    blocks = Matrix(scores) if isinstance(scores, np.ndarray) else scores
    for block in blocks.grid:
        check_finite(blocks.read(block), image_ids, text_ids, block)
    return blocks


def stream_ranks(scores: Scores, relevance: Relevance, protocols: Sequence[str] = PROTOCOLS) -> ByProtocol:
    """Return the ranks of :func:`fold_ranks` in two passes over blocks of finite scores; holds one block at a time.

    The first pass finds each query's best relevant score. The second counts what scores at least as high, less what
    is relevant of it.
    """
    best = {name: [np.full(n, -np.inf, dtype=np.float64) for n in _sizes(relevance)] for name in protocols}
    counts = {name: [np.zeros(n, dtype=np.int64) for n in _sizes(relevance)] for name in protocols}
    for rows, places, scores_RP in _pieces(scores, relevance):
        for name in protocols:
            i, j = _relevant(relevance, name, rows, places)
            images, texts = best[name]
            np.maximum.at(images, rows.start + i, scores_RP[i, j])
            np.maximum.at(texts, places[j], scores_RP[i, j])
    for rows, places, scores_RP in _pieces(scores, relevance):
        for name in protocols:
            i, j = _relevant(relevance, name, rows, places)
            for axis, queries, query in ((1, rows, i), (0, places, j)):
                best_Q, count_Q = best[name][1 - axis][queries].astype(scores_RP.dtype), counts[name][1 - axis]
                count_Q[queries] += np.count_nonzero(scores_RP >= np.expand_dims(best_Q, axis), axis=axis)
                right = query[scores_RP[i, j] >= best_Q[query]]  # these do not count against the query
                count_Q[queries] -= np.bincount(right, minlength=len(best_Q))
    return {name: {"i2t": counts[name][0], "t2i": counts[name][1]} for name in protocols}


def _sizes(relevance: Relevance) -> tuple[int, int]:
    return len(relevance.image_codes["own"]), len(relevance.column_D)


def _pieces(scores: Scores, relevance: Relevance) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Yield (rows, descriptions [P], their scores [R, P]) that cover all pairs of images and descriptions once."""
    order_D = np.argsort(relevance.column_D, kind="stable")
    columns_D = relevance.column_D[order_D]
    for block in scores.grid:
        first, last = np.searchsorted(columns_D, (block.columns.start, block.columns.stop))
        scores_RC = scores.read(block)
        step = max(1, PIECE_PAIRS // len(scores_RC))
        for start in range(first, last, step):
            places = order_D[start : min(start + step, last)]
            yield block.rows, places, scores_RC[:, relevance.column_D[places] - block.columns.start]


def _relevant(relevance: Relevance, name: str, rows: slice, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return row and place of every relevant pair of a piece."""
    codes_R, codes_P = relevance.image_codes[name][rows], relevance.description_codes[name][places]
    row, place = np.nonzero(codes_R[:, None] == codes_P)
    return row, place
