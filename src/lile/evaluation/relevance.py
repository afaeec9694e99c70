"""What is relevant to what: images and descriptions as integer codes, checked.

Shapes: N images, U unique texts (score columns), D descriptions.

Relevance is many-to-many and comes in two protocols: ``own`` (an image and its own descriptions) and ``group`` (all
items of the same group: one figure, one caption, one case). Source: PAPER.md section 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lile.errors import InputError

PROTOCOLS = ("own", "group")
"""What every evaluation has; beside them, :data:`OWN_BLOCKS` where a dataset asks for it."""
OWN_BLOCKS = "own_blocks"
"""``own`` within consecutive blocks of test images, averaged (:mod:`lile.evaluation.consecutive`)."""
DIRECTIONS = ("i2t", "t2i")

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


def relevant_counts(relevance: Relevance) -> ByProtocol:
    """Return how many gallery items are relevant to each query: shaped like what ``ranks.fold_ranks`` returns."""
    counts: ByProtocol = {}
    for name in relevance.image_codes:
        counts[name] = counts_of_codes(relevance.image_codes[name], relevance.description_codes[name])
    return counts


def counts_of_codes(codes_N: np.ndarray, codes_D: np.ndarray) -> dict[str, np.ndarray]:
    """Return how many gallery items are relevant to each query, by direction, where equal codes are relevant pairs."""
    codes = int(codes_N.max()) + 1
    return {
        "i2t": np.bincount(codes_D, minlength=codes)[codes_N],
        "t2i": np.bincount(codes_N, minlength=codes)[codes_D],
    }


def relevant_items(relevance: Relevance, name: str, way: str) -> list[np.ndarray]:
    """Return for each query of a direction the gallery items that are relevant to it, in order; equal lists are shared.

    Args:
        relevance: of the fold.
        name: of the protocol.
        way: ``i2t`` (images ask, descriptions answer) or ``t2i``.
    """
    asking, answering = relevance.image_codes[name], relevance.description_codes[name]
    if way == "t2i":
        asking, answering = answering, asking
    order = np.argsort(answering, kind="stable")
    of_code = np.split(order, np.cumsum(np.bincount(answering))[:-1])
    return [of_code[code] for code in asking]


def relevance_of(
    image_ids: Sequence[str], text_ids: Sequence[str], image_groups: Sequence[str], descriptions: pd.DataFrame
) -> Relevance:
    """Return the relevance codes of a fold. Arguments and errors: see :func:`lile.evaluation.ranks.fold_ranks`.

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
