"""kernels/band.cu, band_walk.cu, band_integer.cu and band_bytes.cu, run on the CPU: every instance, every way its threads share a
row, windows longer than shared memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, reduce
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

import cupysample
from cupysample import _bands, _interpolate, _launch, _plan, _tuning
from cupysample._arrays import Layout
from cupysample._launch import Launch
from tests import bounds, cases, launches, oracle
from tests.host.harness import HostKernels, Job, races, replay_sanitized, sectors

pytestmark = pytest.mark.host

DTYPES = [
    (dtype, row.arithmetic) for dtype, row in _plan.DTYPES.items() if dtype not in _plan.REALS and dtype != "bool"
]
"""And their arithmetics."""


class Call(NamedTuple):
    """An array and arguments that get one of these kernels: the last axis shrinks, so that no row is short."""

    x: NDArray[Any]
    size: tuple[int, ...]
    arithmetic: str
    mode: str = ""
    walks: bool = False
    """Through band_walk.cu, if floats may."""

    @property
    def arguments(self) -> dict[str, Any]:
        if self.arithmetic == "mean":
            return {"size": self.size, "mode": "area"}
        mode = self.mode or {1: "linear", 2: "bilinear", 3: "trilinear"}[len(self.size)]
        return {"size": self.size, "mode": mode, "antialias": True}

    @property
    def kernel(self) -> str:
        if self.walks:
            return "band_walk"
        if self.arithmetic in _bands.SEPARABLE:
            return "band"
        grows = self.size[0] > self.x.shape[2]
        return "band_bytes" if self.arithmetic == "fixed" and len(self.size) == 2 and not grows else "band_integer"

    def prepare(self) -> tuple[Launch, NDArray[Any], launches.Tables]:
        """What a device would get, the output, and the tables that it reads."""
        plan, out = launches.plan_and_output(self.x, **self.arguments)
        tables = launches.Tables()
        with self.chosen():
            return launches.launch(plan, self.x, out, tables), out, tables

    def job(self, blocks: int) -> Job:
        """The same, packed."""
        with self.chosen():
            return launches.job(self.x, blocks=blocks, **self.arguments)[0]

    @contextmanager
    def chosen(self) -> Iterator[None]:
        """band.cu where band_walk.cu would be chosen, unless it is wanted."""
        with pytest.MonkeyPatch.context() as patch:
            if not self.walks:
                launches.tune(patch, WALKED_ROWS={})
            yield

    def check(self, out: NDArray[Any]) -> None:
        """Floats against the definition, integers against the NumPy path, to the bit."""
        if self.arithmetic != "float":
            np.testing.assert_array_equal(out, cupysample.interpolate(self.x, **self.arguments))
            return
        tolerance = bounds.bound(self.x, dtype=self.x.dtype.name, **self.arguments)
        bounds.assert_within(out, oracle.interpolate(self.x, **self.arguments), tolerance)


def calls() -> Iterator[Call]:
    """Rows of every length, dense and not, with one, some and many channels inside."""
    rng = np.random.default_rng(7)
    for dtype, arithmetic in [*DTYPES, ("uint8", "mean")]:
        shapes = _bands.band_shapes(dtype, arithmetic)
        (_, elements), (threads, columns) = shapes[-2:]

        def call(shape: tuple[int, ...], *size: int, dtype: str = dtype, arithmetic: str = arithmetic) -> Call:
            return Call(cases.values(rng, shape, dtype), size, arithmetic)

        for before, smaller in (((), ()), ((23,), (2,)), ((7, 9), (1, 2)), ((70,), (2,))):
            for n in (each * fill + more for each, fill in shapes for more in (0, 1)):
                if before != (70,) or n < 300:
                    yield call((2, 3, *before, n) if n < 600 else (1, 2, *before, n), *smaller, n // 17)
            some = call((1, 2, *before, 64), *smaller, 5)
            yield some._replace(x=some.x[..., ::-1])
            if not before:  # no whole number of vectors, and no other row is there to be out of step
                yield call((1, 1, 88 * elements + 1), 4)
                for n in (3 * threads * columns, 3 * threads * columns + 1):  # several tiles
                    yield call((1, 1, n), n // 19)
                    some = call((1, n // 2, 3), n // 38)
                    yield some._replace(x=np.moveaxis(some.x, -1, 1))
            if before == (23,) and arithmetic != "fixed":  # two and a half windows for a single pixel
                yield call((1, 1, *before, 5 * threads * columns // 2), *smaller, 1)
            if before == (23,) and arithmetic == "fixed":  # a pixel is read by many rows, by a few, by at most two
                for height in (230, 23, 13):
                    for n in (each * fill + more for each, fill in shapes for more in (0, 1)):
                        yield call((1, 2, *before, n), height, n // 17)
                for n in (each * fill // 2 for each, fill in shapes):  # more elements than threads
                    yield call((1, 1, *before, 2 * n), 3, n // 5)
                    yield call((1, 1, *before, 2 * n - 15), 3, n // 5)
                for n, new in ((128, 3), (128, 25), (1024, 25), (1024, 204)):  # vectors of several channels
                    some = call((1, *before, n, 3), 3, new)
                    yield some._replace(x=np.moveaxis(some.x, -1, 1))
            for channels in (3, 96, 99) if before in ((23,), (7, 9)) else ():
                some = call((1, *before, 40, channels), *smaller, 3)
                yield some._replace(x=np.moveaxis(some.x, -1, 1))


def walking() -> Iterator[Call]:
    """Those of band_walk.cu: rows of every length, by each filter; of many channels; an odd row at the end; D that grows."""
    rng = np.random.default_rng(8)
    for axes, dtypes in _tuning.WALKED_ROWS.items():
        for dtype in dtypes:
            widths = [threads * _tuning.WALKED_COLUMNS for threads in _tuning.WALKED_THREADS[axes]]
            for mode in ("bilinear", "bicubic", "lanczos") if axes == 2 else ("trilinear",):

                def call(shape: tuple[int, ...], *size: int, mode: str = mode, dtype: str = dtype) -> Call:
                    return Call(cases.values(rng, shape, dtype), size, "float", mode, walks=True)

                # Factors of which fewer rows have begun at a time; pairs of rows begin with odd ones, but for 1/4 and 1/8.
                height, new = {"bilinear": (48, 6), "bicubic": (48, 12), "lanczos": (48, 24), "trilinear": (24, 12)}[
                    mode
                ]
                # Depths side by side: 1, 2, and 4 where the block has as many threads.
                for before, smaller in (((5,), (3,)), ((4,), (2,)), ((6,), (4,))) if axes > 2 else (((), ()),):
                    for n in (*widths, *(n // 2 + 24 for n in widths), 3 * widths[-1] + 8):
                        yield call((1, 2, *before, 47, n), *smaller, 11, n // 5)
                        if n in widths:
                            yield call((1, 1, *before, height, n), *smaller, new, n // 2)
                        if mode == "lanczos":  # W grows
                            yield call((1, 1, 24, n), 15, n + 9)
                if mode == "lanczos":  # windows of most of a tile
                    yield call((1, 1, 29, widths[0]), 6, 8)
                if axes > 2:
                    yield call((1, 1, 20, 9, 256), 15, 3, 50)  # the last of four is nobody's
                before, larger = ((), ()) if axes == 2 else ((4,), (9,))
                for channels in (3, 24, 96):  # some of them as threads have, and parts of them
                    pixels = 640 // channels * 8
                    some = call((1, *before, 29, pixels, channels), *larger, 6, pixels // 4)
                    yield some._replace(x=np.moveaxis(some.x, -1, 1))
                if axes > 2:  # parts of more channels than a block has threads
                    some = call((1, 3, 29, 1, 320), 4, 6, 1)
                    yield some._replace(x=np.moveaxis(some.x, -1, 1))


@cache
def everything() -> list[Call]:
    return [*calls(), *walking()]


@pytest.fixture(scope="module")
def kernels() -> HostKernels:
    """Every instance, compiled with g++."""
    return launches.build_all()


def test_every_instance(kernels: HostKernels) -> None:
    """Reading vectors and elements, in one block per group and in blocks that walk; groups of 1 and 4 rows, some in parts."""
    seen, parts = set(), set()
    for call in everything():
        for full in (True, False):
            with pytest.MonkeyPatch.context() as patch:
                blocks, resident = (1, 128) if full else (10**9, 10**9)
                launches.tune(patch, FILLING_BLOCKS=blocks, RESIDENT_THREADS=blocks)
                launches.tune_resident(patch, resident)
                made, out, _tables = call.prepare()
            assert made.kernel == call.kernel, call
            share = made.geometry[0]["share"]
            rows, splits = int(share["rows"]["value"]), int(share["splits"]["value"])
            seen.add((made.kernel, made.defines, bool(share["packed"])))
            assert full or rows == 1
            assert not full or splits == 1
            parts.add((rows, splits))
            for blocks in (0, 1, 2):
                launches.poison(out)
                launches.execute(kernels, made, call.x.ctypes.data, out.ctypes.data, blocks=blocks)
                call.check(out)
    assert parts >= {(4, 1), (1, 2), (1, 4)}
    for kernel, defines in _launch.instances():
        if kernel.startswith("band"):
            named = dict(defines)
            assert (kernel, defines, False) in seen or named.get("CS_PACKED", "0") != "0"
            assert (kernel, defines, True) in seen or named.get("CS_PACKED") == "0" or named["CS_VECTOR"] == "1"


def sanitized() -> list[Job]:
    """Small launches, the smallest first, and the smallest of every instance."""
    jobs = sorted((call.job(blocks=2) for call in everything()), key=lambda job: job.arrays["source"].nbytes)
    smallest = {job.kernel: job for job in reversed(jobs)}
    return [job for job in jobs if _is_soon_done(job) or job is smallest[job.kernel]]


def _is_soon_done(job: Job) -> bool:
    return job.arrays["source"].nbytes < 100_000 and not job.kernel.startswith("band_walk")


def test_sanitizers_and_races() -> None:
    """Races in shared memory too: nobody reads what another thread writes without a barrier between."""
    jobs = sanitized()
    replay_sanitized(launches.build_all(), jobs)
    logged = launches.build_all("log", {job.kernel for job in jobs}.__contains__)
    for job in {job.kernel: job for job in reversed(jobs)}.values():
        assert not races(logged.log(job)), job.kernel


def test_the_bits_do_not_depend_on_the_order_of_threads(kernels: HostKernels) -> None:
    for call in everything()[::2]:
        made, out, _tables = call.prepare()
        launches.execute(kernels, made, call.x.ctypes.data, out.ctypes.data)
        first = out.tobytes()
        for order in ("reversed", 1, 2):
            launches.poison(out)
            launches.execute(kernels, made, call.x.ctypes.data, out.ctypes.data, order, 3)
            assert out.tobytes() == first, call


@pytest.mark.parametrize(("height", "size"), [(32, (4, 12)), (6, (100, 12))], ids=["band_bytes", "band_integer"])
def test_bytes_of_many_channels_are_apart(kernels: HostKernels, height: int, size: tuple[int, int]) -> None:
    """59 of windows of 34 pixels take the most room: what belongs to no tile is written behind them."""
    x = np.moveaxis(cases.values(np.random.default_rng(3), (1, height, 80, 59), "uint8"), -1, 1)
    arguments: dict[str, Any] = {"size": size, "mode": "bilinear", "antialias": True}
    expected = cupysample.interpolate(x, **arguments)
    for order in ("forward", "reversed", 1, 2):
        np.testing.assert_array_equal(launches.run(kernels, x, order=order, **arguments), expected)
    packed, _ = launches.job(x, **arguments)
    assert not races(launches.build_all("log", packed.kernel.__eq__).log(packed))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_axes_that_nearly_fill_an_int_are_not_these_kernels(dtype: str) -> None:
    """A loop by several rows would step over its end."""
    itemsize, kernels = np.dtype(dtype).itemsize, []
    for n in (2**30, 2**31 - 1):
        plan = _interpolate.plan_of((1, 1, n, 1), dtype, (1000, 1), None, "bilinear", True, None, False)
        source, out = (
            Layout((1, 1, rows, 1), (rows * itemsize, rows * itemsize, itemsize, itemsize), dtype, itemsize, 0)
            for rows in (n, 1000)
        )
        kernels.append(_launch.launch(plan, source, out, launches.Tables()).kernel)
    assert kernels[0] != "resample"
    assert kernels[1] == "resample"


def kernel_of(x: NDArray[Any], size: tuple[int, ...], mode: str) -> str:
    """Whose an antialiased call is."""
    plan, out = launches.plan_and_output(x, size=size, mode=mode, antialias=True)
    return launches.launch(plan, x, out, launches.Tables()).kernel


def test_volumes_of_which_too_many_rows_have_begun_are_not_walked_down() -> None:
    """Threads of band_walk.cu hold the sums of three; a row of H is in the windows of four, antialiased by cubics."""
    x = np.zeros((1, 1, 9, 40, 256), np.float32)
    for mode, kernel in (("trilinear", "band_walk"), ("tricubic", "band")):
        assert kernel_of(x, (9, 20, 128), mode) == kernel


def test_walks_have_room_for_the_longest_window_wherever_it_begins() -> None:
    """Windows of 1024 pixels begin at whole vectors."""
    for width, kernel in ((2036, "band_walk"), (2044, "band")):  # 1018 and 1022 pixels, and three before them
        x = np.zeros((1, 1, 40, width), np.float32)
        assert kernel_of(x, (10, 4), "bilinear") == kernel


def test_windows_of_bytes_that_no_block_has_room_for_are_of_the_general_kernel() -> None:
    """It rounds axis by axis, so that a window is not summed in parts."""
    for width, kernel in ((400, "band_bytes"), (40_000, "resample")):
        x = np.zeros((1, 1, 8, width), np.uint8)
        assert kernel_of(x, (4, 2), "bilinear") == kernel


@pytest.mark.parametrize(
    ("dtype", "walk", "other"), [("float32", "band_walk", "band"), ("uint8", "band_bytes", "band_integer")]
)
def test_tables_of_walks_are_bounded(dtype: str, walk: str, other: str) -> None:
    """They have an entry for every row of the source, and more bytes than those of rows of out, by a factor that is large."""
    itemsize = np.dtype(dtype).itemsize
    for old, new, kernel in ((90_000, 901, walk), (900_000, 9_001, other)):
        source, out = (
            Layout((1, 1, *size), tuple(n * itemsize for n in (1, 1, size[1], 1)), dtype, itemsize, 0)
            for size in ((old, 256), (new, 100))
        )
        plan = _interpolate.plan_of((1, 1, old, 256), dtype, (new, 100), None, "bilinear", None, None, True)
        assert _launch.launch(plan, source, out, launches.nowhere).kernel == kernel


@pytest.mark.parametrize(("pitch", "packed"), [(8, True), (16, True), (12, False)])
def test_vectors_of_channels_are_read_where_rows_allow(pitch: int, packed: bool) -> None:
    """Of one pixel each."""
    x = np.moveaxis(np.zeros((1, 40, 1, pitch), np.int16)[..., :8], -1, 1)
    plan, out = launches.plan_and_output(x, size=(4, 1), mode="bilinear", antialias=True)
    made = _launch.launch(plan, launches.layout(x, 0), launches.layout(out, 0), launches.nowhere)
    assert (made.kernel, bool(made.geometry["share"]["packed"][0])) == ("band_integer", packed)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int16", "uint8"])
@pytest.mark.parametrize("part", [slice(0, 8), slice(8, 16), slice(0, 16, 2), slice(1, 4)], ids=str)
def test_sources_of_some_channels(kernels: HostKernels, dtype: str, part: slice) -> None:
    """Neighbours in a row that are not neighbours in memory."""
    whole = cases.values(np.random.default_rng(9), (1, 40, 160, 16), dtype)
    call = Call(np.moveaxis(whole[..., part], -1, 1), (10, 24), _plan.DTYPES[dtype].arithmetic)
    call.check(launches.run(kernels, call.x, **call.arguments))


def test_non_finite_values_reach_their_outputs_alone(kernels: HostKernels) -> None:
    """Windows end where they end, also those of the other rows of a group."""
    rng = np.random.default_rng(9)
    for call in everything():
        if 1 in call.size or call.x.size > 20_000 or call.arithmetic != "float":
            continue
        x = call.x.copy()
        x[rng.random(x.shape) < 0.002] = rng.choice([np.nan, np.inf, -np.inf])
        launches.assert_non_finite_as_general(kernels, x, **call.arguments)


def test_pixels_that_no_output_reads_have_no_gradient(kernels: HostKernels) -> None:
    """Rows without taps, at the end too, behind a row that needs the last output."""
    for mode, shape, size in (
        ("nearest", (9, 9), (3, 3)),
        ("bilinear", (9, 9), (2, 2)),
        ("nearest", (9, 9), (4, 4)),
        ("bilinear", (9, 3000), (2, 2)),  # whole tiles
        ("nearest", (9, 10, 128), (3, 40, 512)),  # depths, of a walk
    ):
        x = np.zeros((1, 1, *shape), np.float32)
        plan, like = launches.plan_and_output(x, size=size, mode=mode)
        g, out, tables = np.full_like(like, np.inf), np.ones_like(x), launches.Tables()
        made = launches.launch(plan.transposed("float32"), g, out, tables)
        assert made.kernel == ("band_walk" if len(shape) == 3 else "band")
        launches.execute(kernels, made, g.ctypes.data, out.ctypes.data)
        counts = [axis.taps().count for axis in plan.transposed("float32").axes]
        np.testing.assert_array_equal(out[0, 0] != 0, reduce(np.multiply.outer, [count > 0 for count in counts]))


def test_the_source_is_read_in_whole_vectors() -> None:
    """16 bytes a thread and request, of a dense row that begins anywhere in the window of a tile."""
    x = np.zeros((1, 1, 40, 1600), np.float32)
    packed, _ = launches.job(x, size=(4, 100), mode="bilinear", antialias=True)
    log = launches.build_all("log", packed.kernel.__eq__).log(packed)
    reads = log.of("source")
    assert set(reads["size"].tolist()) == {16}
    assert sectors(log)["source", "read"].launch_sectors == x.nbytes // 32
