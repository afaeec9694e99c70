"""Captions: true, varied, of one to six sentences."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from lile.data.synthetic import phrases
from lile.data.synthetic.scene import Scene, scene_for, variant_of
from lile.data.synthetic.words import MOST_SENTENCES, caption_of, visible_features

SCENES = [scene_for(5, index) for index in range(1500)]
CAPTIONS = [caption_of(scene, np.random.default_rng(index)) for index, scene in enumerate(SCENES)]

CLAIMS: dict[str, Callable[[Scene], bool]] = {
    r"necro": lambda scene: bool(scene.necrosis),
    r"focus of necrosis|focal necrosis": lambda scene: scene.necrosis == "focal",
    r"extensive|geographic|replaced by": lambda scene: scene.necrosis == "extensive",
    r"h(a?)emorrhage|extravasated|pooled": lambda scene: scene.haemorrhage,
    r"mucin": lambda scene: scene.mucin,
    r"calcif|psammoma": lambda scene: scene.calcification,
    r"congested|dilated|thin-walled": lambda scene: scene.vessels and scene.magnification >= 100,
    r"mitos|mitotic": lambda scene: bool(scene.mitoses) and scene.magnification >= 200,
    r"frequent mitos|numerous mitos|many mitotic|brisk\.": lambda scene: scene.mitoses == "many",
    r"lymphocytic infiltrate|inflammation": lambda scene: bool(scene.lymphocytes),
    r"dense lymphocytic|dense inflammation": lambda scene: scene.lymphocytes == "dense",
    r"nucleoli": lambda scene: scene.nucleoli and scene.magnification == 400,
    r"bizarre|striking|severe": lambda scene: scene.pleomorphism == "marked" and scene.magnification >= 200,
    r"bland|monotonous|uniform": lambda scene: scene.pleomorphism == "mild" and scene.magnification >= 200,
    r"desmoplas|stromal fibrosis": lambda scene: scene.stroma == "dense",
    r"myxoid|edematous": lambda scene: scene.stroma == "loose",
    r"horizontal": lambda scene: scene.direction == "horizontal",
    r"vertical": lambda scene: scene.direction == "vertical",
    r"oblique|diagonal": lambda scene: scene.direction == "oblique",
    r"back.to.back|closely packed (glands|nests)": lambda scene: scene.spacing == "crowded",
    r"\b(at|on the|the) left|\(left\)": lambda scene: "left" in (scene.seen_place, scene.edge),
    r"\b(at|on the|the) right|\(right\)": lambda scene: "right" in (scene.seen_place, scene.edge),
    r"free (edge|margin)|of the specimen": lambda scene: bool(scene.edge),
    r"\bgland": lambda scene: scene.pattern in {"glands", "cribriform"},
    r"cribriform": lambda scene: scene.pattern == "cribriform",
    r"papilla": lambda scene: scene.pattern == "papillae",
    r"squamous|keratinizing": lambda scene: scene.pattern == "nests",
    r"spindle cell (sarcoma|tum)": lambda scene: scene.pattern == "spindle",
    r"adip|\bfat\b": lambda scene: scene.pattern == "adipose",
    r"germinal": lambda scene: scene.pattern == "follicles",
    r"h&e|hematoxylin|h and e": lambda scene: scene.stain == "H&E",
    r"immuno|ihc": lambda scene: scene.stain == "IHC",
    r"ki-?67|mib-1": lambda scene: scene.marker == "Ki-67",
    r"cytokeratin|ae1": lambda scene: scene.marker == "cytokeratin",
    r"her2": lambda scene: scene.marker == "HER2",
    r"cd45|lca": lambda scene: scene.marker == "CD45",
    r"vimentin": lambda scene: scene.marker == "vimentin",
    r"cd34": lambda scene: scene.marker == "CD34",
    r"patchy|about half|50%": lambda scene: scene.fraction == "patchy",
    r"more than 90%|nearly all|vast majority": lambda scene: scene.fraction == "diffuse",
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_captions_name_only_what_is_drawn(claim: str):
    said = [scene for scene, caption in zip(SCENES, CAPTIONS, strict=True) if re.search(claim, caption.lower())]
    assert said, "the claim is never made: the test would check nothing"
    assert all(CLAIMS[claim](scene) for scene in said)


def test_magnification_is_the_scene_s():
    named = 0
    for scene, caption in zip(SCENES, CAPTIONS, strict=True):
        found = re.findall(r"\bx(\d+)\b|\b(\d+)x\b", caption)
        assert {int(left or right) for left, right in found} <= {scene.magnification}
        named += bool(found)
    assert 0.35 < named / len(SCENES) < 0.8, "said often, and left out often"


def test_one_to_six_sentences_on_one_line():
    counts = [len(re.findall(r"[.](?=\s+[(A-Zx\d])", caption)) + 1 for caption in CAPTIONS]
    assert min(counts) == 1
    assert max(counts) <= MOST_SENTENCES
    assert len(set(counts)) == MOST_SENTENCES
    for caption in CAPTIONS:
        assert caption == " ".join(caption.split())
        assert not re.search(r"[\[\]{}|@]|\.\.| [.,)]|\( |,,", caption), caption
        assert caption[0].isupper()


def test_wording_varies():
    assert len(set(CAPTIONS)) > 0.97 * len(CAPTIONS)
    sentences = {sentence for caption in CAPTIONS for sentence in re.split(r"(?<=\.)\s+(?=[(A-Z])", caption)}
    assert len(sentences) > 2000
    again = {caption_of(SCENES[3], np.random.default_rng(state)) for state in range(100)}
    assert len(again) > 90


def test_endings_of_the_field_are_there():
    text = "\n".join(CAPTIONS)
    for habit in (r"\(H&E, x\d+\)\.", r"\. H&E, x\d+\.", r"\(original magnification,? x\d+\)", r"\w$", r"\(IHC"):
        assert re.search(habit, text, re.MULTILINE), habit


def test_the_same_generator_state_gives_the_same_caption():
    again = [caption_of(scene, np.random.default_rng(index)) for index, scene in enumerate(SCENES[:100])]
    assert again == CAPTIONS[:100]


def test_shared_captions_say_what_all_images_show():
    for index, scene in enumerate(SCENES[:500]):
        other = variant_of(scene, 5, index + 1)
        common = visible_features(scene, [other])
        assert set(common) <= set(visible_features(scene)) & set(visible_features(other))
        caption = caption_of(scene, np.random.default_rng(index), [other])
        named = {int(a or b) for a, b in re.findall(r"\bx(\d+)\b|\b(\d+)x\b", caption)}
        assert named in (set(), {scene.magnification, other.magnification})
        for side in ("left", "right"):
            if re.search(rf"\b(at|on the|the) {side}\b|\({side}\)", caption):
                assert side in (scene.seen_place, scene.edge)
                assert side in (other.seen_place, other.edge)


def test_every_feature_is_used_and_has_words():
    used = {key for scene in SCENES for key in visible_features(scene)}
    assert used == set(phrases.FEATURES)
    assert set(phrases.TITLES) == {scene.pattern for scene in SCENES}
