"""The harness that runs the kernels on a CPU sees what it claims to see."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.host.harness import (
    CompileError,
    Flavour,
    HostKernels,
    Job,
    LaunchError,
    Order,
    Relocation,
    SanitizerError,
    build,
    races,
    replay_sanitized,
    sectors,
)

pytestmark = pytest.mark.host

SAMPLES = (Path(__file__).parent / "host" / "samples" / "samples.cu").read_text()
NAMES = set(re.findall(r"^#define (\w+) \d+$", SAMPLES, re.MULTILINE)) - {"CONVERT"}
CONVERSIONS = {
    "half to float": ("__half", "float", "__half2float"),
    "float to half": ("float", "__half", "__float2half_rn"),
    "bfloat16 to float": ("__nv_bfloat16", "float", "__bfloat162float"),
    "float to bfloat16": ("float", "__nv_bfloat16", "__float2bfloat16_rn"),
}
ORDERS: tuple[Order, ...] = ("forward", "reversed", 0, 1)


def text(**defines: str) -> str:
    """Return an instance, the way the loader assembles it."""
    lines = {"CS_ENTRY": "sample", **defines}
    return "".join(f"#define {name} {value}\n" for name, value in lines.items()) + '#line 1 "samples.cu"\n' + SAMPLES


@cache
def samples(flavour: Flavour = "plain") -> HostKernels:
    texts = {name: text(CS_SAMPLE=name) for name in NAMES}
    for name, (origin, to, function) in CONVERSIONS.items():
        texts[name] = text(CS_SAMPLE="CONVERT", CS_FROM=origin, CS_TO=to, CS_FUNCTION=function)
    return build(texts, flavour)


def job(
    kernel: str,
    source: NDArray[Any],
    out: NDArray[Any],
    *,
    blocks: int = 1,
    threads: int = 32,
    n: int = 0,
    shift: int = 0,
    table: int = 0,
    **more: Any,
) -> Job:
    """Return a job with `struct Parameters` filled in."""
    parameters = struct.pack("<Qii", table, n, shift)
    arrays = {"source": source, "out": out, **more.pop("arrays", {})}
    return Job(kernel, (blocks, 1, 1), (threads, 1, 1), arrays, parameters, **more)


def reverse(kernel: str, blocks: int = 3, n: int = 768) -> Job:
    x = np.arange(n, dtype=np.float32)
    return job(kernel, x, np.full_like(x, -1), blocks=blocks, threads=256, n=n, shared=1024)


def copy(kernel: str, **more: Any) -> Job:
    x = np.random.default_rng(0).normal(size=4096).astype(np.float32)
    return job(kernel, x, np.zeros_like(x), **{"blocks": 32, "threads": 128, "n": 4096, **more})


# ---------------------------------------------------------------------------------------------------------------------
# Running


@pytest.mark.parametrize("flavour", ["plain", "log"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kernel", ["REVERSE_STATIC", "REVERSE_DYNAMIC"])
def test_barrier_orders_shared_memory(kernel: str, order: Order, flavour: Flavour) -> None:
    expected = np.arange(768, dtype=np.float32).reshape(3, 256)[:, ::-1].ravel()
    np.testing.assert_array_equal(samples(flavour).run(reverse(kernel), order), expected)


def test_a_run_leaves_the_arrays_of_its_job_alone() -> None:
    launched = reverse("REVERSE_STATIC")
    samples().run(launched)
    assert (launched.arrays["out"] == -1).all()


@pytest.mark.parametrize("order", ORDERS)
def test_without_the_barrier_the_order_shows(order: Order) -> None:
    out = samples().run(reverse("REVERSE_RACING", blocks=1, n=256), order)
    assert np.isnan(out).sum() == 128  # the earlier half of the threads reads what the later half has not written


def test_thread_orders() -> None:
    """The last writer of a race is the last thread of the last block in the order of the launch."""
    out = np.zeros(1, np.int32)
    launched = job("LAST_WRITER", out, out, blocks=7, threads=96)
    forward, backward, *shuffled = (
        int(samples().run(launched, order)[0]) for order in ("forward", "reversed", *range(8))
    )
    assert (forward, backward) == (7 * 96 - 1, 0)
    assert len(set(shuffled)) > 4
    assert shuffled == [int(samples().run(launched, order)[0]) for order in range(8)]


def test_builtins() -> None:
    grid, block = (3, 2, 2), (5, 4, 3)
    out = np.full((2, 2, 3, 3, 4, 5, 6), -1, np.int32)
    launched = Job("BUILTINS", grid, block, {"source": out, "out": out}, bytes(16))
    bz, by, bx, tz, ty, tx = np.indices(out.shape[:-1])
    np.testing.assert_array_equal(samples().run(launched, 3), np.stack([tx, ty, tz, bx, by, bz], axis=-1))


def test_shuffles() -> None:
    threads = 72  # two warps and a part of one
    x = np.random.default_rng(1).integers(0, 1000, threads, np.int32)
    out = np.full((6, threads), -2, np.int64)
    t = np.arange(threads)
    lane, first = t % 32, t // 32 * 32
    full = t < 64
    padded = np.append(x, np.zeros(64, np.int32))
    sums = np.repeat(np.add.reduceat(x, [0, 32, 64]), 32)[:threads]
    expected = np.stack(
        [
            np.where(full, sums, -1),
            padded[np.where(lane >= 1, t - 1, t)],
            np.where(full, padded[np.where(t % 8 + 3 < 8, t + 3, t)], -1),
            padded[t // 8 * 8 + 5],
            1000000000000 * x[first].astype(np.int64),
            np.where(t % 2, -1, padded[np.where(lane >= 2, t - 2, t)]),
        ]
    )
    launched = job("WARPS", x, out, threads=threads, n=threads)
    for order in ORDERS:
        np.testing.assert_array_equal(samples().run(launched, order), expected)


def test_a_warp_may_exchange_while_others_wait_at_the_barrier() -> None:
    x = np.arange(96, dtype=np.int32)
    for order in ORDERS:
        out = samples().run(job("WARP_BESIDE_BLOCK", x, np.zeros_like(x), threads=96), order)
        assert set(out) == {sum(range(32))}


@pytest.mark.parametrize(
    ("kernel", "n", "message"),
    [
        ("REVERSE_EARLY_RETURN", 700, r"block \(2, 0, 0\): barrier divergence: 188 .* wait .*, 68 of 256 .* finished"),
        ("REVERSE_TWO_BARRIERS", 768, r"100 of 256 threads wait .*cu:\d+ .*, 156 of 256 threads wait"),
        ("ABSENT_LANE", 32, "lane 6 reads lane 7"),
        ("PART_OF_A_WARP", 32, "12 of 32 threads wait for the block .* 20 of 32 threads wait for their warp"),
        ("OUTSIDE_MASK", 32, "a lane outside of its own mask"),
    ],
)
def test_divergence_is_an_error_and_the_next_launch_runs(kernel: str, n: int, message: str) -> None:
    x = np.arange(768, dtype=np.float32)
    bad = job(kernel, x, x, blocks=3, threads=32 if n == 32 else 256, n=n)
    for order in ORDERS[:2]:
        with pytest.raises(LaunchError, match=message if order == "forward" else kernel):
            samples().run(bad, order)
        test_barrier_orders_shared_memory("REVERSE_STATIC", order, "plain")


@pytest.mark.parametrize(
    ("grid", "block", "shared", "message"),
    [
        ((0, 1, 1), (1, 1, 1), 0, "empty"),
        ((1, 65536, 1), (1, 1, 1), 0, "grid"),
        ((1, 1, 1), (1, 1, 65), 0, "block"),
        ((1, 1, 1), (512, 3, 1), 0, "1024 threads"),
        ((1, 1, 1), (1, 1, 1), 228 << 10, "227 KiB"),
    ],
)
def test_launches_no_device_accepts(
    grid: tuple[int, int, int], block: tuple[int, int, int], shared: int, message: str
) -> None:
    x = np.zeros(1, np.float32)
    with pytest.raises(LaunchError, match=message):
        samples().run(Job("COPY", grid, block, {"source": x, "out": x}, bytes(16), shared))


def test_chosen_blocks_run_alone() -> None:
    """The grid is as wide as ever for them; a block outside of it is refused."""
    x = np.arange(1, 3 * 32 + 1, dtype=np.float32)
    launched = job("COPY", x, np.zeros_like(x), blocks=3, threads=32, n=96)
    chosen = samples().run(replace(launched, chosen=(2, 0)))
    np.testing.assert_array_equal(chosen, np.where(np.arange(96) // 32 == 1, 0, x))
    with pytest.raises(LaunchError, match="a chosen block outside of the grid"):
        samples().run(replace(launched, chosen=(3,)))


def test_parameters_of_another_size_are_refused() -> None:
    x = np.zeros(1, np.float32)
    with pytest.raises(ValueError, match="8 bytes, the kernel's have 16"):
        samples().run(Job("COPY", (1, 1, 1), (1, 1, 1), {"source": x, "out": x}, bytes(8)))


def test_relocations_and_offsets() -> None:
    """Pointers among the parameters; a source and an output that are walked backwards from their last elements."""
    rng = np.random.default_rng(2)
    x, table = rng.normal(size=32), rng.normal(size=40)
    x, table = x.astype(np.float32), table.astype(np.float32)
    launched = job(
        "TABLE",
        x,
        np.zeros_like(x),
        arrays={"weights": table},
        relocations=(Relocation(0, "weights", 4 * 8),),
        source_offset=4 * 31,
        out_offset=4 * 31,
    )
    np.testing.assert_array_equal(samples().run(launched), x * table[8:][::-1])
    replay_sanitized(samples(), [launched])


def test_a_view_is_no_buffer() -> None:
    x = np.zeros((4, 4), np.float32)
    with pytest.raises(ValueError, match=r"source: .* C-contiguous"):
        job("COPY", x.T, x)


@pytest.mark.parametrize("static", [0, 1])
def test_shared_memory_starts_as_nan_in_every_block(static: int) -> None:
    out = np.zeros(64, np.float32)
    for _ in range(2):
        assert np.isnan(samples().run(job("LEFTOVERS", out, out, blocks=2, shared=128, n=static))).all()


def test_arithmetic() -> None:
    third, seventh = np.float32(1 / 3), np.float32(1 / 7)
    inputs = np.array([1e30, third, np.nan, seventh, third * seventh])
    error = float(third) * float(third) - float(third * third)
    out = samples().run(job("ARITHMETIC", inputs, np.zeros(18), threads=1))
    top, bottom = 2**31 - 1, -(2**31)
    expected = [2, -3, top, bottom, 0, 0, 1, -1, 2**32 - 1, 3, 3, error, 0, 1, 0, 0x3F800000, 3, 3]
    np.testing.assert_array_equal(out, expected)


# ---------------------------------------------------------------------------------------------------------------------
# Half types


def converted(name: str, values: NDArray[Any], dtype: Any) -> NDArray[Any]:
    blocks = -(-values.size // 256)
    launched = job(name, values, np.zeros(values.shape, dtype), blocks=blocks, threads=256, n=values.size)
    return samples().run(launched)


def roundings(narrow: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every value that the type holds, every tie between two neighbours, and the floats next to each."""
    values = np.unique(narrow[np.isfinite(narrow)].astype(np.float64))
    ties = (values[1:] + values[:-1]) / 2
    beyond = np.array([values[-1] + (values[-1] - values[-2]) / 2, np.inf])  # the tie between the largest and infinity
    with np.errstate(over="ignore"):
        exact = np.concatenate([values, ties, beyond, -beyond]).astype(np.float32)
        inf = np.float32(np.inf)
        return np.concatenate(
            [exact, np.nextafter(exact, inf), np.nextafter(exact, -inf), np.array([0, -0.0], np.float32)]
        )


