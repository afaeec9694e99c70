"""IMRAM and SCAN as settings of the matcher, against plain loops over numbers and against cases worked by hand.

The loops are written from ../shared/notes/reference-implementations.md (1.2 and 2) and share no code with the package.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import yaml
from cases import PUBLISHED, matcher_of

from lile.matching.matcher import IterativeMatching
from lile.models.config import ModelConfig

WIDTH = 5
REGIONS, WORDS = [4, 1, 3], [2, 5, 1, 3]  # vectors of each image and each caption


def unit(vector, added=0.0):
    return vector / (math.sqrt(sum(number * number for number in vector)) + added)


def attended(queries, context, inverse_temperature, added=0.0):
    """What each query attends to: raw inner products, leaky ReLU, l2 over the queries, softmax over the context.

    The published code adds 1e-8 to a length that it divides by.
    """
    clipped = np.zeros((len(context), len(queries)))
    for j, item in enumerate(context):
        for i, query in enumerate(queries):
            product = sum(a * b for a, b in zip(query, item, strict=True))
            clipped[j, i] = product if product > 0 else 0.1 * product
    for j in range(len(context)):
        clipped[j] = unit(clipped[j], added)
    found = []
    for i in range(len(queries)):
        weights = [math.exp(inverse_temperature * clipped[j, i]) for j in range(len(context))]
        found.append(sum(weight * item for weight, item in zip(weights, context, strict=True)) / sum(weights))
    return found


def cosine(a, b):
    return float(np.dot(unit(a), unit(b)))


def gated(query, found, memory):
    both = np.concatenate([query, found])
    gate = 1 / (1 + np.exp(-(memory["gate.weight"] @ both + memory["gate.bias"])))
    update = np.tanh(memory["update.weight"] @ both + memory["update.bias"])
    return gate * query + (1 - gate) * update


def imram_way(queries, context, memory, added):
    """The sum over steps of the mean cosine with the ORIGINAL queries; the refined ones are not brought to length 1."""
    refined, total = list(queries), 0.0
    for _ in range(3):
        found = attended(refined, context, 11.0, added)
        total += sum(cosine(query, own) for query, own in zip(queries, found, strict=True)) / len(queries)
        refined = [gated(query, own, memory) for query, own in zip(refined, found, strict=True)]
    return total


def scan_way(queries, context, added, inverse_temperature, lse=None):
    found = attended(queries, context, inverse_temperature, added)
    cosines = [cosine(query, own) for query, own in zip(queries, found, strict=True)]
    return math.log(sum(math.exp(lse * one) for one in cosines)) / lse if lse else sum(cosines) / len(cosines)


def memory_of(memory):
    return {name: value.numpy() for name, value in memory.state_dict().items()} if memory is not None else None


def slow_scores(name, matcher, images, texts, added):
    """Scores of every image with every caption by the loops above."""

    def score(regions, words):
        if name.startswith("SCAN t-i"):
            return scan_way(words, regions, added, 9.0, lse=6.0)
        if name.startswith("SCAN i-t"):
            return scan_way(regions, words, added, 4.0, lse=20.0 if "LSE" in name else None)
        by_words = imram_way(words, regions, memory_of(matcher.text_memory), added) if name != "IMRAM image" else 0.0
        by_regions = imram_way(regions, words, memory_of(matcher.image_memory), added) if name != "IMRAM text" else 0.0
        return by_words + by_regions

    return [[score(regions, words) for words in texts] for regions in images]


def vectors_of(seed):
    """Images and captions as lists of unit vectors, of different numbers."""
    random = np.random.default_rng(seed)
    return (
        [np.stack([unit(vector) for vector in random.normal(size=(count, WIDTH))]) for count in counts]
        for counts in (REGIONS, WORDS)
    )


def padded(items):
    """Items of different lengths as one tensor and its keep mask; padding is rubbish."""
    vectors = torch.full((len(items), max(map(len, items)), WIDTH), 7.0, dtype=torch.float64)
    keep = torch.zeros(vectors.shape[:2], dtype=torch.bool)
    for place, item in enumerate(items):
        vectors[place, : len(item)], keep[place, : len(item)] = torch.from_numpy(item), True
    return vectors, keep


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("added", "tolerance"), [(0.0, 1e-10), (1e-8, 1e-4)])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_setting_is_the_published_model(name, added, tolerance, seed):
    """To rounding; and where a caption's one word all but meets a region at a right angle, as near as their 1e-8 is."""
    images, texts = vectors_of(seed)
    matcher = matcher_of(WIDTH, 3 if "IMRAM" in name else 1, seed, **PUBLISHED[name])
    (v, v_keep), (w, w_keep) = padded(images), padded(texts)
    with torch.no_grad():
        scores = matcher.scores(v, w, v_keep, w_keep)
    slow = slow_scores(name, matcher, images, texts, added)
    np.testing.assert_allclose(scores.numpy(), slow, rtol=0, atol=tolerance)


