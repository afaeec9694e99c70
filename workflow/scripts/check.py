"""Check what a dataset needs before any work starts; one line per finding."""

from __future__ import annotations

import json
import logging
from argparse import ArgumentParser, Namespace
from pathlib import Path

from lile.checks.run import failures, run_checks
from lile.errors import InputError
from lile.files import write_text
from lile.script import run_script

log = logging.getLogger("lile.check")
LEVELS = {"PASS": logging.INFO, "WARN": logging.WARNING, "FAIL": logging.ERROR}


def work(args: Namespace) -> None:
    given = json.loads(args.config_json)
    checks = run_checks(given["config"], given["dataset"])
    for check in checks:
        log.log(LEVELS[check.status], check.line)
    bad = failures(checks)
    if bad:
        raise InputError(f"{len(bad)} of {len(checks)} checks of {given['dataset']} failed; mend them and run again")
    write_text(args.out, "".join(f"{check.line}\n" for check in checks))


if __name__ == "__main__":
    parser = ArgumentParser("check", description=__doc__)
    parser.add_argument("--config-json", required=True, help='{"config": the whole config, "dataset": name}')
    parser.add_argument("--out", type=Path, required=True, help="the findings, a line each; not written on a FAIL")
    run_script(parser, work)
