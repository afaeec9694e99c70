"""Descriptions: the paper's rule, and sentences that a pathologist would call sentences."""

from __future__ import annotations

import hashlib
import json

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lile.data import sentences
from lile.data.records import DESCRIPTION_COLUMNS
from lile.data.sentences import description_texts, descriptions_of, sentence_splitter
from lile.errors import InputError

CORPUS = [
    "Schwannoma. The tumor cells are spindled. They are positive for S-100 protein.",
    "The tumor is composed of glands. The glands are lined by mucinous cells (H&E, x400).",
    "A case of the disease. Original magnification x200. There is necrosis in the tumor.",
    "Diffuse nuclear staining is seen in the tumor cells. No staining is seen in the stroma.",
    "High power of the lesion. Note the mitotic figures. Immunohistochemistry for p63 is negative.",
]

SPLIT = sentence_splitter(CORPUS)


def captions_of(texts: list[str]) -> pd.DataFrame:
    rows = [(f"c{n}", f"i{n}", f"g{n}", text) for n, text in enumerate(texts)]
    return pd.DataFrame(rows, columns=["caption_id", "image_id", "group", "text"], dtype=str)


@pytest.mark.parametrize(
    "parts",
    [
        ["The tumor, shown in Fig. 2, is large.", "The glands are small."],
        ["Same tumor as shown in Fig. 5.", "Only one nucleus stains positive."],
        ["Necrosis (cf. Figs. 1 and 2) vs. Fibrosis is shown.", "There is no atypia."],
        ["Stains, e.g. H&E, i.e. the usual ones, were used.", "Note the stroma."],
        ["Courtesy of Dr. Busam and Prof. Smith.", "The cells are round."],
        ["According to Ohike et al. (reference 22) it is benign.", "The cells are round."],
        ["It was described by Ohike et al.", "The tumor cells are spindled."],
        ["Pleural biopsy, Pat. no. 12 of the series.", "The stroma is fibrous."],
        ["Glands at orig. mag. x400 in the stroma.", "The nuclei are large."],
        ["The lesion measures 4.5 x 3.0 cm.", "There is necrosis."],
        ["A focus of 0.05 cm. in diameter was found.", "There is necrosis."],
        ["Approx. 65% of the cells are positive (D Approx. 30%; E Approx. 60%).", "There is necrosis."],
        ["The tumor grows in sheets.", "Original magnification x 400."],
        ["The tumor grows in sheets.", "HE x200."],
        ["The tumor is positive. x400.", "The stroma is negative."],
        ["The tumor is positive. (x 100).", "The stroma is negative."],
        ["The tumor is positive.", "HE. 20x."],
        [". Leiomyosarcoma.", "The threshold is low."],
        ["A. Low power of the tumor.", "B. High power of the tumor."],
        ["(A) Low power of the tumor.", "(B) High power of the tumor."],
        ["A, Low power of the tumor.", "b, the cells at high power."],
        ["Warthin tumor", "a. Smear shows a sheet of cells;", "b. Tissue section of the tumor."],
        ["1. Mild stranding is seen.", "2. The tumor is small."],
        ["Fig. 4. Axial image of the tumor.", "The tumor is large."],
        ["The tumor (Anti-OPN. Original magnification x40).", "The stroma is fibrous."],
        ["Renal disease (Wilson C. Lesions in glomeruli. J Med 1936).", "The glomeruli are large."],
        ["The stroma was overlooked.", "There is a strong chance of necrosis."],
        ["MR images in axial plane on 3 T MR.", "The tumor is bright."],
        ["Is there any necrosis?", "The tumor is bright!", "Note the stroma."],
        ["A wall that says “Where are you?” stands behind.", "There is necrosis."],
        ["H. pylori is seen in the glands.", "The glands are small."],
        ["The lesion in C.T. stroma is negative.", "The glands are small."],
        ["Occlusion of R. Internal carotid artery.", "There is necrosis."],
        ["Gleason score 3 + 3 = 6.", "The glands are small."],
        ["Only one sentence without a stop"],
        ["x400."],
        ["A."],
        ["..."],
        ["细胞核很大。 没有坏死。"],
    ],
    ids=lambda parts: parts[0][:30],
)
def test_splits_where_sentences_end(parts: list[str]):
    assert SPLIT(" ".join(parts)) == parts


def test_sentences_that_ran_together_are_parted():
    assert SPLIT("This was overlooked.There is necrosis.") == ["This was overlooked.", "There is necrosis."]
    assert SPLIT("Cells in the stroma.(H&E stain, x100)") == ["Cells in the stroma.", "(H&E stain, x100)"]
    assert len(SPLIT("Stained for Bcl-2.The is seen at www.Site.org")) <= 2


