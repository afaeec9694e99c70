"""From scenes to captions: one to six sentences in varied wording that say what was drawn, and nothing else.

A fact is named only where it can be seen at the magnification, and where all images under the caption share it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lile.data.synthetic import phrases
from lile.data.synthetic.scene import CELLULAR, EPITHELIAL, Scene

CHOICE = re.compile(r"\[([^\[\]]*)\]")
MOST_SENTENCES = 6
SEEN_AT: dict[str, tuple[int, int]] = {
    "size": (40, 200),
    "spacing": (40, 200),
    "outline": (40, 200),
    "direction": (100, 400),
    "cellularity": (100, 400),
    "pleomorphism": (200, 400),
    "nucleoli": (400, 400),
    "mitoses": (200, 400),
    "stroma": (40, 400),
    "lymphocytes=scattered": (200, 400),
    "vessels": (100, 400),
}
"""Least and greatest magnification at which a fact shows; the others show at all."""


@dataclass(frozen=True, slots=True)
class Words:
    """What a caption may draw on: the scene, what is seen of it in all images, and what the templates' slots hold."""

    scene: Scene
    features: list[str]
    slots: dict[str, str]


def caption_of(scene: Scene, rng: np.random.Generator, others: Sequence[Scene] = ()) -> str:
    """Describe ``scene`` in one to six sentences.

    Args:
        scene: what was drawn.
        rng: chooses what is said and how; the same state gives the same caption.
        others: further images under the same caption (sub-figures); only what all of them show is said.

    Returns:
        One line of text.
    """
    words = _words_of(scene, others, rng)
    title, used = _title(words, rng)
    said = [key for key in words.features if key != used]
    rng.shuffle(said)
    beside = int(rng.choice(3, p=[0.35, 0.45, 0.2]))
    follow = [_vary(phrases.FEATURES[key][1], rng, **words.slots) for key in said[beside:]]
    if scene.marker and rng.random() < 0.7:
        follow.insert(0, _immuno_sentence(words, rng))
    wanted = int(rng.choice(MOST_SENTENCES - 1, p=[0.08, 0.2, 0.28, 0.26, 0.18]))
    sentences = [title + _besides(words, said[:beside], title, rng), *follow[:wanted]]
    return _close(sentences, _source(words, rng), rng)


def visible_features(scene: Scene, others: Sequence[Scene] = ()) -> list[str]:
    """Keys of ``phrases.FEATURES`` that hold for, and can be seen in, ``scene`` and all ``others``."""
    scenes = [scene, *others]
    keys = _keys(scene)
    low, high = (extreme(each.magnification for each in scenes) for extreme in (min, max))
    seen = []
    for key in keys:
        least, greatest = SEEN_AT.get(key) or SEEN_AT.get(key.split("=")[0], (40, 400))
        if least <= low and high <= greatest and all(key in _keys(other) for other in others):
            seen.append(key)
    return seen


def _keys(scene: Scene) -> list[str]:
    """Every fact of the scene that has words, whatever the magnification."""
    names = ["spacing", "outline", "direction", "cellularity", "pleomorphism", "mitoses", "lymphocytes", "necrosis"]
    if scene.pattern not in {"sheets", "collagen", "spindle"}:
        names.append("size")
    keys = [f"{name}={getattr(scene, name)}" for name in names]
    if scene.stain == "H&E" and scene.pattern in EPITHELIAL - {"sheets"}:
        keys.append(f"stroma={scene.stroma}")
    if scene.pattern == "collagen":
        keys.append(f"bundles={scene.stroma}")
    flags = [name for name in ("haemorrhage", "mucin", "calcification", "vessels", "edge") if getattr(scene, name)]
    if scene.nucleoli and scene.marker != "Ki-67":
        flags.append("nucleoli")
    return [key for key in keys if key in phrases.FEATURES] + flags


