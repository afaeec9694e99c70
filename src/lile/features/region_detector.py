"""From pictures to regions: the most confident boxes of a Faster R-CNN with the box head's features.

The rule, for each picture on its own:

1. Each proposal of the RPN becomes one candidate: the class (background apart) with the highest probability, and the
   box that the detector's regression gives for that class, cut at the picture's edge. Empty boxes go.
2. Candidates below ``confidence`` go.
3. Non-maximum suppression over all candidates, whatever their class: two boxes on one spot are one region, even where
   the detector is in doubt what it is. (torchvision's own detections suppress class by class instead.)
4. The ``regions`` most confident ones stay, most confident first. Fewer is fine; of none, the whole picture is taken.
5. A region's features are the box head's output for the FINAL box: the feature map is pooled again there, so that
   features and stored geometry are of the same spot. (A proposal's own features describe the box before regression.)

Pictures share a forward pass only where torchvision pads them to the same size, each to its own next multiple of 32
pixels. More padding would change what the borders see, and even the anchors: torchvision spaces those of the coarsest
map by the padded size. So a batch changes no result, beyond the rounding of another order of operations.

Shapes: B pictures, P candidates, C classes without the background, r regions, F width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lile.errors import InputError
from lile.features.detector import build_detector
from lile.features.detector_config import DetectorConfig
from lile.features.libraries import DETECTOR

if TYPE_CHECKING:
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.image_list import ImageList

LEAST_SIDE_PX = 1e-2
"""A narrower box is empty: torchvision's own limit."""


@dataclass(frozen=True, slots=True)
class Regions:
    """What was found in one picture, on the CPU.

    Attributes:
        tokens: float16 ``[r, F]``, most confident first, r >= 1.
        boxes: float32 ``[r, 4]``: x1, y1, x2, y2 as shares of width and height, 0 to 1.
        found: whether the detector found any; if not, the one region is the whole picture.
    """

    tokens: Tensor
    boxes: Tensor
    found: bool


@dataclass(frozen=True, kw_only=True)
class RegionDetector:
    """A Faster R-CNN as an encoder of regions.

    Attributes:
        model: in evaluation mode; see :func:`prepared`.
        config: the knobs of the rule.
        width: F.
        facts: of the weights.
        half: the type of the heavy part's numbers under autocast; ``None`` for float32.
    """

    model: FasterRCNN
    config: DetectorConfig
    width: int
    facts: dict[str, Any] = field(repr=False)
    half: torch.dtype | None = None

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return next(self.model.parameters()).device

    def about(self) -> dict[str, Any]:
        """Return what made the regions: weights, rule and transform, as JSON-able values."""
        transform = self.model.transform
        resized = {
            "min_size_px": transform.min_size[-1],
            "max_size_px": transform.max_size,
            "interpolation": "bilinear",
        }
        normalised = {"mean": list(transform.image_mean), "std": list(transform.image_std)}
        return {
            "library": DETECTOR,
            "weights": self.config.weights,
            **self.facts,
            "regions": self.config.rule(),
            "transform": {**resized, **normalised},
            "precision": str(self.half or torch.float32).removeprefix("torch."),
        }

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size of the detector's input, in pixels, for a picture of this size.

        Asked of the transform itself, on torch's meta device, which computes shapes and no pixels.
        """
        resized, _ = self.model.transform.resize(torch.empty(3, height, width, device="meta"))
        padded: Tensor = self.model.transform.batch_images([resized])
        return padded.shape[-2], padded.shape[-1]

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Tensor]) -> list[Regions]:
        """Find the regions of pictures that share a padded size.

        Args:
            pictures: uint8 ``[3, height, width]`` each, of any device.
        """
        assert len({self.padded_size(*picture.shape[-2:]) for picture in pictures}) == 1, "only like pictures share"
        images, _ = self.model.transform([picture.to(self.device).float() / 255 for picture in pictures])
        sizes = images.image_sizes
        with torch.autocast(self.device.type, self.half, enabled=self.half is not None):
            maps = self.model.backbone(images.tensors)
            chosen = self._chosen(images, maps)
            boxes = [some if len(some) else _whole(size, some) for some, size in zip(chosen, sizes, strict=True)]
            # What does not fit float16 becomes infinite; the store refuses it by name.
            tokens = self._hidden(maps, boxes, sizes).to("cpu", torch.float16)
        shares = [
            (some / some.new_tensor([width, height] * 2)).cpu()
            for some, (height, width) in zip(boxes, sizes, strict=True)
        ]
        parts, found = tokens.split([len(some) for some in boxes]), [len(some) > 0 for some in chosen]
        return [Regions(*each) for each in zip(parts, shares, found, strict=True)]

    def _chosen(self, images: ImageList, maps: dict[str, Tensor]) -> list[Tensor]:
        """Return each picture's final boxes ``[r, 4]`` in pixels of the resized picture, r >= 0."""
        heads = self.model.roi_heads
        proposals, _ = self.model.rpn(images, maps)
        logits, codes = heads.box_predictor(self._hidden(maps, proposals, images.image_sizes))
        candidates = heads.box_coder.decode(codes, proposals).reshape(*logits.shape, 4)
        counts = [len(boxes) for boxes in proposals]
        pieces = zip(logits.softmax(-1).split(counts), candidates.split(counts), images.image_sizes, strict=True)
        return [best_boxes(scores[:, 1:], boxes[:, 1:], size, self.config) for scores, boxes, size in pieces]

    def _hidden(self, maps: dict[str, Tensor], boxes: list[Tensor], sizes: list[tuple[int, int]]) -> Tensor:
        """Return the box head's output for all boxes of all pictures, one after another, ``[sum of P, F]``."""
        hidden: Tensor = self.model.roi_heads.box_head(self.model.roi_heads.box_roi_pool(maps, boxes, sizes))
        return hidden


