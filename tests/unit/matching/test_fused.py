"""The GPU kernel, without a GPU: its numbers through Triton's interpreter, its code through the compiler for Hopper."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from fused_cases import CASES

from lile.errors import InputError
from lile.matching import fused
from lile.matching.config import MatchingConfig
from lile.matching.items import Items
from lile.matching.matcher import IterativeMatching

TOLERANCE = {"fp32": 1e-6, "bf16": 4e-3}  # of a score that sums at most four cosines

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")


@pytest.fixture(scope="module")
def errors() -> dict[str, list[float]]:
    """All cases, run by one process in the interpreter."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).with_name("fused_cases.py"))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@needs_triton
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_agrees_with_the_direct_form(errors, name):
    mine, _, largest = errors[name]
    assert mine <= TOLERANCE[CASES[name].precision]
    assert largest > 0.1, "the case must have something to compare"


@needs_triton
@pytest.mark.parametrize("name", ["nearly cancelling", "nearly cancelling, one step"])
def test_short_attended_vectors_cost_the_kernel_no_digits(errors, name):
    mine, eager, _ = errors[name]
    assert mine <= 3 * eager


@needs_triton
@pytest.mark.parametrize(
    ("precision", "steps", "rows", "stack"),
    [("bf16", 2, 16, 256), ("bf16", 1, 16, 0), ("bf16", 2, 64, 64), ("fp32", 2, 16, 64), ("fp32", 2, 64, 1024)],
)
def test_the_kernel_compiles_for_hopper_and_keeps_to_its_registers(precision, steps, rows, stack, tmp_path):
    kernel = compiled(precision, steps, rows)
    assert kernel.metadata.shared <= 99 * 1024  # what a program may have on the smallest devices since Ampere
    assert stack_bytes(kernel, tmp_path) <= stack  # spilled between the loops
    if precision == "bf16":
        assert "wgmma.mma_async" in kernel.asm["ptx"]
        assert ("tanh.approx.f32" in kernel.asm["ptx"]) == (steps == 2)


def compiled(precision: str, steps: int, rows: int) -> SimpleNamespace:
    """Compile what ``fused._launch`` would launch for items of so many vectors of width 1024."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from lile.matching.fused_kernel import cross_kernel

    items, half = torch.zeros(2, rows, 1024), torch.zeros(2, rows, 2048)
    lengths, gram = torch.ones(2, rows), torch.eye(rows, dtype=torch.float64).expand(2, rows, rows)
    side = fused.Side(items, None, lengths, gram, half, half)
    (group,) = fused.packed(side, fused.PRECISIONS[precision])
    arguments, options = fused.launch_arguments(
        torch.zeros(2, 2), group, group, steps, MatchingConfig(), fused.TILINGS[precision], fast=precision == "bf16"
    )
    names = cross_kernel.arg_names
    pointers = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.int32: "*i32", torch.int64: "*i64"}
    signature, attributes = {}, {}
    for place, (name, value) in enumerate(zip(names, arguments, strict=False)):
        if isinstance(value, torch.Tensor):
            signature[name] = pointers[value.dtype]
            attributes[(place,)] = [["tt.divisibility", 16]]
        else:
            signature[name] = "fp32" if isinstance(value, float) else "i32"
    constants = {name: options.pop(name) for name in names if name in options}
    signature |= dict.fromkeys(constants, "constexpr")
    indexed = {(names.index(name),): value for name, value in constants.items()}
    source = ASTSource(cross_kernel, signature, indexed, attributes)
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)


def stack_bytes(kernel: SimpleNamespace, folder: Path) -> int:
    """Return the bytes of local memory of a thread, by the report of the tool that Triton brings along."""
    tool = Path(find_spec("triton").origin).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if not tool.exists():
        pytest.skip("this Triton brings no cuobjdump")
    (folder / "kernel.cubin").write_bytes(kernel.asm["cubin"])
    command = [str(tool), "-res-usage", str(folder / "kernel.cubin")]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(re.search(r"STACK:(\d+)", report).group(1))


def sides(steps: int = 1, dtype: torch.dtype = torch.float32, rows: int = 3):
    matcher = IterativeMatching(4, steps, MatchingConfig()).to(dtype)
    items = Items(torch.randn(2, rows, 4, dtype=dtype), None)
    with torch.no_grad():
        return matcher, *matcher.sides(items, items)


def on_a_gpu(matcher, images, texts):
    """Return the same with images that say that they are on a GPU."""
    vectors = SimpleNamespace(
        is_cuda=True, dtype=images.vectors.dtype, shape=images.vectors.shape, device=torch.device("cuda:0")
    )
    return matcher, SimpleNamespace(vectors=vectors), texts


def test_on_a_cpu_the_kernel_is_not_used():
    assert not fused.usable(*sides())


def test_what_the_kernel_does_not_do_is_left_to_others(monkeypatch):
    monkeypatch.setattr(fused, "why_not", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    assert fused.usable(*on_a_gpu(*sides(2)))
    assert not fused.usable(*on_a_gpu(*sides(3)))
    assert not fused.usable(*on_a_gpu(*sides(dtype=torch.float64)))
    assert not fused.usable(*on_a_gpu(*sides(rows=65)))


def test_a_gpu_without_triton_is_said_once(monkeypatch, caplog):
    monkeypatch.setattr(fused, "why_not", lambda: "Triton is not installed")
    fused._say_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        assert not fused.usable(*on_a_gpu(*sides()))
        assert not fused.usable(*on_a_gpu(*sides()))
    assert [r.getMessage() for r in caplog.records] == [
        "matching runs in plain PyTorch on cuda:0, several times slower: Triton is not installed"
    ]


def test_an_unknown_precision_is_named():
    with pytest.raises(InputError, match="precision='fp8' must be one of fp32, bf16"):
        fused.cross_scores_fused(*sides(), precision="fp8")


def test_no_item_no_kernel():
    matcher, images, texts = sides()
    assert fused.cross_scores_fused(matcher, images[:0], texts).shape == (0, 2)


def test_a_factor_gives_lengths_to_float32_even_where_vectors_are_equal_or_zero():
    generator = torch.Generator().manual_seed(1)
    y = torch.randn(4, 6, 3, generator=generator, dtype=torch.float64)  # more vectors than dimensions
    y[1] = 0
    y[2, 1:] = y[2, :1]
    y[3] *= 1e8
    alpha = torch.rand(4, 5, 6, generator=generator, dtype=torch.float64)
    factors = fused.factors_of(y @ y.mT)
    assert factors.dtype == torch.float32
    got = (alpha.float() @ factors).norm(dim=-1)
    torch.testing.assert_close(got.double(), (alpha @ y).norm(dim=-1), rtol=1e-6, atol=1e-12)


def test_ragged_items_are_packed_in_groups_of_their_own_size():
    matcher = IterativeMatching(4, 2, MatchingConfig())
    keep = torch.zeros(3, 20, dtype=torch.bool)
    keep[0, [3, 19]] = True
    keep[1] = True
    keep[2, 7] = True
    vectors = torch.arange(240.0).view(3, 20, 4) * keep[..., None]
    with torch.no_grad():
        small, large = fused.packed(matcher.sides(Items(vectors, keep), Items(vectors, keep))[0], torch.float32)
    assert (small.places.tolist(), small.counts.tolist(), large.places.tolist()) == ([0, 2], [2, 1], [1])
    assert (small.vectors.shape, large.vectors.shape) == ((2, 16, 64), (1, 32, 64))
    assert torch.equal(small.vectors[0, :2, :4], vectors[0, [3, 19]])
    assert not small.vectors[0, 2:].any()
