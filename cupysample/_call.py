"""A checked call: what to apply to whose arrays, and how they lie; all but the addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cupysample import _arrays
from cupysample._arrays import Layout, Library, Output, Run
from cupysample._plan import Plan


class Call:
    """It serves any arrays of this library and these layouts; hashed and compared by what it is about.

    output:    how a result is allocated where the user gives no ``out``; it need not have the layout of one that is given.
    prepared:  gives the run that is kept for it; None before there is one, and once that is evicted.
    """

    __slots__ = ("_hash", "_spans", "library", "out", "output", "plan", "prepared", "source")

    def __init__(self, plan: Plan, library: Library, source: Layout, out: Layout, output: Output) -> None:
        self.plan, self.library, self.source, self.out, self.output = plan, library, source, out, output
        self._hash = hash((plan, source, out))
        self._spans = source.span, out.span
        self.prepared: Callable[[], Run | None] = _nothing

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Whether the same run serves both."""
        if not isinstance(other, Call):
            return NotImplemented
        mine, others = ((each.plan, each.library, each.source, each.out, each.output) for each in (self, other))
        return mine == others

    def allocator(self, like: Any) -> Callable[[], Any]:
        """Return what allocates a result, of the dtype of ``like``."""
        return self.library.allocator(like, self.output)

    def check_memory(self, x: Any, out: Any) -> None:
        """Refuse an ``out`` that may not be written or that shares memory with the input."""
        library = self.library
        if not library.writeable(out):
            raise ValueError("out: must be writeable, got a read-only array")
        source, target = library.address(x), library.address(out)
        (low, high), (low_out, high_out) = self._spans
        if source + high <= target + low_out or target + high_out <= source + low:
            return
        if _arrays.overlap(self.source, source, self.out, target):
            raise ValueError("out: must not overlap the input in memory, got arrays that share memory")


def _nothing() -> None:
    """A dead reference."""
