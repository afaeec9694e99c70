"""Cuts an image model between two of its layers: what stays frozen, and what is trained.

Layers get more than tokens: rotations by position, biases, masks. For pictures of one size these never change, so they
are noted while the whole model runs once, and given again to the layers that are cut off.

Shapes: B images, S pixels a side, R tokens, H width.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lile.errors import InputError
from lile.features.cutting import Call
from lile.features.encoder_config import EncoderConfig
from lile.features.parts import same_tokens


class LayersTop(nn.Module):
    """The last layers of a transformer and its final norm.

    Args:
        calls: of the last layers, in order; what they were given must not depend on the picture.
        norm: what follows the last layer.
    """

    def __init__(self, calls: Sequence[Call], norm: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(call.layer for call in calls)
        self.norm = norm
        self._given = [_mapped((call.args, call.kwargs), Tensor.detach) for call in calls]
        self._masks = all("attn_mask" in inspect.signature(call.layer.forward).parameters for call in calls)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> LayersTop:
        """Move what the layers are given along with their parameters."""
        self._given = [_mapped(given, fn) for given in self._given]
        super()._apply(fn, recurse)
        return self

    def forward(self, tokens_BRH: Tensor, keep_BR: Tensor) -> Tensor:
        """Return tokens ``[B, R, H]``; those that ``keep_BR`` leaves out get no attention."""
        # Images of one encoder have equally many tokens; a mask would only rule out the fastest attention kernels.
        masked = {} if bool(keep_BR.all()) else {"attn_mask": keep_BR[:, None, None, :]}
        assert self._masks or not masked, "pictures of one size have equally many tokens"
        for block, (args, kwargs) in zip(self.blocks, self._given, strict=True):
            found = block(tokens_BRH, *args, **{**kwargs, **masked})
            tokens_BRH = found[0] if isinstance(found, tuple) else found
        return self.norm(tokens_BRH)


class Halves(Protocol):
    """Takes a model apart."""

    def __call__(
        self, model: Any, tokens_of: nn.Module, probe: Tensor, config: EncoderConfig
    ) -> tuple[nn.Module, nn.Module, int | None]:
        """Return stem, top and the number of frozen layers (None for a model without layers in a row)."""


def cut_pictures(
    model: Any, tokens_of: nn.Module, config: EncoderConfig, halves: Halves
) -> tuple[nn.Module, nn.Module, int, int | None]:
    """Cut an image model and hold its halves against the whole, on a picture too that the cut has not seen.

    Args:
        model: in evaluation mode; it is taken apart.
        tokens_of: pixels to all tokens of the model ``[B, R, H]``.
        config: its block.
        halves: cuts it.

    Returns:
        Stem, top in training mode, H, and the number of frozen layers.

    Raises:
        InputError: it gives no tokens of such pictures, or cannot be cut where asked.
    """
    probe = torch.linspace(0, 50, 6 * config.image_size_px**2).sin().reshape(2, 3, config.image_size_px, -1)
    # Not inference_mode: what the layers of the top are given takes part in training.
    with torch.no_grad():
        whole = _whole(model, tokens_of, probe, config)
        stem, top, depth = halves(model, tokens_of, probe[:1], config)
        try:
            tokens = stem(probe)
            found = top.eval()(tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))
        except (RuntimeError, TypeError, AttributeError, LookupError, ValueError) as error:
            raise not_cuttable(model, config) from error
        if tokens.shape != whole.shape or not same_tokens(found, whole):
            raise not_cuttable(model, config)
    return stem, top.train(), whole.shape[-1], depth


def not_cuttable(model: Any, config: EncoderConfig) -> InputError:
    """Return the error for an image model whose halves are not the whole."""
    kind = type(model).__name__
    if config.trainable_blocks == 0:
        return InputError(f"encoders: {config.weights}: a {kind} gives other tokens of the same picture each time")
    return InputError(
        f"encoders: {config.weights}: a {kind} cannot be cut before its last {config.trainable_blocks} blocks. Set "
        "trainable_blocks: 0"
    )


def _whole(model: Any, tokens_of: nn.Module, probe: Tensor, config: EncoderConfig) -> Tensor:
    """The uncut model's tokens; the cut must give the same."""
    try:
        tokens: Tensor = tokens_of(probe)
    except (RuntimeError, AssertionError, AttributeError, ValueError, TypeError) as error:
        raise InputError(
            f"encoders: {config.weights}: a {type(model).__name__} gives no tokens for images of "
            f"{config.image_size_px} px: {' '.join(str(error).split())[:200]}. Check image_size_px"
        ) from error
    return tokens


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return ``value`` with every tensor in it changed, however deep in tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_mapped(below, change) for below in value)
    if isinstance(value, dict):
        return {key: _mapped(below, change) for key, below in value.items()}
    return value
