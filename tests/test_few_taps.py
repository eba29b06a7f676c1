"""kernels/few_taps.cu, run on the CPU: every instance, every way its threads share a row, and which launches it gets."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

import cupysample
from cupysample import _few_taps, _launch, _tuning
from cupysample._launch import Launch
from cupysample._plan import DTYPES
from tests import bounds, cases, launches, oracle
from tests.host.harness import HostKernels, Job, races, replay_sanitized, sectors

pytestmark = pytest.mark.host

MODES: dict[tuple[int, int], str] = {
    (1, 1): "nearest",
    (1, 2): "nearest",
    (1, 3): "nearest",
    (2, 1): "linear",
    (2, 2): "bilinear",
    (2, 3): "trilinear",
    (4, 1): "cubic",
    (4, 2): "bicubic",
    (4, 3): "tricubic",
    (8, 1): "lanczos",
    (8, 2): "lanczos",
}
"""(taps, axes) -> a mode whose longest row, upscaling, has more than half as many taps."""


class Call(NamedTuple):
    """Arrays and arguments that get one instance."""

    taps: int
    wide: bool
    pitch: int
    x: NDArray[Any]
    out: NDArray[Any]
    arguments: dict[str, Any]

    def launch(self) -> tuple[Launch, launches.Tables]:
        """What a device would get, and the tables that it reads."""
        plan, like = launches.plan_and_output(self.x, **self.arguments)
        assert like.shape == self.out.shape
        tables = launches.Tables()
        return launches.launch(plan, self.x, self.out, tables), tables

    def job(self, blocks: int) -> Job:
        """The same, packed."""
        plan, _ = launches.plan_and_output(self.x, **self.arguments)
        return launches.pack(plan, self.x, self.out, blocks)


def calls() -> Iterator[Call]:
    """A call for every instance; those that gather with vectors stored, and without, in rows that grow and shrink.

    Those that know the distance of pixels, 1 or 3, and those that do not, the rows of whose source have every other pixel.
    """
    rng = np.random.default_rng(5)
    for (taps, axes), mode in MODES.items():
        for dtype, row in DTYPES.items():
            if taps > 1 and (row.arithmetic == "copy" or taps > _few_taps.most_taps(axes, row.arithmetic)):
                continue
            pitches = _few_taps.pitches(dtype, taps)
            words = (
                (20, 32),
                (16, 32),
                (16, 64),
                (20, 28),
            )  # rows of so many words of 4 bytes, in which windows lie anyhow and alike
            sizes = ((15, 32), (15, 31), (15, 8), (16, 15), *words)
            gathered = [(pitch, 3, *each) for pitch in pitches for each in sizes]
            gathered += [(1, 3, *each) for each in words] if taps == 1 else []
            for pitch, channels, n_in, width in ((None, 16, 15, 7), *gathered):
                shape, size = (2, channels, *(5, 4)[: axes - 1], n_in), (*(11, 9)[: axes - 1], width)
                if mode == "lanczos" and width < 15:
                    continue  # more taps
                x = cases.values(rng, shape, dtype)
                out = np.zeros((2, channels, *size), x.dtype)
                if pitch in (None, 3):
                    x, out = (np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) for a in (x, out))
                elif pitch == 0:
                    x = np.repeat(x, 2, axis=-1)[..., ::2]
                launches.poison(out)
                parts = dtype.startswith("complex") and taps > 1  # of which each is resampled, side by side
                part = {"complex64": "float32", "complex128": "float64"}.get(dtype, dtype)
                wide = pitch is None or (parts and 2 % _few_taps.vector(axes, part, "float", taps, wide=True) == 0)
                known = 0 if wide or parts or taps == 1 else pitch or 0
                yield Call(taps, wide, known, x, out, {"size": size, "mode": mode, "antialias": mode == "lanczos"})


def wide_lanczos() -> Iterator[Call]:
    """The instances of 8 taps that read vectors."""
    rng = np.random.default_rng(6)
    for dtype, row in DTYPES.items():
        for axes in (1, 2):
            if row.arithmetic != "copy":
                x = np.moveaxis(cases.values(rng, (2, *(5,)[: axes - 1], 15, 16), dtype), -1, 1)
                size = (*(11,)[: axes - 1], 21)
                out = np.moveaxis(np.zeros((2, *size, 16), x.dtype), -1, 1)
                launches.poison(out)
                yield Call(8, True, 0, x, out, {"size": size, "mode": "lanczos", "antialias": True})


def means() -> Iterator[Call]:
    """Those of exact means: windows as long as the instance's, and shorter by one here and there; and rows that grow."""
    rng = np.random.default_rng(7)
    for axes in (1, 2, 3):
        for taps in (2, 4, 8)[: 3 if axes < 3 else 2]:
            for channels, last, out_last, width, pitch in (
                (16, True, True, 7, 0),
                *((5, True, True, width, 0) for width in (16, 7)),
                *((3, True, True, width, 3) for width in (16, 7)),
                *((3, False, out_last, width, 1) for out_last, width in ((True, 16), (False, 7), (False, 16))),
            ):
                size = (*(3, 2)[: axes - 1], width)
                shrunk = [(taps - 1) * n - n // 2 for n in size]
                grown = [n for n in (width * 3 // 4, width * 2 // 3) if taps <= (n if axes > 1 else 2)]
                for spatial in (shrunk, *([*shrunk[:-1], n] for n in grown)):
                    x = np.moveaxis(cases.values(rng, (2, *spatial, channels), "uint8"), -1, 1)
                    out = np.moveaxis(np.zeros((2, *size, channels), np.uint8), -1, 1)
                    x, out = x if last else x.copy(), out if out_last else out.copy()
                    launches.poison(out)
                    yield Call(taps, channels == 16, pitch, x, out, {"size": size, "mode": "area"})


def skipping() -> Iterator[Call]:
    """Rows of 4 bytes an element that are stored as vectors and not copied ahead: some source row is in no window."""
    rng = np.random.default_rng(8)
    for axes in (2, 3):
        for dtype in ("float32", "int32", "uint32"):
            for taps in (2, 4):
                if taps <= _few_taps.most_taps(axes, DTYPES[dtype].arithmetic):
                    x = cases.values(rng, (2, 3, *(5, 20)[3 - axes :], 16), dtype)
                    size = (*(4, 3)[3 - axes :], 32)
                    out = np.zeros((2, 3, *size), x.dtype)
                    launches.poison(out)
                    yield Call(taps, False, 1, x, out, {"size": size, "mode": MODES[taps, axes]})


def halves() -> Iterator[Call]:
    """Rows of half as many pixels, whose windows lie alike; and rows that stay as they are, beside columns that shrink."""
    rng = np.random.default_rng(10)
    for (dtype, arithmetic), several in _tuning.SHRUNK_TAPS.items():
        for taps in several:
            mode = "area" if arithmetic == "mean" else "bicubic" if taps == 8 else "bilinear"
            shapes = [(10, 64, 32, mode), (5 if taps == 2 else 7, 32, 16, mode)]
            if taps == 4 and arithmetic == "float":  # windows of two pixels among four
                shapes.append((15, 64, 32, "area"))
            if taps == 2:
                shapes.append((10, 32, 32, mode))
            for height, width, new, mode in shapes:
                x = cases.values(rng, (2, 3, height, width), dtype)
                out = np.zeros((2, 3, 5, new), x.dtype)
                launches.poison(out)
                arguments = {"size": (5, new), "mode": mode, "antialias": mode != "area" and taps > 2}
                yield Call(taps, False, 1, x, out, arguments)


def doubled_volumes() -> Iterator[Call]:
    """Floats of which two depths are made at once."""
    rng = np.random.default_rng(11)
    for dtype in ("float16", "bfloat16", "float32"):
        x = cases.values(rng, (2, 3, 5, 4, 16), dtype)
        out = np.zeros((2, 3, 10, 9, 32), x.dtype)
        launches.poison(out)
        yield Call(2, False, 1, x, out, {"size": out.shape[2:], "mode": "trilinear"})


def tall() -> Iterator[Call]:
    """Of many rows, so that the places of rows that are copied ahead are taken again and again."""
    rng = np.random.default_rng(12)
    for dtype in ("float16", "float32", "float64", "int16", "int32", "uint8"):
        for taps in (1, 2, 4):
            if taps <= _few_taps.most_taps(2, DTYPES[dtype].arithmetic):
                x = cases.values(rng, (1, 2, 24, 16), dtype)
                out = np.zeros((1, 2, 50, 32), x.dtype)
                launches.poison(out)
                yield Call(taps, False, int(taps > 1), x, out, {"size": out.shape[2:], "mode": MODES[taps, 2]})


def everything() -> list[Call]:
    return [*calls(), *wide_lanczos(), *means(), *skipping(), *halves(), *doubled_volumes(), *tall()]


def jobs() -> list[Job]:
    """All of them, packed, in few blocks; and the tall ones in one, whose threads walk down all rows."""
    few = [call.job(blocks=(2, 7)[n % 2]) for n, call in enumerate(everything())]  # of 7 some have no rows
    return [*few, *(call.job(blocks=1) for call in tall())]


@pytest.fixture(scope="module")
def kernels() -> HostKernels:
    """Every instance, compiled with g++."""
    return launches.build_all()


def check(call: Call, mode: str) -> None:
    """Copies and integers against the NumPy path to the bit, floats against the definition within the bound."""
    name = call.x.dtype.name
    if name in cases.FLOATS and mode not in cases.POINT:
        tolerance = bounds.bound(call.x, dtype=name, **call.arguments)
        bounds.assert_within(call.out, oracle.interpolate(call.x, **call.arguments), tolerance)
    else:
        np.testing.assert_array_equal(
            call.out.view(f"V{call.out.itemsize}"),
            cupysample.interpolate(call.x, **call.arguments).view(f"V{call.out.itemsize}"),
        )


def test_every_instance(kernels: HostKernels) -> None:
    """In runs of one row, and of several rows and depths."""
    seen = set()
    for call in everything():
        made, _tables = call.launch()
        assert made.kernel == "few_taps", call
        defines = dict(made.defines)
        asked = {"CS_TAPS": call.taps, "CS_WIDE": int(call.wide), "CS_PITCH": call.pitch}
        assert {key: int(defines[key]) for key in asked} == asked, call
        seen.add((made.defines, bool(made.geometry["share"]["packed"][0])))
        for blocks in (0, 1, 2, 7):  # 7: some have no rows
            launches.poison(call.out)
            launches.execute(kernels, made, call.x.ctypes.data, call.out.ctypes.data, blocks=blocks)
            check(call, call.arguments["mode"])
    for kernel, made_with in _launch.instances():
        if kernel == "few_taps":
            defines = dict(made_with)
            staged, wide = defines["CS_SLOT"] != "0", defines["CS_WIDE"] == "1"
            axes, taps = int(defines["CS_AXES"]), int(defines["CS_TAPS"])
            only_shrinks = axes == 1 and taps > 2 and defines["CS_ARITHMETIC"] == "4"  # means
            in_words = defines["CS_TYPE"] in ("CS_FLOAT32", "CS_INT32", "CS_UINT32") and defines["CS_PITCH"] == "1"
            always_staged = (
                not staged and in_words and (axes == 1 or taps == 8)
            )  # no row is skipped, if vectors are stored
            assert (made_with, True) in seen or only_shrinks or always_staged, made_with
            assert (made_with, False) in seen or staged or wide or defines["CS_VECTOR"] == "1", made_with


def test_means_of_every_sum(kernels: HostKernels) -> None:
    """Of as many pixels as windows have, at most: half to even, whatever the last bits of a reciprocal are."""
    for taps_h, taps_w in itertools.product(range(1, 9), repeat=2):
        pixels = taps_h * taps_w
        sums = np.arange(255 * pixels + 1)
        if pixels == 1:
            continue  # a copy
        values = (sums[:, None] + np.arange(pixels)) // pixels  # as even as may be
        assert (values.sum(axis=1) == sums).all()
        x = values.reshape(1, 1, -1, taps_h, taps_w).swapaxes(2, 3).reshape(1, 1, taps_h, -1).astype(np.uint8)
        y = launches.run(kernels, x, size=(1, len(sums)), mode="area")
        assert y[0, 0, 0].tolist() == [round(Fraction(int(s), pixels)) for s in sums], (taps_h, taps_w)


def test_sanitizers_and_races(kernels: HostKernels) -> None:
    launched = jobs()
    replay_sanitized(kernels, launched)
    logged = launches.build_all("log", {job.kernel for job in launched}.__contains__)
    for job in launched:
        assert not races(logged.log(job)), job.kernel


def test_the_bits_do_not_depend_on_how_a_row_is_shared(kernels: HostKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread computes an element alike whatever its neighbours in the vector, the run and the grid are."""
    for call in everything()[::3]:
        made, _tables = call.launch()
        launches.execute(kernels, made, call.x.ctypes.data, call.out.ctypes.data)
        first = call.out.tobytes()
        with monkeypatch.context() as patch:
            patch.setattr(_few_taps, "_out_is_aligned", lambda *_: False)
            made, _tables = call.launch()
        if made.kernel == "band":  # H first; its vectors are of the source
            assert call.x.shape[-1] == 2 * call.out.shape[-1]
            continue
        assert not made.geometry["share"]["packed"][0]
        for blocks, order in ((1, "reversed"), (3, 5)):
            launches.poison(call.out)
            launches.execute(kernels, made, call.x.ctypes.data, call.out.ctypes.data, order, blocks)  # type: ignore[arg-type]
            assert call.out.tobytes() == first, call


def test_streamed_stores_write_the_same(kernels: HostKernels, monkeypatch: pytest.MonkeyPatch) -> None:
    """As results that are larger than caches are stored, vectors of every width."""
    found = {}
    for call in everything():
        made, _tables = call.launch()
        if made.geometry["share"]["packed"][0] and call.x.ndim == 4:
            itemsize = call.out.itemsize // (2 if call.out.dtype.kind == "c" and call.taps > 1 else 1)
            found[int(dict(made.defines)["CS_VECTOR"]) * itemsize] = call
    assert set(found) >= {4, 8, 16}
    expected = {}
    for width, call in found.items():
        made, _tables = call.launch()
        launches.execute(kernels, made, call.x.ctypes.data, call.out.ctypes.data)
        expected[width] = call.out.tobytes()
        assert not made.geometry["share"]["streamed"][0]
    launches.tune(monkeypatch, STREAMED_BYTES=0)
    for width, call in found.items():
        made, _tables = call.launch()
        assert made.geometry["share"]["streamed"][0]
        launches.poison(call.out)
        launches.execute(kernels, made, call.x.ctypes.data, call.out.ctypes.data)
        assert call.out.tobytes() == expected[width]


def test_non_finite_values_reach_their_outputs_alone(kernels: HostKernels) -> None:
    """Where windows are read as if all lay alike, at borders too."""
    rng = np.random.default_rng(11)
    for call in halves():
        if call.x.dtype == np.uint8:
            continue
        x = call.x.copy()
        values = rng.choice([np.nan, np.inf, -np.inf], x.shape)
        x = np.where(rng.random(x.shape) < 0.02, values, x).astype(x.dtype)
        expected = launches.assert_non_finite_as_general(kernels, x, **call.arguments)
        for kind in launches.NON_FINITE:
            assert 0 < kind(expected).sum() < expected.size


@pytest.mark.parametrize("size", [(6, 6), (4, 4), (12, 13), (3, 7)])
@pytest.mark.parametrize("mode", ["bilinear", "area", "bicubic", "lanczos"])
def test_infinities_stay_infinities(kernels: HostKernels, mode: str, size: tuple[int, int]) -> None:
    """Rows shorter than the instance's, at borders and of area: no weight of zero makes NaN of an infinite mask.

    Nor do rows that a thread still holds from further up.
    """
    arguments: dict[str, Any] = {"size": size, "mode": mode, "antialias": mode == "lanczos"}
    infinite = 0
    for row in range(9):
        x = np.random.default_rng(1).standard_normal((1, 1, 9, 9)).astype(np.float32)
        x[0, 0, row : row + 3, 3:7] = -np.inf
        y = launches.run(kernels, x, blocks=1, **arguments)
        with launches.general():
            expected = launches.run(kernels, x, **arguments)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
        np.testing.assert_array_equal(y == -np.inf, expected == -np.inf)
        infinite += int((y == -np.inf).sum())
    assert infinite or mode in ("bicubic", "lanczos")


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_two_depths_at_once_are_those_of_each_alone(kernels: HostKernels, dtype: str) -> None:
    """To the bit, whatever is infinite, in any grid; where depths are not doubled each is made alone."""
    for depth, size in ((1, 2), (2, 4), (3, 6), (6, 12), (6, 9), (4, 4), (5, 1)):
        x = cases.values(np.random.default_rng(depth), (2, 2, depth, 3, 16), dtype)
        x[0, 0, depth // 2, 1, 5] = np.inf
        x[1, 1, 0, 2, 15] = np.nan
        arguments: dict[str, Any] = {"size": (size, 6, 32), "mode": "trilinear"}
        plan, out = launches.plan_and_output(x, **arguments)
        together = "2" if 2 < size == 2 * depth else "1"
        assert ("CS_DEPTHS", together) in launches.launch(plan, x, out, launches.Tables()).defines
        with pytest.MonkeyPatch.context() as patch:
            launches.tune(patch, TWO_DEPTHS=())
            alone = launches.run(kernels, x, **arguments)
        for blocks in (0, 1, 2):
            assert launches.run(kernels, x, blocks=blocks, **arguments).tobytes() == alone.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_depths_side_by_side_are_those_of_blocks_of_their_own(kernels: HostKernels, dtype: str) -> None:
    """To the bit, also where the last ones are nobody's, one by one and in pairs, in any grid."""
    sizes = [(3, 6, 2, 4), (7, 14, 2, 4), (8, 17, 2, 2), (9, 15, 4, 4), (4, 6, 2, 2), (5, 5, 1, 1)]
    for mode, (old, new, layers, pairs) in itertools.product(("nearest", "trilinear"), sizes):
        x = cases.values(np.random.default_rng(7), (1, 3, old, 5, 32), dtype)
        arguments: dict[str, Any] = {"size": (new, 9, 64), "mode": mode}
        plan, out = launches.plan_and_output(x, **arguments)
        expected = pairs if mode == "trilinear" and dtype != "uint8" else layers
        assert launches.launch(plan, x, out, launches.Tables()).block == (128 // expected, 1, expected)
        with pytest.MonkeyPatch.context() as patch:
            launches.tune(patch, LAYERS=(1,))
            alone = launches.run(kernels, x, **arguments)
        for blocks in (0, 1, 2):
            assert launches.run(kernels, x, blocks=blocks, **arguments).tobytes() == alone.tobytes()


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_growing_rows_have_the_infinities_of_the_definition(
    kernels: HostKernels, dtype: str, mode: str, factor: int
) -> None:
    """Wherever the infinite pixel is: where a coordinate is clamped to the first one, the second still makes NaN."""
    arguments: dict[str, Any] = {"scale_factor": factor, "mode": mode}
    found = 0
    for pixel in range(16):
        x = np.random.default_rng(pixel).standard_normal((1, 1, 2, 16)).astype(dtype)
        x[0, 0, 1, pixel] = np.inf
        plan, out = launches.plan_and_output(x, **arguments)
        assert ("CS_GROWTH", str(factor)) in launches.launch(plan, x, out, launches.Tables()).defines
        y = launches.run(kernels, x, **arguments)
        with launches.general():
            expected = launches.run(kernels, x, **arguments)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(expected))
        np.testing.assert_array_equal(np.isinf(y), np.isinf(expected))
        found += int(np.isnan(y[..., 0]).sum())
    assert found or mode == "bicubic"


def test_rows_that_no_window_has_are_not_read() -> None:
    """Two of eight rows of a source that shrinks to an eighth without antialias."""
    x = np.zeros((1, 1, 64, 64), np.float32)
    packed, _ = launches.job(x, blocks=1, size=(8, 64), mode="bilinear")
    log = launches.build_all("log", packed.kernel.__eq__).log(packed)
    assert sectors(log)["source", "read"].launch_sectors == 2 * 8 * 64 * 4 // 32


@pytest.mark.parametrize(("dtype", "height", "grown"), [("uint8", 10919, 10921), ("float16", 16380, 16383)])
def test_copies_that_grow_may_skip_a_row(kernels: HostKernels, dtype: str, height: int, grown: int) -> None:
    """Where the float32 product of an index and the step is rounded to the next pixel but one."""
    x = cases.values(np.random.default_rng(4), (1, 1, height, 32), dtype)
    arguments: dict[str, Any] = {"size": (grown, 64), "mode": "nearest-exact"}
    plan, _ = launches.plan_and_output(x, **arguments)
    assert 2 in np.diff(plan.axes[0].taps().left)
    np.testing.assert_array_equal(launches.run(kernels, x, **arguments), cupysample.interpolate(x, **arguments))


def test_copies_that_grow_may_skip_a_pixel(kernels: HostKernels) -> None:
    """Likewise; then the 16 bytes of a thread may come from more than a slot has, and are read where they are."""
    x = np.moveaxis(cases.values(np.random.default_rng(4), (1, 2, 26212, 7), "uint8"), -1, 1)
    arguments: dict[str, Any] = {"size": (2, 26224), "mode": "nearest-exact"}
    plan, _ = launches.plan_and_output(x, **arguments)
    assert 2 in np.diff(plan.axes[1].taps().left)
    np.testing.assert_array_equal(launches.run(kernels, x, **arguments), cupysample.interpolate(x, **arguments))


@pytest.mark.parametrize("channels", [2, 3, 4, 6])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_pixels_of_several_elements_are_copied_whole(kernels: HostKernels, dtype: str, channels: int) -> None:
    """Not as a row of pixels of one element that grows by as much, whose windows are known when it is compiled."""
    x = np.moveaxis(cases.values(np.random.default_rng(5), (1, 6, 96, channels), dtype), -1, 1)
    for factor in (2, 4):
        arguments: dict[str, Any] = {"scale_factor": factor, "mode": "nearest"}
        np.testing.assert_array_equal(launches.run(kernels, x, **arguments), cupysample.interpolate(x, **arguments))


def test_rows_that_no_output_reads_have_no_gradient(kernels: HostKernels) -> None:
    """They have no tap, which this kernel cannot say: another runs, and the gradient is 0, not 0 times infinity."""
    x = np.zeros((1, 1, 8, 8), np.float32)
    plan, like = launches.plan_and_output(x, size=(3, 3), mode="bilinear")
    g, out, tables = np.full_like(like, np.inf), np.ones_like(x), launches.Tables()
    made = launches.launch(plan.transposed("float32"), g, out, tables)
    assert made.kernel == "band"
    launches.execute(kernels, made, g.ctypes.data, out.ctypes.data)
    assert (out[0, 0, [2, 5]] == 0).all()


@pytest.mark.parametrize(
    ("x", "out", "packed"),
    [
        ((1, 1, 8, 8), (1, 1, 16, 16), True),
        ((1, 1, 8, 8), (1, 1, 16, 18), False),  # a row is no whole number of vectors
        ((1, 1, 8, 32), (1, 1, 16, 16), False),  # shrinks
        ((1, 1, 8), (1, 1, 16), True),
        ((1, 1, 8), (1, 1, 18), False),  # likewise, and no other row is there to be out of step
    ],
)
def test_who_stores_vectors(x: tuple[int, ...], out: tuple[int, ...], packed: bool) -> None:
    arguments: dict[str, Any] = {"size": out[2:], "mode": MODES[2, len(out) - 2]}
    call = Call(2, False, 1, np.zeros(x, np.float32), np.zeros(out, np.float32), arguments)
    assert bool(call.launch()[0].geometry["share"]["packed"][0]) == packed


def test_vectors_are_stored_where_addresses_allow() -> None:
    """A view that begins between two vectors is stored element by element, and channels likewise are gathered."""
    memory = np.zeros(4096, np.float32)
    memory = memory[-memory.ctypes.data // 4 % 4 :]  # aligned to 16 bytes
    x = np.zeros((1, 1, 8, 8), np.float32)
    arguments: dict[str, Any] = {"size": (16, 16), "mode": "bilinear"}
    for offset, packed in ((0, True), (1, False), (4, True)):
        out = memory[offset : offset + 256].reshape(1, 1, 16, 16)
        assert bool(Call(2, False, 1, x, out, arguments).launch()[0].geometry["share"]["packed"][0]) == packed
    out = np.moveaxis(np.zeros((1, 16, 16, 8), np.float32), -1, 1)
    for offset, wide in ((0, "1"), (1, "0"), (4, "1")):
        x = np.moveaxis(memory[offset : offset + 512].reshape(1, 8, 8, 8), -1, 1)
        assert ("CS_WIDE", wide) in Call(2, False, 1, x, out, arguments).launch()[0].defines


def test_rows_shorter_than_a_window_are_other_kernels() -> None:
    """A thread would read behind the last row; of one pixel it reads that one alone, as no distance of pixels is known."""
    pitches = []
    for width in range(1, 6):
        x = np.zeros((1, 1, 8, width), np.float32)
        plan, out = launches.plan_and_output(x, size=(16, 9), mode="bicubic")
        made = launches.launch(plan, x, out, launches.Tables())
        pitches.append(dict(made.defines)["CS_PITCH"] if made.kernel == "few_taps" else "")
    assert pitches == ["0", "", "", "1", "1"]


@pytest.mark.parametrize(("mode", "taps"), [("bilinear", "4"), ("bicubic", "8"), ("trilinear", "4")])
def test_gradients_of_doubling_have_rows_of_twice_the_taps(mode: str, taps: str) -> None:
    """And no more, though the first output's window ends in a zero."""
    x = np.zeros((1, 1, *(8,) * (3 if mode == "trilinear" else 2)), np.float32)
    plan, g = launches.plan_and_output(x, scale_factor=2, mode=mode)
    made = launches.launch(plan.transposed("float32"), g, x, launches.Tables())
    assert ("CS_TAPS", taps) in made.defines
