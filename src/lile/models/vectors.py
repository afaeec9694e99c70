"""The plain poolings: one vector of an item, or all of its tokens; each vector of unit length.

Shapes: B items, L tokens, E width of the tokens, d joint width.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import normalize

from lile.matching.items import Items
from lile.models.tokens import Pool, Tokens


class MeanPooling(Pool):
    """The mean of the kept tokens, projected: VSE++ on the tokens of an image. Vectors [B, 1, d].

    Args:
        token_width: E.
        width: d.
    """

    def __init__(self, token_width: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(token_width, width)

    def forward(self, tokens: Tokens) -> Items:
        """Return vectors [B, 1, d]."""
        return Items(normalize(self.project(mean_of(tokens.context_BLE, tokens.keep_BL)), dim=-1)[:, None], None)


class LastState(Pool):
    """The last state of the side's GRU, which is d wide: VSE++ and VSRN. Vectors [B, 1, d]."""

    def forward(self, tokens: Tokens) -> Items:
        """Return vectors [B, 1, d]."""
        assert tokens.last_BE is not None, "the config asks for a GRU with this pooling"
        return Items(normalize(tokens.last_BE, dim=-1)[:, None], None)


class EveryToken(Pool):
    """Every token is a vector: SCAN and IMRAM. Vectors [B, L, d], as ragged as the tokens.

    Args:
        token_width: E.
        width: d. Tokens that come out of a GRU or graph have this width and are taken as they are (``project`` False).
        project: whether a linear layer brings tokens to width d.
    """

    def __init__(self, token_width: int, width: int, *, project: bool) -> None:
        super().__init__()
        self.project = nn.Linear(token_width, width) if project else nn.Identity()

    def forward(self, tokens: Tokens) -> Items:
        """Return vectors [B, L, d] and keep [B, L]; vectors that are not kept are zero."""
        keep_BL = tokens.keep_BL
        vectors_BLd = normalize(self.project(tokens.context_BLE), dim=-1)
        return Items(vectors_BLd.masked_fill(~keep_BL[..., None], 0.0), None if bool(keep_BL.all()) else keep_BL)


class Given(Pool):
    """The stored vectors lie in the joint space already (a dual encoder's): nothing is learnt. Vectors [B, L, E]."""

    def forward(self, tokens: Tokens) -> Items:
        """Return vectors [B, L, E] and keep [B, L]."""
        keep_BL = tokens.keep_BL
        vectors_BLE = normalize(tokens.context_BLE, dim=-1).masked_fill(~keep_BL[..., None], 0.0)
        return Items(vectors_BLE, None if bool(keep_BL.all()) else keep_BL)


def mean_of(tokens_BLE: Tensor, keep_BL: Tensor) -> Tensor:
    """Return the mean of the kept tokens, [B, E]; padding never counts, even where it is not finite."""
    kept_BLE = tokens_BLE.masked_fill(~keep_BL[..., None], 0.0)
    return kept_BLE.sum(dim=1) / keep_BL.sum(dim=1, keepdim=True)
