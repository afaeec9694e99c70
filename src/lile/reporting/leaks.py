"""What a table says of its dataset's leaks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lile.errors import InputError


def leaks_path(results: Path, dataset: str) -> Path:
    """Return where the workflow counts a dataset's leaks."""
    return results / dataset / "data" / "leaks.json"


def read_leaks(path: Path) -> dict[str, Any]:
    """Read ``leaks.json``. Raises ``InputError`` where it is missing or is no such file."""
    try:
        leaks = json.loads(path.read_text(encoding="utf-8"))
        leak_line(leaks)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; the workflow's rule leaks makes it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not as the rule leaks writes it ({error!r}); delete it and run again") from None
    return dict(leaks)


def leak_line(leaks: Mapping[str, Any]) -> str:
    """Return how many test images have a twin in training, one line of Markdown.

    Args:
        leaks: content of ``leaks.json``: the counts of :func:`lile.data.leaks.find_leaks` with ``dataset`` and
            ``near_duplicate_bits`` and ``pictures``: whether the data have any.
    """
    test = leaks["test"]
    if not leaks["pictures"]:
        return _texts_line(leaks, test)
    near = f"a perceptual hash within {leaks['near_duplicate_bits']} of {leaks['hash_bits']} bits"
    if not test["any"]:
        return f"Leaks: no test image has a twin in training (same pixels, {near}, or a text in common)."
    share = 100 * test["any"] / test["images"]
    return (
        f"Leaks: **{test['any']:,} of {test['images']:,} test images ({share:.1f} %) have a twin in training**, all "
        f"folds together: same pixels {test['same_pixels']:,}; {near} {test['near_image']:,}; a text in common "
        f"{test['same_text']:,}; picture and text {test['both']:,}. Each stands in "
        f"results/{leaks['dataset']}/data/leaks.csv."
    )


def _texts_line(leaks: Mapping[str, Any], test: Mapping[str, int]) -> str:
    """The same of data without pictures, of which texts alone can be compared."""
    only = "the data have no pictures to compare, so twins among them go unseen"
    if not test["any"]:
        return f"Leaks: no test image shares a text with a training image; {only}."
    share = 100 * test["any"] / test["images"]
    return (
        f"Leaks: **{test['any']:,} of {test['images']:,} test images ({share:.1f} %) share a text with a training "
        f"image**, all folds together; {only}. Each stands in results/{leaks['dataset']}/data/leaks.csv."
    )
