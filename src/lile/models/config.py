"""One row of a table as a configuration of shared parts: sides, matcher, loss, training.

A block ``models.<name>`` of the config becomes one :class:`ModelConfig`. Its defaults are LILE as PAPER.md sections 3
to 5 read it. Unknown keys are refused, and so are keys that clash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lile.errors import InputError
from lile.matching.config import MatchingConfig
from lile.models.loss_config import LossConfig
from lile.models.side_config import ONE_VECTOR, SideConfig
from lile.models.training_config import PlateauConfig, StepConfig, TrainingConfig
from lile.values import at_least, one_of, read_block

Values = Literal["shared", "own"]
Preset = Literal["paper", "scaled", "custom", "baseline"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolingConfig:
    """From tokens to ``m`` maps (PAPER.md section 3)."""

    hidden: int | None = None
    """Width of the hidden layer ``W1``; ``None`` is half of the tokens' width, as in PVSE."""
    values: Values = "shared"
    """Whether LILE's maps share one projection ``Wv``, or each has its own."""

    def __post_init__(self) -> None:
        if self.hidden is not None:
            at_least("pooling.hidden", self.hidden, 1)
        one_of("pooling.values", self.values, Values)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """A model that is trained on stored tokens, or takes them as they are."""

    preset: Preset = "paper"
    """What a table calls this row: LILE as printed (``paper`` sums Eq. 7), with the mean of its terms (``scaled``), in
    a setting of one's own (``custom``), or another model (``baseline``)."""
    maps: int = 16
    """m, the vectors an item is pooled into."""
    width: int = 1024
    """d, the width of the joint embedding."""
    steps: int = 2
    """K, the matching steps of Eq. 7."""
    image: SideConfig = field(default_factory=SideConfig)
    text: SideConfig = field(default_factory=SideConfig)
    pooling: PoolingConfig = field(default_factory=PoolingConfig)
    matching: MatchingConfig = field(default_factory=MatchingConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        one_of("preset", self.preset, Preset)
        for name in ("maps", "width", "steps"):
            at_least(name, getattr(self, name), 1)
        clashes = [*self._preset_clashes(), *self._part_clashes(), *self._training_clashes()]
        if clashes:
            raise InputError("; ".join(clashes))

    def _preset_clashes(self) -> Iterator[str]:
        promised = {"paper": "sum", "scaled": "mean"}.get(self.preset)
        if promised is None:
            return
        if self.matching.reduce != promised:
            yield (
                f"preset {self.preset!r} means matching.reduce: {promised}, found {self.matching.reduce!r}; "
                "set matching.reduce to that, or preset: custom"
            )
        if self.matching.kind != "iterative" or {self.image.pooling, self.text.pooling} != {"maps"}:
            yield (
                f"preset {self.preset!r} is LILE: matching.kind iterative and pooling maps on both sides, found "
                f"{self.matching.kind}, {self.image.pooling} and {self.text.pooling}; set preset: baseline or custom"
            )

    def _part_clashes(self) -> Iterator[str]:
        if self.image.source != "encoder":
            yield f"image.source: found {self.image.source!r}; images have an encoder, only texts have words"
        for name, side in (("image", self.image), ("text", self.text)):
            if self.matching.kind == "dot" and side.pooling not in ONE_VECTOR:
                yield (
                    f"matching.kind: dot scores one vector per item, but {name}.pooling {side.pooling!r} leaves "
                    f"several; set it to one of {', '.join(ONE_VECTOR)}, or matching.kind: max or iterative"
                )
            if self.loss.diversity and side.pooling != "residual_maps":
                yield f"loss.diversity: needs {name}.pooling: residual_maps, found {side.pooling!r}; set it to 0"
        if self.loss.caption and self.text.source != "words":
            yield "loss.caption: the caption's words are predicted, which needs text.source: words; set it to 0"
        if self.loss.caption and self.training.drop_tokens:
            yield "loss.caption: a caption with words left out cannot be predicted; set training.drop_tokens to 0"

    def _training_clashes(self) -> Iterator[str]:
        stored = not (self.image.learns or self.text.learns) and self.matching.kind != "iterative"
        if self.training.epochs == 0 and not stored:
            yield (
                "training.epochs: 0 leaves random weights as they are; only a row whose sides are both pooling: given, "
                "with matching.kind: dot or max, can do without training"
            )
        if self.training.epochs > 0 and stored:
            yield "training.epochs: nothing in this row can be trained; set it to 0"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Read a config block. Raises :class:`InputError` for an unknown key (with the nearest one) or a bad value."""
        nested: dict[str, type[Any]] = {
            "pooling": PoolingConfig,
            "matching": MatchingConfig,
            "loss": LossConfig,
        }
        blocks: dict[str, Any] = {name: read_block(kind, values.get(name, {}), name) for name, kind in nested.items()}
        blocks |= {name: _side(values.get(name, {}), name) for name in ("image", "text")}
        training = dict(values.get("training", {}))
        for name, schedule in (("plateau", PlateauConfig), ("step", StepConfig)):
            training[name] = read_block(schedule, training.get(name, {}), f"training.{name}")
        blocks["training"] = read_block(TrainingConfig, training, "training")
        return read_block(cls, {**values, **blocks}, "model")

    def to_dict(self) -> dict[str, Any]:
        """Return the block with every default written out."""
        return asdict(self)


def _side(values: Mapping[str, Any], name: str) -> SideConfig:
    """Read the block of a side; both have the same keys, so an error says which it is."""
    try:
        return read_block(SideConfig, values, name)
    except InputError as error:
        said = str(error)
        raise InputError(said if said.startswith("unknown key") else f"{name}: {said}") from None
