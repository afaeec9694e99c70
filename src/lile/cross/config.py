"""The knobs of a cross-encoder row: a block ``models.<name>`` of the config with ``kind: cross_encoder``.

Defaults follow the retrieval fine-tuning that OSCAR's authors publish, except where a comment says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lile.errors import InputError
from lile.features.encoder_config import RANDOM
from lile.values import Precision, at_least, one_of, positive, read_block

Projection = Literal["loaded", "fresh"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ShortlistConfig:
    """What is re-ranked."""

    model: str
    """The row whose best candidates are scored again."""
    top: int = 20
    """How many of them: the best texts of each image and the best images of each text."""

    def __post_init__(self) -> None:
        at_least("shortlist.top", self.top, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class NegativesConfig:
    """Wrong pairs that the classifier learns from."""

    per_positive: int = 1
    """Wrong pairs for each right one."""
    hard: float = 0.5
    """Share of them drawn from the shortlist of the other row; the rest is drawn from all training items."""
    pool: int = 256
    """Right pairs among whose items that shortlist is made, anew in every epoch: never over all training items, so
    that its cost grows with their number and not with its square."""

    def __post_init__(self) -> None:
        at_least("negatives.per_positive", self.per_positive, 1)
        at_least("negatives.pool", self.pool, 2)
        if not 0 <= self.hard <= 1:
            raise InputError(f"negatives.hard={self.hard} must lie from 0 to 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossTrainingConfig:
    """One fold's training: AdamW, the rate rising over ``warmup`` of all steps and then falling to zero."""

    batch_size: int = 32
    """Right pairs per step; each brings its wrong pairs along."""
    epochs: int = 10
    learning_rate: float = 2.0e-5
    """At its highest."""
    warmup: float = 0.1
    """Share of the planned steps in which the rate rises; OSCAR's own default is 0. A fresh classifier on pretrained
    layers starts more gently so."""
    weight_decay: float = 0.05
    """Of the weight matrices; biases and norms are left alone."""
    patience: int = 5
    """Stop after this many epochs without a better validation R@sum."""
    clip_norm: float = 1.0
    precision: Precision = "auto"
    validation_images: int = 200
    """At most this many validation images (a seeded draw) are re-ranked after each epoch."""

    def __post_init__(self) -> None:
        one_of("training.precision", self.precision, Precision)
        for name in ("batch_size", "epochs", "patience"):
            at_least(f"training.{name}", getattr(self, name), 1)
        at_least("training.validation_images", self.validation_images, 2)
        positive("training.learning_rate", self.learning_rate)
        positive("training.clip_norm", self.clip_norm)
        if not 0 <= self.warmup < 1 or not self.weight_decay >= 0:
            raise InputError("training.warmup must lie from 0 up to, not at, 1, and weight_decay must not be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossConfig:
    """A cross-encoder: words, object tags and regions through one BERT."""

    kind: Literal["cross_encoder"] = "cross_encoder"
    shortlist: ShortlistConfig
    weights: str = RANDOM
    """``random``, a folder (BERT's or OSCAR's layout), a hub id, or ``package:<python package>[/subfolder]``."""
    config: str | None = None
    """Folder with ``config.json`` and the tokenizer's files; only with random weights."""
    trainable_blocks: int | None = None
    """Last layers that train; ``None`` is all of them and the embeddings."""
    max_words: int = 64
    """Longer captions are cut to this many word pieces, both markers included."""
    max_regions: int = 50
    """Images with more stored tokens are read at this many places, evenly spread over them."""
    tags: str | None = None
    """CSV with ``image_id, tags``: the names of the objects in an image, as one text."""
    max_tags: int = 20
    """Longer tag texts are cut to this many word pieces, the marker at their end included."""
    region_norm: bool | None = None
    """LayerNorm after the projection of regions; ``None`` is what config.json says, else no."""
    region_projection: Projection = "loaded"
    """``fresh``: leave the published projection of regions out, for stored tokens of another kind."""
    negatives: NegativesConfig = field(default_factory=NegativesConfig)
    training: CrossTrainingConfig = field(default_factory=CrossTrainingConfig)

    def __post_init__(self) -> None:
        one_of("region_projection", self.region_projection, Projection)
        for name, least in (("max_words", 3), ("max_regions", 1), ("max_tags", 2)):
            at_least(name, getattr(self, name), least)
        if self.trainable_blocks is not None:
            at_least("trainable_blocks", self.trainable_blocks, 0)
        if (self.weights == RANDOM) != (self.config is not None):
            raise InputError(
                f"weights {self.weights!r} with config {self.config!r}: random weights need a folder with config.json "
                "and a tokenizer under `config`; other weights bring their own, so leave `config` out"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CrossConfig:
        """Read a config block. Raises :class:`InputError` for an unknown key (with the nearest one) or a bad value."""
        if "model" not in values.get("shortlist", {}):
            raise InputError("shortlist.model is missing: name the row whose best candidates are scored again")
        nested = {"shortlist": ShortlistConfig, "negatives": NegativesConfig, "training": CrossTrainingConfig}
        blocks: dict[str, Any] = {name: read_block(kind, values.get(name, {}), name) for name, kind in nested.items()}
        return read_block(cls, {**values, **blocks}, "model")

    def to_dict(self) -> dict[str, Any]:
        """Return the block with every default written out."""
        return asdict(self)
