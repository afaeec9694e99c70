"""A value against its JSON schema: defaults filled in, errors in words a person can act on."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from lile.errors import InputError

_NUMBER_AS_TEXT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")
_MOST_SHOWN = 12


def complete(value: dict[str, Any], schema: Mapping[str, Any]) -> None:
    """Fill the schema's defaults into ``value``, at every level, and check the result.

    Args:
        value: changed in place.
        schema: JSON schema, draft 2020-12.

    Raises:
        InputError: lists what is wrong, one line each: dotted path, what was found, what would be right.
    """
    refuse(problems(value, schema))


def problems(value: dict[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """Fill the schema's defaults into ``value`` and return what does not fit, a line each: dotted path and remedy."""
    errors = sorted(_Validator(schema).iter_errors(value), key=lambda error: [str(part) for part in error.path])
    return list(dict.fromkeys(line for error in errors for line in _lines(error, value, schema)))


def refuse(lines: Sequence[str]) -> None:
    """Raise :class:`InputError` with these lines, if there are any."""
    if not lines:
        return
    rest = [f"and {len(lines) - _MOST_SHOWN} more"] if len(lines) > _MOST_SHOWN else []
    head = "the config does not fit" if len(lines) == 1 else f"the config does not fit in {len(lines)} places"
    raise InputError("\n  ".join([f"{head}:", *lines[:_MOST_SHOWN], *rest]))


def _properties(
    validator: Any, properties: dict[str, Any], instance: Any, schema: dict[str, Any]
) -> Iterator[ValidationError]:
    """Set missing properties to their defaults, then check as usual."""
    if validator.is_type(instance, "object"):
        for name, below in properties.items():
            if "default" in below:
                instance.setdefault(name, deepcopy(below["default"]))
    yield from Draft202012Validator.VALIDATORS["properties"](validator, properties, instance, schema)


_Validator = extend(Draft202012Validator, {"properties": _properties})


def _lines(error: ValidationError, value: Any, schema: Mapping[str, Any]) -> list[str]:
    where = ".".join(str(part) for part in error.absolute_path)
    found = error.instance
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        return [_unknown(where, key, known, value, schema) for key in found if key not in known]
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in found]
        return [f"{where}: {key} is missing. It is: {_described(error.schema, key)}" for key in missing]
    if "propertyNames" in error.absolute_schema_path:
        reason = "is taken by the program" if error.validator == "not" else "must match ^[a-z][a-z0-9_]*$"
        return [f"{where}: the name {found!r} {reason}. Rename it: it becomes part of file names"]
    place = where or "the config"
    return [f"{place}: found {_shown(found)}, but {_wanted(error)}{_hint(error)}"]


def _unknown(where: str, key: Any, known: dict[str, Any], value: Any, schema: Mapping[str, Any]) -> str:
    place = f"{where}.{key}" if where else str(key)
    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.6)
    if near:
        return f"{place}: unknown key; did you mean {near[0]}?"
    others = [
        name.replace("_", " of kind ", 1)
        for name, block in schema.get("$defs", {}).items()
        if where.count(".") == 1
        and where.split(".")[0].rstrip("s") == name.split("_")[0]
        and key in block.get("properties", {})
    ]
    elsewhere = f" (it belongs to a {others[0]})" if others else ""
    return f"{place}: unknown key{elsewhere}; valid here: {', '.join(known)}"


def _described(schema: dict[str, Any], key: str) -> str:
    return str(schema.get("properties", {}).get(key, {}).get("description", "a key that must be given"))


def _shown(found: Any) -> str:
    if found is None:
        return "nothing (null)"
    if isinstance(found, dict):
        return "keys with values"
    text = repr(found)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _wanted(error: ValidationError) -> str:
    rule, limit = error.validator, error.validator_value
    if rule == "type":
        kinds = [limit] if isinstance(limit, str) else limit
        words = {"object": "keys with values (write {} for all defaults)", "array": "a list", "null": "null"}
        return "needed is " + " or ".join(
            words.get(kind, f"a{'n' if kind[0] in 'aeiou' else ''} {kind}") for kind in kinds
        )
    if rule == "enum":
        return "needed is one of " + ", ".join(str(item) for item in limit)
    words = {
        "minimum": "the least is {}",
        "maximum": "the most is {}",
        "exclusiveMinimum": "it must be more than {}",
        "exclusiveMaximum": "it must be less than {}",
        "minItems": "at least {} entry is needed",
        "minLength": "it may not be empty",
        "uniqueItems": "an entry stands there twice",
        "pattern": "it must match {}",
    }
    return words[str(rule)].format(limit) if rule in words else error.message


def _hint(error: ValidationError) -> str:
    found, limit = error.instance, error.validator_value
    if error.validator == "type" and isinstance(found, str) and _NUMBER_AS_TEXT.fullmatch(found):
        mantissa, exponent = re.split("[eE]", found)
        point = mantissa if "." in mantissa else f"{mantissa}.0"
        sign = exponent if exponent[0] in "+-" else f"+{exponent}"
        return f". YAML reads {found} as text; write {point}e{sign}"
    if error.validator == "enum":
        if str(found) in limit:
            return f'. Write it in quotes: "{found}"'
        near = difflib.get_close_matches(str(found), [str(item) for item in limit], n=1)
        return f". Did you mean {near[0]}?" if near else ""
    return ""
