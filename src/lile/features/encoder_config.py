"""The config block of one encoder, checked."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from typing import Any

from lile.errors import InputError
from lile.features.layouts import DUAL_LAYOUTS, ENCODER, PICTURES, Layout

DUAL_LIBRARIES = tuple(DUAL_LAYOUTS)
"""Of models that read images and texts into one space: each item becomes one vector, and nothing of them is trained."""

LIBRARIES = {"image": ("timm", "transformers", *DUAL_LIBRARIES), "text": ("transformers", *DUAL_LIBRARIES)}
"""By modality; the first is the default."""

MODEL_ARGS = (
    "init_values", "mlp_ratio", "mlp_layer", "act_layer", "reg_tokens", "no_embed_class", "patch_size", "embed_dim",
    "depth", "num_heads", "dynamic_img_size",
)  # fmt: skip
"""Arguments of timm's ViTs that model cards give in code, where the published config.json lacks them."""

RANDOM = "random"
IMAGE_SIZE_PX = 224
"""Side of an image where the config says none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderConfig:
    """One entry of ``encoders`` in the config; :meth:`from_dict` checks it."""

    weights: str
    """``random``, a folder in the hub's layout, a hub id, or ``package:<python package>[/subfolder]``."""
    modality: str
    library: str
    config: str | None = None
    """Folder with the architecture (and tokenizer); only with random weights."""
    convert_from: str | None = None
    """What the workflow makes the folder named by ``weights`` from; of no meaning to the encoder."""
    trainable_blocks: int = 2
    image_size_px: int = IMAGE_SIZE_PX
    max_tokens: int = 512
    batch_size: int = 32
    model_args: dict[str, Any] | None = None
    """Of a timm model: what its card gives in code, beside its config.json; keys of :data:`MODEL_ARGS`."""
    weights_keys: dict[str, str] | None = None
    """Of a timm model: only tensors whose names begin with ``prefix`` are read, as ``becomes`` and the rest."""

    @property
    def layout(self) -> Layout:
        """The files that its folder must hold."""
        return layout_of(self.modality, self.library)

    @property
    def is_dual(self) -> bool:
        """Whether it is one side of a dual encoder."""
        return self.library in DUAL_LIBRARIES

    def __post_init__(self) -> None:
        """Refuse values that no encoder can have."""
        if self.library not in LIBRARIES.get(self.modality, ()):
            possible = [f"{modality} with {' or '.join(names)}" for modality, names in LIBRARIES.items()]
            raise InputError(
                f"encoders: modality {self.modality!r} with library {self.library!r}; possible are "
                f"{', '.join(possible)}"
            )
        if self.is_dual and (self.weights == RANDOM or self.trainable_blocks != 0):
            raise InputError(
                f"encoders: weights {self.weights!r} with trainable_blocks {self.trainable_blocks} and library "
                f"{self.library!r}: a dual encoder has pretrained weights and is stored whole. Name its folder or hub "
                f"id under `weights`, and set trainable_blocks: 0"
            )
        if (self.weights == RANDOM) != (self.config is not None):
            raise InputError(
                f"encoders: weights {self.weights!r} with config {self.config!r}. Random weights need a folder with "
                f"config.json under `config`; other weights bring their own, so leave `config` out"
            )
        for name, found, known in (
            ("model_args", self.model_args, MODEL_ARGS),
            ("weights_keys", self.weights_keys, ("prefix", "becomes")),
        ):
            if found is not None and (self.library != "timm" or not set(found) <= set(known)):
                raise InputError(
                    f"encoders: {name} is {found} with library {self.library}; it is for timm and knows "
                    f"{', '.join(known)}"
                )
        for name, least in (("trainable_blocks", 0), ("image_size_px", 1), ("max_tokens", 1), ("batch_size", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(f"encoders: {name} is {value!r}, it must be a whole number from {least} up")

    @classmethod
    def from_dict(cls, values: dict[str, Any], modality: str) -> EncoderConfig:
        """Check a config block.

        Args:
            values: the block; ``modality`` and ``library`` may be left out.
            modality: ``image`` or ``text``: what the caller needs.

        Raises:
            InputError: a key is unknown or missing, or a value does not fit.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1) or known
                raise InputError(f"encoders: unknown key {key!r}; did you mean {near[0]!r}?")
        if not isinstance(values.get("weights"), str) or not values["weights"]:
            raise InputError("encoders: `weights` is missing: name a folder, a hub id, package:<name>, or random")
        config = cls(**{"modality": modality, "library": LIBRARIES[modality][0], **values})
        if config.modality != modality:
            raise InputError(f"encoders: an encoder of modality {config.modality!r} is used for {modality}s")
        return config


def layout_of(modality: str, library: str) -> Layout:
    """Return the files that the folder of an encoder of whole pictures or of texts must hold."""
    if library in DUAL_LAYOUTS:
        return DUAL_LAYOUTS[library]
    return PICTURES if (modality, library) == ("image", "transformers") else ENCODER
