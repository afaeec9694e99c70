"""A ViT over stored regions (PAPER.md section 2, the column of MS-COCO).

A region's features, and the linear map of its box where asked for, become a token: ``F -> H`` is trained. The tokens go
through all blocks of a ViT whose weights were learnt on whole pictures. The first blocks are frozen, yet the gradient
passes through them to the projection; the last ones are trained, and so is the final norm.

Regions have no grid, so there is no positional embedding; where a region lies is known from its box alone. There is no
class token either: what is pooled later are the regions. (The paper is silent on both.)

Shapes: B images, R regions, F features of a region, H width of the ViT. Geometry: x1, y1, x2, y2 and area as shares of
the picture, the last 5 columns of a stored token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lile.errors import InputError
from lile.features.encoder_config import EncoderConfig
from lile.features.libraries import REGION_VIT
from lile.features.parts import Frozen
from lile.features.store import GEOMETRY
from lile.features.timm_model import build_timm


class RegionVit(nn.Module):
    """Projection, frozen blocks, trained blocks, norm.

    Args:
        features: F.
        blocks: of a ViT of timm, all of them, in order.
        norm: the ViT's last.
        width: H.
        trainable_blocks: how many of the last blocks are trained.
        boxes: whether tokens end in :data:`GEOMETRY` columns.
        norm_pre: what the ViT does to tokens before its first block, if anything; frozen.
    """

    def __init__(
        self,
        features: int,
        blocks: Sequence[nn.Module],
        norm: nn.Module,
        width: int,
        *,
        trainable_blocks: int,
        boxes: bool,
        norm_pre: nn.Module | None = None,
    ) -> None:
        super().__init__()
        assert 0 <= trainable_blocks <= len(blocks), (trainable_blocks, len(blocks))
        depth = len(blocks) - trainable_blocks
        self.features = features
        # Torch's own start: with features of size s it gives tokens of about s / sqrt(3), which blocks normalise.
        self.projection = nn.Linear(features, width)
        self.geometry = nn.Linear(GEOMETRY, width, bias=False) if boxes else None
        self.frozen = Frozen(_Blocks([] if norm_pre is None else [norm_pre], blocks[:depth]))
        self.trained = _Blocks([], blocks[depth:])
        self.norm = norm

    def forward(self, tokens_BRF: Tensor, keep_BR: Tensor) -> Tensor:
        """Return tokens ``[B, R, H]``. Regions that ``keep_BR`` leaves out get no attention; theirs mean nothing.

        Args:
            tokens_BRF: stored tokens, with their geometry behind them where this module reads boxes.
            keep_BR: true on real regions.
        """
        tokens_BRH = self.projection(tokens_BRF[..., : self.features])
        if self.geometry is not None:
            tokens_BRH = tokens_BRH + self.geometry(tokens_BRF[..., self.features :])
        return self.norm(self.trained(self.frozen(tokens_BRH, keep_BR), keep_BR))


class _Blocks(nn.Module):
    """Blocks one after another, behind layers that look at each token alone."""

    def __init__(self, before: Sequence[nn.Module], blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.before, self.blocks = nn.Sequential(*before), nn.ModuleList(blocks)

    def forward(self, tokens_BRH: Tensor, keep_BR: Tensor) -> Tensor:
        tokens_BRH = self.before(tokens_BRH)
        # Most images have all their regions; a mask would only rule out the fastest attention kernels.
        masked = {} if bool(keep_BR.all()) else {"attn_mask": keep_BR[:, None, None, :]}
        for block in self.blocks:
            tokens_BRH = block(tokens_BRH, **masked)
        return tokens_BRH


def load_region_vit(cfg: dict[str, Any], seed: int, width: int) -> tuple[RegionVit, int, dict[str, Any]]:
    """Build the ViT that a config block names, to read a store of regions.

    Args:
        cfg: ``modality, library, weights, config, trainable_blocks, boxes`` of a block of ``encoders`` with library
            ``region_vit``.
        seed: the run's seed; only random weights of the ViT depend on it. The projection is drawn from torch's global
            generator, which the caller has seeded for all new weights of a row.
        width: of the stored tokens as they are read, geometry included where ``boxes`` is true.

    Returns:
        The module, H, and what it says of itself, for the run's record.

    Raises:
        InputError: the weights are missing, no ViT of timm, or have fewer blocks than are to be trained.
    """
    boxes = bool(cfg.get("boxes", True))
    read: dict[str, Any] = {key: cfg[key] for key in ("modality", "weights", "config") if key in cfg}
    config = EncoderConfig.from_dict({"trainable_blocks": cfg.get("trainable_blocks", 6), **read}, "image")
    model, origin = build_timm(config, seed)
    _check_vit(model, config)
    features = width - GEOMETRY if boxes else width
    assert features > 0, width
    vit = RegionVit(
        features,
        list(model.blocks),
        model.norm,
        model.embed_dim,
        trainable_blocks=config.trainable_blocks,
        boxes=boxes,
        norm_pre=model.norm_pre,
    )
    depth = len(model.blocks) - config.trainable_blocks
    facts = {"library": REGION_VIT, "weights": config.weights, **origin}
    shape = {"trainable_blocks": config.trainable_blocks, "depth": depth, "features": features, "boxes": boxes}
    return vit.train(), model.embed_dim, {**facts, **shape}


@torch.no_grad()
def _check_vit(model: Any, config: EncoderConfig) -> None:
    """Refuse models whose blocks do not take tokens and a mask, and fewer blocks than are to be trained."""
    from timm.models.vision_transformer import VisionTransformer

    where = f"encoders: {config.weights}"
    if not isinstance(model, VisionTransformer):
        raise InputError(f"{where}: a {type(model).__name__} cannot read regions; needed is a ViT of timm")
    if config.trainable_blocks > len(model.blocks):
        raise InputError(
            f"{where}: trainable_blocks is {config.trainable_blocks}, but it has only {len(model.blocks)} blocks"
        )
    if isinstance(model.norm, nn.Identity):
        raise InputError(f"{where}: it normalises after pooling, not its tokens; name another ViT of timm")
    keep_BR = torch.tensor([[True, True, False]])
    blocks, tokens_BRH = _Blocks([model.norm_pre], list(model.blocks)), torch.zeros(1, 3, model.embed_dim)
    try:
        others_BRH = tokens_BRH + ~keep_BR[..., None] * torch.linspace(-1, 1, model.embed_dim)
        first, second = (blocks(tokens, keep_BR) for tokens in (tokens_BRH, others_BRH))
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{where}: its blocks cannot leave regions out ({reason}); name another ViT of timm"
        ) from error
    if not torch.allclose(first[keep_BR], second[keep_BR], atol=1e-5):
        raise InputError(f"{where}: its blocks look at regions that are left out; update timm, or name another ViT")