@pytest.mark.parametrize(("kind", "dtype"), [("half", np.float16), ("bfloat16", ml_dtypes.bfloat16)])
def test_half_types_agree_with_numpy_exhaustively(kind: str, dtype: Any) -> None:
    patterns = np.arange(65536, dtype=np.uint16)
    with np.errstate(invalid="ignore"):
        wide = patterns.view(dtype).astype(np.float32)
    got = converted(f"{kind} to float", patterns, np.float32)
    np.testing.assert_array_equal(got, wide)
    np.testing.assert_array_equal(np.signbit(got), patterns >= 0x8000)

    floats = roundings(wide)
    assert len(floats) > 6 * 63000
    with np.errstate(over="ignore"):
        expected = floats.astype(dtype).view(np.uint16)
    np.testing.assert_array_equal(converted(f"float to {kind}", floats, np.uint16), expected)
    nans = np.array([0x7F800001, 0x7FC00000, 0xFFFFFFFF, 0xFF800001], np.uint32).view(np.float32)
    assert set(converted(f"float to {kind}", nans, np.uint16)) == {0x7FFF}


# ---------------------------------------------------------------------------------------------------------------------
# Sanitizers


def test_sound_launches_pass_the_sanitizers() -> None:
    sound = [reverse("REVERSE_STATIC"), reverse("REVERSE_DYNAMIC"), copy("COPY_COLUMNS"), shared(0)]
    sound += [copy("COPY_VECTORS", blocks=8), shifted(0, writes=False), shifted(0, writes=True)]
    x = np.arange(72, dtype=np.int32)
    sound.append(job("WARPS", x, np.zeros((6, 72), np.int64), threads=72, n=72))
    for order in ORDERS[1:]:
        replay_sanitized(samples(), sound, order)


