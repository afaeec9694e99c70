"""Captions into descriptions: sentence 1 alone, or sentence 1 with each of the others (PAPER.md section 6).

Sentences come from Punkt (Kiss and Strunk 2006, in nltk) trained on the corpus' own captions, so nothing is downloaded.
Punkt was made for newspapers; what it gets wrong in figure captions is put right around it, boundary by boundary:
magnifications, figure and panel references, panel labels, enumerations, stains, text in brackets.

Deviation: the paper names no splitter. A "sentence" that holds no word (a stray full stop, ``A.``, ``x400.``) would
be a description of nothing; it is joined to its neighbour instead.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

from lile.data.records import DESCRIPTION_COLUMNS
from lile.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def _words(*lines: str) -> frozenset[str]:
    return frozenset(" ".join(lines).split())


TRAINING_CAPTIONS = 20_000
"""Punkt's counts settle long before; more captions cost memory and time only."""
TRAINING_CHARACTERS = 2_000
"""Of one caption: a single endless one must not outweigh the rest."""

FRAGMENT_CHARACTERS = 60
"""What is longer and holds a letter is a sentence."""

NEVER_LAST = _words(
    "fig figs e.g i.e cf vs v.s approx appr ca viz incl esp dr drs prof mr mrs ms st eq eqs suppl ed eds"
)
"""Abbreviations that no sentence ends with; lower case, without the last full stop."""

BEFORE_NUMBERS = _words(
    "no nos pat pats orig magn magnif mag o.m al ref refs vol pp p ch sec tab 0"  # "0": a torn "0. 05"
)
"""Words that a sentence may end with, but not before a number."""

BEFORE_LOWER = BEFORE_NUMBERS | _words(
    "etc h&e h.e h.&e i.v i.m p.o s.c resp jr sr inc co corp ltd univ dept sp spp subsp cm mm um µm nm ml kg mg hr",
    "hrs min wk wks yr yrs mo mos dx hx tx rx hpf lpf abd ax sag cor rt lt ant post inf sup lat bilat abbr temp conc",
)
"""Words that a sentence may end with, but not before a small letter (unless it is a panel's)."""

_MAGNIFICATION = r"(?:[x×]\s?\d[\d.,]*|\d[\d.,]*\s?[x×])"
_LABEL = r"(?:[(\[]?(?:[A-Za-z]|\d{1,2}|[ivx]{1,4}|\d{0,2}[A-Za-z])[)\]]?(?:\s?[-–,&/]\s?[A-Za-z])?[.,:;)]*)"
_FIGURE = r"(?:fig(?:ure)?s?\.?\s?\d{0,3}\.?\d{0,3}\s?[a-z]?[.:]*)"

_LEADS = re.compile(rf"(?:{_LABEL}|{_FIGURE})", re.IGNORECASE)
_TRAILS = re.compile(
    rf"[\W\d_]*|[(\[]?(?:(?:objective|bar|scale|total|orig\w*\.?|mag\w*\.?)?[\s,:=]*{_MAGNIFICATION}[\s,;/]*)+"
    r"(?:objective|obj\.?)?[)\].,;]*",
    re.IGNORECASE,
)
_LAST_WORD = re.compile(r"([\w&.-]+)\.[)\]\"']*$")
_RUN_TOGETHER = re.compile(r"(?<=[^\W\d_]{3}|.[a-z]\))[.?!](?=(?:[A-Z][a-z]+\s|\([A-Za-z&]))")
_PANEL = re.compile(r" (?P<label>[A-Za-z]|\d{1,2})\. (?=[A-Z(])")
_NO_PANEL_AFTER = _words(
    "a an the in and or of to for with by from see is as at on panel panels fig fig. figure case type group grade",
    "class pattern hepatitis vitamin protein factor virus influenza stage part image score level no no.",
)
_SMALL_LABEL = re.compile(r"[a-z][,.):]")
_SIDE = re.compile(r"\b(?:of|the|to|in|and|at|on) [LR]\.$")
_INTERRUPTED = re.compile(r"(?:[?!][\s\"')\]”’]*|(?<![\w.])(?:[A-Za-z]\.){2,})$")
_ENUMERATOR = re.compile(r"(?:^|[\s,;:])(?:[A-Za-z]|\d{1,2}|[ivx]{1,4})$")


