"""How long captions are, and the descriptions that become of them: the paper's Figure 4 for a dataset.

The figure counts tokens of whole captions (appendix C); ours are those of the dataset's text encoder, uncut, begin and
end markers included. Words, parted by white space, stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lile.reporting.style import BOUND_LINE, COLOURS, SYNTHETIC, new_figure, save_png

WIDTH_IN, HEIGHT_IN = 5.5, 3.6  # of a panel
BINS = 40
AT_ONCE = 1024  # texts handed to the tokenizer in one call

Lengths = dict[str, dict[str, np.ndarray]]
"""Unit (``words``, ``tokens``) -> kind (``captions``, ``descriptions``) -> length of each."""


def lengths_of(captions: Sequence[str], descriptions: Sequence[str], encoder: Mapping[str, Any]) -> Lengths:
    """Return the length of every text, in words and in tokens of the text encoder.

    Args:
        captions: texts of captions.csv.
        descriptions: texts of descriptions.csv.
        encoder: the config block of the dataset's text encoder.

    Returns:
        int64 arrays; tokens are missing where the encoder's tokenizer is not one of transformers (open_clip's own pads
        every text).

    Raises:
        InputError: the encoder's tokenizer is missing or damaged.
    """
    texts = {"captions": captions, "descriptions": descriptions}
    lengths = {"words": {kind: np.array([len(text.split()) for text in found]) for kind, found in texts.items()}}
    if encoder.get("library", "transformers") == "open_clip":
        return lengths
    tokens = _token_lengths({*captions, *descriptions}, _tokenizer(encoder))
    return lengths | {"tokens": {kind: np.array([tokens[text] for text in found]) for kind, found in texts.items()}}


def plot_lengths(dataset: str, kind: str, lengths: Lengths, max_tokens: int, path: Path) -> None:
    """Draw a histogram of each unit into a PNG, atomically: captions filled, descriptions as a line.

    Args:
        dataset: its name.
        kind: ``synthetic`` is said loudly.
        lengths: from :func:`lengths_of`.
        max_tokens: where the text encoder cuts; a line, where any text is longer.
        path: the PNG.

    Raises:
        OSError: the file cannot be written.
    """
    drawing = new_figure(WIDTH_IN * len(lengths), HEIGHT_IN)
    drawing.suptitle(f"{dataset}: length of captions{SYNTHETIC if kind == 'synthetic' else ''}", fontsize="medium")
    for axes, (unit, found) in zip(drawing.subplots(1, len(lengths), squeeze=False)[0], lengths.items(), strict=True):
        longest = max(int(values.max()) for values in found.values())
        _draw(axes, found, longest)
        if unit == "tokens" and longest > max_tokens:
            axes.axvline(max_tokens, **BOUND_LINE, label=f"cut by the encoder: {max_tokens}")
        markers = ", with begin and end markers" if unit == "tokens" else ""
        axes.set(xlabel=f"length ({unit}{markers})", ylabel="share of texts (%)")
        axes.legend(fontsize="small")
        axes.grid(visible=True, alpha=0.3)
    save_png(drawing, path)


def said_of(kind: str, values: np.ndarray) -> str:
    """Return what the legend says of a kind of text."""
    spread = f"mean {values.mean():.1f}, {values.min()} to {values.max()}"
    return f"{len(values):,} {kind}: {spread}"


def _draw(axes: Any, found: Mapping[str, np.ndarray], longest: int) -> None:
    """Draw one unit's histograms, in bins of whole numbers."""
    width = math.ceil((longest + 1) / BINS)
    edges = np.arange(0, longest + 1 + width, width) - 0.5
    looks: dict[str, dict[str, Any]] = {
        "captions": {"histtype": "stepfilled", "color": COLOURS[5], "edgecolor": COLOURS[0]},
        "descriptions": {"histtype": "step", "color": COLOURS[1], "linestyle": "--", "linewidth": 1.6},
    }
    for kind, values in found.items():
        shares = np.full(len(values), 100.0 / len(values))
        axes.hist(values, bins=edges, weights=shares, label=said_of(kind, values), **looks[kind])


def _tokenizer(encoder: Mapping[str, Any]) -> Any:
    """Return the tokenizer of a text encoder of transformers."""
    from lile.features.encoder_config import RANDOM, EncoderConfig
    from lile.features.layouts import DUAL_LAYOUTS, ENCODER
    from lile.features.transformers_model import load_tokenizer
    from lile.features.weights import resolve_weights

    config = EncoderConfig.from_dict(dict(encoder), "text")
    layout = DUAL_LAYOUTS.get(config.library, ENCODER)
    folder = Path(str(config.config)) if config.weights == RANDOM else resolve_weights(config.weights, layout)
    return load_tokenizer(folder)


def _token_lengths(texts: set[str], tokenizer: Any) -> dict[str, int]:
    """Return the number of tokens of each text, uncut, markers included."""
    pairs: Iterator[tuple[str, list[int]]] = (
        pair
        for some in _pieces(sorted(texts))
        for pair in zip(some, tokenizer(some, truncation=False, verbose=False)["input_ids"], strict=True)
    )
    return {text: len(ids) for text, ids in pairs}


def _pieces(texts: list[str]) -> Iterator[list[str]]:
    yield from (texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE))
