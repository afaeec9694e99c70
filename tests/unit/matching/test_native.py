"""The compiled engine against the direct form in float64, and what its promises are."""

from __future__ import annotations

import itertools
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cases import KNOBS, PUBLISHED, items_of, matcher_of, shrinking_matcher_of
from hypothesis import given, settings
from hypothesis import strategies as st

from lile.matching import compiler
from lile.matching.direct import scores_direct


@pytest.fixture(autouse=True)
def compiled():
    if compiler.native_library() is None:
        pytest.skip("no C++ compiler here: the engine runs in plain PyTorch")


def rough_scores(matcher, v, w, *keeps):
    scores = matcher.float().scores(v.float(), w.float(), *keeps)
    matcher.double()
    return scores.double()


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize(("knobs", "steps"), list(itertools.product([*KNOBS, *PUBLISHED.values()], [1, 2, 3, 4])))
def test_float32_scores_equal_the_direct_form_to_1e_6(knobs, steps, ragged):
    matcher = matcher_of(37, steps, **{**knobs, "reduce": "mean"})
    v, v_keep = items_of(5, 7, 37, 0, ragged)
    w, w_keep = items_of(6, 19, 37, 1, ragged)
    v, w = (x / x.norm(dim=-1, keepdim=True) for x in (v, w))  # what the dot product of IMRAM expects
    exact = scores_direct(matcher, v, w, v_keep, w_keep)
    torch.testing.assert_close(rough_scores(matcher, v, w, v_keep, w_keep), exact, rtol=0, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    images=st.integers(1, 6),
    texts=st.integers(1, 6),
    maps=st.integers(1, 40),
    words=st.integers(1, 40),
    width=st.integers(1, 100),
    steps=st.integers(1, 3),
    ragged=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_any_shape(images, texts, maps, words, width, steps, ragged, seed):
    matcher = matcher_of(width, steps, seed, reduce="mean")
    v, v_keep = items_of(images, maps, width, seed, ragged)
    w, w_keep = items_of(texts, words, width, seed + 1, ragged)
    exact = scores_direct(matcher, v, w, v_keep, w_keep)
    # a map whose similarities are all but clipped away amplifies float32's rounding: rare, seen up to a few 1e-6
    torch.testing.assert_close(rough_scores(matcher, v, w, v_keep, w_keep), exact, rtol=0, atol=2e-5)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e3, 1e6])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_huge_and_tiny_norms_stay_finite(scale, steps):
    matcher = matcher_of(20, steps, reduce="mean")
    v, w = items_of(4, 3, 20, 0)[0] * scale, items_of(4, 5, 20, 1)[0]
    v[1, 1] = 0
    w[2] = 0
    scores = rough_scores(matcher, v, w)
    assert torch.isfinite(scores).all()
    assert scores.abs().max() <= 1 + 1e-5


def test_vectors_that_nearly_cancel_keep_their_digits():
    """|a|^2 is a difference of large numbers here; in float32 alone it would be lost."""
    matcher = matcher_of(32, 1, direct="none", clip="none", inverse_temperature=1e-3)
    v, w = items_of(4, 2, 32, 0)[0], items_of(4, 22, 32, 1)[0]
    w[:, 1::2] = -w[:, ::2] * 0.9999  # in every lane of two registers
    torch.testing.assert_close(rough_scores(matcher, v, w), scores_direct(matcher, v, w), rtol=0, atol=2e-3)


def test_sharp_attention_does_not_overflow():
    matcher = matcher_of(16, 2, inverse_temperature=400.0, reduce="mean")
    v, w = items_of(4, 3, 16, 0)[0], items_of(4, 5, 16, 1)[0]
    torch.testing.assert_close(rough_scores(matcher, v, w), scores_direct(matcher, v, w), rtol=0, atol=1e-4)


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize(("low", "high"), [(-25, -15), (-26, -22)], ids=["small", "shorter than counts"])
@pytest.mark.parametrize("steps", [2, 3])
def test_gates_that_close_keep_the_direction_of_what_is_left(steps, low, high, renormalise):
    knobs = {"score_operand": "refined", "clip": "none", "reduce": "mean", "renormalise": renormalise}
    matcher = shrinking_matcher_of(40, steps, low, high, **knobs)
    v, w = items_of(4, 3, 40, 0)[0], items_of(4, 5, 40, 1)[0]
    torch.testing.assert_close(rough_scores(matcher, v, w), scores_direct(matcher, v, w), rtol=0, atol=2e-6)


def test_a_gate_that_is_not_a_number_is_not_swallowed():
    matcher = matcher_of(16, 2).float()
    with torch.no_grad():
        matcher.image_memory.gate.bias[3] = float("nan")
    v, w = (items_of(4, 3, 16, seed)[0].float() for seed in (0, 1))
    assert torch.isnan(matcher.scores(v, w)).all()


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_score_has_the_same_bits_in_any_block_and_on_any_number_of_threads(steps, monkeypatch):
    matcher = matcher_of(48, steps).float()
    v, v_keep = items_of(21, 9, 48, 0, ragged=True)
    w, w_keep = items_of(19, 17, 48, 1, ragged=True)
    v, w = v.float(), w.float()
    side = matcher.sides(*matcher._checked(v, w, v_keep, w_keep))
    library = compiler.native_library()
    native = sys.modules["lile.matching.native"]
    whole = native.cross_native(library, matcher, *side)
    part = native.cross_native(library, matcher, side[0][3:10], side[1][5:6])
    assert torch.equal(part, whole[3:10, 5:6])
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(native, "BLOCK", 2)
    assert torch.equal(native.cross_native(library, matcher, *side), whole)