def shifted(shift: int, *, writes: bool) -> Job:
    """Copy 29 bytes, reading or writing `shift` bytes beside them."""
    x = np.arange(29, dtype=np.uint8)
    return job("SHIFTED_BYTES", x, np.zeros_like(x), threads=29, shift=shift, table=int(writes))


def shared(shift: int, *, static: bool = True) -> Job:
    x = np.arange(10, dtype=np.uint8)
    return job("SHARED_PAST_END", x, np.zeros_like(x), threads=10, shift=shift, n=int(static), shared=10)


def ints(kernel: str, value: int) -> Job:
    x = np.full(4, value, np.int32)
    return job(kernel, x, np.zeros_like(x), threads=4)


BAD: Mapping[str, tuple[Job, str]] = {
    "read before": (shifted(-1, writes=False), "use-after-poison.*READ of size 1"),
    "read behind": (shifted(1, writes=False), "use-after-poison.*READ of size 1"),
    "write before": (shifted(-1, writes=True), "use-after-poison.*WRITE of size 1"),
    "write behind": (shifted(1, writes=True), "use-after-poison.*WRITE of size 1"),
    "far behind": (shifted(500_000, writes=True), "use-after-poison.*WRITE of size 1"),
    "static shared behind": (shared(1), "global-buffer-overflow.*WRITE of size 1"),
    "dynamic shared behind": (shared(1, static=False), "heap-buffer-overflow.*WRITE of size 1"),
    "dynamic shared before": (shared(-1, static=False), "heap-buffer-overflow.*WRITE of size 1"),
    "write to source": (ints("WRITE_SOURCE", 1), "caused by a WRITE"),
    "signed overflow": (ints("OVERFLOW", 2**30), "signed integer overflow: 1073741824 . 2"),
    "misaligned vector": (copy("COPY_VECTORS", blocks=1, source_offset=4), "misaligned address.*requires 16"),
}


