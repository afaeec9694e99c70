"""One caption: what is mended, what is refused, what must stay as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lile.data.captions import MAX_CHARACTERS, clean_caption

ARABIC = "غدة مع نخر، صبغة H&E"
HEBREW = "\u200fבלוטה עם נמק\u200f"


@pytest.mark.parametrize(
    ("raw", "text", "note"),
    [
        (" Solar elastosis.\n", "Solar elastosis.", ""),
        ("two\r\nlines\tand  tabs\u2028more\u00a0space", "two lines and tabs more space", ""),
        ("He said \"H&E\", 'x400'", "He said \"H&E\", 'x400'", ""),
        ("cafe\u0301", "caf\u00e9", ""),
        ("nuc\x00lei\x07", "nuclei", "caption_control_characters"),
        ("\ufeffFirst line", "First line", "caption_control_characters"),
        ("na\ufffdve", "na\ufffdve", "caption_invalid_utf8"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate", "caption_invalid_utf8"),
        (ARABIC, ARABIC, ""),
        (HEBREW, HEBREW, ""),
        ("腺体", "腺体", ""),
        (" ".join(["cell"] * 9_999), " ".join(["cell"] * 9_999), ""),
    ],
)
def test_kept(raw, text, note):
    assert clean_caption(raw) == (text, "", note)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("", "caption_empty"),
        (None, "caption_empty"),
        (" \n\t\x00", "caption_empty"),
        ("...", "caption_only_punctuation"),
        ("(—)", "caption_only_punctuation"),
        ("\ufffd\ufffd", "caption_only_punctuation"),
        (" ".join(["cell"] * 10_000), "caption_too_long"),
        ("x" * (MAX_CHARACTERS + 1), "caption_too_long"),
        (7, "caption_not_text"),
        ({"text": "gland"}, "caption_not_text"),
    ],
)
def test_refused(raw, problem):
    assert clean_caption(raw) == ("", problem, "")


@given(st.text(st.characters(codec=None), max_size=60))
def test_any_text_gives_one_encodable_line_or_a_problem(raw):
    clean = clean_caption(raw)
    assert bool(clean.text) != bool(clean.problem)
    assert len(clean.text.splitlines()) <= 1
    assert clean.text.encode("utf-8").decode("utf-8") == clean.text
    assert not clean.text or clean_caption(clean.text).text == clean.text