def test_vectors_may_lie_anywhere_in_memory():
    """One panel wide or one vector each, the packed form is the caller's memory: not always aligned for registers."""
    for width, maps in ((32, 5), (64, 1)):
        matcher = matcher_of(width, 2).float()
        w = items_of(3, 2, width, 1)[0].float()
        for start in (1, 3, 16):
            v = torch.randn(4 * maps * width + start)[start:].reshape(4, maps, width)
            assert torch.equal(matcher.scores(v, w), matcher.scores(v.clone(), w))


def test_views_score_as_their_copies():
    matcher = matcher_of(64, 2).float()
    v, w = torch.randn(8, 64, 9).mT[::2, 1:6], torch.randn(1, 1, 64).expand(5, 4, 64)
    assert torch.equal(matcher.scores(v, w), matcher.scores(v.clone().contiguous(), w.contiguous()))


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_torchs_defaults_of_type_and_device_do_not_reach_the_compiled_code(steps):
    matcher = matcher_of(20, steps).float()
    v, w = items_of(4, 3, 20, 0)[0].float().requires_grad_(), items_of(5, 4, 20, 1)[0].float()
    plain = matcher.scores(v, w)
    (by_v,) = torch.autograd.grad(plain.sum(), v)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            scores = matcher.scores(v, w)
            (found,) = torch.autograd.grad(scores.sum(), v)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(scores, plain)
    assert torch.equal(found, by_v)


def test_a_user_without_a_home_gets_a_temporary_folder(tmp_path, monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("LILE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nobody)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert compiler._folder().parent == tmp_path


def test_without_a_compiler_it_says_so_once_and_scores_the_same(monkeypatch, caplog):
    matcher = matcher_of(16, 2).float()
    v, w = (items_of(4, 3, 16, seed)[0].float() for seed in (0, 1))
    fast = matcher.scores(v, w)
    monkeypatch.setattr(compiler, "COMPILERS", ("no-such-compiler",))
    compiler.native_library.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, logger="lile.matching"):
            slow = [matcher.scores(v, w) for _ in range(3)]
    finally:
        compiler.native_library.cache_clear()
    assert len([r for r in caplog.records if "plain PyTorch" in r.message]) == 1
    assert "no-such-compiler" in caplog.text
    torch.testing.assert_close(slow[0], fast, rtol=0, atol=2e-6)


def jobs_that_load_it(folder, count):
    code = "from lile.matching.compiler import native_library; import sys; sys.exit(native_library() is None)"
    env = {**os.environ, "LILE_CACHE": str(folder)}
    jobs = [subprocess.Popen([sys.executable, "-c", code], env=env) for _ in range(count)]
    return [job.wait() for job in jobs]


def test_jobs_that_start_together_compile_into_one_library(tmp_path):
    assert jobs_that_load_it(tmp_path, 3) == [0, 0, 0]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_library_that_was_cut_short_is_compiled_again(tmp_path):
    assert jobs_that_load_it(tmp_path, 1) == [0]
    (library,) = tmp_path.iterdir()
    library.write_bytes(b"not a library")
    assert jobs_that_load_it(tmp_path, 1) == [0]
    assert library.stat().st_size > 1000


def test_processors_with_narrower_vectors_get_the_same(tmp_path):
    """The build for processors without AVX-512, run here."""
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from cases import items_of, matcher_of
from lile.matching import compiler
from lile.matching.direct import scores_direct
import torch
compiler.FLAGS = (*compiler.FLAGS, *sys.argv[2:])
assert compiler.native_library().lanes == 8
for steps in (1, 2, 3):
    matcher = matcher_of(37, steps, reduce="mean")
    v, v_keep = items_of(5, 7, 37, 0, True)
    w, w_keep = items_of(6, 19, 37, 1, True)
    exact = scores_direct(matcher, v, w, v_keep, w_keep)
    (by_v,) = torch.autograd.grad(scores_direct(matcher, v.requires_grad_(), w, v_keep, w_keep).sum(), v)
    rough = v.detach().float().requires_grad_()
    scores = matcher.float().scores(rough, w.float(), v_keep, w_keep)
    torch.testing.assert_close(scores.double(), exact, rtol=0, atol=2e-6)
    scores.sum().backward()
    assert (rough.grad - by_v).norm() <= 1e-4 * by_v.norm()
"""
    env = {**os.environ, "LILE_CACHE": str(tmp_path)}
    narrow = ["-mno-avx512f"] if "avx512" in compiler._processor() else []
    command = [sys.executable, "-c", code, str(Path(__file__).parent), *narrow]
    assert subprocess.run(command, env=env).returncode == 0
