"""A Faster R-CNN small enough for tests, and the regions of one picture worked out step by step."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

CHANNELS = 8
CLASSES = 5
SPREAD = 8


class TinyBackbone(nn.Module):
    """Two maps at 1/8 and 1/16 of the picture, and the coarse one that torchvision adds."""

    out_channels = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 8, 8), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(6, 10, 3, 2, padding=1), nn.ReLU())
        self.pyramid = FeaturePyramidNetwork([6, 10], CHANNELS, LastLevelMaxPool())

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        first = self.first(pixels)
        return self.pyramid(OrderedDict({"0": first, "1": self.second(first)}))


def tiny_detector(seed: int = 0, classes: int = CLASSES, **arguments) -> FasterRCNN:
    """A detector with weights that spread its boxes and scores: torchvision's own start is nearly constant."""
    torch.manual_seed(seed)
    model = FasterRCNN(
        TinyBackbone(),
        min_size=64,
        max_size=110,
        rpn_anchor_generator=AnchorGenerator(((16,), (32,), (48,)), ((0.5, 1.0, 2.0),) * 3),
        box_roi_pool=MultiScaleRoIAlign(["0", "1"], output_size=3, sampling_ratio=2),
        box_head=TwoMLPHead(CHANNELS * 9, 12),
        box_predictor=FastRCNNPredictor(12, classes),
        **{"rpn_post_nms_top_n_test": 60, **arguments},
    )
    with torch.no_grad():
        for parameter in model.rpn.head.parameters():
            parameter.mul_(8)
        for layer in (model.roi_heads.box_head.fc6, model.roi_heads.box_head.fc7):
            layer.weight.mul_(4)
            layer.bias.zero_()
        model.roi_heads.box_predictor.cls_score.weight.mul_(SPREAD)
        # torchvision infers the pooling's scales from the first picture it sees, wrongly where that is mostly padding.
        model.eval()([torch.zeros(3, 64, 64)])
    return model


def iou(first: list[float], second: list[float]) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / (sum(areas) - width * height)


def decoded(proposal: list[float], code: list[float], weights: tuple[float, ...]) -> list[float]:
    """A box from its proposal and the regression's four numbers (Faster R-CNN's parametrisation)."""
    width, height = proposal[2] - proposal[0], proposal[3] - proposal[1]
    x, y = proposal[0] + width / 2, proposal[1] + height / 2
    dx, dy, dw, dh = (number / weight for number, weight in zip(code, weights, strict=True))
    most = float(np.log(1000 / 16))
    x, y = x + dx * width, y + dy * height
    width, height = width * float(np.exp(min(dw, most))), height * float(np.exp(min(dh, most)))
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


@torch.inference_mode()
def regions_of_one(
    model: FasterRCNN, picture: np.ndarray, regions: int, nms_iou: float, confidence: float
) -> tuple[Tensor, Tensor, bool]:
    """The rule of :mod:`lile.features.region_detector` for one picture ``[height, width, 3]``, in plain loops."""
    pixels = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
    images, _ = model.transform([pixels])
    [(height, width)] = images.image_sizes
    maps = model.backbone(images.tensors)
    [proposals], _ = model.rpn(images, maps)
    hidden = model.roi_heads.box_head(model.roi_heads.box_roi_pool(maps, [proposals], images.image_sizes))
    logits, codes = model.roi_heads.box_predictor(hidden)

    candidates = []
    for place in range(len(proposals)):
        scores = torch.softmax(logits[place], 0).tolist()
        best = max(range(1, len(scores)), key=lambda label: scores[label])
        code = codes[place].tolist()[4 * best : 4 * best + 4]
        x1, y1, x2, y2 = decoded(proposals[place].tolist(), code, model.roi_heads.box_coder.weights)
        x1, x2 = (min(max(x, 0.0), float(width)) for x in (x1, x2))
        y1, y2 = (min(max(y, 0.0), float(height)) for y in (y1, y2))
        if scores[best] >= confidence and x2 - x1 >= 0.01 and y2 - y1 >= 0.01:
            candidates.append((scores[best], [x1, y1, x2, y2]))
    candidates.sort(key=lambda candidate: -candidate[0])

    kept: list[list[float]] = []
    for _, box in candidates:
        if all(iou(box, other) <= nms_iou for other in kept):
            kept.append(box)
    kept = kept[:regions]
    found = len(kept) > 0
    boxes = torch.tensor(kept if found else [[0.0, 0.0, width, height]])
    pooled = model.roi_heads.box_roi_pool(maps, [boxes], images.image_sizes)
    return model.roi_heads.box_head(pooled), boxes / torch.tensor([width, height, width, height]), found
