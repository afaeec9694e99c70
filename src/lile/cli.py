"""What a person types: ``lile check``, ``lile version``. The workflow does not need it.

Nothing heavy is imported before a command needs it, so that ``lile --help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from lile.checks.findings import Check

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Search a histopathology archive across modalities.",
)

_COLOURS = {"PASS": "green", "WARN": "yellow", "FAIL": "red"}


@app.command()
def check(
    config: Annotated[list[Path], typer.Argument(help="Config files, each laid over the one before.")],
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="Only this dataset; may be given several times.")
    ] = None,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Also compare every stored token with its sums: reads all of the stores.")
    ] = False,
) -> None:
    """Look at environment, data, encoders and splits; one line each: PASS, WARN or FAIL with what to do."""
    from lile.errors import InputError

    try:
        failed = _check_all(config, dataset or [], every_item=tokens)
    except (InputError, OSError) as error:
        _stop(str(error))
    if failed:
        _stop(f"{failed} failed: nothing will start before these are mended")


@app.command()
def version() -> None:
    """Print the versions of LILE and of the packages that shape a result."""
    from rich.console import Console

    from lile.provenance import versions

    console = Console(highlight=False)
    for name, found in versions().items():
        console.print(f"{name:<13} {found}", markup=False, soft_wrap=True)


def _check_all(paths: list[Path], names: list[str], *, every_item: bool) -> int:
    """Check the named datasets, or those that the files themselves speak of; return how many checks failed."""
    from rich.console import Console

    from lile.checks.run import check_dataset, check_machine, failures
    from lile.config import load

    config = load(paths)
    chosen = names or _spoken_of(paths) or list(config["datasets"])
    sections = {name: check_dataset(config, name, every_item=every_item) for name in chosen}
    sections = {"this machine": check_machine(), **sections}
    console = Console(highlight=False)
    for title, checks in sections.items():
        console.print(title, style="bold", markup=False)
        for found in checks:
            _show(console, found)
    return sum(len(failures(checks)) for checks in sections.values())


def _spoken_of(paths: list[Path]) -> list[str]:
    """Return the datasets that the given files name: whoever checks their own file did not ask about ARCH."""
    import yaml

    names: dict[str, None] = {}
    for path in paths:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        names.update(dict.fromkeys(content.get("datasets") or {}))
    return list(names)


def _show(console: Console, found: Check) -> None:
    """Print one finding on one line, its status in colour where the terminal has any."""
    from rich.text import Text

    line = Text("  " + found.line)
    line.stylize(_COLOURS[found.status], 2, 6)
    console.print(line, soft_wrap=True)


def _stop(message: str) -> NoReturn:
    """Say what is wrong on standard error and leave with status 1."""
    typer.echo(f"lile: {message}", err=True)
    raise typer.Exit(1)
