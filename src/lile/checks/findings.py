"""What a check found: one line, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["PASS", "WARN", "FAIL"]


@dataclass(frozen=True)
class Check:
    """One finding. ``fix`` says what to do and is empty where all is well."""

    name: str
    status: Status
    found: str
    fix: str = ""

    @property
    def line(self) -> str:
        """The finding on one line that any terminal and encoding can hold, whatever a file's names are made of."""
        words = f"{self.status} {self.name}: {self.found}" + (f" -> {self.fix}" if self.fix else "")
        return "".join(sign if sign.isprintable() else "?" for sign in " ".join(words.split()))


def passed(name: str, found: str) -> Check:
    """Return a finding that all is well."""
    return Check(name, "PASS", found)


def warned(name: str, found: str, fix: str) -> Check:
    """Return a finding that a person should know of; the work can go on."""
    return Check(name, "WARN", found, fix)


def failed(name: str, found: str, fix: str) -> Check:
    """Return a finding that would stop the work later."""
    return Check(name, "FAIL", found, fix)
