"""Blocks of a config as dataclasses, and checks of single values, with the key in the message."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, TypeVar, get_args

from lile.errors import InputError

Precision = Literal["auto", "32", "bf16"]
"""Of a training; ``auto``: bfloat16 where the device is a GPU that has it, else 32-bit."""

Block = TypeVar("Block")


def read_block(kind: type[Block], values: Mapping[str, Any], where: str) -> Block:
    """Return the dataclass ``kind`` of a config block.

    Raises:
        InputError: an unknown key (``where`` says in which block, and which key is nearest), or a bad value.
    """
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise InputError(f"unknown key {where}.{name}; {hint}")
    return kind(**values)


def at_least(name: str, value: int, least: int) -> None:
    """Raise :class:`InputError` unless ``value`` is a whole number of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InputError(f"{name}={value!r} must be a whole number of at least {least}")


def one_of(name: str, value: str, choices: Any) -> None:
    """Raise :class:`InputError` unless ``value`` is one of the strings of the ``Literal`` type ``choices``."""
    if value not in get_args(choices):
        raise InputError(f"{name}={value!r} is not one of {', '.join(get_args(choices))}")


def positive(name: str, value: float) -> None:
    """Raise :class:`InputError` unless ``value`` is above zero."""
    if not value > 0:
        raise InputError(f"{name}={value} must be positive")