ROWS = {
    "scan_text": "SCAN t-i LSE",
    "scan_image": "SCAN i-t mean",
    "imram_text": "IMRAM text",
    "imram_image": "IMRAM image",
    "imram_full": "IMRAM full",
}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_the_trial_is_the_published_model(row, project_root):
    text = (project_root / "config" / "trial" / "rows.yaml").read_text(encoding="utf-8")
    block = {key: value for key, value in yaml.safe_load(text)["models"][row].items() if key != "label"}
    config = ModelConfig.from_dict({**block, "width": WIDTH})
    images, texts = vectors_of(seed=3)
    matcher = IterativeMatching(WIDTH, config.steps, config.matching).double()
    (v, v_keep), (w, w_keep) = padded(images), padded(texts)
    with torch.no_grad():
        scores = matcher.scores(v, w, v_keep, w_keep)
    np.testing.assert_allclose(scores, slow_scores(ROWS[row], matcher, images, texts, 0.0), rtol=0, atol=1e-10)


def two_steps(name):
    """An IMRAM of two steps whose gate is shut and whose update is always (0, 1/2): that is what the query becomes."""
    matcher = matcher_of(2, 2, **PUBLISHED[name])
    with torch.no_grad():
        for parameter in matcher.parameters():
            parameter.zero_()
        for memory in (matcher.text_memory, matcher.image_memory):
            if memory is not None:
                memory.gate.bias.fill_(-1e4)
                memory.update.bias[1] = math.atanh(0.5)
    return matcher


WORD = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
CROSS = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
SHARP = math.exp(11) / (math.exp(11) + 1)  # softmax of (11, 0)


def test_two_steps_of_imram_text_by_hand():
    """One word (1, 0), regions (1, 0) and (0, 1).

    Step 1: products 1 and 0, each over the single word at length 1 and 0, weights p = e^11 / (e^11 + 1) and 1 - p.
    The word becomes (0, 1/2): products 0 and 1/2, over the single word 0 and 1, weights 1 - p and p. The cosines are
    taken with the word as it was: (p + (1 - p)) / |(p, 1 - p)| in all.
    """
    score = two_steps("IMRAM text").scores(CROSS, WORD)
    assert float(score.detach()) == pytest.approx(1 / math.hypot(SHARP, 1 - SHARP), abs=1e-9)


def test_two_steps_of_imram_image_by_hand():
    """The same numbers the other way round: two regions ask one word, which is all that each can attend to.

    At either step both regions attend to (1, 0): cosines with the regions as they were are 1 and 0, their mean is 1/2.
    """
    assert float(two_steps("IMRAM image").scores(CROSS, WORD).detach()) == pytest.approx(2 * 0.5, abs=1e-9)


def test_imram_full_is_the_sum_of_its_ways():
    """Plain sums over steps and directions: 1 / |(p, 1 - p)| + 1, and nothing is divided by K."""
    score = two_steps("IMRAM full").scores(CROSS, WORD)
    assert float(score.detach()) == pytest.approx(1 / math.hypot(SHARP, 1 - SHARP) + 1, abs=1e-9)


def test_negative_similarities_leak_by_hand():
    """Words (1, 0) and (0, 1), regions (0, 1) and (-1, 0), K = 1.

    Products of region 1: 0 and 1, of region 2: -1 and 0, which leaks to -0.1 and 0. Over the words region 1 has 0 and
    1, region 2 has -1 and 0. Word 1 weighs (0, -1): p and 1 - p of (0, 1) and (-1, 0), cosine -(1 - p) / |..|. Word 2
    weighs (1, 0): the same vector, cosine p / |..|. The mean is (2p - 1) / 2 |(p, 1 - p)|. A plain ReLU would give
    word 1 equal weights.
    """
    matcher = matcher_of(2, 1, **PUBLISHED["IMRAM text"])
    words = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    regions = torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]], dtype=torch.float64)
    expected = (2 * SHARP - 1) / 2 / math.hypot(SHARP, 1 - SHARP)
    assert float(matcher.scores(regions, words)) == pytest.approx(expected, abs=1e-9)


def test_scans_logsumexp_by_hand():
    """One word (1, 0) for regions (1, 0) and (0, 1), which ask: cosines 1 and 0, so log(e^20 + 1) / 20."""
    score = matcher_of(2, 1, **PUBLISHED["SCAN i-t LSE"]).scores(CROSS, WORD)
    assert float(score) == pytest.approx(math.log(math.exp(20) + 1) / 20, abs=1e-12)
