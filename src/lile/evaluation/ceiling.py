"""What the best of all scorers could reach in a fold: the bound that shared texts set.

A scorer gives an image and a text one score. So word for word the same text under two images gets the same score from
any image, the tie counts against the query (see :mod:`lile.evaluation.ranks`), and under ``own`` one of the two is
wrong. No training can mend that. The bound is exact for each query of ``i2t`` and each text of ``t2i``; R@sum adds the
two directions' bounds, which one scorer reaches at the same time wherever no image repeats a text.

Shapes: N images, D descriptions, P distinct pairs of a code and a text (a code is an image or a group, by protocol).
"""

from __future__ import annotations

import numpy as np

from lile.evaluation.relevance import ByProtocol, Relevance


def best_ranks(relevance: Relevance) -> ByProtocol:
    """Return the best rank each query can have: shaped like the result of :func:`lile.evaluation.ranks.fold_ranks`.

    - ``i2t``: an image can do no better than to put one right text on top. The text's twins that are not right come
      before it; the best choice is the text with the fewest of them.
    - ``t2i``: all queries with one text see one list of images. One code stands first in it, the next second, and so
      on; best of all, those with the most queries come first.

    Costs a sort of D numbers per protocol; no scores are looked at.
    """
    ranks: ByProtocol = {}
    for name in relevance.image_codes:
        codes_N, codes_D = relevance.image_codes[name], relevance.description_codes[name]
        columns = int(relevance.column_D.max()) + 1
        pairs, pair_D, times_P = np.unique(
            codes_D * columns + relevance.column_D, return_inverse=True, return_counts=True
        )
        code_P, column_P = np.divmod(pairs, columns)
        ranks[name] = {
            "i2t": _fewest_twins(code_P, column_P, times_P)[codes_N],
            "t2i": _place_in_text(column_P, times_P)[pair_D],
        }
    return ranks


def _fewest_twins(code_P: np.ndarray, column_P: np.ndarray, times_P: np.ndarray) -> np.ndarray:
    """Return for each code the smallest number of foreign descriptions that carry one of its texts, [codes]."""
    foreign_P = np.bincount(column_P, weights=times_P).astype(np.int64)[column_P] - times_P
    fewest = np.full(int(code_P.max()) + 1, np.iinfo(np.int64).max)
    np.minimum.at(fewest, code_P, foreign_P)
    return fewest


def _place_in_text(column_P: np.ndarray, times_P: np.ndarray) -> np.ndarray:
    """Return each pair's place among the pairs of its text, those with the most descriptions first, [P]."""
    order = np.lexsort((-times_P, column_P))
    sorted_columns = column_P[order]
    first = np.searchsorted(sorted_columns, sorted_columns)  # where the text's own stretch begins
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order)) - first
    return places
