"""One side of a model: top -> graph -> GRU -> pooling, as its block of the config asks.

Shapes: B items, L tokens, H width of the top's output, E width of the context, r vectors, d joint width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lile.features.parts import PassThrough
from lile.matching.items import Items
from lile.models.config import ModelConfig
from lile.models.generalised_pooling import GeneralisedPooling
from lile.models.graph import RegionGraph
from lile.models.pooling import MapPooling
from lile.models.recurrent import Recurrent
from lile.models.residual_maps import ResidualMaps
from lile.models.side_config import SideConfig
from lile.models.tokens import Pool, Tokens
from lile.models.vectors import EveryToken, Given, LastState, MeanPooling
from lile.models.words import WordEmbedding

CHUNK = 16  # items of like length that go through a top together


class Side(nn.Module):
    """Images, or texts, from stored tokens or words to vectors.

    Args:
        config: the side's block.
        model: the model's block: m, d and the pooling's knobs.
        top: what is trained of the encoder, (tokens [B, L, .], keep [B, L]) -> [B, L, H]; or an embedding of words.
        top_width: H.
    """

    def __init__(self, config: SideConfig, model: ModelConfig, top: nn.Module, top_width: int) -> None:
        super().__init__()
        self.top, width = top, top_width
        self.graph = RegionGraph(width, model.width, config.graph_layers) if config.graph_layers else None
        self.local_width = width = model.width if self.graph is not None else width
        both = config.recurrent == "both"
        self.recurrent = Recurrent(width, model.width, both=both) if config.recurrent != "none" else None
        width = model.width if self.recurrent is not None else width
        self.pool = _pool(config, model, self.local_width, width)

    def tokens(self, tokens_BL: Tensor, keep_BL: Tensor) -> Tokens:
        """Return what the pooling is given, for stored tokens [B, L, .] or word ids [B, L] and their keep [B, L]."""
        words = isinstance(self.top, WordEmbedding)
        local = self.top(tokens_BL) if words else through_top(self.top, tokens_BL, keep_BL)
        if self.graph is not None:
            local = self.graph(local, keep_BL)
        if self.recurrent is None:
            return Tokens(local, local, keep_BL)
        context, last = self.recurrent(local, keep_BL)
        return Tokens(local, context, keep_BL, last)

    def forward(self, tokens_BL: Tensor, keep_BL: Tensor) -> Items:
        """Return the items' vectors [B, r, d] and keep [B, r]."""
        return self.pool(self.tokens(tokens_BL, keep_BL))


def _pool(config: SideConfig, model: ModelConfig, local_width: int, width: int) -> Pool:
    """Return the pooling; ``local_width`` is that of the tokens before a GRU, ``width`` that after it."""
    d, hidden = model.width, model.pooling.hidden
    contextual = config.graph_layers > 0 or config.recurrent != "none"
    match config.pooling:
        case "maps":
            return MapPooling(width, model.maps, d, hidden, own_values=model.pooling.values == "own")
        case "residual_maps":
            return ResidualMaps(local_width, width, model.maps, d, hidden, recurrent=config.recurrent != "none")
        case "mean":
            return MeanPooling(width, d)
        case "last":
            return LastState()
        case "gpo":
            return GeneralisedPooling(width, d)
        case "none":
            return EveryToken(width, d, project=not contextual)
        case "given":
            return Given()


def through_top(top: nn.Module, tokens_BLH: Tensor, keep_BL: Tensor) -> Tensor:
    """Return the top's output [B, L, H] for ragged items, without spending time on padding.

    Items of like length go through ``top`` together, cut to the longest among them: with captions of 2 to 484 tokens
    most of a padded batch would be padding. No item sees another, so this changes no result. Padding comes out zero.
    """
    if isinstance(top, PassThrough) or bool(keep_BL.all()):
        return top(tokens_BLH, keep_BL)
    places_L = torch.arange(1, keep_BL.shape[1] + 1, device=keep_BL.device)
    lengths_B = (keep_BL * places_L).amax(dim=1)  # up to the last kept token: some before it may be left out
    order_B = lengths_B.argsort(stable=True)
    parts = []
    for chunk in order_B.split(CHUNK):
        longest = int(lengths_B[chunk].max())
        part = top(tokens_BLH[chunk, :longest], keep_BL[chunk, :longest])
        parts.append(nn.functional.pad(part, (0, 0, 0, keep_BL.shape[1] - longest)))
    return torch.cat(parts)[order_B.argsort()]
