"""Section 10: training steps on stored tokens against the same steps end to end, with the same layers frozen.

Shapes: B pairs of a batch, L tokens, H width of an encoder.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.harness import Options, Result, Row, Spread, by_turns, ratios
from benchmarks.pictures import captions, image_encoder, photographs, text_encoder
from lile.data.images import load_image
from lile.evaluation.score import tensors_of
from lile.features.extract import extract_image_tokens, extract_text_tokens
from lile.features.store import TokenStore
from lile.models.config import ModelConfig
from lile.models.losses import negatives_of, triplet_loss
from lile.models.model import RetrievalModel, SideParts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lile.features.image_encoder import ImageEncoder
    from lile.features.text_encoder import TextEncoder

BATCH, BATCHES, MAPS, WIDTH = 16, 2, 8, 256
BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
TINY = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 3}
# Name, image architecture, trained blocks of the image encoder and of the text encoder.
CASES = (
    ("DeiT-base and RoBERTa-base, 2 blocks of each trained (ARCH)", "deit_base_patch16_224", 2, 2),
    ("DeiT-base and RoBERTa-base, all frozen", "deit_base_patch16_224", 0, 0),
)
Tokens = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]
"""Image tokens, keep, text tokens, keep."""


def measure(options: Options) -> Result:
    """Let both forms take turns, case by case."""
    batch, size_px = (4, 32) if options.tiny else (BATCH, 224)
    cases = (("tiny", "vit_tiny_patch16_224", 1, 1),) if options.tiny else CASES
    rows: list[Row] = []
    for name, architecture, image_blocks, text_blocks in cases:
        with tempfile.TemporaryDirectory(prefix="lile-bench-") as folder:
            place = Path(folder)
            image = image_encoder(
                place / "image", architecture, size_px, image_blocks, **(TINY if options.tiny else {})
            )
            text = text_encoder(place / "text", text_blocks, **({} if options.tiny else BASE))
            rows.append(_compared(name, image, text, place, batch, options))
    return Result(
        "An epoch on stored tokens",
        f"Steps of the optimiser on batches of {batch} pairs (m = {MAPS}, d = {WIDTH}, K = 2): with the frozen layers' "
        "tokens read from the stores, and end to end, where every step decodes its pictures and runs the frozen "
        "layers again. Trained layers, matcher, loss and batches are the same; so is the first loss, which is checked.",
        rows,
        draw,
        [
            "Aim: 5. What is saved is the frozen layers' forward pass and the decoding; the trained layers cost a "
            "forward and a backward pass in both, about three times a frozen layer's share each.",
            "Making the stores costs one pass of the frozen layers, once for all folds, rows and epochs.",
        ],
    )


def _compared(name: str, image: ImageEncoder, text: TextEncoder, folder: Path, batch: int, options: Options) -> Row:
    count = BATCHES * batch
    pictures, texts = photographs(folder, count), captions(count)
    extract_image_tokens(pictures, image, folder / "images.h5", name="image", batch_size=batch)
    extract_text_tokens(texts, text, folder / "texts.h5", name="text", batch_size=batch)
    stores = TokenStore([folder / "images.h5"]), TokenStore([folder / "texts.h5"])
    device = torch.device("cpu")

    def stored(rows: np.ndarray) -> Tokens:
        ids = pictures["image_id"].iloc[rows].tolist(), texts["text_id"].iloc[rows].tolist()
        found = [tensors_of(store, store.rows_of(own), device) for store, own in zip(stores, ids, strict=True)]
        return (*found[0], *found[1])

    def end_to_end(rows: np.ndarray) -> Tokens:
        pixels = torch.stack([image.pixels(load_image(Path(path))) for path in pictures["path"].iloc[rows]])
        ids_BL, keep_BL, _ = text.tokenize(texts["text"].iloc[rows].tolist())
        with torch.no_grad():
            image_tokens, text_tokens = image.stem(pixels).float(), text.stem(ids_BL, keep_BL).float()
        return image_tokens, torch.ones(image_tokens.shape[:2], dtype=torch.bool), text_tokens, keep_BL.bool()

    first = [_losses(tokens, image, text, batch, 1)[0] for tokens in (stored, end_to_end)]
    assert abs(first[0] - first[1]) < 1e-2 * max(1.0, abs(first[0])), first  # float16 on the disk
    works: dict[str, Callable[[], Any]] = {
        "stored": lambda: _losses(stored, image, text, batch, BATCHES),
        "end to end": lambda: _losses(end_to_end, image, text, batch, BATCHES),
    }
    seconds = by_turns(works, options.repeats)
    return {
        "encoders": name,
        "end to end pairs/s": Spread.of(count / one for one in seconds["end to end"]),
        "stored pairs/s": Spread.of(count / one for one in seconds["stored"]),
        "times faster": ratios(seconds["end to end"], seconds["stored"]),
    }


def _losses(
    tokens: Callable[[np.ndarray], Tokens], image: ImageEncoder, text: TextEncoder, batch: int, count: int
) -> list[float]:
    """Train a fresh head and the encoders' tops on ``count`` batches; return the losses. The tops are left changed."""
    torch.manual_seed(0)
    config = ModelConfig.from_dict({"maps": MAPS, "width": WIDTH})
    model = RetrievalModel(config, SideParts(image.top, image.width), SideParts(text.top, text.width)).eval()
    optimizer = torch.optim.Adam(model.parameters(), 0.0)  # a step's work without its effect: turns stay alike
    losses = []
    for number in range(count):
        rows = np.arange(number * batch, (number + 1) * batch)
        scores_BB, _ = model(*tokens(rows))
        own_B = torch.arange(batch)
        loss = triplet_loss(scores_BB, negatives_of(own_B, own_B, own_B), config.loss.margin, "mean")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def draw(figure: Figure, rows: Sequence[Row]) -> None:
    """Draw both rates for each case."""
    axes = figure.subplots()
    places = range(len(rows))
    for shift, kind in ((-0.2, "end to end"), (0.2, "stored")):
        rates = [row[f"{kind} pairs/s"].median for row in rows]
        axes.barh([place + shift for place in places], rates, height=0.38, label=kind)
    axes.set(yticks=list(places), yticklabels=[row["encoders"] for row in rows], xlabel="pairs/s", xscale="log")
    axes.invert_yaxis()
    axes.grid(visible=True, axis="x", alpha=0.3)
    axes.legend(fontsize=7)
