"""What every workflow script shares: a log file, and errors that a person can read."""

from __future__ import annotations

import logging
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

from lile.errors import InputError

log = logging.getLogger(__name__)


def run_script(parser: ArgumentParser, work: Callable[[Namespace], None]) -> None:
    """Parse the command line, run ``work`` on it, and leave with a readable word and exit status.

    Adds ``--log FILE`` (messages go there as well as to standard error). An :class:`InputError` or ``OSError`` ends
    as one line; anything else is our own fault and keeps its traceback, in the log and on standard error.

    Args:
        parser: with the script's own arguments.
        work: the script's one call into the package.

    Raises:
        SystemExit: status 1 when the work fails.
    """
    parser.add_argument("--log", type=Path, help="also write messages to this file")
    args = parser.parse_args()
    configure_logging(args.log)
    started = time.perf_counter()
    try:
        work(args)
    except (InputError, OSError) as error:
        log.error("%s: %s", parser.prog, error)  # noqa: TRY400 - a user's mistake needs no traceback
        log.debug("where it was raised", exc_info=True)
        sys.exit(1)
    except Exception:
        log.exception("%s: an error of ours, please report it with the log", parser.prog)
        sys.exit(1)
    log.info("%s: done in %.1f s", parser.prog, time.perf_counter() - started)


def configure_logging(path: Path | None) -> None:
    """Send messages of level INFO to standard error and everything to the file ``path``, if given."""
    console = logging.StreamHandler()
    console.setLevel(logging.INFO)
    handlers: list[logging.Handler] = [console]
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, encoding="utf-8"))
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", handlers=handlers, force=True
    )
    logging.getLogger("lile").setLevel(logging.DEBUG)
