"""One side of a model: ragged items in chunks of like length are the same; each pooling leaves what it promises."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lile.features.parts import PassThrough
from lile.models.config import ModelConfig
from lile.models.side import Side, through_top
from lile.models.words import WordEmbedding

POOLINGS = {
    "maps": {},
    "residual_maps": {},
    "mean": {},
    "last": {"recurrent": "both"},
    "gpo": {},
    "none": {},
    "given": {},
}
SEVERAL = {"maps": 3, "residual_maps": 3, "none": 6, "given": 6}


class Mixes(nn.Module):
    """A top in which every token sees every kept token of its item."""

    def forward(self, tokens, keep):
        return tokens + (tokens * keep[..., None]).sum(dim=1, keepdim=True)


def ragged(items=50, longest=8, width=5, dtype=torch.float64):
    lengths = torch.randint(1, longest + 1, (items,))
    lengths[0] = longest
    keep = torch.arange(longest)[None] < lengths[:, None]
    return torch.randn(items, longest, width, dtype=dtype), keep


def side_with(pooling, more=None, width=4):
    block = {"pooling": pooling, **(more or {})}
    config = ModelConfig.from_dict(
        {
            "preset": "custom",
            "maps": 3,
            "width": width,
            "image": block,
            "matching": {"kind": "max"},
            "training": {"epochs": 1},
        }
    )
    return Side(config.image, config, PassThrough(), 5)


def test_chunks_by_length_change_no_token_and_no_gradient():
    torch.manual_seed(0)
    tokens, keep = ragged()
    tokens.requires_grad_()
    top = Mixes()
    whole = top(tokens, keep).masked_fill(~keep[..., None], 0)
    chunked = through_top(top, tokens, keep).masked_fill(~keep[..., None], 0)
    torch.testing.assert_close(chunked, whole)
    weight = torch.randn_like(whole)
    expected, found = (torch.autograd.grad((maps * weight).sum(), tokens)[0] for maps in (whole, chunked))
    torch.testing.assert_close(found, expected)


def test_a_token_left_out_in_the_middle_is_left_out_and_no_other():
    torch.manual_seed(4)
    tokens, keep = ragged(items=20)
    thinner = keep.clone()
    thinner[:, 1] = False
    found = through_top(Mixes(), tokens, thinner)
    torch.testing.assert_close(found[thinner], Mixes()(tokens, thinner)[thinner])


@pytest.mark.parametrize("pooling", POOLINGS)
def test_vectors_of_an_item_do_not_depend_on_its_batch_or_padding(pooling):
    torch.manual_seed(1)
    side = side_with(pooling, POOLINGS[pooling]).double().eval()
    tokens, keep = ragged(items=9, longest=6)
    together = side(tokens, keep)
    assert together.vectors.shape[1:] == (SEVERAL.get(pooling, 1), 5 if pooling == "given" else 4)
    if pooling != "maps":  # LILE's are normed by layer, not by length
        kept = together.vectors if together.keep is None else together.vectors[together.keep]
        torch.testing.assert_close(kept.norm(dim=-1), torch.ones(kept.shape[:-1], dtype=torch.float64))
    for item in range(9):
        length = int(keep[item].sum())
        alone = side(tokens[item : item + 1, :length], keep[item : item + 1, :length]).vectors
        torch.testing.assert_close(together.vectors[item : item + 1, : alone.shape[1]], alone)


def test_graph_and_gru_stand_between_top_and_pooling():
    torch.manual_seed(2)
    side = side_with("last", {"recurrent": "forward", "graph_layers": 2}).double().eval()
    tokens, keep = ragged(items=4)
    found = side.tokens(tokens, keep)
    local = side.graph(tokens, keep)
    context, last = side.recurrent(local, keep)
    torch.testing.assert_close(found.local_BLH, local)
    torch.testing.assert_close(found.context_BLE, context)
    torch.testing.assert_close(found.last_BE, last)


def test_words_are_embedded_and_padding_is_not():
    torch.manual_seed(3)
    config = ModelConfig.from_dict({"preset": "baseline", "maps": 2, "width": 4, "text": {"source": "words"}})
    side = Side(config.text, config, WordEmbedding(7, 5), 5)
    ids = torch.tensor([[1, 5, 6, 2], [1, 4, 2, 0]])
    keep = ids > 0
    torch.testing.assert_close(side(ids, keep).vectors[1:], side(ids[1:, :3], keep[1:, :3]).vectors)
