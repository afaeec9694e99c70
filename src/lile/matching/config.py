"""The knobs of the iterative family (PAPER.md section 4): LILE, IMRAM and SCAN are settings of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lile.errors import InputError
from lile.values import one_of, positive

Kind = Literal["iterative", "dot", "max"]
Update = Literal["gated", "candidate"]
Queries = Literal["both", "image", "text"]
Similarity = Literal["cosine", "dot"]
Clip = Literal["relu", "leaky_relu_0.1", "none"]
Operand = Literal["original", "refined"]
Aggregate = Literal["mean", "lse"]
Direct = Literal["mean_map", "mean_cosine", "none"]
Reduce = Literal["sum", "mean"]

SLOPES: dict[Clip, float] = {"relu": 0.0, "leaky_relu_0.1": 0.1, "none": 1.0}  # of negative similarities


@dataclass(frozen=True, kw_only=True, slots=True)
class MatchingConfig:
    """Eq. 1 to 7 (PAPER.md section 4)."""

    kind: Kind = "iterative"
    """Eq. 1 to 7; or the inner product of one vector per item; or the largest inner product of any two vectors (PVSE).
    The keys below belong to ``iterative``."""
    queries: Queries = "both"
    """Which side's vectors ask: both as in Eq. 6, or one alone (IMRAM's and SCAN's one-sided models)."""
    similarity: Similarity = "cosine"
    """s_ij of Eq. 1: the cosine, or the bare inner product (IMRAM's code; they differ once a query is refined)."""
    inverse_temperature: float = 9.0
    """lambda of Eq. 2."""
    alpha_init: float = 0.5
    """alpha of Eq. 5 at the start: the sigmoid of a free scalar."""
    alpha_trained: bool = True
    """Whether alpha is learnt, or stays where it starts."""
    update: Update = "gated"
    """Eq. 3 and 4: the gate weighs old map and candidate; or the candidate o replaces the map."""
    score_operand: Operand = "original"
    """v_i in Eq. 6: the map before or after refinement."""
    aggregate: Aggregate = "mean"
    """How the cosines of an item's vectors become one: their mean as in Eq. 6, or SCAN's LogSumExp."""
    lse_inverse_temperature: float = 6.0
    """lambda_2 of SCAN's LogSumExp: log sum_i exp(lambda_2 cos_i) / lambda_2."""
    direct: Direct = "mean_map"
    """sim(v_i, T) of Eq. 5: against the mean map, or the mean over all maps; ``none`` leaves only the cross term."""
    clip: Clip = "relu"
    """What Eq. 1 does to negative similarities."""
    renormalise: bool = False
    """Bring a refined map back to unit length after the gate."""
    reduce: Reduce = "sum"
    """Eq. 7 as printed, or the mean over its terms (2K of them with both queries; the score then lies in [-1, 1])."""

    def __post_init__(self) -> None:
        one_of("matching.kind", self.kind, Kind)
        one_of("matching.update", self.update, Update)
        one_of("matching.queries", self.queries, Queries)
        one_of("matching.similarity", self.similarity, Similarity)
        one_of("matching.score_operand", self.score_operand, Operand)
        one_of("matching.aggregate", self.aggregate, Aggregate)
        one_of("matching.direct", self.direct, Direct)
        one_of("matching.clip", self.clip, Clip)
        one_of("matching.reduce", self.reduce, Reduce)
        if not 0 < self.alpha_init < 1:
            raise InputError(f"matching.alpha_init={self.alpha_init} must lie between 0 and 1, both left out")
        positive("matching.inverse_temperature", self.inverse_temperature)
        positive("matching.lse_inverse_temperature", self.lse_inverse_temperature)

    @property
    def image_asks(self) -> bool:
        """Whether the image's vectors are queries."""
        return self.queries != "text"

    @property
    def text_asks(self) -> bool:
        """Whether the text's vectors are queries."""
        return self.queries != "image"