def load_region_detector(cfg: dict[str, Any], seed: int, device: torch.device) -> RegionDetector:
    """Load the detector that a config block names.

    Args:
        cfg: a block of ``encoders`` with library ``faster_rcnn``.
        seed: the run's seed; only random weights depend on it.
        device: where it runs. On a GPU the heavy part runs in bfloat16, or in float16 on older ones.

    Raises:
        InputError: the block or the weights are wrong.
    """
    config = DetectorConfig.from_dict(cfg)
    model, origin = build_detector(config, seed)
    return prepared(model, config, origin, device=device, half=half_of(device))


def half_of(device: torch.device) -> torch.dtype | None:
    """Return the 16-bit type that ``device`` computes quickly in; ``None`` on a CPU."""
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def prepared(
    model: FasterRCNN,
    config: DetectorConfig,
    facts: dict[str, Any],
    *,
    device: torch.device | None = None,
    half: torch.dtype | None = None,
) -> RegionDetector:
    """Make a region detector of any Faster R-CNN of torchvision's with a feature pyramid.

    Boxes are float32 whatever ``half`` is: torchvision would decode them in the type of the heads' output, and
    bfloat16 has 8 bits for a coordinate of up to 1,333 pixels.

    Args:
        model: taken over: moved, and hooked at its two heads.
        config: the knobs of the rule.
        facts: of the weights, for :meth:`RegionDetector.about`.
        device: where it runs; as it is where left out.
        half: see :class:`RegionDetector`.

    Raises:
        InputError: the box head gives no vector.
    """
    model = model.eval().requires_grad_(False).to(device)
    model.backbone.to(memory_format=torch.channels_last)  # a tenth faster on a CPU, and what tensor cores ask for
    model.rpn.head.register_forward_hook(_as_float32)
    model.roi_heads.box_predictor.register_forward_hook(_as_float32)
    return RegionDetector(model=model, config=config, width=_width(model), facts=facts, half=half)


def best_boxes(scores_PC: Tensor, boxes_PC4: Tensor, size: tuple[int, int], config: DetectorConfig) -> Tensor:
    """Return a picture's regions ``[r, 4]`` in pixels of the resized picture, most confident first; r may be 0.

    Args:
        scores_PC: probability of each class but the background.
        boxes_PC4: x1, y1, x2, y2 that the regression gives for each class.
        size: height and width of the resized picture, without padding.
        config: the knobs of the rule (see the module).
    """
    from torchvision.ops import clip_boxes_to_image, nms, remove_small_boxes

    scores_P, best_P = scores_PC.max(dim=1)
    boxes_P4 = clip_boxes_to_image(boxes_PC4[torch.arange(len(best_P), device=best_P.device), best_P], size)
    sure_P = scores_P >= config.confidence
    scores_P, boxes_P4 = scores_P[sure_P], boxes_P4[sure_P]
    solid = remove_small_boxes(boxes_P4, LEAST_SIDE_PX)
    scores_P, boxes_P4 = scores_P[solid], boxes_P4[solid]
    return boxes_P4[nms(boxes_P4, scores_P, config.nms_iou)[: config.regions]]


def _whole(size: tuple[int, int], like: Tensor) -> Tensor:
    height, width = size
    return like.new_tensor([[0, 0, width, height]])


def _as_float32(_module: nn.Module, _inputs: Any, outputs: Any) -> Any:
    """A forward hook: both heads give tuples of tensors, or of lists of them."""
    return tuple([one.float() for one in out] if isinstance(out, list) else out.float() for out in outputs)


@torch.inference_mode()
def _width(model: FasterRCNN) -> int:
    """Return F, found with a square of 64 pixels.

    This also settles the pooling's scales, which torchvision infers from the first picture it sees and keeps: a very
    narrow one first, whose padding is as wide as itself, would settle them wrongly for all.
    """
    side = 64
    some = next(model.parameters())
    maps = model.backbone(some.new_zeros(1, 3, side, side))
    pooled = model.roi_heads.box_roi_pool(maps, [some.new_tensor([[0, 0, side, side]])], [(side, side)])
    hidden = model.roi_heads.box_head(pooled)
    if hidden.ndim != 2:
        raise InputError(f"encoders: the detector's box head gives {tuple(hidden.shape)} for a region, not a vector")
    return int(hidden.shape[1])
