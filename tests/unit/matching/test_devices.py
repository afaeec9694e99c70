from __future__ import annotations

import pytest
import torch

from lile.errors import InputError
from lile.matching.config import MatchingConfig
from lile.matching.devices import scores_on_devices
from lile.matching.matcher import IterativeMatching


@pytest.fixture
def matcher():
    torch.manual_seed(0)
    return IterativeMatching(24, 2, MatchingConfig())


def drawn(count, rows, generator):
    keep = torch.rand(count, rows, generator=generator) < 0.7
    keep[:, 0] = True
    return torch.randn(count, rows, 24, generator=generator), keep


@pytest.fixture
def items():
    generator = torch.Generator().manual_seed(1)
    (v, v_keep), (w, w_keep) = drawn(37, 5, generator), drawn(11, 6, generator)
    return v, w, v_keep, w_keep


def test_two_devices_give_what_one_gives_to_the_last_bit(matcher, items):
    v, w, v_keep, w_keep = items
    one = scores_on_devices(matcher, v, w, ["cpu"], v_keep, w_keep)
    assert torch.equal(one, scores_on_devices(matcher, v, w, ["cpu", torch.device("cpu")], v_keep, w_keep))
    assert torch.equal(one, scores_on_devices(matcher, v, w, ["cpu"] * 20, v_keep, w_keep))
    with torch.no_grad():
        torch.testing.assert_close(one, matcher.scores(v, w, v_keep, w_keep), rtol=0, atol=1e-6)
    assert not one.requires_grad


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_rows_do_for_many_devices(matcher, items, count):
    v, w = items[:2]
    assert scores_on_devices(matcher, v[:count], w, ["cpu"] * 4).shape == (count, 11)


def test_double_stays_double(matcher, items):
    v, w = (t.double() for t in items[:2])
    assert scores_on_devices(matcher.double(), v, w, ["cpu", "cpu"]).dtype == torch.float64


@pytest.mark.parametrize(
    ("devices", "message"),
    [
        ([], "devices is empty"),
        (["cpu", "gpu7"], "devices: 'gpu7' cannot be used here"),
        (["cuda:99"], "devices: 'cuda:99' cannot be used here"),
    ],
)
def test_no_device_and_an_unknown_one_are_named(matcher, items, devices, message):
    with pytest.raises(InputError, match=message):
        scores_on_devices(matcher, *items[:2], devices)


def test_a_bad_item_is_named_by_its_own_number(matcher, items):
    v, w = items[:2]
    v[30, 2, 7] = torch.nan
    with pytest.raises(InputError, match="images: item 30, vector 2, dimension 7 is nan"):
        scores_on_devices(matcher, v, w, ["cpu", "cpu"])


def test_what_goes_wrong_on_a_device_is_raised(matcher, items, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("out of memory, say")

    monkeypatch.setattr(IterativeMatching, "scores", broken)
    with pytest.raises(RuntimeError, match="out of memory, say"):
        scores_on_devices(matcher, *items[:2], ["cpu", "cpu"])
