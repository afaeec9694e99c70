"""The kernel in Triton's interpreter against the direct form. A process of its own: Triton reads TRITON_INTERPRET once.

``python fused_cases.py`` prints, as one line of JSON, for every case the largest error of a score, that of the eager
tiles in float32, and the largest score.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field

import torch

from lile.matching import eager, fused
from lile.matching.config import MatchingConfig
from lile.matching.direct import scores_direct
from lile.matching.items import Items
from lile.matching.matcher import IterativeMatching


@dataclass(frozen=True)
class Case:
    """N images of r vectors, M texts of s, width d, K steps."""

    shape: tuple[int, int, int, int, int] = (5, 6, 7, 9, 40)
    steps: int = 2
    precision: str = "fp32"
    ragged: str = ""
    values: str = "normal"
    knobs: dict = field(default_factory=dict)


EVERY_KNOB = {
    "similarity": "dot",
    "clip": "leaky_relu_0.1",
    "score_operand": "refined",
    "aggregate": "lse",
    "renormalise": True,
    "inverse_temperature": 4.0,
    "lse_inverse_temperature": 3.0,
}
VALUES = ("zero vectors", "zero item", "equal vectors", "huge", "tiny", "one direction", "nearly cancelling")
CASES = {
    "one step": Case(steps=1),
    "two steps": Case(),
    "both sides fill a tile": Case((4, 8, 16, 16, 64)),
    "one item, one vector, one dimension": Case((1, 1, 1, 1, 1)),
    "several groups of programs": Case((38, 2, 40, 3, 8)),
    "regions and words": Case((3, 4, 36, 13, 70)),
    "as many vectors as it takes": Case((2, 2, 64, 33, 20)),
    "ragged": Case((5, 6, 12, 20, 40), ragged="both"),
    "ragged in three groups": Case((6, 7, 40, 50, 24), ragged="both"),
    "ragged texts": Case(ragged="texts"),
    "ragged images": Case(ragged="images"),
    "ragged, one step": Case(ragged="both", steps=1),
    "all knobs": Case(knobs=EVERY_KNOB, ragged="both"),
    "all knobs, one step": Case(knobs=EVERY_KNOB, ragged="both", steps=1),
    "image asks": Case(knobs={"queries": "image"}),
    "text asks": Case(knobs={"queries": "text"}, ragged="both"),
    **{f"{name}={value}": Case(knobs={name: value}) for name, value in EVERY_KNOB.items()},
    "clip=none": Case(knobs={"clip": "none"}),
    **{value: Case(values=value) for value in VALUES},
    "nearly cancelling, one step": Case(values="nearly cancelling", steps=1),
    "bf16": Case((4, 8, 16, 16, 128), precision="bf16"),
    "bf16, one step": Case(precision="bf16", steps=1),
    "bf16, ragged, all knobs": Case((5, 6, 12, 20, 130), precision="bf16", ragged="both", knobs=EVERY_KNOB),
}


def drawn(case: Case) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    """Return vectors and masks of both sides."""
    generator = torch.Generator().manual_seed(5)
    n, m, r, s, d = case.shape
    sides = []
    for name, count, rows in (("images", n, r), ("texts", m, s)):
        x = torch.randn(count, rows, d, generator=generator, dtype=torch.float64) + 0.5
        if case.values == "zero vectors":
            x[:, ::2] = 0
        elif case.values == "zero item":
            x[0] = 0
        elif case.values == "equal vectors":
            x[:] = x[:, :1]
        elif case.values == "huge":
            x *= 1e6
        elif case.values == "tiny":
            x *= 1e-6
        elif case.values == "one direction":
            x = x[:1, :1] * torch.rand(count, rows, 1, generator=generator, dtype=torch.float64)
        elif case.values == "nearly cancelling":  # what is attended is far shorter than the vectors
            x[:, 1::2] = 1e-3 * x[:, 1::2] - x[:, ::2][:, : rows // 2]
        keep = None
        if case.ragged in ("both", name):  # any vectors, not the first ones
            keep = torch.rand(count, rows, generator=generator) < torch.rand(count, 1, generator=generator)
            keep[:, rows // 2] = True
            x = x * keep[..., None]
        sides.append((x, keep))
    return sides


def measured(case: Case) -> list[float]:
    """Return the largest errors of the kernel and of the eager tiles, and the largest score."""
    torch.manual_seed(3)
    matcher = IterativeMatching(case.shape[-1], case.steps, MatchingConfig(direct="none", **case.knobs)).double()
    (v, v_keep), (w, w_keep) = drawn(case)
    with torch.no_grad():
        expected = scores_direct(matcher, v, w, v_keep, w_keep)
        sides = matcher.float().sides(Items(v.float(), v_keep), Items(w.float(), w_keep))
        got = fused.cross_scores_fused(matcher, *sides, case.precision)
        plain = torch.zeros_like(got)
        for scores, x, y, memory in _ways(matcher, plain, *sides):
            eager.add_cross(scores, x, y, memory, case.steps, matcher.config)
    return [float((got - expected).abs().max()), float((plain - expected).abs().max()), float(expected.abs().max())]


def _ways(matcher, scores, images, texts):
    ways = [(scores, images, texts, matcher.image_memory)] if matcher.config.image_asks else []
    return ways + ([(scores.T, texts, images, matcher.text_memory)] if matcher.config.text_asks else [])


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(json.dumps({name: measured(case) for name, case in CASES.items()}) + "\n")
