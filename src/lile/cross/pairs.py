"""Right and wrong pairs that the match classifier learns from.

A wrong pair is a training image with a training text that no image of its group has: never a text of the same image or
of the same group, and never one that is word for word equal to such a text (equal texts share their id).

Shapes: P right pairs, M wrong pairs, I training images, U training texts, S pairs of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lile.cross.config import NegativesConfig
from lile.errors import InputError

ROUNDS = 16  # redraws of a forbidden candidate before all that are allowed are looked up

Scorer = Callable[[Sequence[str], Sequence[str]], np.ndarray]
"""Image ids, text ids -> the base row's scores [images, texts]."""


@dataclass(frozen=True)
class Pairs:
    """S pairs of a step: places in :class:`PairTable`'s lists, and whether they belong together."""

    images: np.ndarray
    texts: np.ndarray
    labels: np.ndarray
    """float32: 1 for a right pair, 0 for a wrong one."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class PairTable:
    """The training part: its images, its texts, which belong together, and which may be called wrong."""

    image_ids: list[str]
    text_ids: list[str]
    images_P: np.ndarray
    """Image of each right pair: a place in ``image_ids``."""
    texts_P: np.ndarray
    """Its text: a place in ``text_ids``."""
    groups_I: np.ndarray
    """An integer per image: its group."""
    taken: np.ndarray
    """Sorted codes text * groups + group of what belongs together."""

    def __len__(self) -> int:
        return len(self.images_P)

    def may_be_wrong(self, images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """Return whether no image of the image's group has the text; arguments broadcast against each other."""
        codes = texts * self._groups + self.groups_I[images]
        places = np.searchsorted(self.taken, codes)
        return self.taken[np.minimum(places, len(self.taken) - 1)] != codes

    @property
    def _groups(self) -> int:
        return int(self.groups_I.max()) + 1


def pair_table(descriptions: pd.DataFrame, image_ids: Sequence[str]) -> PairTable:
    """Return the right pairs of the given images: every description with its image.

    Args:
        descriptions: ``image_id, group, text_id``.
        image_ids: of the training part.

    Raises:
        InputError: no image has a description, or no pair could ever be wrong.
    """
    own = descriptions[descriptions["image_id"].isin(set(image_ids))]
    if own["group"].nunique() < 2:
        raise InputError(
            f"{len(image_ids)} training images have {len(own)} descriptions of {own['group'].nunique()} group(s); "
            "training needs at least two groups to draw negatives from"
        )
    images_P, images = pd.factorize(own["image_id"])
    texts_P, texts = pd.factorize(own["text_id"])
    groups_P, groups = pd.factorize(own["group"])
    groups_I = np.zeros(len(images), dtype=np.int64)
    groups_I[images_P] = groups_P
    taken = np.unique(texts_P * len(groups) + groups_P)
    return PairTable(list(images), list(texts), images_P, texts_P, groups_I, taken)