def description_texts(sentences: list[str], caption: str) -> list[tuple[int, str]]:
    """Return (sentence number, description) pairs: sentence 1 + sentence i for i = 2..n; ``(1, caption)`` where n = 1.

    Source: PAPER.md section 6.
    """
    if len(sentences) < 2:
        return [(1, caption)]
    return [(number, f"{sentences[0]} {sentence}") for number, sentence in enumerate(sentences[1:], start=2)]


def descriptions_of(captions: pd.DataFrame, mode: str) -> pd.DataFrame:
    """Make the descriptions of every caption, in the captions' order.

    Args:
        captions: columns ``caption_id, image_id, group, text``; texts are not blank.
        mode: ``sentences`` (the paper's) or ``whole`` (a caption is its one description).

    Returns:
        Columns DESCRIPTION_COLUMNS. ``description_id`` is ``{caption_id}#{i}``, i the number of the sentence that joins
        sentence 1, and 1 where the description is the caption itself. The same set of captions gives the same
        descriptions in any order.

    Raises:
        InputError: an unknown mode, a missing column, no caption at all, or a blank one.
    """
    import pandas as pd

    _check(captions, mode)
    texts = [str(text) for text in captions["text"]]
    split = sentence_splitter(texts) if mode == "sentences" else lambda text: [text]
    parts = {text: description_texts(split(text), text) for text in dict.fromkeys(texts)}
    rows = [
        (f"{caption_id}#{number}", caption_id, image_id, group, text, text_id_of(text))
        for caption_id, image_id, group, caption in zip(
            captions["caption_id"], captions["image_id"], captions["group"], texts, strict=True
        )
        for number, text in parts[caption]
    ]
    log.info("%d descriptions from %d captions (%s)", len(rows), len(texts), mode)
    return pd.DataFrame(rows, columns=list(DESCRIPTION_COLUMNS), dtype=str)


def text_id_of(text: str) -> str:
    """Return the text's name: the first 16 hex digits of the SHA-256 of its UTF-8 bytes. Same text, same name."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def sentence_splitter(captions: Iterable[str]) -> Callable[[str], list[str]]:
    """Train Punkt on captions and return a function from a caption to its sentences.

    Args:
        captions: the corpus. Duplicates and order do not matter; of more than TRAINING_CAPTIONS different ones, those
            whose SHA-256 is smallest are learned from.

    Returns:
        A function. Its sentences, joined by spaces, hold every character of the caption but white space.
    """
    from nltk.tokenize.punkt import PunktSentenceTokenizer, PunktTrainer

    trainer = PunktTrainer()
    trainer.train("\n\n".join(_training_sample(captions)), finalize=True)
    params = trainer.get_params()
    params.abbrev_types = {word for word in params.abbrev_types if _plausible(word)}
    # "x400. Immunoperoxidase ..." is frequent in captions, and still two sentences
    params.collocations = {pair for pair in params.collocations if pair[0] != "##number##"}
    punkt = PunktSentenceTokenizer(params)

    def split(caption: str) -> list[str]:
        text = " ".join(caption.split())
        ends = {end for _, end in punkt.span_tokenize(text)} if text else set()
        return _merge_fragments(_cut(text, _mend(text, ends)))

    return split


def _check(captions: pd.DataFrame, mode: str) -> None:
    if mode not in ("sentences", "whole"):
        raise InputError(f"descriptions: {mode!r} is not known; write 'sentences' (the paper's) or 'whole'")
    missing = {"caption_id", "image_id", "group", "text"} - set(captions.columns)
    if missing:
        raise InputError(f"captions: missing column(s) {sorted(missing)}; found {list(captions.columns)}")
    if captions.empty:
        raise InputError("captions: there is none to describe; look at the data report for why all were dropped")
    blank = captions.loc[captions["text"].astype(str).str.strip() == "", "caption_id"]
    if len(blank):
        raise InputError(f"captions: {len(blank)} blank, first {blank.iloc[0]!r}; drop such rows from the data")


def _training_sample(captions: Iterable[str]) -> list[str]:
    unique = sorted({" ".join(caption.split())[:TRAINING_CHARACTERS] for caption in captions})
    if len(unique) <= TRAINING_CAPTIONS:
        return unique
    log.info("training the sentence splitter on %d of %d captions", TRAINING_CAPTIONS, len(unique))
    return sorted(sorted(unique, key=text_id_of)[:TRAINING_CAPTIONS])


def _plausible(word: str) -> bool:
    """Punkt learns "testis" and "25x" as abbreviations from short captions: believe dotted ones and vowel-less ones."""
    return "." in word or (word.isalpha() and len(word) <= 4 and not set(word) & set("aeiouy"))


def _mend(text: str, ends: set[int]) -> list[int]:
    """Return the ends of sentences: Punkt's, without those that no sentence has, with those it cannot see."""
    brackets = _brackets(text)
    kept = {len(text)}
    for end in ends | {match.end() for match in _RUN_TOGETHER.finditer(text)} | _panel_starts(text):
        left, right = text[:end].rstrip(), text[end:].lstrip()
        if right and not brackets[end] and not _goes_on(left[-80:], right):
            kept.add(end)
    return sorted(kept - {0})


