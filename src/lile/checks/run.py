"""All checks of one dataset, in the order a person mends them: machine, data, splits, encoders, models, estimate."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lile.checks.cost import check_cost
from lile.checks.data import check_data, survey_of
from lile.checks.encoders import check_encoders
from lile.checks.environment import check_environment
from lile.checks.findings import Check, failed
from lile.checks.models import check_models
from lile.checks.splits import check_splits
from lile.checks.stores import check_stores
from lile.checks.survey import Survey
from lile.errors import InputError


def run_checks(config: Mapping[str, Any], dataset: str, root: Path = Path()) -> list[Check]:
    """Look at everything that a dataset's tables need, before any work starts.

    Args:
        config: as ``lile.config.load`` gives it.
        dataset: a key of ``datasets``.
        root: the working folder that the config's paths start from.

    Returns:
        One finding per thing looked at; no check stops another.

    Raises:
        InputError: the config has no such dataset.
    """
    return [*check_machine(root), *check_dataset(config, dataset, root)]


def check_machine(root: Path = Path()) -> list[Check]:
    """Return what was found of the machine; the same for every dataset."""
    return _guarded("environment", lambda: check_environment(root))


def check_dataset(
    config: Mapping[str, Any], dataset: str, root: Path = Path(), *, every_item: bool = False
) -> list[Check]:
    """Return what was found of one dataset: data, splits, encoders, stores, models, estimate.

    Raises as :func:`run_checks`. ``every_item``: see :func:`lile.checks.stores.check_stores`.
    """
    block = config["datasets"].get(dataset)
    if block is None:
        near = difflib.get_close_matches(dataset, config["datasets"], n=1) or sorted(config["datasets"])
        raise InputError(f"no dataset {dataset!r} in the config; try {' or '.join(near) or 'adding one'}")
    surveys: list[Survey | None] = []
    findings = _guarded("data", lambda: _data_and_splits(block, root, surveys))
    findings += _guarded("encoders", lambda: check_encoders(config, dataset, root))
    findings += _guarded("tokens", lambda: check_stores(config, dataset, root, every_item=every_item))
    findings += _guarded("models", lambda: check_models(config, dataset))
    for survey in surveys:  # none where the data cannot be read
        findings += _guarded("estimate", partial(check_cost, config, dataset, survey, root))
    return findings


def failures(checks: Iterable[Check]) -> list[Check]:
    """Return the findings that would stop the work."""
    return [check for check in checks if check.status == "FAIL"]


def _data_and_splits(block: Mapping[str, Any], root: Path, surveys: list[Survey | None]) -> Iterable[Check]:
    """Look at the data, and leave their counts in ``surveys``: a large file is read once."""
    survey = survey_of(block, root)
    surveys.append(survey)
    yield from check_data(block, survey, root)
    yield from check_splits(block, survey)


def _guarded(name: str, look: Callable[[], Iterable[Check]]) -> list[Check]:
    """Run one family of checks; a file that cannot be read is a finding, not the end."""
    checks: list[Check] = []
    try:
        for check in look():
            checks.append(check)
    except (InputError, OSError) as error:
        checks.append(failed(name, str(error), "mend this and check again"))
    return checks
