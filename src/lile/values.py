"""Checks of single values of a config, with the key in the message."""

from __future__ import annotations

from typing import Any, get_args

from lile.errors import InputError


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
