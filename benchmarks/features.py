"""Section 9: extraction (decode, resize, normalise, forward, store) against the bare forward pass of the same stem.

Shapes: B pictures of a batch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.harness import Options, Result, Row, Spread, by_turns, ratios
from benchmarks.pictures import image_encoder, photographs
from lile.features.extract import extract_image_tokens

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lile.features.image_encoder import ImageEncoder

IMAGES, LONG_IMAGES, BATCH, SIZE_PX = 64, 512, 16, 224
# Architecture, trained blocks, further arguments: a heavy stem, and one as light as the decoding of its pictures.
MODELS: tuple[tuple[str, str, int, dict[str, Any]], ...] = (
    ("DeiT-base, 10 of 12 blocks", "deit_base_patch16_224", 2, {}),
    ("DeiT-small, 10 of 12 blocks", "deit_small_patch16_224", 2, {}),
    ("MobileNet v1 0.75, whole", "mobilenetv1_075", 0, {}),
)
TINY = (
    (
        "tiny ViT",
        "vit_tiny_patch16_224",
        1,
        {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 3},
    ),
)


def measure(options: Options) -> Result:
    """Let the bare stem and the extraction take turns, model by model."""
    count, batch, size_px = (6, 2, 32) if options.tiny else (LONG_IMAGES if options.long else IMAGES, BATCH, SIZE_PX)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="lile-bench-") as folder:
        images = photographs(Path(folder), count)
        for name, architecture, trained, model in TINY if options.tiny else MODELS:
            encoder = image_encoder(Path(folder) / architecture, architecture, size_px, trained, **model)
            pixels = torch.randn(batch, 3, size_px, size_px)
            facts = {"name": name, "batch_size": batch, "threads": options.threads}

            def bare(encoder: ImageEncoder = encoder, pixels: torch.Tensor = pixels) -> None:
                with torch.inference_mode():
                    for _ in range(count // batch):
                        encoder.stem(pixels)

            def whole(encoder: ImageEncoder = encoder, facts: dict[str, Any] = facts) -> None:
                extract_image_tokens(images, encoder, Path(folder) / "shard.h5", **facts)

            bare()  # what is set up once
            seconds = by_turns({"bare": bare, "whole": whole}, options.repeats)
            rows.append(
                {
                    "stem": name,
                    "bare images/s": Spread.of(count / one for one in seconds["bare"]),
                    "extraction images/s": Spread.of(count / one for one in seconds["whole"]),
                    "of bare": ratios(seconds["bare"], seconds["whole"]),
                }
            )
    return Result(
        "Extraction of features",
        f"{count} drawn JPEGs of 500 x 375 pixels in batches of {batch}: decoded, resized to {size_px} pixels, "
        "normalised, run through the frozen stem and stored on the disk, as the workflow does it; against the same "
        f"stem on one batch of ready pixels again and again. {options.threads} thread(s) for PyTorch, as many for "
        "decoding.",
        rows,
        draw,
        ["Aim: 0.9. Decoding runs beside the forward pass: with one thread each it needs a second core to hide."],
    )


def draw(figure: Figure, rows: Sequence[Row]) -> None:
    """Draw both rates for each stem."""
    axes = figure.subplots()
    places = range(len(rows))
    for shift, kind in ((-0.2, "bare"), (0.2, "extraction")):
        rates = [row[f"{kind} images/s"].median for row in rows]
        axes.barh([place + shift for place in places], rates, height=0.38, label=kind)
    axes.set(yticks=list(places), yticklabels=[row["stem"] for row in rows], xlabel="images/s", xscale="log")
    axes.invert_yaxis()
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.legend(fontsize=7)
