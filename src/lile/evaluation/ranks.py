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
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lile.errors import InputError

PROTOCOLS = ("own", "group")
DIRECTIONS = ("i2t", "t2i")
BLOCK_PAIRS = 1 << 22  # pairs looked at together: 16 MiB of float32 scores, whatever the gallery's size

ByProtocol = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Relevance:
    """Which image belongs to which description, as integer codes: a pair is relevant where the codes are equal."""

    column_D: np.ndarray
    """Score column of each description's text."""
    image_codes: dict[str, np.ndarray]
    """Per protocol, one code per image, [N]."""
    description_codes: dict[str, np.ndarray]
    """Per protocol, one code per description, [D]."""


def first_hit_ranks(scores_QG: np.ndarray, relevant_QG: np.ndarray) -> np.ndarray:
    """Return the 0-based place of the best relevant item of each query; ties count against the query.

    Args:
        scores_QG: finite scores, higher is better, [Q, G].
        relevant_QG: boolean, at least one ``True`` per row, [Q, G].

    Returns:
        int64 [Q], each from 0 (first) to G - 1.

    Raises:
        ValueError: shapes differ, or a score is not finite (the pair is named).
        InputError: a query has no relevant item.
    """
    scores_QG, relevant_QG = np.asarray(scores_QG), np.asarray(relevant_QG, dtype=bool)
    if scores_QG.ndim != 2 or scores_QG.shape != relevant_QG.shape:
        raise ValueError(f"scores {scores_QG.shape} and relevance {relevant_QG.shape} must be one [queries, gallery]")
    if not np.isfinite(scores_QG).all():
        query, item = np.argwhere(~np.isfinite(scores_QG))[0]
        raise ValueError(f"score of query {query} and item {item} is {scores_QG[query, item]}: not finite, no rank")
    if not relevant_QG.any(axis=1).all():
        query = int(np.argmin(relevant_QG.any(axis=1)))
        raise InputError(f"query {query} of {len(relevant_QG)} has no relevant item in the gallery: leave it out")
    best_Q = np.where(relevant_QG, scores_QG, -np.inf).max(axis=1, initial=-np.inf)
    return ((scores_QG >= best_Q[:, None]) & ~relevant_QG).sum(axis=1, dtype=np.int64)


def fold_ranks(
    scores_NU: np.ndarray,
    image_ids: Sequence[str],
    text_ids: Sequence[str],
    image_groups: Sequence[str],
    descriptions: pd.DataFrame,
) -> ByProtocol:
    """Return the first-hit ranks of all queries of a fold, for both protocols and directions.

    Image to text (``i2t``): every image asks, all descriptions answer. Text to image (``t2i``): every description asks
    (one that repeats a text too), all images answer. Works in blocks of queries; nothing of size N x D is made.

    Args:
        scores_NU: finite scores of images (rows) and unique texts (columns), [N, U].
        image_ids: of the rows, unique.
        text_ids: of the columns, unique.
        image_groups: group of each image, [N].
        descriptions: ``image_id`` and ``text_id`` of the descriptions of these images, [D] rows.

    Returns:
        ``{"own" | "group": {"i2t": int64 [N], "t2i": int64 [D]}}``, 0-based.

    Raises:
        InputError: ids that do not match or repeat, an image without description, a score that is not finite.
    """
    scores_NU = np.asanyarray(scores_NU)
    relevance = relevance_of(image_ids, text_ids, image_groups, descriptions)
    check_scores(scores_NU, image_ids, text_ids)
    ranks: dict[str, dict[str, list[np.ndarray]]] = {name: {way: [] for way in DIRECTIONS} for name in PROTOCOLS}
    column_D = relevance.column_D
    for block in _blocks(len(scores_NU), len(column_D)):
        scores_QD = scores_NU[block][:, column_D]
        for name in PROTOCOLS:
            images, texts = relevance.image_codes[name], relevance.description_codes[name]
            ranks[name]["i2t"].append(first_hit_ranks(scores_QD, images[block, None] == texts))
    for block in _blocks(len(column_D), len(scores_NU)):
        scores_QN = scores_NU[:, column_D[block]].T
        for name in PROTOCOLS:
            images, texts = relevance.image_codes[name], relevance.description_codes[name]
            ranks[name]["t2i"].append(first_hit_ranks(scores_QN, texts[block, None] == images))
    return {name: {way: np.concatenate(parts) for way, parts in ways.items()} for name, ways in ranks.items()}


