"""Section 1: scored pairs per second, the engine against the direct form.

Shapes: m maps of an item, d width, K steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmarks import forms
from benchmarks.data import Data, maps, matcher_of, ragged
from benchmarks.harness import Form, Options, Result, Row, Spread, by_turns, ratios
from lile.matching.direct import scores_direct

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AIMS = {1: 100, 2: 35, 3: 4}  # times the direct form, at m = 16, d = 1024 on two cores
IMRAM = {"similarity": "dot", "clip": "leaky_relu_0.1", "direct": "none"}
ENGINE = 6  # times as long may the engine take at K <= 2: many items, as in use, spread what is prepared for each
CHECKED = 16  # images and texts whose scores are compared in float64


@dataclass(frozen=True)
class Case:
    """A shape and its knobs."""

    vectors: str
    """``16`` maps on both sides, or ``36 x 13`` regions and words."""
    width: int
    steps: int
    compiles: bool = False
    """torch.compile takes up to a minute a case."""
    knobs: dict[str, Any] = field(default_factory=dict)

    def data(self, n: int) -> Data:
        """Return n images and n texts."""
        if "x" in self.vectors:
            regions, words = (int(part) for part in self.vectors.split("x"))
            return ragged(n, regions, words, self.width)
        return maps(n, int(self.vectors), self.width)


def cases(options: Options) -> list[Case]:
    """Return the grid."""
    if options.tiny:
        return [Case("4", 32, 2), Case("4", 32, 1), Case("6 x 3", 32, 2, knobs=IMRAM)]
    grid = [Case("16", 1024, steps, compiles=steps < 4) for steps in (1, 2, 3, 4)]
    grid += [Case("8", 256, steps) for steps in (1, 2)]
    return grid + [Case("36 x 13", 1024, steps, knobs=IMRAM) for steps in (1, 2, 3)]


@torch.no_grad()
def measure(options: Options) -> Result:
    """Measure every case of the grid."""
    rows: list[Row] = []
    for case in cases(options):
        rows += _rows(case, options)
    return Result(
        "Scored pairs per second",
        "Every form computes the same scores; `off` is their largest difference from the direct form in float64. Two "
        "forms are compared with: the direct form as `lile.matching.direct` writes it, and the same with the last gate "
        "computed too, as published codes do; each with the number of images at a time (of "
        f"{', '.join(map(str, forms.DIRECT_IMAGES))}) with which it is fastest here, which favours them. The engine's "
        "time holds its checks and what it prepares per item. `scored` is what was measured, images x texts.",
        rows,
        draw,
        [
            f"Aims at 16 vectors of width 1024 on two cores: K = 1 at least {AIMS[1]} times the direct form, K = 2 "
            f"at least {AIMS[2]}, K = 3 at least {AIMS[3]}.",
            "36 x 13: IMRAM's regions and words, with masks: 36 regions, 13 words on average, dot products, "
            "leaky ReLU, no direct term.",
        ],
    )


def _rows(case: Case, options: Options) -> list[Row]:
    data = case.data(64 if options.tiny else forms.SQUARES[-1][0])
    matcher = matcher_of(case.width, case.steps, **case.knobs)
    found = _forms(case, matcher, data, options)
    longer = {"engine": ENGINE if case.steps <= 2 else 1}
    sizes = {form.name: form.fitting(options.limit_s * longer.get(form.name, 1)) for form in found}
    seconds = by_turns({form.name: partial(form.scores, *sizes[form.name]) for form in found}, options.repeats)
    rates = {name: [sizes[name][0] * sizes[name][1] / s for s in taken] for name, taken in seconds.items()}
    exact = _exact(case, matcher, data)
    return [
        {
            "vectors": case.vectors,
            "width": case.width,
            "K": case.steps,
            "form": form.name,
            "scored": " x ".join(map(str, sizes[form.name])),
            "pairs/s": Spread.of(rates[form.name]),
            "times direct": _over(rates, form.name, "direct"),
            "times direct with last gate": _over(rates, form.name, "direct, last gate too"),
            "off": float((form.scores(CHECKED, CHECKED).double() - exact).abs().max()),
        }
        for form in found
    ]


def _forms(case: Case, matcher: Any, data: Data, options: Options) -> list[Form]:
    found = [
        forms.engine(matcher, data),
        forms.eager(matcher, data),
        forms.direct(matcher, data, options.limit_s),
        forms.published(matcher, data, options.limit_s),
    ]
    if case.compiles:
        found.insert(2, forms.compiled(matcher, data))
    if not options.tiny:
        return found
    return [Form(form.name, form.scores, [s for s in form.sizes if max(s) <= 64] or [(16, 2)]) for form in found]


def _over(rates: dict[str, list[float]], name: str, other: str) -> Spread | None:
    return None if name == other else ratios(rates[name], rates[other])


def _exact(case: Case, matcher: Any, data: Data) -> Tensor:
    """Return S of the checked items by the direct form in float64."""
    wide = matcher_of(case.width, case.steps, **case.knobs).double()
    wide.load_state_dict(matcher.state_dict())
    items = (t.double() if t is not None and t.is_floating_point() else t for t in data.first(CHECKED, CHECKED))
    return scores_direct(wide, *items)


def draw(figure: Figure, rows: Sequence[Row]) -> None:
    """Draw how many times faster than the direct form each other form is."""
    axes = figure.subplots()
    labels = list(dict.fromkeys(_label(row) for row in rows))
    names = [name for name in dict.fromkeys(row["form"] for row in rows) if name != "direct"]
    height = 0.8 / len(names)
    for place, name in enumerate(names):
        own = [row for row in rows if row["form"] == name]
        at = [labels.index(_label(row)) + (place - (len(names) - 1) / 2) * height for row in own]
        medians = [row["times direct"].median for row in own]
        axes.barh(at, medians, height, label=name)
        for y, value in zip(at, medians, strict=True):
            axes.annotate(f" {value:.3g}", (value, y), va="center", fontsize=6)
    axes.axvline(1, color="0.3", linewidth=0.8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="pairs/s, times the direct form's")
    axes.legend(fontsize=7)


def _label(row: Row) -> str:
    return f"{row['vectors']}, d={row['width']}, K={row['K']}"
