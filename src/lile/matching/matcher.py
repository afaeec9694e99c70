"""The matcher of LILE, IMRAM and SCAN (Eq. 1 to 7): one public function, ``scores``, for every member of the family.

Shapes: N images, M texts, P pairs, r vectors of the longest item (m where there are maps), d width.
The readable form of the same equations is :mod:`lile.matching.direct`; tests hold the two together.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lile.errors import InputError
from lile.matching.backend import cross_scores
from lile.matching.config import MatchingConfig
from lile.matching.gradient import AllPairs
from lile.matching.items import Items, checked_items
from lile.matching.memory import GatedMemory
from lile.matching.sides import Side, SideName, direct_product, side_of


class IterativeMatching(nn.Module):
    """K steps of attention and gated refinement in one or both directions, and the direct term.

    Args:
        width: d.
        steps: K.
        config: the knobs of PAPER.md section 4.

    Raises:
        InputError: ``width`` or ``steps`` below one.
    """

    def __init__(self, width: int, steps: int, config: MatchingConfig) -> None:
        super().__init__()
        for name, value in (("width", width), ("steps", steps)):
            if value < 1:
                raise InputError(f"{name}={value} must be at least 1")
        self.width, self.steps, self.config = width, steps, config
        self.precision = "fp32"  # of the GPU kernel's inputs; "bf16" is faster and rounds (docs/engine.md)
        # The last gate has no effect on the score: at K = 1 there is none.
        gated = config.update == "gated"
        self.image_memory = GatedMemory(width, gated=gated) if steps > 1 and config.image_asks else None
        self.text_memory = GatedMemory(width, gated=gated) if steps > 1 and config.text_asks else None
        if config.direct != "none":
            logit = torch.logit(torch.tensor(config.alpha_init))
            self.alpha_logit = nn.Parameter(logit, requires_grad=config.alpha_trained)

    @property
    def alpha(self) -> Tensor:
        """The weight of the cross terms in Eq. 5, a scalar in (0, 1); one where there is no direct term."""
        if self.config.direct == "none":
            return torch.ones((), dtype=torch.float64)
        return self.alpha_logit.sigmoid()

    def weights(self) -> tuple[Tensor, Tensor]:
        """Return the scalars of Eq. 5 to 7: S = first * (cross terms summed over K) + second * direct term."""
        terms = self.steps * (2 if self.config.queries == "both" else 1) if self.config.reduce == "mean" else 1
        alpha = self.alpha.double()  # its gradient is a small difference of large sums
        return alpha / terms, (1 - alpha) * self.steps / terms  # the direct term is the same at every step

    def scores(
        self, images: Tensor, texts: Tensor, image_keep: Tensor | None = None, text_keep: Tensor | None = None
    ) -> Tensor:
        """Return S [N, M] of every image with every text, in float32 (float64 for float64 vectors).

        Differentiable: see :mod:`lile.matching.gradient`.

        Args:
            images: image vectors [N, r, d].
            texts: text vectors [M, r, d]; r may differ between the sides.
            image_keep: [N, r] True where a vector is there; None where all are.
            text_keep: the same of the texts, [M, r].

        Raises:
            InputError: sizes, masks or types that do not fit, an item without a vector, a number that is not finite.
        """
        with torch.autocast(images.device.type, enabled=False):  # bfloat16 cosines are too coarse to rank by
            v, w = self._checked(images, texts, image_keep, text_keep)
            return AllPairs.apply(self, v.keep, w.keep, v.vectors, w.vectors, *self.parameters())

    def all_pairs(self, images: Items, texts: Items) -> tuple[Tensor, Tensor]:
        """Return S [N, M] and its cross terms [N, M] without a graph; called by :meth:`scores`, which has one."""
        with torch.no_grad():
            cross_weight, direct_weight = self.weights()
            cross_NM = cross_scores(self, *self.sides(images, texts))
            if self.config.direct == "none":
                return cross_NM * cross_weight, cross_NM
            direct_NM = direct_product(images, texts, self.config.direct, self.config.queries)
            return cross_weight * cross_NM + direct_weight * direct_NM.to(cross_NM.dtype), cross_NM

    def sides(self, images: Items, texts: Items) -> tuple[Side, Side]:
        """Return what is computed once per item, for both sides."""
        return self.side(images, "image"), self.side(texts, "text")

    def side(self, items: Items, which: SideName) -> Side:
        """Return what is computed once per item, for items that are images or texts."""
        image_memory, text_memory = self.image_memory, self.text_memory
        return side_of(items, *((image_memory, text_memory) if which == "image" else (text_memory, image_memory)))

    def _checked(
        self, images: Tensor, texts: Tensor, image_keep: Tensor | None, text_keep: Tensor | None
    ) -> tuple[Items, Items]:
        if images.device != texts.device:
            raise InputError(f"images are on {images.device}, texts on {texts.device}; bring them to one device")
        wide = torch.promote_types(images.dtype, texts.dtype) == torch.float64
        kind = torch.float64 if wide else torch.float32
        gate = self.image_memory or self.text_memory
        if gate is not None and gate.gate.weight.dtype != kind:
            raise InputError(
                f"images are {images.dtype}, texts {texts.dtype}, which is computed in {kind}, but the matcher's gates "
                f"are {gate.gate.weight.dtype}; bring vectors and matcher to float32, or both to float64"
            )
        return tuple(  # type: ignore[return-value]
            # in one memory order, on which the last bit of a length or of a matrix product depends
            checked_items(
                name, vectors.to(kind).contiguous() if vectors.is_floating_point() else vectors, keep, self.width
            )
            for name, vectors, keep in (("images", images, image_keep), ("texts", texts, text_keep))
        )