def relevant_counts(relevance: Relevance) -> ByProtocol:
    """Return how many gallery items are relevant to each query: shaped like the result of :func:`fold_ranks`."""
    counts: ByProtocol = {}
    for name in PROTOCOLS:
        images, texts = relevance.image_codes[name], relevance.description_codes[name]
        codes = int(images.max()) + 1
        counts[name] = {
            "i2t": np.bincount(texts, minlength=codes)[images],
            "t2i": np.bincount(images, minlength=codes)[texts],
        }
    return counts


def relevance_of(
    image_ids: Sequence[str], text_ids: Sequence[str], image_groups: Sequence[str], descriptions: pd.DataFrame
) -> Relevance:
    """Return the relevance codes of a fold. Arguments and errors: see :func:`fold_ranks`.

    A description's group is its image's: so what is relevant under ``own`` is relevant under ``group`` too.
    """
    rows, columns = _index(image_ids, "image_id"), _index(text_ids, "text_id")
    if len(image_groups) != len(rows) or not len(rows):
        raise InputError(f"evaluation: {len(rows)} images and {len(image_groups)} groups; give each image its group")
    if any(group == "" for group in image_groups):
        raise InputError("evaluation: an image has an empty group; name its own id where it shares none")
    image_D = _places(rows, descriptions, "image_id")
    column_D = _places(columns, descriptions, "text_id")
    silent = np.flatnonzero(np.bincount(image_D, minlength=len(rows)) == 0)
    if len(silent):
        names = ", ".join(list(image_ids)[place] for place in silent[:5])
        raise InputError(f"evaluation: {len(silent)} image(s) have no description, first: {names}; drop them")
    group_N = pd.factorize(np.asarray(image_groups, dtype=object))[0]
    return Relevance(
        column_D=column_D,
        image_codes={"own": np.arange(len(rows)), "group": group_N},
        description_codes={"own": image_D, "group": group_N[image_D]},
    )


def check_scores(scores_NU: np.ndarray, image_ids: Sequence[str], text_ids: Sequence[str]) -> None:
    """Check the matrix's shape and that every score is finite.

    Raises:
        InputError: naming the first image and text whose score is not finite, or the shapes that differ.
    """
    if scores_NU.shape != (len(image_ids), len(text_ids)):
        raise InputError(
            f"evaluation: scores have shape {scores_NU.shape}, ids say ({len(image_ids)}, {len(text_ids)}): "
            "pass the ids the scores were made from"
        )
    for block in _blocks(*scores_NU.shape):
        finite = np.isfinite(scores_NU[block])
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise InputError(
                f"evaluation: the score of image {image_ids[block.start + row]!r} and text {text_ids[column]!r} is "
                f"{scores_NU[block][row, column]}, which cannot be ranked; training diverged or its input is damaged: "
                "look at history.jsonl and lower training.learning_rate"
            )


def _blocks(queries: int, gallery: int) -> Iterator[slice]:
    """Yield slices that cover the queries, each of at most ``BLOCK_PAIRS`` pairs but of one query at least."""
    size = max(1, BLOCK_PAIRS // max(1, gallery))
    for start in range(0, queries, size):
        yield slice(start, min(start + size, queries))


def _index(ids: Sequence[str], what: str) -> pd.Index:
    """Return the ids as an index; they must be unique."""
    index = pd.Index(list(ids))
    if not index.is_unique:
        raise InputError(f"evaluation: {what} {index[index.duplicated()][0]!r} is there twice; each may be scored once")
    return index


def _places(index: pd.Index, descriptions: pd.DataFrame, column: str) -> np.ndarray:
    """Return where each description's id stands in ``index``, int64 [D]."""
    if column not in descriptions:
        raise InputError(f"evaluation: descriptions lack the column {column}; found {list(descriptions.columns)}")
    wanted: Any = descriptions[column].to_numpy()
    places = index.get_indexer(wanted)
    if (places < 0).any():
        missing = wanted[places < 0]
        raise InputError(
            f"evaluation: {len(missing)} description(s) name a {column} that was not scored, first: {missing[0]!r}; "
            "score every image and text of the fold"
        )
    return places
