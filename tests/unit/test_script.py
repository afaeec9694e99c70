"""What a workflow script says and how it leaves: a person's mistake is one line, ours keeps its traceback."""

from __future__ import annotations

import logging
import sys
from argparse import ArgumentParser

import pytest

from lile.errors import InputError
from lile.script import run_script


@pytest.fixture(autouse=True)
def restored_logging():
    """The scripts set up logging for a whole process; here it must not outlive a test."""
    root, ours = logging.getLogger(), logging.getLogger("lile")
    before = root.handlers[:], root.level, ours.level
    yield
    for handler in set(root.handlers) - set(before[0]):
        handler.close()
    root.handlers[:], root.level = before[0], before[1]
    ours.setLevel(before[2])


def run(work, monkeypatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["some_rule", *words])
    run_script(ArgumentParser("some_rule"), work)


@pytest.mark.parametrize("error", [InputError("x.csv: no rows"), OSError(28, "No space left on device", "x.csv")])
def test_a_persons_mistake_is_one_line_and_its_place_is_in_the_log(error, tmp_path, monkeypatch, capsys):
    def work(args):
        raise error

    log = tmp_path / "logs" / "rule.log"
    with pytest.raises(SystemExit) as left:
        run(work, monkeypatch, "--log", str(log))
    assert left.value.code == 1
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert f"some_rule: {error}" in said
    assert "Traceback" in log.read_text(encoding="utf-8")


def test_a_mistake_of_ours_is_called_so_and_keeps_its_traceback(monkeypatch, capsys):
    def work(args):
        raise KeyError("gone")

    with pytest.raises(SystemExit) as left:
        run(work, monkeypatch)
    assert left.value.code == 1
    said = capsys.readouterr().err
    assert "an error of ours, please report it" in said
    assert "KeyError: 'gone'" in said


def test_work_that_ends_well_says_how_long_it_took(monkeypatch, capsys):
    seen = []
    run(seen.append, monkeypatch)
    assert len(seen) == 1
    assert "some_rule: done in" in capsys.readouterr().err