def _words_of(scene: Scene, others: Sequence[Scene], rng: np.random.Generator) -> Words:
    scenes = [scene, *others]
    places, sides = {each.seen_place for each in scenes}, {each.edge for each in scenes}
    levels = sorted({each.magnification for each in scenes})
    place = scene.seen_place if len(places) == 1 and rng.random() < 0.65 else ""
    slots = {
        "structure": phrases.STRUCTURE.get(scene.pattern, "cells"),
        "cells": phrases.CELLS if scene.pattern in CELLULAR else "cells",
        "place": phrases.PLACE[place],
        "side": phrases.PLACE[scene.edge if len(sides) == 1 else ""],
        "x_times": " and ".join(f"x{level}" for level in levels),
        "times_x": " and ".join(f"{level}x" for level in levels),
    }
    if scene.marker:
        intensity = phrases.INTENSITY[scene.intensity]
        extent = f"[{intensity}|{phrases.FRACTION[scene.fraction]}[ and |, ]{intensity}]"
        slots["marker"] = slots["Marker"] = phrases.MARKER_NAMES[scene.marker]
        slots |= {"intensity": intensity, "degree": extent if scene.fraction else intensity}
        slots |= {"where": phrases.LOCALISATION[scene.marker], "target": phrases.TARGET[scene.marker]}
        slots["share"] = phrases.SHARE.get(scene.fraction, "")
    return Words(scene, visible_features(scene, others), slots)


def _vary(template: str, rng: np.random.Generator, **slots: str) -> str:
    """Fill the slots, then settle every choice, innermost first."""
    text = template
    while "{" in text:
        text = text.format(**slots)
    while found := CHOICE.search(text):
        options = found.group(1).split("|")
        text = text[: found.start()] + options[int(rng.integers(len(options)))] + text[found.end() :]
    return re.sub(r"  +", " ", text).strip()


def _title(words: Words, rng: np.random.Generator) -> tuple[str, str]:
    """What the picture is called, and the feature that stands in it as an adjective (empty for none)."""
    title = _vary(phrases.TITLES[words.scene.pattern], rng, how="@")
    own = [key for key in words.features if key.split("=")[0] in {"size", "spacing", "outline"}]
    used = str(rng.choice(own)) if own and "@" in title else ""
    adjective = _vary(phrases.FEATURES[used][0], rng, structure="") if used else ""
    title = title.replace("@", adjective).strip()
    if words.scene.marker and rng.random() < 0.85:
        template = phrases.IMMUNO[int(rng.integers(len(phrases.IMMUNO)))]
        title = _vary(template, rng, title=title, **words.slots)
    return title, used


def _besides(words: Words, features: list[str], title: str, rng: np.random.Generator) -> str:
    """Up to two features after the title: " with crowded nuclei and mucin"."""
    if not features:
        return ""
    links = [link for link in (" with ", " showing ", ", with ", ": ") if link.strip(" ,") not in title.split()]
    link = links[int(rng.integers(len(links)))]
    return link + " and ".join(_vary(phrases.FEATURES[key][0], rng, **words.slots) for key in features)


def _immuno_sentence(words: Words, rng: np.random.Generator) -> str:
    templates: tuple[str, ...] = phrases.IMMUNO_SENTENCE
    if words.scene.fraction and words.scene.marker != "vimentin":
        templates = templates + phrases.SHARE_SENTENCE
    return _vary(templates[int(rng.integers(len(templates)))], rng, **words.slots)


def _source(words: Words, rng: np.random.Generator) -> str:
    """Stain and magnification, as captions end with them: "H&E, x200"; empty in a third of the captions."""
    slots, stain = words.slots, phrases.STAIN[words.scene.stain]
    kind = rng.random()
    if kind < 0.4:
        return _vary(f"{stain}, {phrases.TIMES}", rng, **slots)
    if kind < 0.55:
        return _vary(phrases.TIMES, rng, **slots)
    return _vary(stain, rng, **slots) if kind < 0.68 else ""


def _capital(sentence: str) -> str:
    """Start with a capital letter, but leave "x200" and "p53" as they are."""
    return sentence if re.match(r"\w\d", sentence) else sentence[0].upper() + sentence[1:]


def _close(sentences: list[str], source: str, rng: np.random.Generator) -> str:
    """Join sentences; the source stands in brackets before or after the last full stop, or as a sentence."""
    capital = [_capital(sentence) for sentence in sentences]
    end = "." if rng.random() < 0.92 else ""
    if not source:
        return ". ".join(capital) + end
    form = rng.random()
    if form < 0.5:
        return f"{'. '.join(capital)} ({source}){end}"
    return f"{'. '.join(capital)}. {_capital(source)}{end}" if form < 0.75 else f"{'. '.join(capital)}. ({source}){end}"
