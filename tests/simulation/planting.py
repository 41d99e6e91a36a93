"""Planting mutants: a function's source with one thing changed, in the place of the function."""

import contextlib
import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any


@dataclass(frozen=True, slots=True)
class Mutant:
    """One bug that the simulation has to find.

    Attributes:
        name: What is wrong, in a few words.
        target: `module:function` or `module:Class.method`.
        old: Text that stands exactly once in its source.
        new: What stands there instead.
    """

    name: str
    target: str
    old: str
    new: str


class NotPlantedError(Exception):
    """The mutant's text no longer stands in the source: adapt the mutant."""


@contextlib.contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """Run with the bug; wherever the function was imported, the changed one is called.

    Raises:
        NotPlantedError: The source has changed, or the change does not change the code.
    """
    module_name, _, path = mutant.target.partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module_name)
    for part in owners:
        owner = getattr(owner, part)
    kept: Any = inspect.getattr_static(owner, name)
    original: Any = kept.fget if isinstance(kept, property) else kept
    changed = _changed(mutant, original)
    if isinstance(kept, property):
        changed = property(changed)
    places = [owner] if owners else [m for m in _modules() if getattr(m, name, None) is kept]
    for place in places:
        setattr(place, name, changed)
    try:
        yield
    finally:
        for place in places:
            setattr(place, name, kept)


def killers(
    mutant: Mutant,
    cases: Iterable[Callable[[int], None]],
    seeds: Iterable[int],
    failures: tuple[type[Exception], ...] = (AssertionError,),
) -> list[str]:
    """Return the names of the cases that fail with the bug, whichever seed it takes.

    Args:
        mutant: The bug.
        cases: Each runs one seed and asserts.
        seeds: To run them with.
        failures: What counts as noticing the bug.
    """
    tried = tuple(seeds)
    with planted(mutant):
        return [case.__name__ for case in cases if any(_fails(case, n, failures) for n in tried)]


def _fails(case: Callable[[int], None], seed: int, failures: tuple[type[Exception], ...]) -> bool:
    try:
        case(seed)
    except failures:
        return True
    return False


def _changed(mutant: Mutant, original: FunctionType) -> Any:
    source = textwrap.dedent(inspect.getsource(original)).removeprefix("@property\n")
    if source.count(mutant.old) != 1:
        raise NotPlantedError(f"{mutant.name}: {mutant.old!r} stands {source.count(mutant.old)} x")
    same = _compiled(source, original)
    changed = _compiled(source.replace(mutant.old, mutant.new), original)
    if _meaning(changed.__code__) == _meaning(same.__code__):
        raise NotPlantedError(f"{mutant.name}: the code is the same as before")
    return changed


def _compiled(source: str, original: FunctionType) -> FunctionType:
    """Compile a function into the module of the original."""
    # With "annotations" they are not evaluated: names that only types need may be missing.
    code = compile(f"from __future__ import annotations\n{source}", "mutant", "exec")
    names: dict[str, FunctionType] = {}
    exec(code, original.__globals__, names)  # noqa: S102 - our own source
    return names[original.__name__]


def _meaning(code: CodeType) -> tuple[Any, ...]:
    """Return what a function does, without where its source stands."""
    constants = [_meaning(c) if isinstance(c, CodeType) else (type(c), c) for c in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, constants


def _modules() -> list[Any]:
    """Return our modules, each of which may have imported the function by name."""
    ours = ("dwcp", "streams", "connectors", "transport", "schemas", "tests")
    return [m for name, m in list(sys.modules.items()) if name.split(".")[0] in ours]
