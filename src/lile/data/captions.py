"""One caption's text made fit for a table and a tokenizer, or the reason why it cannot be."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

MAX_WORDS = 10_000
"""A caption of this many words is a whole chapter, or a table whose quotes do not close."""

MAX_CHARACTERS = 100_000
"""The same limit for scripts without spaces between words."""

REPLACEMENT = "\ufffd"
_UNENCODABLE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f\x80-\x84\x86-\x9f\ufeff]")
_SPACES = re.compile(r"\s+")


class CleanCaption(NamedTuple):
    """A caption after cleaning."""

    text: str
    """One line, Unicode NFC, no control characters; empty where the caption cannot be used."""
    problem: str
    """Why it cannot be used (``caption_empty``, ...), or an empty string."""
    note: str
    """What had to be mended that a person should know of (``caption_invalid_utf8``, ...), or an empty string."""


def clean_caption(raw: object) -> CleanCaption:
    """Clean one caption.

    Control characters and byte-order marks go, white space and line breaks become one space, letters are composed
    (NFC). Words, case, punctuation and marks of writing direction stay as they are: right-to-left text is
    stored in reading order and needs no change. Bytes that were no UTF-8 arrive here as U+FFFD and stay, noted.

    Args:
        raw: the caption as read. ``None`` counts as empty, anything else but text as a problem.

    Returns:
        The text, or the reason why there is none. Never raises.
    """
    if raw is None:
        return CleanCaption("", "caption_empty", "")
    if not isinstance(raw, str):
        return CleanCaption("", "caption_not_text", "")
    # The limit comes first: normalising a gigabyte that closes no quote would take minutes.
    if len(raw) > MAX_CHARACTERS:
        return CleanCaption("", "caption_too_long", "")
    whole = _UNENCODABLE.sub(REPLACEMENT, raw)
    plain = _CONTROL.sub("", whole)
    text = _SPACES.sub(" ", unicodedata.normalize("NFC", plain)).strip()
    problem = _problem_of(text)
    return CleanCaption("", problem, "") if problem else CleanCaption(text, "", _note_of(whole, plain))


def _problem_of(text: str) -> str:
    """Return why the cleaned ``text`` says nothing a model could learn from, or an empty string."""
    if not text:
        return "caption_empty"
    if not any(character.isalnum() for character in text):
        return "caption_only_punctuation"
    if text.count(" ") + 1 >= MAX_WORDS:
        return "caption_too_long"
    return ""


def _note_of(whole: str, plain: str) -> str:
    """Return what was wrong with the bytes of a caption that is kept, or an empty string."""
    if REPLACEMENT in whole:
        return "caption_invalid_utf8"
    return "caption_control_characters" if len(plain) < len(whole) else ""
