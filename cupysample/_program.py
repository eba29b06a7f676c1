"""Programs: a plan prepared for two layouts, as tiles of the output and the steps that make each.

Tiles depend on shapes alone and each is made by one thread, so that the bits do not depend on the number of threads. A
tile without steps, or with numbers that are not finite, is made by ``_exact``.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cupysample import _exact, _steps, _threads
from cupysample._arrays import Layout
from cupysample._plan import REALS, Plan
from cupysample._steps import Step, Tile
from cupysample._tuning import EXACT_NUMBERS, OBJECT_BYTES, PART_ELEMENTS, SCRATCH_BYTES, SPARE_BYTES, SPARE_SHARE

if TYPE_CHECKING:
    from numpy.typing import NDArray

Range = tuple[int, int]
Order = tuple[int, ...]
"""The axes of an array in the order of memory that is worked in."""


def orders(n: int) -> tuple[Order, Order]:
    """Channels before the spatial axes, and behind them."""
    return tuple(range(n)), (0, *range(2, n), 1)


def ordered(values: tuple[int, ...], order: Order) -> tuple[int, ...]:
    """A shape or strides in that order."""
    return tuple(values[d] for d in order)


def is_dense(layout: Layout, order: Order) -> bool:
    """Whether the array is C-contiguous in this order of its axes."""
    strides = ordered(layout.strides, order)
    return strides == _steps.dense_strides(ordered(layout.shape, order), layout.itemsize, like=strides)


class Cut(NamedTuple):
    """A tile: its slices of source and output, the bytes where they begin, and its steps; in the order of memory."""

    source: tuple[slice, ...]
    out: tuple[slice, ...]
    offsets: tuple[int, int, int]
    steps: tuple[Step, ...]

    @property
    def largest(self) -> int:
        """Elements of the largest array on the way from its window, axis by axis, the last first."""
        return largest([each.stop - each.start for each in self.source], [each.stop - each.start for each in self.out])


def largest(read: list[int], written: list[int]) -> int:
    """Elements of the largest array on the way from one shape to another, axis by axis, the last first."""
    return max(math.prod(read[:d] + written[d:]) for d in range(len(read) + 1))


def least_outputs(elements: int, axes: Iterable[tuple[int, int]]) -> float:
    """Outputs of which so many elements are read, written or on the way, in whatever order, but for what windows share.

    axes:  pixels that are read and outputs of each.
    """
    return elements / math.prod(max(1.0, n_in / n_out) for n_in, n_out in axes)


def outputs_of(elements: int, shape: tuple[int, ...], read: dict[int, int], order: Collection[int]) -> float:
    """The same in one order of the axes: one that grows after another has shrunk makes nothing larger before.

    read:  pixels of each axis that are read for all of its outputs.
    """

    def most(outputs: float) -> float:
        blocks = dict(enumerate(blocks_of(outputs, shape)))
        sizes = blocks | {d: max(1.0, blocks[d] * n / shape[d]) for d, n in read.items()}
        stages = [math.prod(sizes.values())]
        for d in order:
            sizes[d] = blocks[d]
            stages.append(math.prod(sizes.values()))
        return max(stages)

    outputs = least_outputs(elements, ((n, shape[d]) for d, n in read.items()))
    while outputs < math.prod(shape) and most(2 * outputs) <= elements:
        outputs *= 2
    return outputs


def blocks_of(outputs: float, shape: tuple[int, ...]) -> list[float]:
    """Outputs of each axis in a tile of so many, as many of the last as there can be."""
    blocks = []
    for n in reversed(shape):
        blocks.append(max(1, min(n, outputs)))
        outputs /= blocks[-1]
    return blocks[::-1]


def fitted(prepare: Callable[[float], Program], outputs: float) -> Program:
    """The program for tiles of so many outputs; of fewer where what their windows share is too much for one thread's memory."""
    program = prepare(outputs)
    while program.scratch + program.memory > program.spare and outputs > 1:
        outputs /= 2
        program = prepare(outputs)
    return program


