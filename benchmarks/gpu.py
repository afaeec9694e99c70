"""Section 3: the fused kernel on one GPU against the roofline, the direct form and plain PyTorch; needs CUDA.

Shapes: N images, M texts, m maps of an item, d width, K steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmarks import forms, training
from benchmarks.data import Data, maps, matcher_of
from benchmarks.harness import Options, Result, Row, Spread, by_turns, ratios
from lile.matching.direct import scores_direct
from lile.matching.fused import PRECISIONS, cross_scores_fused
from lile.matching.items import Items
from lile.matching.matcher import IterativeMatching
from lile.matching.roofline import H200, Peaks, operations, roofline
from lile.matching.sides import direct_term
from lile.matching.steps import cross_term

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHAPE, STEPS = (16, 1024), (1, 2)  # m, d; K
COCO = (5000, 25000)
BLOCK = 5000  # texts of one call
OTHERS = {"direct": (128, 32), "plain PyTorch": (512, 64)}  # what the slower forms are measured on
BATCH, BATCH_DIRECT = 128, 32  # of a training step
CHECKED = 16
GIB = 1 << 30


def measure(options: Options) -> Result | None:
    """Measure on the first CUDA device; without one say so and measure nothing."""
    if not torch.cuda.is_available():
        print("gpu: left out, because there is no CUDA device")
        return None
    size = (256, 1280) if options.tiny else COCO
    peaks = H200 if "H200" in torch.cuda.get_device_name() else None
    rows = measured_on("cuda", size, SHAPE, options, peaks)
    return Result(
        f"Scores and training on {torch.cuda.get_device_name()}",
        f"m = {SHAPE[0]}, d = {SHAPE[1]}. Scores: from maps on the device to scores on the device, what is prepared "
        f"per item among it, {BLOCK:,} texts at a time; COCO 5K has {COCO[0]:,} x {COCO[1]:,} = 125 million pairs. "
        "`roofline s` is the least time by the device's peak rates, `of roofline` the share of it that was reached. "
        "`off` is the largest difference from the direct form in float64. Training: scores of a batch, triplet loss "
        "and gradients, hardest negatives or the mean over all.",
        rows,
        draw,
        [*_roofline_notes(peaks), "Aims on one H200: COCO 5K's 125 million pairs in at most 8 s."],
    )


def measured_on(
    device: str, size: tuple[int, int], shape: tuple[int, int], options: Options, peaks: Peaks | None
) -> list[Row]:
    """Return all rows."""
    rows: list[Row] = []
    for steps in STEPS:
        rows += _score_rows(device, size, shape, steps, options, peaks)
    return rows + _training_rows(device, shape, options)


@torch.no_grad()
def _score_rows(
    device: str, size: tuple[int, int], shape: tuple[int, int], steps: int, options: Options, peaks: Peaks | None
) -> list[Row]:
    (n, m), matcher = size, matcher_of(shape[1], steps)
    exact = _exact(matcher, maps(CHECKED, *shape))
    matcher.to(device)
    data = _on(device, Data(maps(n, *shape, seed=2).images, maps(m, *shape, seed=3).images))
    few = _on(device, maps(CHECKED, *shape))
    works: dict[str, tuple[tuple[int, int], Callable[[Data, int, int], Tensor]]] = {
        **{f"fused {p}": (size, partial(fused_scores, matcher, p)) for p in PRECISIONS},
        "plain PyTorch": (_within(OTHERS["plain PyTorch"], size), partial(_plain, matcher)),
        "direct": (_within(OTHERS["direct"], size), partial(_direct, matcher)),
    }
    timed = {name: partial(_synchronised, device, score, data, *pairs) for name, (pairs, score) in works.items()}
    by_turns(timed, 1)  # compiles what is compiled once
    seconds = by_turns(timed, options.repeats)
    rates = {name: [works[name][0][0] * works[name][0][1] / s for s in taken] for name, taken in seconds.items()}
    rows = []
    for name, (pairs, score) in works.items():
        least = None
        if peaks and name.startswith("fused"):
            least = roofline(*pairs, *shape, steps, peaks, name.removeprefix("fused ")).seconds
        rows.append(
            _row(f"scores, {name}", steps, pairs, seconds[name])
            | {
                "times direct": None if name == "direct" else ratios(rates[name], rates["direct"]),
                "roofline s": least,
                "of roofline": None if least is None else Spread.of(least / s for s in seconds[name]),
                "off": float((score(few, CHECKED, CHECKED).double().cpu() - exact).abs().max()),
            }
        )
    return rows


def fused_scores(matcher: IterativeMatching, precision: str, data: Data, n: int, m: int) -> Tensor:
    """Return S [N, M] through the fused kernel in a precision, the direct term in float32."""
    images, blocks = Items(data.images[:n], None), data.texts[:m].split(BLOCK)
    cross_weight, direct_weight = matcher.weights()
    scores_NM = torch.empty(n, m, device=images.vectors.device)
    for block, into_NC in zip(blocks, scores_NM.split(BLOCK, dim=1), strict=True):
        texts = Items(block, None)
        into_NC.copy_(cross_scores_fused(matcher, *matcher.sides(images, texts), precision))
        left_ND, right_CD = direct_term(images, texts, matcher.config.direct, matcher.config.queries)
        into_NC.mul_(cross_weight).addmm_(left_ND * direct_weight, right_CD.T)
    return scores_NM


def _plain(matcher: IterativeMatching, data: Data, n: int, m: int) -> Tensor:
    return forms.eager_scores(matcher, data, n, m, cross_term)


def _direct(matcher: IterativeMatching, data: Data, n: int, m: int) -> Tensor:
    return scores_direct(matcher, *data.first(n, m))


def _exact(matcher: IterativeMatching, data: Data) -> Tensor:
    wide = matcher_of(matcher.width, matcher.steps).double()
    wide.load_state_dict(matcher.state_dict())
    return scores_direct(wide, data.images.double(), data.texts.double())


def _training_rows(device: str, shape: tuple[int, int], options: Options) -> list[Row]:
    """Return rows of a training step: the engine at its batch, both forms at the direct form's."""
    matcher = matcher_of(shape[1], 2).to(device)
    small, large = (2, 4) if options.tiny else (BATCH_DIRECT, BATCH)
    data = _on(device, maps(large, *shape))
    rows = []
    for loss in training.LOSSES:
        works = (("engine", large), ("engine", small), ("direct", small))
        timed = {f"{form} {batch}": partial(_step, device, form, matcher, data, batch, loss) for form, batch in works}
        by_turns(timed, 1)
        seconds = by_turns(timed, options.repeats)
        for form, batch in works:
            row = _row(f"training step, {form}, {loss}", 2, (batch, batch), seconds[f"{form} {batch}"])
            if (form, batch) == ("engine", small):
                row["times direct"] = ratios(seconds[f"direct {small}"], seconds[f"engine {small}"])
            rows.append(row | {"peak GiB": _step_bytes(timed[f"{form} {batch}"], device) / GIB})
    return rows


