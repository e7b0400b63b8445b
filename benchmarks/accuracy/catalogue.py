"""Every variant by name: each module of ``variants`` and of ``held_out`` brings its own."""

from __future__ import annotations

import importlib
import pkgutil

from benchmarks.accuracy import held_out, variants
from benchmarks.accuracy.variant import Variant


def catalogue() -> tuple[dict[str, Variant], frozenset[str]]:
    """
    All variants by name, and the names of those that are held out.

    Raises:
        ValueError: two have one name.
    """
    found: dict[str, Variant] = {}
    held: set[str] = set()
    for package in (variants, held_out):
        for module in pkgutil.iter_modules(package.__path__):
            for each in importlib.import_module(f"{package.__name__}.{module.name}").VARIANTS:
                if each.name in found:
                    raise ValueError(f"two variants are called {each.name!r}")
                found[each.name] = each
                if package is held_out:
                    held.add(each.name)
    return found, frozenset(held)
