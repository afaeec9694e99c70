"""The kernel on a real GPU: against the direct form in float64 on the same GPU, and through the matcher's public door.

The same in Triton's interpreter, for every knob: tests/unit/matching/test_fused.py.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch

from lile.matching import fused
from lile.matching.config import MatchingConfig
from lile.matching.devices import scores_on_devices
from lile.matching.direct import scores_direct
from lile.matching.items import Items
from lile.matching.matcher import IterativeMatching

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    pytest.mark.skipif(
        torch.cuda.is_available() and not fused.available(), reason=str(fused.why_not() or "Triton is there")
    ),
]

TOLERANCE = {"fp32": 1e-6, "bf16": 4e-3}  # of a score that sums at most four cosines, as in the interpreter
EVERY_KNOB = {
    "similarity": "dot",
    "clip": "leaky_relu_0.1",
    "score_operand": "refined",
    "aggregate": "lse",
    "renormalise": True,
}
SHAPES = {
    "maps": (40, 70, 16, 16, 256),
    "full width": (9, 10, 16, 16, 1024),
    "regions and words": (12, 30, 36, 13, 1024),
    "odd": (5, 7, 3, 60, 70),
    "one": (1, 1, 1, 1, 1),
}


def drawn(shape, ragged):
    n, m, r, s, d = shape
    generator = torch.Generator("cuda").manual_seed(2)
    sides = []
    for count, rows in ((n, r), (m, s)):
        x = torch.randn(count, rows, d, generator=generator, device="cuda", dtype=torch.float64) + 0.3
        keep = None
        if ragged:
            keep = torch.rand(count, rows, generator=generator, device="cuda") < 0.5
            keep[:, rows // 2] = True
            x = x * keep[..., None]
        sides.append((x, keep))
    return sides


def both(shape, steps, precision, ragged, knobs):
    """Return the kernel's cross terms and the direct form's."""
    torch.manual_seed(4)
    matcher = IterativeMatching(shape[-1], steps, MatchingConfig(direct="none", **knobs)).double().cuda()
    (v, v_keep), (w, w_keep) = drawn(shape, ragged)
    with torch.no_grad():
        expected = scores_direct(matcher, v, w, v_keep, w_keep)
        sides = matcher.float().sides(Items(v.float(), v_keep), Items(w.float(), w_keep))
        assert fused.usable(matcher, *sides)
        return fused.cross_scores_fused(matcher, *sides, precision).double(), expected


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("knobs", [{}, EVERY_KNOB], ids=["as printed", "every knob"])
@pytest.mark.parametrize("ragged", [False, True], ids=["fixed", "ragged"])
@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_kernel_agrees_with_the_direct_form(shape, steps, ragged, knobs, precision):
    got, expected = both(SHAPES[shape], steps, precision, ragged, knobs)
    assert float((got - expected).abs().max()) <= TOLERANCE[precision]


@pytest.mark.parametrize("knob", [{k: v} for k, v in EVERY_KNOB.items()] + [{"clip": "none"}], ids=str)
def test_each_knob_alone(knob):
    got, expected = both(SHAPES["maps"], 2, "fp32", True, knob)
    assert float((got - expected).abs().max()) <= TOLERANCE["fp32"]


@pytest.mark.parametrize("queries", ["image", "text"])
def test_one_side_alone_asks(queries):
    got, expected = both(SHAPES["odd"], 2, "fp32", True, {"queries": queries})
    assert float((got - expected).abs().max()) <= TOLERANCE["fp32"]


@pytest.mark.parametrize(
    "tiling",
    [
        {"query_rows": 128},
        {"query_rows": 128, "context_rows": 32},
        {"context_rows": 16},
        {"columns": 64},
        {"stages": 2},
        {"warps": 4},
        {"warps": 8},
    ],
    ids=str,
)
def test_the_layout_changes_nothing_that_matters(tiling):
    matcher = IterativeMatching(256, 2, MatchingConfig()).cuda()
    (v, _), (w, _) = drawn(SHAPES["maps"], False)
    with torch.no_grad():
        sides = matcher.sides(Items(v.float(), None), Items(w.float(), None))
        usual = fused.cross_scores_fused(matcher, *sides, "bf16")
        other = fused.cross_scores_fused(matcher, *sides, "bf16", dataclasses.replace(fused.TILINGS["bf16"], **tiling))
    torch.testing.assert_close(usual, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize("steps", [1, 2])
def test_scores_and_their_gradient_through_the_matcher_are_the_direct_forms(steps):
    torch.manual_seed(4)
    matcher = IterativeMatching(64, steps, MatchingConfig()).cuda()
    (v, v_keep), (w, w_keep) = drawn((6, 5, 4, 7, 64), True)
    weights = torch.randn(6, 5, device="cuda", dtype=torch.float64)
    found = []
    for kind, scores in ((torch.float32, matcher.scores), (torch.float64, None)):
        model = matcher.to(kind)
        model.zero_grad(set_to_none=True)
        x, y = v.to(kind).requires_grad_(), w.to(kind).requires_grad_()
        s = scores(x, y, v_keep, w_keep) if scores else scores_direct(model, x, y, v_keep, w_keep)
        (s * weights.to(kind)).sum().backward()
        own = [p.grad for p in model.parameters() if p.grad is not None]
        found.append([t.detach().double() for t in (s, x.grad, y.grad, *own)])
    assert len(found[0]) == len(found[1])
    torch.testing.assert_close(found[0][0], found[1][0], rtol=0, atol=1e-6)
    for mine, direct in zip(found[0][1:], found[1][1:], strict=True):
        assert float((mine - direct).norm()) <= 1e-5 * float(direct.norm()) + 1e-9


def test_bfloat16_keeps_nearly_every_first_rank():
    """Its measured effect on what is reported: first ranks among 200 items, twins with noise of their own size."""
    torch.manual_seed(4)
    matcher = IterativeMatching(256, 2, MatchingConfig(direct="none")).cuda()
    v = torch.randn(200, 16, 256, device="cuda")
    w = v + torch.randn_like(v)
    with torch.no_grad():
        sides = matcher.sides(Items(v, None), Items(w, None))
        exact, rounded = (fused.cross_scores_fused(matcher, *sides, p) for p in ("fp32", "bf16"))
    assert float((exact - rounded).abs().max()) <= TOLERANCE["bf16"]
    same = (exact.argmax(1) == rounded.argmax(1)).double().mean()
    assert float(same) >= 0.99


def test_the_scores_are_those_of_the_cpu():
    torch.manual_seed(4)
    matcher = IterativeMatching(64, 2, MatchingConfig())
    (v, v_keep), (w, w_keep) = [(x.float().cpu(), keep.cpu()) for x, keep in drawn((20, 30, 5, 9, 64), True)]
    one = scores_on_devices(matcher, v, w, ["cpu"], v_keep, w_keep)
    every = [f"cuda:{place}" for place in range(torch.cuda.device_count())]
    torch.testing.assert_close(one, scores_on_devices(matcher, v, w, every, v_keep, w_keep), rtol=0, atol=2e-6)