def _step(device: str, form: str, matcher: IterativeMatching, data: Data, batch: int, loss: str) -> None:
    images, texts = (t[:batch].clone().requires_grad_() for t in (data.images, data.texts))
    matcher.zero_grad(set_to_none=True)
    training.once(form, matcher, images, texts, loss)
    _synchronise(device)


def _step_bytes(step: Callable[[], Any], device: str) -> float:
    """Return the bytes of device memory that a step takes beyond what is held before it."""
    if device == "cpu":
        return 0.0
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step()
    return float(torch.cuda.max_memory_allocated() - before)


def _synchronised(device: str, score: Callable[[Data, int, int], Tensor], data: Data, n: int, m: int) -> None:
    score(data, n, m)
    _synchronise(device)


def _synchronise(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _row(what: str, steps: int, pairs: tuple[int, int], seconds: Sequence[float]) -> Row:
    return {
        "what": what,
        "K": steps,
        "images x texts": f"{pairs[0]:,} x {pairs[1]:,}",
        "seconds": Spread.of(seconds),
        "pairs/s": Spread.of(pairs[0] * pairs[1] / s for s in seconds),
        "times direct": None,
        "roofline s": None,
        "of roofline": None,
        "off": None,
        "peak GiB": None,
    }


def _within(wanted: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    return min(wanted[0], size[0]), min(wanted[1], size[1])


def _on(device: str, data: Data) -> Data:
    return replace(data, images=data.images.to(device), texts=data.texts.to(device))


def _roofline_notes(peaks: Peaks | None) -> list[str]:
    if peaks is None:
        return ["No roofline: the peak rates of this device are not in `lile.matching.roofline`."]
    notes = [
        f"Peaks: {peaks.bf16 / 1e12:.0f} TFLOP/s of bfloat16 and {peaks.fp32 / 1e12:.0f} of float32 matrix work, "
        f"{peaks.special / 1e12:.2g} T special functions/s; the roofline is the slower of both."
    ]
    for steps in STEPS:
        matrix, special = operations(1, 1, *SHAPE, steps)
        notes.append(
            f"K = {steps}: a pair takes {matrix:,} operations of matrix work and {special:,} special functions."
        )
    return notes


def draw(figure: Figure, rows: Sequence[Row]) -> None:
    """Draw the rate of each form, and the roofline's where there is one."""
    own = [row for row in rows if row["what"].startswith("scores")]
    axes = figure.subplots()
    labels = [f"{row['what'].removeprefix('scores, ')}, K={row['K']}" for row in own]
    bars = axes.barh(labels, [row["pairs/s"].median for row in own], label="measured")
    axes.bar_label(bars, fmt=" %.3g", fontsize=7)
    for place, row in enumerate(own):
        if row["of roofline"] is not None:
            axes.plot(row["pairs/s"].median / row["of roofline"].median, place, "k|", markersize=18)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="pairs/s; the mark is the roofline")