@pytest.mark.parametrize("name", BAD)
def test_sanitizers_report(name: str) -> None:
    bad, message = BAD[name]
    with pytest.raises(SanitizerError, match=rf"(?s)job 1, {bad.kernel}:.*{message}.*samples.cu:\d+"):
        replay_sanitized(samples(), [copy("COPY"), bad])


def test_other_bits_under_the_sanitizers_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    first = copy("COPY")
    monkeypatch.setattr(HostKernels, "run", lambda *_: np.zeros(4096, np.float32))
    with pytest.raises(SanitizerError, match="job 0, COPY: other bits"):
        replay_sanitized(samples(), [first])


# ---------------------------------------------------------------------------------------------------------------------
# Access log


def test_every_access_is_logged_and_nothing_else() -> None:
    """One read and one write a thread in global memory, one of each in shared memory, either side of the barrier."""
    log = samples("log").log(reverse("REVERSE_STATIC", blocks=2, n=512))
    assert len(log.accesses) == 4 * 512
    source, out, tile = log.of("source"), log.of("out"), log.of("tile")
    thread = source["block"].astype(int) * 256 + source["thread"]
    np.testing.assert_array_equal(source["address"] - log.arrays["source"].address, 4 * thread)
    assert not source["is_write"].any() and out["is_write"].all()
    assert set(source["interval"]) == {0} and set(out["interval"]) == {1}
    np.testing.assert_array_equal(tile["interval"], 1 - tile["is_write"])
    assert set(log.accesses["size"]) == {4} and set(log.accesses["occurrence"]) == {0}
    assert len(samples("log").log(reverse("REVERSE_DYNAMIC")).of("shared")) == 2 * 768


