"""Words of captions as numbers: a vocabulary is built from the captions that a fold trains on, and from no others.

Source: the text side of VSE++, SCAN and IMRAM: markers at both ends of a caption, words seen fewer than ``min_count``
times are one unknown word. Deviations: words are split by an expression of ours, not by NLTK, which a GPU node lacks;
the published vocabularies were built with the validation or test captions too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from lile.errors import InputError
from lile.files import digest_of

MARKERS = ("<pad>", "<start>", "<end>", "<unk>")
PAD, START, END, UNKNOWN = range(len(MARKERS))

# A word with its inner hyphens and apostrophes, a number with its decimal point, or one other sign.
_WORD = re.compile(r"\w+(?:(?:[-'’]|(?<=\d)[.,](?=\d))\w+)*|[^\w\s]")


def words_of(text: str) -> list[str]:
    """Return a caption's words in lower case; each sign that is no part of a word stands alone.

    ``H&E, x2.5: Ki-67 isn't seen.`` gives ``h & e , x2.5 : ki-67 isn't seen .``
    """
    return _WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """The words that a model knows; a word's number is its place.

    Args:
        words: the four markers, then the words, each once.
    """

    words: tuple[str, ...]
    _number_of: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_number_of", {word: number for number, word in enumerate(self.words)})
        if self.words[: len(MARKERS)] != MARKERS:
            raise InputError(f"a vocabulary begins with {', '.join(MARKERS)}; found {list(self.words[:4])}")
        if len(self._number_of) < len(self.words):
            twice = next(word for number, word in enumerate(self.words) if self._number_of[word] != number)
            raise InputError(f"a vocabulary holds each word once; {twice!r} stands in it twice")

    @classmethod
    def from_texts(cls, texts: Iterable[str], min_count: int = 4) -> Vocabulary:
        """Return the words that stand at least ``min_count`` times in ``texts``, the most frequent first.

        Words of one frequency follow the alphabet, so that the order of the texts does not matter.

        Raises:
            InputError: no word is that frequent.
        """
        counts = Counter(word for text in texts for word in words_of(text))
        known = sorted((word for word in counts if counts[word] >= min_count), key=lambda word: (-counts[word], word))
        if not known:
            most = max(counts.values(), default=0)
            raise InputError(
                f"text.min_count={min_count}: no word of the training captions stands in them that often; they hold "
                f"{len(counts)} words, the most frequent {most} times. Lower text.min_count or train on more captions"
            )
        return cls((*MARKERS, *known))

    @cached_property
    def digest(self) -> str:
        """What names these words in this order."""
        return digest_of(list(self.words))

    def __len__(self) -> int:
        return len(self.words)

    def ids_of(self, text: str) -> list[int]:
        """Return the numbers of a caption's words between ``<start>`` and ``<end>``; unknown words are ``<unk>``."""
        return [START, *(self._number_of.get(word, UNKNOWN) for word in words_of(text)), END]
