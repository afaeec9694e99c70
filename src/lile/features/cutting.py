"""Finds where a transformer can be cut, whatever library it is of and whatever its parts are called.

Shapes: B items, L tokens, H width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Call:
    """What a layer was called with, beside its tokens."""

    layer: nn.Module
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


@contextmanager
def noted_calls(layers: Sequence[nn.Module]) -> Iterator[list[Call]]:
    """Note every call of ``layers`` inside the block, in order."""
    calls: list[Call] = []

    def note(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        calls.append(Call(layer, args[1:], kwargs))

    handles = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in layers]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def layer_list(model: nn.Module) -> tuple[nn.Module, str] | None:
    """Return the module that holds a transformer's layers, and its attribute for them; None where there is no such.

    It is the longest list of modules of one class.
    """
    best: tuple[nn.Module, str] | None = None
    most = 0
    for owner in model.modules():
        for name, child in owner.named_children():
            alike = isinstance(child, nn.ModuleList) and len({type(layer) for layer in child}) == 1
            if isinstance(child, nn.ModuleList) and alike and len(child) > most:
                best, most = (owner, name), len(child)
    return best


def final_norm(model: nn.Module, layers: nn.ModuleList, run: Callable[[], Tensor]) -> tuple[nn.Module, str] | None:
    """Return the module that holds the norm whose output is the model's own, and its attribute; None: there is none.

    Args:
        model: whole.
        layers: of it; what lies within them is left alone.
        run: runs it and returns its tokens.
    """
    inside = {id(module) for module in layers.modules()}
    places = [
        (owner, name)
        for owner in model.modules()
        if id(owner) not in inside
        for name, child in owner.named_children()
        if "norm" in type(child).__name__.lower() and id(child) not in inside
    ]
    given: dict[int, Any] = {}

    def note(module: nn.Module, _: Any, output: Any) -> None:
        given[id(module)] = output

    handles = [getattr(owner, name).register_forward_hook(note) for owner, name in places]
    try:
        tokens = run()
    finally:
        for handle in handles:
            handle.remove()
    last = [(owner, name) for owner, name in places if _same(given.get(id(getattr(owner, name))), tokens)]
    return last[-1] if last else None


def _same(found: Any, tokens: Tensor) -> bool:
    return isinstance(found, Tensor) and found.shape == tokens.shape and torch.equal(found, tokens)