def test_white_space_and_blank():
    assert SPLIT("  The tumor\n is large. \t The cells are small. ") == ["The tumor is large.", "The cells are small."]
    assert SPLIT("") == []


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="aAbfigx. .,()[]?!140×\"'\n", max_size=60) | st.text(max_size=60))
def test_no_character_is_lost(text: str):
    found = SPLIT(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(sentence == sentence.strip() and sentence for sentence in found)


def test_endless_captions_end():
    for text in ("word " * 10_000, "This is it. " * 2_000, ". " * 5_000, "x400. " * 3_000, "(" * 5_000 + ")" * 5_000):
        assert SPLIT(text)


def test_description_rule_of_the_paper():
    assert description_texts(["One."], "One.") == [(1, "One.")]
    assert description_texts([], " ") == [(1, " ")]
    assert description_texts(["One.", "Two.", "Three."], "-") == [(2, "One. Two."), (3, "One. Three.")]


def test_descriptions_table():
    frame = descriptions_of(captions_of([*CORPUS, "No stop here"]), "sentences")
    assert tuple(frame.columns) == DESCRIPTION_COLUMNS
    first = frame[frame["caption_id"] == "c0"]
    assert list(first["description_id"]) == ["c0#2", "c0#3"]
    assert list(first["text"]) == [
        "Schwannoma. The tumor cells are spindled.",
        "Schwannoma. They are positive for S-100 protein.",
    ]
    assert set(first["image_id"]) == {"i0"}
    assert set(first["group"]) == {"g0"}
    last = frame.iloc[-1]
    assert (last["description_id"], last["text"]) == ("c5#1", "No stop here")
    assert last["text_id"] == hashlib.sha256(b"No stop here").hexdigest()[:16]
    assert frame["description_id"].is_unique


def test_whole_captions():
    frame = descriptions_of(captions_of([*CORPUS, CORPUS[0]]), "whole")
    assert list(frame["text"]) == [*CORPUS, CORPUS[0]]
    assert all(identity.endswith("#1") for identity in frame["description_id"])
    assert frame["text_id"].iloc[0] == frame["text_id"].iloc[-1]
    assert frame["text_id"].nunique() == len(CORPUS)


def test_order_and_duplicates_do_not_matter():
    captions = captions_of(CORPUS)
    turned = pd.concat([captions.iloc[::-1], captions.iloc[:1].assign(caption_id="again")])
    both = [descriptions_of(frame, "sentences") for frame in (captions, turned)]
    one, two = (frame.set_index("description_id").sort_index() for frame in both)
    pd.testing.assert_frame_equal(one, two.drop(["again#2", "again#3"]))


def test_training_sample_is_bounded_and_orderless(monkeypatch):
    monkeypatch.setattr(sentences, "TRAINING_CAPTIONS", 10)
    texts = [f"Caption number {n} of a tumor." for n in range(50)]
    sample = sentences._training_sample(texts)
    assert len(sample) == 10
    assert sample == sentences._training_sample(reversed(texts + texts))
    assert len(sentences._training_sample(["long " * 5_000])[0]) == sentences.TRAINING_CHARACTERS


@pytest.mark.parametrize(
    ("frame", "mode", "words"),
    [
        (captions_of(["One."]), "sentence", ["'sentence'", "whole"]),
        (captions_of(["One."]).drop(columns="group"), "whole", ["group", "caption_id"]),
        (captions_of([]), "whole", ["report"]),
        (captions_of(["One.", " \t"]), "sentences", ["1 blank", "'c1'"]),
    ],
)
def test_mistakes_are_named(frame: pd.DataFrame, mode: str, words: list[str]):
    with pytest.raises(InputError) as caught:
        descriptions_of(frame, mode)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.data
def test_real_arch_captions_give_about_the_papers_count(test_data):
    books = list(json.loads((test_data / "arch_captions/books_set/captions.json").read_text("utf-8")).values())
    pubmed = list(json.loads((test_data / "arch_captions/pubmed_set/captions.json").read_text("utf-8")).values())
    texts = [text for row in books[:4_270] + pubmed if (text := " ".join(row["caption"].split()))]
    found = descriptions_of(captions_of(texts), "sentences")
    # the paper: 13.9 k. 437 captions begin with a stray full stop, which a plain splitter counts as sentence 1
    stray = sum(text.startswith(". ") for text in texts)
    assert 13_200 < len(found) < 13_900
    assert abs(len(found) + stray - 13_900) < 150
    assert not found["text"].str.fullmatch(r"\W*").any()
