"""Section 2: a training step (scores, triplet loss, gradients), the engine against autograd through the direct form.

Shapes: B pairs of a batch, m maps of an item, d width, K steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmarks.child import Peak, in_child
from benchmarks.data import maps, matcher_of
from benchmarks.harness import Options, Result, Row, Spread, ratios, seconds_of
from lile.matching.direct import scores_direct
from lile.models.losses import triplet_loss

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAPS, WIDTH, STEPS = 16, 1024, 2
COMPARED = 32  # pairs of the largest batch for which the direct form fits in the memory of a small machine
ENGINE_ALONE, ENGINE_LONG = (128,), (512, 1024)
MARGIN = 100.0  # every hinge is active: the step with the most work
LOSSES = ("hardest", "mean")
MIB = 1 << 20


def measure(options: Options) -> Result:
    """Measure both losses: both forms at the batch that both can hold, the engine alone at larger ones."""
    shape = (4, 32, STEPS) if options.tiny else (MAPS, WIDTH, STEPS)
    compared = 4 if options.tiny else COMPARED
    alone = (8,) if options.tiny else ENGINE_ALONE + (ENGINE_LONG if options.long else ())
    rows: list[Row] = []
    for loss in LOSSES:
        rows += _compared(shape, compared, loss, options)
        rows += [_row("engine", batch, loss, [_step("engine", shape, batch, loss, options)]) for batch in alone]
    return Result(
        "Training step",
        f"Scores of all pairs of a batch at m = {shape[0]}, d = {shape[1]}, K = {STEPS}, the triplet loss with the "
        "hardest negatives or the mean over all, and the gradients by maps and weights, in float32. Each step runs in "
        "a process of its own; `peak MiB` is what the process came to hold beyond weights and maps, gradients among "
        "it. The direct form is differentiated by autograd, which keeps every tensor of every pair.",
        rows,
        draw,
        [
            f"The direct form's batch is {compared}: at 128 it would hold {(128 // compared) ** 2} times as much. "
            "No figure is scaled: larger batches are the engine's alone.",
            "The margin is so large that every hinge has a gradient.",
            "Aims: at least 15 times faster, at most 1/8 of the memory; a batch of 128 under 4 GiB (4,096 MiB).",
            *([] if options.long else ["Batches of 512 and 1,024 are measured with --long."]),
        ],
    )


def _compared(shape: Sequence[int], batch: int, loss: str, options: Options) -> list[Row]:
    found: dict[str, list[dict[str, float]]] = {"engine": [], "direct": []}
    for _ in range(options.repeats):
        for form, steps in found.items():
            steps.append(_step(form, shape, batch, loss, options))
    rows = [_row(form, batch, loss, steps) for form, steps in found.items()]
    both = [[step[key] for step in found[form]] for key in ("seconds", "bytes") for form in ("direct", "engine")]
    rows[0] |= {"times faster": ratios(*both[:2]), "share of memory": ratios(both[3], both[2])}
    return rows


def _step(form: str, shape: Sequence[int], batch: int, loss: str, options: Options) -> dict[str, float]:
    asked = {"form": form, "shape": list(shape), "batch": batch, "loss": loss}
    return in_child("benchmarks.training", "step", options, **asked)


def _row(form: str, batch: int, loss: str, steps: Sequence[dict[str, float]]) -> Row:
    return {
        "loss": loss,
        "batch": batch,
        "form": form,
        "seconds": Spread.of(step["seconds"] for step in steps),
        "pairs/s": Spread.of(batch**2 / step["seconds"] for step in steps),
        "peak MiB": Spread.of(step["bytes"] / MIB for step in steps),
        "times faster": None,
        "share of memory": None,
    }


def step(form: str, shape: Sequence[int], batch: int, loss: str) -> dict[str, float]:
    """Return seconds and peak bytes of one step; runs in a child."""
    m, d, steps = shape
    matcher = matcher_of(d, steps)
    data = maps(batch, m, d)
    once(form, matcher, data.images[:2], data.texts[:2], loss)  # compiles, loads and starts threads
    matcher.zero_grad(set_to_none=True)
    images, texts = data.images.clone().requires_grad_(), data.texts.clone().requires_grad_()
    del data
    peak = Peak()
    seconds = seconds_of(lambda: once(form, matcher, images, texts, loss))
    assert images.grad is not None, "the step left no gradient"
    return {"seconds": seconds, "bytes": max(1, peak.bytes())}


def once(form: str, matcher: Any, images: Tensor, texts: Tensor, loss: str) -> None:
    """Take one step: scores, loss, gradients; on whatever device the maps are."""
    scores_BB = matcher.scores(images, texts) if form == "engine" else scores_direct(matcher, images, texts)
    negatives_BB = ~torch.eye(len(images), dtype=torch.bool, device=images.device)
    triplet_loss(scores_BB, negatives_BB, MARGIN, loss).backward()


def draw(figure: Figure, rows: Sequence[Row]) -> None:
    """Draw time and memory of a step over the batch."""
    for axes, column in zip(figure.subplots(1, 2), ("seconds", "peak MiB"), strict=True):
        for form, marker in (("engine", "o"), ("direct", "s")):
            for loss, style in (("hardest", "-"), ("mean", "--")):
                own = [row for row in rows if (row["form"], row["loss"]) == (form, loss)]
                heights = [row[column].median for row in own]
                axes.plot([row["batch"] for row in own], heights, marker + style, label=f"{form}, {loss}")
        axes.set(xscale="log", yscale="log", xlabel="batch", ylabel=column)
        axes.grid(visible=True, alpha=0.3)
        axes.legend(fontsize=7)