def test_a_thread_has_its_own_memory() -> None:
    x, out = np.arange(8, dtype=np.float32), np.zeros(32, np.float32)
    launched = job("LOCAL_ARRAY", x, out, shift=3, n=1)
    np.testing.assert_array_equal(samples().run(launched), np.tile(np.roll(x, 2), 4))
    log = samples("log").log(launched)
    assert len(log.accesses) == len(log.of("source")) + len(log.of("out")) == 32 * 9


def test_occurrences_count_the_executions_of_an_instruction() -> None:
    log = samples("log").log(copy("COPY", blocks=8))
    for accesses in (log.of("source"), log.of("out")):
        assert len(set(accesses["pc"])) == 1
        element = (accesses["address"] - accesses["address"].min()) // 4
        np.testing.assert_array_equal(accesses["occurrence"], element // (8 * 128))


@pytest.mark.parametrize("blocks", [32, 8])
def test_a_coalesced_copy(blocks: int) -> None:
    """32 lanes of 4 bytes are 4 sectors of 32, in each turn of the loop over the grid."""
    table = sectors(samples("log").log(copy("COPY", blocks=blocks)))
    assert set(table) == {("source", "read"), ("out", "write")}
    for traffic in table.values():
        assert traffic == (4096, 16384, 512, 512, 128, 512)
        assert traffic.sectors_per_request == 4


def test_a_copy_that_is_not_coalesced() -> None:
    """Every lane fetches a sector for 4 bytes of it; eight blocks fetch each sector."""
    table = sectors(samples("log").log(copy("COPY_COLUMNS")))
    assert table["source", "read"] == (4096, 16384, 512, 4096, 128, 4096)
    assert table["source", "read"].sectors_per_request == 32
    assert table["out", "write"] == (4096, 16384, 512, 512, 128, 512)


def test_a_copy_across_sector_boundaries() -> None:
    """Four bytes off, a request of 128 bytes touches a fifth sector, a block of 512 bytes a 17th."""
    x, out = np.zeros(4097, np.float32), np.zeros(4096, np.float32)
    table = sectors(samples("log").log(job("COPY", x, out, blocks=32, threads=128, n=4096, source_offset=4)))
    assert table["source", "read"] == (4096, 16384, 513, 32 * 17, 128, 128 * 5)


@pytest.mark.parametrize("struct_of_four", [False, True])
def test_a_vector_is_one_access(struct_of_four: bool) -> None:
    launched = copy("COPY_VECTORS", blocks=8, shift=int(struct_of_four))
    np.testing.assert_array_equal(samples().run(launched), 2 * launched.arrays["source"])
    log = samples("log").log(launched)
    assert set(log.accesses["size"]) == {16}
    for traffic in sectors(log).values():
        assert traffic == (1024, 16384, 512, 512, 32, 512)
        assert traffic.sectors_per_request == 16


@pytest.mark.parametrize("order", ORDERS)
def test_a_missing_barrier_is_a_race_in_any_order(order: Order) -> None:
    found = races(samples("log").log(reverse("REVERSE_RACING", blocks=1, n=256), order), limit=2000)
    assert len(found) == 1024
    first = found[0]
    assert (first.buffer, first.interval, first.threads, first.writers) == (
        "tile",
        0,
        ((0, 0), (0, 255)),
        ((0, 0),),
    )


@pytest.mark.parametrize("kernel", ["REVERSE_STATIC", "REVERSE_DYNAMIC"])
def test_a_barrier_removes_the_race(kernel: str) -> None:
    assert races(samples("log").log(reverse(kernel))) == []


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("fault", "intervals"), [(0, ()), (1, (0,)), (2, (1,)), (3, (2,))])
def test_a_copy_on_its_way_races_from_its_start_to_its_end(
    fault: int, intervals: tuple[int, ...], order: Order
) -> None:
    """Another thread reads its place before, writes to it meanwhile, or reads it without a barrier behind."""
    x = np.arange(128, dtype=np.float32)
    launched = job("COPIED_AHEAD", x, np.zeros_like(x), blocks=2, threads=64, shift=fault)
    found = races(samples("log").log(launched, order), limit=1000)
    assert {(race.buffer, race.interval) for race in found} == {("tile", interval) for interval in intervals}
    assert len(found) == 2 * 256 * len(intervals)
    if fault in (0, 2):  # what is written meanwhile is lost, in every order: only the log shows it
        np.testing.assert_array_equal(samples().run(launched, order), x.reshape(2, 64)[:, ::-1].ravel())


