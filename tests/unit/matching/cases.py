"""Random matchers and items for the tests of the engine."""

from __future__ import annotations

import torch

from lile.matching.config import MatchingConfig
from lile.matching.matcher import IterativeMatching

KNOBS = [
    {},
    {"score_operand": "refined"},
    {"direct": "mean_cosine"},
    {"direct": "none"},
    {"clip": "leaky_relu_0.1"},
    {"clip": "none"},
    {"renormalise": True},
    {"reduce": "mean"},
    {"similarity": "dot"},
    {"aggregate": "lse"},
    {"queries": "image"},
    {"queries": "text", "reduce": "mean"},
    {"inverse_temperature": 4.0, "alpha_init": 0.8},
    {"score_operand": "refined", "renormalise": True, "clip": "leaky_relu_0.1", "direct": "none", "reduce": "mean"},
]
# The published codes as settings of the same parts (../shared/notes/reference-implementations.md, 1 and 2).
IMRAM = {"similarity": "dot", "clip": "leaky_relu_0.1", "direct": "none", "inverse_temperature": 11.0}
PUBLISHED = {
    "IMRAM full": IMRAM,
    "IMRAM text": {**IMRAM, "queries": "text"},
    "IMRAM image": {**IMRAM, "queries": "image"},
    "SCAN t-i LSE": {**IMRAM, "inverse_temperature": 9.0, "queries": "text", "aggregate": "lse"},
    "SCAN i-t mean": {**IMRAM, "inverse_temperature": 4.0, "queries": "image"},
    "SCAN i-t LSE": {
        **IMRAM,
        "inverse_temperature": 4.0,
        "queries": "image",
        "aggregate": "lse",
        "lse_inverse_temperature": 20.0,
    },
}


def matcher_of(width: int, steps: int, seed: int = 0, **knobs) -> IterativeMatching:
    """A matcher in float64 with random gates."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return IterativeMatching(width, steps, MatchingConfig(**knobs)).double()


def shrinking_matcher_of(width: int, steps: int, low: float, high: float, **knobs) -> IterativeMatching:
    """A matcher whose gates multiply a query's dimensions by sigmoid(low) to sigmoid(high), and add nothing."""
    matcher = matcher_of(width, steps, **knobs)
    with torch.no_grad():
        for memory in (matcher.image_memory, matcher.text_memory):
            for parameter in memory.parameters():
                parameter.zero_()
            memory.gate.bias.copy_(torch.linspace(low, high, width))
    return matcher


def items_of(count: int, most: int, width: int, seed: int, ragged: bool = False):
    """Vectors [count, most, width] in float64 and their keep mask, or None."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(count, most, width, generator=generator, dtype=torch.float64)
    if not ragged:
        return vectors, None
    keep = torch.rand(count, most, generator=generator) < 0.6
    keep[torch.arange(count), torch.randint(most, (count,), generator=generator)] = True
    return vectors, keep
