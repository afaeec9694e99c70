"""From a fold's scores to the content of ``metrics.json`` and ``ranks.npz``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lile.errors import InputError
from lile.evaluation.consecutive import block_figures
from lile.evaluation.grid import Scores
from lile.evaluation.protocols import Figures, figures_of_scores
from lile.evaluation.ranks import checked_scores
from lile.evaluation.relevance import DIRECTIONS, OWN_BLOCKS, PROTOCOLS, relevance_of
from lile.files import replacing


def fold_metrics(
    scores: np.ndarray | Scores,
    image_ids: Sequence[str],
    text_ids: Sequence[str],
    images: pd.DataFrame,
    descriptions: pd.DataFrame,
    *,
    fold: int | None = None,
    block_images: int | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return all figures of one fold, and the rank and precisions of every query.

    Args:
        scores: finite scores of N images and U unique texts: a matrix [N, U], or blocks of one.
        image_ids: of the rows.
        text_ids: of the columns.
        images: ``image_id, group`` of exactly these images, in any order.
        descriptions: ``description_id, image_id, text_id`` of these images' descriptions.
        fold: stands in the result where given.
        block_images: number of images of the blocks that ``own_blocks`` is the mean of; None for no such protocol.

    Returns:
        The content of ``metrics.json``: ``fold, images, texts, unique_texts, groups, protocols``, where a protocol is
        ``{"i2t": figures, "t2i": figures, "Rsum": .., "chance_Rsum": .., "ceiling_Rsum": ..}`` (figures: ``R1``,
        ``R5``, ``R10``, ``MedR``, ``MeanR``, ``mAP``, ``Rprec``, ``chance`` with the same keys, ``ceiling`` with the
        first five); with ``own_blocks`` also ``blocks`` (:func:`lile.evaluation.consecutive.block_figures`). And the
        arrays of ``ranks.npz``, in the order of ``image_ids`` and ``description_ids``, which are there too: for each
        query 0-based ranks ``own_i2t``, ``own_t2i``, ``group_i2t``, ``group_t2i``, from 0 to 1 its average precision
        ``own_i2t_ap`` ... and R-precision ``own_i2t_rprec`` ...; ``image_groups`` [N] and ``description_image``, the
        place of each description's image in ``image_ids``, [D].

    Raises:
        InputError: ids that do not match, a score that is not finite (the pair is named), or too few images for a
            block.
    """
    groups = groups_in_order(image_ids, images)
    relevance = relevance_of(image_ids, text_ids, groups, descriptions)
    blocks = checked_scores(scores, image_ids, text_ids)
    figures = figures_of_scores(blocks, relevance)
    content: dict[str, Any] = {
        "images": len(image_ids),
        "texts": len(descriptions),
        "unique_texts": int(descriptions["text_id"].nunique()),
        "groups": len(set(groups)),
        "protocols": figures.protocols,
    }
    if block_images is not None:
        content["protocols"][OWN_BLOCKS], content["blocks"] = block_figures(blocks, relevance, block_images)
    if fold is not None:
        content["fold"] = fold
    named = {"image_ids": image_ids, "image_groups": groups, "description_ids": descriptions["description_id"]}
    arrays = {name: np.asarray(list(values), dtype=np.str_) for name, values in named.items()}
    return content, {**_of_queries(figures), **arrays, "description_image": relevance.description_codes["own"]}


def write_ranks(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write ``ranks.npz`` atomically. Raises ``OSError`` and leaves no half file."""
    with replacing(path) as part, part.open("wb") as handle:  # a handle, since savez appends .npz to a name
        np.savez_compressed(handle, **dict[str, Any](arrays))


def groups_in_order(image_ids: Sequence[str], images: pd.DataFrame) -> list[str]:
    """Return the group of each scored image, refusing tables of other images."""
    group_of = dict(zip(images["image_id"], images["group"], strict=True))
    if len(group_of) != len(images):
        raise InputError("evaluation: images.csv names an image twice; image_id must be unique")
    differ = sorted(set(group_of) ^ set(image_ids))
    if differ:
        raise InputError(
            f"evaluation: scored images and the fold's test images differ by {len(differ)} id(s), first: "
            f"{differ[0]!r}; evaluate the fold the scores were made for"
        )
    return [group_of[image_id] for image_id in image_ids]


def _of_queries(figures: Figures) -> dict[str, np.ndarray]:
    """Return the rank and precisions of every query as named arrays."""
    kinds = (("", figures.ranks), ("_ap", figures.average_precision), ("_rprec", figures.r_precision))
    return {
        f"{name}_{way}{kind}": found[name][way] for kind, found in kinds for name in PROTOCOLS for way in DIRECTIONS
    }
