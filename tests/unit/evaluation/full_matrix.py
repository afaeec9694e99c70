"""The slow twin of `lile.evaluation.ranks`: ranks of a whole matrix with its relevance written out as booleans."""

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
