"""The forms in which the same scores can be computed, all on one case.

Shapes: N images, M texts, P pairs, r vectors of an item, d width.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.data import Data
from benchmarks.harness import Form, seconds_of
from lile.matching.direct import refine, scores_direct
from lile.matching.eager import TILE_FLOATS, tiles
from lile.matching.items import checked_items
from lile.matching.matcher import IterativeMatching
from lile.matching.memory import GatedMemory
from lile.matching.sides import Side, direct_term
from lile.matching.steps import cross_term

Cross = Callable[..., Tensor]
SQUARES = [(n, n) for n in (16, 32, 64, 128, 256, 512, 1024)]
DIRECT_IMAGES = (8, 32, 128)  # images that the direct form takes at a time: it is measured with the best of them


def engine(matcher: IterativeMatching, data: Data) -> Form:
    """Return the engine, as everybody calls it: with its checks and all that it prepares per item."""
    return Form("engine", lambda n, m: matcher.scores(*data.first(n, m)), SQUARES)


def direct(matcher: IterativeMatching, data: Data, limit_s: float) -> Form:
    """Return the direct form."""
    return fastest("direct", lambda n, m: scores_direct(matcher, *data.first(n, m)), limit_s)


def fastest(name: str, scores: Callable[[int, int], Tensor], limit_s: float) -> Form:
    """Return the form with the number of images at a time with which it is fastest here."""
    forms = [Form(name, scores, [(n, 2**k) for k in range(10)]) for n in DIRECT_IMAGES]
    sizes = [form.fitting(limit_s / 4) for form in forms]
    rates = [n * m / seconds_of(partial(form.scores, n, m)) for form, (n, m) in zip(forms, sizes, strict=True)]
    return forms[rates.index(max(rates))]


def published(matcher: IterativeMatching, data: Data, limit_s: float) -> Form:
    """Return the direct form with the last gate too, which no score needs but published codes compute.

    The gate is given the query twice instead of query and attended vector: the same work. Published codes take about a
    hundred images at a time; this one, too, takes as many as are fastest.
    """
    config, width = matcher.config, matcher.width
    gates = [
        (memory or GatedMemory(width), side)
        for memory, side, asks in (
            (matcher.image_memory, "image", config.image_asks),
            (matcher.text_memory, "text", config.text_asks),
        )
        if asks
    ]

    def scores(n: int, m: int) -> Tensor:
        images, texts, v_keep, w_keep = data.first(n, m)
        columns = []
        for place, text in enumerate(texts):
            own_keep = None if w_keep is None else w_keep[place : place + 1]
            columns.append(scores_direct(matcher, images, text[None], v_keep, own_keep))
            for memory, side in gates:
                x_Pid = images if side == "image" else text.expand(n, -1, -1)
                refine(x_Pid, x_Pid, memory, config.renormalise)
        return torch.cat(columns, dim=1)

    return fastest("direct, last gate too", scores, limit_s)


def eager(matcher: IterativeMatching, data: Data, cross: Cross = cross_term, name: str = "plain PyTorch") -> Form:
    """Return the engine's algebra in PyTorch, one context item against a tile of queries at a time."""
    return Form(name, lambda n, m: eager_scores(matcher, data, n, m, cross), SQUARES)


def compiled(matcher: IterativeMatching, data: Data) -> Form:
    """Return the same through torch.compile: one compilation a tile shape, in C++ by its inductor."""
    torch._dynamo.reset()  # what an earlier case compiled would count towards its limit of recompilations
    return eager(matcher, data, torch.compile(cross_term, dynamic=False), "torch.compile")


def eager_scores(matcher: IterativeMatching, data: Data, n: int, m: int, cross: Cross) -> Tensor:
    """Return S [N, M] through PyTorch alone, in the type of the data."""
    images, texts, v_keep, w_keep = data.first(n, m)
    v, w = checked_items("images", images, v_keep, matcher.width), checked_items("texts", texts, w_keep, matcher.width)
    image_side, text_side = matcher.sides(v, w)
    config = matcher.config
    scores_NM = images.new_zeros(n, m)
    if config.image_asks:
        _add(scores_NM, image_side, text_side, matcher.image_memory, matcher, cross)
    if config.text_asks:
        _add(scores_NM.T, text_side, image_side, matcher.text_memory, matcher, cross)
    cross_weight, direct_weight = (weight.to(images.dtype) for weight in matcher.weights())
    scores_NM *= cross_weight
    if config.direct != "none":
        left_ND, right_MD = direct_term(v, w, config.direct, config.queries)
        scores_NM.addmm_(left_ND * direct_weight, right_MD.T)
    return scores_NM


def _add(
    scores_QC: Tensor, query: Side, context: Side, memory: GatedMemory | None, matcher: IterativeMatching, cross: Cross
) -> None:
    for tile in tiles(len(query), query.vectors[0].numel(), TILE_FLOATS):
        for j in range(len(context)):
            scores_QC[tile, j] += cross(query[tile], context[j], memory, matcher.steps, matcher.config)