def epoch_steps(
    table: PairTable, settings: NegativesConfig, top: int, batch_size: int, seed: int, scorer: Scorer
) -> Iterator[Pairs]:
    """Yield one epoch: every right pair once, in a seeded order, with its wrong pairs beside it.

    Args:
        table: the training part.
        settings: how many wrong pairs, and of which kind.
        top: n: a hard one is drawn evenly from an item's best n in its pool that may be wrong.
        batch_size: right pairs of a step.
        seed: of the epoch.
        scorer: asked once per pool, and never where ``hard`` is 0.
    """
    random = np.random.default_rng(seed)
    order_P = random.permutation(len(table))
    step = max(1, settings.pool // batch_size) * batch_size  # so that no step straddles two pools
    for start in range(0, len(table), step):
        chosen = order_P[start : start + step]
        images_Mk, texts_Mk = _wrong_pairs(table, chosen, settings, top, random, scorer)
        for first in range(0, len(chosen), batch_size):
            run = slice(first, first + batch_size)
            yield _together(table, chosen[run], images_Mk[run].ravel(), texts_Mk[run].ravel())


def steps_of(pairs: int, settings: NegativesConfig, batch_size: int) -> int:
    """Return how many steps :func:`epoch_steps` yields."""
    step = max(1, settings.pool // batch_size) * batch_size
    return sum(-(-min(step, pairs - start) // batch_size) for start in range(0, pairs, step))


def _together(table: PairTable, chosen: np.ndarray, images_M: np.ndarray, texts_M: np.ndarray) -> Pairs:
    there = images_M >= 0  # -1: there was no wrong pair to be had
    images_M, texts_M = images_M[there], texts_M[there]
    labels = np.repeat(np.array([1, 0], dtype=np.float32), [len(chosen), len(images_M)])
    return Pairs(
        np.concatenate([table.images_P[chosen], images_M]), np.concatenate([table.texts_P[chosen], texts_M]), labels
    )


def _wrong_pairs(
    table: PairTable,
    chosen: np.ndarray,
    settings: NegativesConfig,
    top: int,
    random: np.random.Generator,
    scorer: Scorer,
) -> tuple[np.ndarray, np.ndarray]:
    """Return images and texts [p, k] of k wrong pairs for each chosen right one; -1 where there is none.

    In each wrong pair an even coin says whether the image or the text is replaced.
    """
    shape = (len(chosen), settings.per_positive)
    images = np.repeat(table.images_P[chosen][:, None], shape[1], axis=1)
    texts = np.repeat(table.texts_P[chosen][:, None], shape[1], axis=1)
    new_image, hard = random.random(shape) < 0.5, random.random(shape) < settings.hard
    if hard.any():
        found = _hard(table, images[:, 0], texts[:, 0], top, random, scorer, shape[1])
        for side, fresh, which in ((images, found[0], hard & new_image), (texts, found[1], hard & ~new_image)):
            hard[which] &= fresh[which] >= 0
            side[which & hard] = fresh[which & hard]
    _redraw(table, images, texts, new_image, ~hard, random)
    return images, texts


def _hard(
    table: PairTable,
    images_p: np.ndarray,
    texts_p: np.ndarray,
    top: int,
    random: np.random.Generator,
    scorer: Scorer,
    count: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each right pair of a pool ``count`` images and as many texts from its shortlists; -1 for none."""
    images_i, row_p = np.unique(images_p, return_inverse=True)
    texts_u, column_p = np.unique(texts_p, return_inverse=True)
    scores_iu = scorer([table.image_ids[i] for i in images_i], [table.text_ids[u] for u in texts_u])
    wrong_iu = table.may_be_wrong(images_i[:, None], texts_u[None, :])
    ranked_iu = np.where(wrong_iu, -scores_iu, np.inf)
    image_list = np.argsort(ranked_iu.T, axis=1, kind="stable")[:, :top]  # a text's images
    text_list = np.argsort(ranked_iu, axis=1, kind="stable")[:, :top]
    texts = _drawn(texts_u, text_list, np.minimum(wrong_iu.sum(axis=1), top), row_p, random, count)
    images = _drawn(images_i, image_list, np.minimum(wrong_iu.sum(axis=0), top), column_p, random, count)
    return images, texts


def _drawn(
    items: np.ndarray, lists: np.ndarray, lengths: np.ndarray, of_p: np.ndarray, random: np.random.Generator, count: int
) -> np.ndarray:
    """Return ``count`` evenly drawn entries of each anchor's list, [p, count]; -1 where the list is empty."""
    length_p1 = lengths[of_p][:, None]
    drawn = (random.random((len(of_p), count)) * length_p1).astype(np.int64)
    return np.where(length_p1 > 0, items[lists[of_p[:, None], drawn]], -1)


def _redraw(
    table: PairTable,
    images: np.ndarray,
    texts: np.ndarray,
    new_image: np.ndarray,
    wanted: np.ndarray,
    random: np.random.Generator,
) -> None:
    """Replace, where ``wanted``, the image or the text by a random one that makes the pair wrong, in place."""
    right_images, right_texts, left = images.copy(), texts.copy(), wanted.copy()
    for _ in range(ROUNDS):
        images[left & new_image] = random.integers(len(table.image_ids), size=int((left & new_image).sum()))
        texts[left & ~new_image] = random.integers(len(table.text_ids), size=int((left & ~new_image).sum()))
        left &= ~table.may_be_wrong(images, texts)
        if not left.any():
            return
    for place in zip(*np.nonzero(left), strict=True):  # rare: nearly everything has this text, or is of this group
        right = int(right_images[place]), int(right_texts[place])
        images[place], texts[place] = _looked_up(table, *right, bool(new_image[place]), random)


def _looked_up(
    table: PairTable, image: int, text: int, new_image: bool, random: np.random.Generator
) -> tuple[int, int]:
    """Return a wrong pair with this image or this text, preferably as asked; (-1, -1) where there is none."""
    for replaced in (new_image, not new_image):
        everything = np.arange(len(table.image_ids if replaced else table.text_ids))
        pair = (everything, np.asarray(text)) if replaced else (np.asarray(image), everything)
        allowed = np.flatnonzero(table.may_be_wrong(*pair))
        if len(allowed):
            drawn = int(random.choice(allowed))
            return (drawn, text) if replaced else (image, drawn)
    return -1, -1
