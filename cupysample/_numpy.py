"""Apply a plan to host memory with NumPy.

A program is prepared once for a plan and two layouts, and remembered; a warm call is its steps, a few calls of NumPy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from cupysample import _copies, _sums
from cupysample._arrays import Layout, Library, Run
from cupysample._call import Call
from cupysample._kept import Entry, keep
from cupysample._plan import Plan
from cupysample._program import Program, fitted, orders, outputs_of
from cupysample._tuning import PART_WEIGHTS, PARTS_BYTES, PROGRAMS, PROGRAMS_BYTES, ROW_BYTES, TILE_ELEMENTS


class _Prepared(NamedTuple):
    """A program, and what runs it."""

    program: Program
    run: Run

    @property
    def nbytes(self) -> int:
        return self.program.nbytes


_programs: dict[tuple[Call, bool, bool], Entry[_Prepared]] = {}


def prepared(call: Call, x: Any, out: Any) -> Run:
    """Return what an equal call has prepared, or prepare it; layouts do not say in which order bytes are."""
    host = call.library.host
    key = call, host(x).dtype.isnative, out is None or host(out).dtype.isnative
    found = _programs.get(key)
    if found:
        return found[0].run
    allocate = call.allocator(x)
    if out is None:
        allocate()  # a program of more than memory holds takes long to prepare
    program = prepare(call.plan, call.source, call.out, *key[1:])
    made = _Prepared(program, _run(program, call.library, allocate))
    return keep(_programs, key, made, PROGRAMS, PROGRAMS_BYTES).run


def _run(program: Program, library: Library, allocate: Callable[[], Any]) -> Run:
    """All that a warm call needs, looked up once."""
    host, threads = library.host, library.threads

    def run(x: Any, out: Any) -> Any:
        if out is None:
            out = allocate()
        program.run(host(x), host(out), threads)
        return out

    return run


def prepare(plan: Plan, source: Layout, out: Layout, source_is_native: bool, out_is_native: bool) -> Program:
    """Return the program of least predicted time; the flags say whether bytes are in the machine's order."""
    build = STRATEGIES.get(plan.arithmetic)
    program = build and build(plan, source, out, source_is_native, out_is_native)
    return program or exact(plan, source, out)


def exact(plan: Plan, source: Layout, out: Layout) -> Program:
    """Tiles without steps, for the sums of ``_exact``."""
    read = {d + 2: axis.n_in for d, axis in enumerate(plan.axes)}
    outputs = outputs_of(TILE_ELEMENTS, out.shape, read, sorted(read, reverse=True))
    return fitted(functools.partial(_exact, plan, source, out), outputs)


def _exact(plan: Plan, source: Layout, out: Layout, outputs: float) -> Program:
    """Of so many outputs each."""
    program = Program(plan, source, out, orders(len(out.shape))[0])
    built = {d: axis for d, axis in program.axes.items() if not axis.is_kept}
    parts = {d: max(1, PART_WEIGHTS // (axis.width + 1)) for d, axis in built.items()}
    periods = {d: max(1, axis.period[0]) for d, axis in built.items()}  # tiles of whole ones share their rows
    program.cut(outputs, lambda _: (), periods, parts=parts)
    program.memory = program.exact_bytes(max(cut.largest for cut in program.cuts))
    for d, axis in program.axes.items():
        rows = max(cut.out[d].stop - cut.out[d].start for cut in program.cuts)
        program.memory += ROW_BYTES * (rows * (axis.width + 1) + axis.added if d in built else rows)
    if built:
        program.spare -= PARTS_BYTES
    return program


STRATEGIES = {"copy": _copies.prepare, "float": _sums.prepare, "fixed": _sums.prepare, "mean": _sums.prepare}
"""By the arithmetic of a plan; each may give up, returning None. The other, "integer", promises the bits of ``_exact``."""