def _panel_starts(text: str) -> set[int]:
    """Places before labels that Punkt takes for ends: "Warthin tumor a. Smear shows ...; b. Tissue ..."."""
    starts = set()
    for match in _PANEL.finditer(text):
        before = text[max(0, match.start() - 20) : match.start()].rpartition(" ")[2].lower()
        if before.endswith((":", ";")) or (match["label"].islower() and before not in _NO_PANEL_AFTER):
            starts.add(match.start())
    return starts


def _goes_on(left: str, right: str) -> bool:
    """Tell whether the sentence that seems to end with ``left`` goes on in ``right``."""
    if _SIDE.search(left) or (right[0].islower() and _INTERRUPTED.search(left)):
        return True
    last = _LAST_WORD.search(left)
    word = last[1].lstrip(".-") if last else ""
    if word.isupper() and word.isalpha() and len(word) > 1 and word not in ("FIG", "FIGS", "VS"):
        return False  # "MR." is an imaging method, "Mr." is not
    word = word.lower()
    if word in NEVER_LAST:
        return True
    if word in BEFORE_NUMBERS and (right[0].isdigit() or right[0] in "([×"):
        return True
    return word in BEFORE_LOWER and right[0].islower() and not _SMALL_LABEL.match(right)


def _brackets(text: str) -> list[bool]:
    """Tell for each place in the text (length + 1) whether it lies within a closed pair of round or square brackets.

    ``a)`` and ``2)`` open an item and close nothing; a bracket that is never closed opens nothing.
    """
    inside, stack = [0] * (len(text) + 2), []
    for place, character in enumerate(text):
        if character in "([":
            stack.append(place)
        elif character in ")]" and stack:
            before = text[stack[-1] + 1 : place]
            if len(before) > 2 and _ENUMERATOR.search(before[-6:]):
                continue
            start = stack.pop()
            inside[start + 1] += 1
            inside[place + 1] -= 1
    depth, result = 0, []
    for step in inside[: len(text) + 1]:
        depth += step
        result.append(depth > 0)
    return result


def _cut(text: str, ends: list[int]) -> list[str]:
    pieces = (text[start:end].strip() for start, end in pairwise([0, *ends]))
    return [piece for piece in pieces if piece]


def _merge_fragments(sentences: list[str]) -> list[str]:
    """Join labels to what they label, and stray punctuation, numbers and magnifications to what they follow."""
    merged: list[list[str]] = []
    waiting: list[str] = []
    for sentence in sentences:
        kind = _kind(sentence)
        if kind == "label" or (kind == "tail" and (waiting or not merged)):
            waiting.append(sentence)
        elif kind == "tail":
            merged[-1].append(sentence)
        else:
            merged.append([*waiting, sentence])
            waiting = []
    if waiting and merged:
        merged[-1].extend(waiting)
    elif waiting:
        merged.append(waiting)
    return [" ".join(parts) for parts in merged]


def _kind(sentence: str) -> str:
    if not any(character.isalpha() for character in sentence):
        return "label" if _LEADS.fullmatch(sentence) else "tail"
    if len(sentence) > FRAGMENT_CHARACTERS:
        return "sentence"
    if _LEADS.fullmatch(sentence):
        return "label"
    return "tail" if _TRAILS.fullmatch(sentence) else "sentence"
