"""Apply a plan to host memory with NumPy.

A program is prepared once for a plan and two layouts, and remembered; a warm call is its steps, a few calls of NumPy.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from cupysample import _copies, _sums
from cupysample._arrays import Layout
from cupysample._kept import keep
from cupysample._plan import Plan
from cupysample._program import Program, orders
from cupysample._tuning import PROGRAMS, PROGRAMS_BYTES, ROW_BYTES, SMALL_TILE_ELEMENTS, TILE_ELEMENTS

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Call(Protocol):
    """What to apply to arrays of which layouts; hashed and compared by these. ``prepared`` spares the look-up."""

    prepared: Callable[[], Any]

    @property
    def plan(self) -> Plan: ...
    @property
    def source(self) -> Layout: ...
    @property
    def out(self) -> Layout: ...


def apply(call: Call, source: NDArray[Any], out: NDArray[Any], threads: Callable[[], int]) -> None:
    """Write the resampled ``source`` into ``out``, bfloat16 viewed as uint16, in at most so many threads."""
    program: Program = call.prepared() or _find(call, source, out)
    program.run(source, out, threads)


_programs: dict[tuple[Call, bool, bool], Program] = {}


def _find(call: Call, source: NDArray[Any], out: NDArray[Any]) -> Program:
    """Return what an equal call has prepared, or prepare it; layouts do not say in which order bytes are."""
    key = call, source.dtype.isnative, out.dtype.isnative
    program = _programs.get(key)
    if program is None:
        made = prepare(call.plan, call.source, call.out, *key[1:])
        program = keep(_programs, key, made, PROGRAMS, PROGRAMS_BYTES)
    call.prepared = weakref.ref(program)
    return program


def prepare(plan: Plan, source: Layout, out: Layout, source_is_native: bool, out_is_native: bool) -> Program:
    """Return the program of least predicted time; the flags say whether bytes are in the machine's order."""
    build = STRATEGIES.get(plan.arithmetic)
    program = build and build(plan, source, out, source_is_native, out_is_native)
    return program or exact(plan, source, out)


def exact(plan: Plan, source: Layout, out: Layout) -> Program:
    """Tiles without steps, for the sums of ``_exact``."""
    built = [axis for axis in plan.axes if not axis.tabulated]
    elements = SMALL_TILE_ELEMENTS if built else TILE_ELEMENTS
    program = Program(plan, source, out, orders(len(out.shape))[0]).cut(elements, lambda _: ())
    program.memory = program.exact_bytes(max(cut.largest for cut in program.cuts))
    for axis in plan.axes:
        rows = min(axis.n_out, math.ceil(elements * axis.n_out / max(axis.n_in, axis.n_out)))
        program.memory += ROW_BYTES * rows * (1 if axis.tabulated else axis.width + 1)
    return program


STRATEGIES = {"copy": _copies.prepare, "float": _sums.prepare, "fixed": _sums.prepare}
"""By the arithmetic of a plan; each may give up, returning None. The others, "integer" and "mean", promise the bits of
``_exact``."""