class Program:
    """Everything but the memory.

    dtype:    of source and output, bfloat16 viewed as uint16; of their parts, where those are resampled by themselves.
    order:    the order of memory that the steps work in.
    view:     what source and output are viewed as, if not as themselves.
    scratch:  bytes that the steps of a thread write.
    memory:   bytes that NumPy needs beside them, or ``_exact`` for a tile.
    spare:    bytes for all threads together.
    """

    def __init__(self, plan: Plan, source: Layout, out: Layout, order: Order) -> None:
        self.plan, self.order = plan, order
        self.parts = source.dtype in REALS and plan.arithmetic != "copy"
        self.dtype = REALS[source.dtype] if self.parts else source.dtype
        self.shape = ordered(out.shape, order)
        self.strides = ordered(source.strides, order), ordered(out.strides, order)
        self.axes = {order.index(d + 2): axis for d, axis in enumerate(plan.axes)}
        self.view: np.dtype[Any] | None = None
        self.cuts: list[Cut] = []
        self.scratch, self.memory = 0, 0
        self.spare = int(SPARE_BYTES + SPARE_SHARE * math.prod(out.shape) * out.itemsize)
        if plan.arithmetic != "copy":
            window = math.prod(axis.width for axis in plan.axes)
            self.memory = self.exact_bytes(max(PART_ELEMENTS, window))
            self.spare = max(self.spare, 2 * self.exact_bytes(window))  # no cut makes that less
        self._transposes = order != tuple(range(len(order)))

    def cut(
        self,
        outputs: float,
        steps: Callable[[tuple[Range, ...]], tuple[Step, ...]],
        units: dict[int, int] | None = None,
        sliced: dict[int, int] | None = None,
        parts: dict[int, int] | None = None,
        whole: Collection[int] = (),
    ) -> Program:
        """Cut the output into tiles of so many elements of it.

        steps:   gives the steps of the tile with these ranges; tiles alike but for their place in the batch share them.
        units:   axes that are cut at multiples of so many outputs.
        sliced:  axes of the source of which a tile gets every so manieth pixel.
        parts:   axes of which a tile has so many outputs at most; tiles with the same ones follow each other, above all those
                 of the last axis, which are the longest.
        whole:   axes of which a tile with all outputs gets all pixels, also those beyond its window.
        """
        parts = parts or {}
        ranges: list[list[Range]] = []
        for d, n in reversed(list(enumerate(self.shape))):
            unit = (units or {}).get(d, 1)
            pieces = math.ceil(n / max(1, min(n, parts.get(d, n), int(outputs))))
            block = math.ceil(n / pieces)
            if pieces > 1 and block > unit:
                block -= block % unit
            outputs /= block
            ranges.insert(0, [(a, min(a + block, n)) for a in range(0, n, block)])
        windows = {(d, rows): self.window(d, rows, whole) for d in self.axes for rows in ranges[d]}
        made: dict[tuple[Range, ...], tuple[Step, ...]] = {}
        nesting = sorted(parts, reverse=True)
        for tile in sorted(itertools.product(*ranges), key=lambda tile: [tile[d] for d in nesting]):
            alike = tuple(rows if d in self.axes else (0, rows[1] - rows[0]) for d, rows in enumerate(tile))
            if alike not in made:
                made[alike] = steps(alike)
            reads = [windows.get((d, rows), rows) for d, rows in enumerate(tile)]
            first, first_out = (
                sum(a * step for (a, _), step in zip(each, strides, strict=True))
                for each, strides in zip((reads, tile), self.strides, strict=True)
            )
            pixels = tuple(slice(a, b, (sliced or {}).get(d)) for d, (a, b) in enumerate(reads))
            self.cuts.append(Cut(pixels, tuple(slice(a, b) for a, b in tile), (first, first_out, 0), made[alike]))
        return self

    def window(self, d: int, rows: Range, whole: Collection[int] = ()) -> Range:
        """The pixels that a tile with these outputs of an axis gets."""
        axis = self.axes[d]
        return (0, axis.n_in) if d in whole and rows == (0, axis.n_out) else axis.window(*rows)

    @property
    def nbytes(self) -> int:
        """Of its tiles and steps, and of the arrays that these hold, which tiles share."""
        steps = {step for steps in {cut.steps for cut in self.cuts} for step in steps}
        held = {id(whole): whole.nbytes for step in steps for whole in map(_whole, step.held)}
        return sum(held.values()) + OBJECT_BYTES * (len(self.cuts) + len(steps))

    def run(self, source: NDArray[Any], out: NDArray[Any], threads: Callable[[], int]) -> None:
        """Resample; ``threads`` says how many may."""
        if self.parts:  # a real operator on two reals: infinities of one part never reach the other
            self._run(source.real, out.real, threads)
            self._run(source.imag, out.imag, threads)
        else:
            self._run(source, out, threads)

    def _run(self, source: NDArray[Any], out: NDArray[Any], threads: Callable[[], int]) -> None:
        if self.view is not None:
            source, out = source.view(self.view), out.view(self.view)
        if self._transposes:
            source, out = source.transpose(self.order), out.transpose(self.order)
        n = 1
        if len(self.cuts) > 1:
            scratch = 2 * self.scratch if self.parts else self.scratch  # other helpers may make the other part
            n = min(threads(), len(self.cuts), max(1, self.spare // (scratch + self.memory)))
        if n == 1:
            self._make(source, out, self.cuts)
        else:
            _threads.deal(lambda cuts: self._make(source, out, cuts), self.cuts, n)

    def _make(self, source: NDArray[Any], out: NDArray[Any], cuts: list[Cut] | Iterator[Cut]) -> None:
        """Make some tiles."""
        tile, scratch = Tile(), _take(self.scratch)
        tile.memories = source, out, scratch
        forks, me = _threads.forks, threading.get_ident()
        with np.errstate(all="ignore"):
            for cut in cuts:
                try:
                    forks.at_work[tile] = me
                    if forks.coming:
                        forks.stand_aside(tile)
                    pixels, outputs, tile.offsets, steps = cut
                    tile.source, tile.out = source[pixels], out[outputs]
                    if not steps:
                        self._exactly(source, out, outputs)
                    elif any(step(tile) is False for step in steps):
                        for part in self._parts(outputs):
                            self._exactly(source, out, part)
                finally:
                    forks.at_work.pop(tile, None)
        _give_back(scratch)

    def _exactly(self, source: NDArray[Any], out: NDArray[Any], outputs: tuple[slice, ...]) -> None:
        """A tile by the sums of the definition, whatever its numbers."""
        back = tuple(np.argsort(self.order).tolist())
        batch, rows = [outputs[back[d]] for d in range(2)], [outputs[d] for d in self.axes]
        pixels = source.transpose(back)[tuple(batch)]
        out[outputs] = _exact.resample(self.plan, self.dtype, pixels, rows).transpose(self.order)

    def exact_bytes(self, elements: int) -> int:
        """Memory that ``_exact`` takes where the largest array on the way has so many elements."""
        return EXACT_NUMBERS * _exact.accumulator(self.dtype, self.plan.arithmetic).itemsize * elements

    def _parts(self, outputs: tuple[slice, ...]) -> list[tuple[slice, ...]]:
        """Halves of a tile along its longest axis, and theirs, until each and its window are small, or it is one output."""
        ranges = [(each.start, each.stop) for each in outputs]
        reads = [self.axes[d].window(*rows) if d in self.axes else rows for d, rows in enumerate(ranges)]
        read, written = ([b - a for a, b in each] for each in (reads, ranges))
        d = written.index(max(written))
        if written[d] == 1 or largest(read, written) <= PART_ELEMENTS:
            return [outputs]
        a, b = ranges[d]
        halves = [(*outputs[:d], each, *outputs[d + 1 :]) for each in (slice(a, (a + b) // 2), slice((a + b) // 2, b))]
        return [part for half in halves for part in self._parts(half)]


def _whole(array: NDArray[Any]) -> NDArray[Any]:
    """What a view keeps alive."""
    return _whole(array.base) if isinstance(array.base, np.ndarray) else array


class _Local(threading.local):
    scratch = np.empty(0, np.uint8)


_local = _Local()


def _take(size: int) -> NDArray[np.uint8]:
    """Memory of this thread, its alone until it is given back: a signal's handler or a finalizer may resample meanwhile."""
    if size > SCRATCH_BYTES:
        return np.empty(size, np.uint8)
    scratch, _local.scratch = _local.scratch, _Local.scratch
    return scratch if scratch.size >= size else np.empty(size, np.uint8)


def _give_back(scratch: NDArray[np.uint8]) -> None:
    """Keep it for the next call of this thread, unless it is unusually much."""
    if scratch.size <= SCRATCH_BYTES:
        _local.scratch = scratch