def test_a_race_in_global_memory() -> None:
    out = np.zeros(1, np.int32)
    found = races(samples("log").log(job("LAST_WRITER", out, out, blocks=2, threads=3)))
    everyone = tuple((block, thread) for block in range(2) for thread in range(3))
    assert [race[:2] for race in found] == [("out", byte) for byte in range(4)]
    assert all(race[2:] == (everyone, everyone, None) for race in found)
    assert races(samples("log").log(copy("COPY_COLUMNS"))) == []


def test_only_the_log_flavour_logs() -> None:
    with pytest.raises(ValueError, match="log"):
        samples().log(copy("COPY"))


# ---------------------------------------------------------------------------------------------------------------------
# Building


def test_compile_errors_carry_the_compiler_message(tmp_path: Path) -> None:
    bad = text(CS_SAMPLE="COPY") + "void f() { undeclared(); }\n"
    with pytest.raises(CompileError, match=r"samples.cu:\d+:\d+: error: .undeclared. was not declared"):
        build({"bad": bad}, directory=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_warnings_are_errors(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match="unused variable"):
        build({"bad": text(CS_SAMPLE="COPY") + "void f() { int unused; }\n"}, directory=tmp_path)


def test_an_instance_names_its_entry() -> None:
    with pytest.raises(ValueError, match="copy: expected one line '#define CS_ENTRY …', found 0"):
        build({"copy": SAMPLES})


def test_the_cache(tmp_path: Path) -> None:
    texts = {"copy": text(CS_SAMPLE="COPY")}
    first = build(texts, directory=tmp_path).path
    written = first.stat().st_ino
    assert build(texts, directory=tmp_path).path.stat().st_ino == written
    assert build({"copy": texts["copy"] + "\n"}, directory=tmp_path).path != first


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kernels = build({"copy": text(CS_SAMPLE="COPY")}, directory=tmp_path / "file" / "folder")
    launched = copy("copy")
    np.testing.assert_array_equal(kernels.run(launched), launched.arrays["source"])
