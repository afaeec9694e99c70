"""The bi-directional triplet loss of Eq. 8.

Shapes: B pairs of a batch; S [B, B] holds image i (row) against text j (column), true pairs on the diagonal.

Source: PAPER.md section 5. The paper does not state the reduction: both hinges of a pair are summed, and the mean over
the B pairs is taken, so that the gradient's scale does not follow the batch size. Deviation: none.
"""

from __future__ import annotations

from torch import Tensor


def negatives_of(groups_B: Tensor, images_B: Tensor, texts_B: Tensor) -> Tensor:
    """Return which pairs [B, B] may serve as negatives: another image, another group, and other words.

    Two groups may share a sentence word for word; the same text cannot be both right and wrong for an image.

    Args:
        groups_B: an integer per pair that names its group.
        images_B: an integer per pair that names its image.
        texts_B: an integer per pair that names its text.
    """
    differ = [codes_B[:, None] != codes_B[None, :] for codes_B in (groups_B, images_B, texts_B)]
    return differ[0] & differ[1] & differ[2]


def triplet_loss(
    scores_BB: Tensor, negatives_BB: Tensor, margin: float, negatives: str = "hardest", reduction: str = "mean"
) -> Tensor:
    """Return the loss, a scalar: mean over the batch of both hinges of Eq. 8.

    Args:
        scores_BB: S, rows are images.
        negatives_BB: True where a pair may serve as a negative. An anchor without any adds nothing.
        margin: Delta.
        negatives: per anchor the ``hardest`` negative's hinge, the ``sum`` of all, or their ``mean``.
        reduction: ``mean`` over the batch; or its ``sum``, as the published codes take it.
    """
    positive_B = scores_BB.diagonal()
    text_hinge_BB = (margin - positive_B[:, None] + scores_BB).relu()  # [D - S(I_i, T_i) + S(I_i, T_j)]+
    image_hinge_BB = (margin - positive_B[None, :] + scores_BB).relu()  # [D - S(I_i, T_i) + S(I_j, T_i)]+
    text_hinge_BB = text_hinge_BB.masked_fill(~negatives_BB, 0.0)
    image_hinge_BB = image_hinge_BB.masked_fill(~negatives_BB, 0.0)
    if negatives == "hardest":
        per_anchor = text_hinge_BB.amax(dim=1) + image_hinge_BB.amax(dim=0)
    else:
        per_anchor = text_hinge_BB.sum(dim=1) + image_hinge_BB.sum(dim=0)
        if negatives == "mean":
            per_anchor = per_anchor / negatives_BB.sum(dim=1).clamp_min(1)
    return per_anchor.mean() if reduction == "mean" else per_anchor.sum()
