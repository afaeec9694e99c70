"""The slow twins of `lile.evaluation.ranks` and `precision`: a whole matrix, its relevance written out as booleans."""

from __future__ import annotations

import numpy as np

from lile.evaluation.relevance import PROTOCOLS, relevance_of


def first_hit_ranks(scores_QG, relevant_QG):
    """The 0-based place of the best relevant item of each query [Q]; ties count against the query."""
    best_Q = np.where(relevant_QG, scores_QG, -np.inf).max(axis=1, initial=-np.inf)
    return ((scores_QG >= best_Q[:, None]) & ~relevant_QG).sum(axis=1, dtype=np.int64)


def full_ranks(scores_NU, image_ids, text_ids, image_groups, descriptions):
    """What `fold_ranks` gives, from all pairs at once."""
    relevance = relevance_of(image_ids, text_ids, image_groups, descriptions)
    scores_ND = np.asarray(scores_NU)[:, relevance.column_D]
    found = {}
    for name in PROTOCOLS:
        relevant_ND = relevance.image_codes[name][:, None] == relevance.description_codes[name]
        found[name] = {
            "i2t": first_hit_ranks(scores_ND, relevant_ND),
            "t2i": first_hit_ranks(scores_ND.T, relevant_ND.T),
        }
    return found


def sorted_lists(scores_QG, relevant_QG):
    """Relevance in the order of each query's whole list [Q, G]: best first, of equal scores the relevant last."""
    orders = [np.lexsort((flags, -row)) for row, flags in zip(scores_QG, relevant_QG, strict=True)]
    return np.take_along_axis(relevant_QG, np.array(orders), axis=1)


def precisions(scores_QG, relevant_QG):
    """Average precision and R-precision of each query, from its whole list and in the words of their definitions."""
    hits = sorted_lists(scores_QG, relevant_QG)
    average = [np.mean([row[: place + 1].mean() for place in np.flatnonzero(row)]) for row in hits]
    return np.array(average), np.array([row[: row.sum()].mean() for row in hits])


def full_precisions(scores_NU, image_ids, text_ids, image_groups, descriptions):
    """What `fold_precisions` gives, from all pairs at once."""
    relevance = relevance_of(image_ids, text_ids, image_groups, descriptions)
    scores_ND = np.asarray(scores_NU)[:, relevance.column_D]
    found = ({}, {})
    for name in PROTOCOLS:
        relevant_ND = relevance.image_codes[name][:, None] == relevance.description_codes[name]
        ways = {"i2t": precisions(scores_ND, relevant_ND), "t2i": precisions(scores_ND.T, relevant_ND.T)}
        for kind in (0, 1):
            found[kind][name] = {way: both[kind] for way, both in ways.items()}
    return found
