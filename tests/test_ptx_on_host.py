"""What NVRTC makes of the kernels, run on the CPU: the bits are those of the text that it was made from.

Every kernel with each value of each of its defines; with ``--exhaustive`` every instance. What ptxas makes of it then, only a
device can show.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest

from bench.sass import ptx
from cupysample import _kernels, _launch
from cupysample._kernels import Defines
from tests import launches, test_band, test_few_taps, test_sanitized
from tests.host.harness import Job, SanitizerError, build, replay_sanitized
from tests.host.ptx import PTXError, as_text

pytestmark = [pytest.mark.host, pytest.mark.nvrtc]

ARCHITECTURES = ("compute_75", "compute_90")
"""Without copies that are on their way while a thread computes, and with them."""


def covering() -> list[tuple[str, Defines]]:
    """Instances that have, together, each value of each define of each kernel: the next is one that has most of what is left."""
    values = {(kernel, defines): {(kernel, *define) for define in defines} for kernel, defines in _launch.instances()}
    left = set().union(*values.values())
    found = []
    while left:
        found.append(max(values, key=lambda each: len(values[each] & left)))
        left -= values[found[-1]]
    return found


@cache
def jobs() -> list[Job]:
    """Launches of every instance: few blocks, small arrays."""
    with pytest.MonkeyPatch.context() as patch:
        general = test_sanitized.general_jobs(patch)
    return [*general.values(), *test_few_taps.jobs(), *test_band.sanitized()]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_bits_are_those_of_the_text(architecture: str, request: pytest.FixtureRequest) -> None:
    """In any order of threads; the sanitizers see no misaligned access, and none outside of an array.

    And nothing is left for ptxas to fuse, whose bits would depend on where it does.
    """
    instances = _launch.instances() if request.config.getoption("--exhaustive") else covering()
    code = {launches.name(*each): ptx(_kernels.source(*each), architecture) for each in instances}
    assert not {name: found for name, each in code.items() if (found := contractible(each))}
    made, text = build({name: as_text(each) for name, each in code.items()}), launches.build_all()
    wanted = [job for job in jobs() if job.kernel in code]
    assert {job.kernel for job in wanted} == set(code)
    for n, job in enumerate(wanted):
        expected = text.run(job).tobytes()
        assert made.run(job).tobytes() == expected, job.kernel
        assert made.run(job, ("reversed", n)[n % 2]).tobytes() == expected, job.kernel
    replay_sanitized(made, wanted)


def contractible(code: str) -> list[str]:
    """Sums of products, neither of which names its rounding."""
    return [found for function in re.split(r"^}", code, flags=re.MULTILINE) for found in _sums_of_products(function)]


def _sums_of_products(function: str) -> list[str]:
    products = set(re.findall(r"\bmul(?:\.ftz)?\.f(?:32|64)\s+(%\w+),", function))
    moves = re.findall(r"\b(?:mov|selp|neg(?:\.ftz)?)\.f(?:32|64)\s+(%\w+), ([^;]*);", function)
    before = -1
    while before < len(products):
        before = len(products)
        products |= {to for to, sources in moves if products & set(sources.split(", "))}
    sums = re.findall(r"\b((?:add|sub)(?:\.ftz)?\.f(?:32|64)\s+(%\w+), ([^;]*));", function)
    return [text for text, _, operands in sums if products & set(operands.split(", "))]


COPY = """
.version 8.0
.target sm_75
.address_size 64
.visible .entry cupysample_entry(
    .param .u64 source, .param .u64 out, .param .align 8 .b8 parameters[8])
{
    .reg .pred %p<2>;
    .reg .b32 %r<9>;
    .reg .b16 %rs<4>;
    .reg .f32 %f<4>;
    .reg .b64 %rd<9>;
    ld.param.u64 %rd1, [source];
    ld.param.u64 %rd2, [out];
    ld.param.u32 %r1, [parameters+4];
    mov.u32 %r2, %tid.x;
    setp.ge.u32 %p1, %r2, %r1;
    @%p1 bra $L__BB0_2;
    mul.wide.u32 %rd3, %r2, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    ld.global.u32 %r3, [%rd4];
    mov.b32 %f1, %r3;
    STATEMENTS
    st.global.u32 [%rd5], %r4;
$L__BB0_2:
    ret;
}
"""
"""Of words, one a thread, as many as the parameters say."""


def copying(name: str, words: list[int]) -> Job:
    """A launch of it, of a thread more than there are words."""
    x = np.array(words, np.uint32)
    parameters = np.array([0, len(words)], np.uint32).tobytes()
    return Job(name, (1, 1, 1), (len(words) + 1, 1, 1), {"source": x, "out": np.zeros_like(x)}, parameters)


SNIPPETS = [
    ("mov.b32 %r4, %r3;", [1, 0xFFFFFFFF], [1, 0xFFFFFFFF]),
    ("shr.s32 %r4, %r3, 40;", [0x80000000, 5], [0xFFFFFFFF, 0]),
    ("shl.b32 %r4, %r3, 32;", [7], [0]),
    ("mul.hi.s32 %r4, %r3, -2;", [0x80000000, 1], [1, 0xFFFFFFFF]),
    ("mad.lo.s32 %r4, %r3, %r3, 1;", [0x10001], [0x20002]),
    ("prmt.b32 %r4, %r3, 305419896, 31553;", [0x8091A2B3], [0x12FF78A2]),
    ("bfi.b32 %r4, 1023, %r3, 4, 8;", [0, 0xFFFFF00F], [0xFF0, 0xFFFFFFFF]),
    ("dp2a.hi.s32.u32 %r4, %r3, -16777216, 10;", [0xFFFF0002], [10 - 255]),
    ("dp2a.lo.s32.u32 %r4, %r3, 259, 10;", [0xFFFF0002], [10 + 2 * 3 - 1]),
    ("cvt.pack.sat.u8.s32.b32 %r4, %r3, 300, 43981;", [0xFFFFFFFF, 7], [0xABCD00FF, 0xABCD07FF]),
    ("mov.b32 {%rs1, %rs2}, %r3;\nmov.b32 %r4, {%rs2, %rs1};", [0x12345678], [0x56781234]),
    ("cvt.s32.s8 %r4, %r3;", [0x180, 0x7F], [0xFFFFFF80, 0x7F]),
    ("mul.rn.ftz.f32 %f2, %f1, 0f3F000000;\nmov.b32 %r4, %f2;", [0x00800000, 0xBF800000], [0, 0xBF000000]),
    ("fma.rn.f32 %f2, %f1, %f1, 0fBF800000;\nmov.b32 %r4, %f2;", [0x3F800801], [0x3A001401]),
    ("cvt.rni.s32.f32 %r4, %f1;", [0x40200000, 0x7FC00000, 0x7F800000], [2, 0, 0x7FFFFFFF]),
    ("min.f32 %f2, %f1, 0f00000000;\nmov.b32 %r4, %f2;", [0x7FC00000, 0xBF800000], [0, 0xBF800000]),
    ("add.f32 %f2, %f1, %f1;\nmov.b32 %r4, %f2;", [0xFFC00001, 0x3F800000], [0x7FFFFFFF, 0x40000000]),
    ("setp.neu.f32 %p1, %f1, %f1;\nselp.b32 %r4, 1, 2, %p1;", [0x7FC00000, 0], [1, 2]),
    ("setp.ne.f32 %p1, %f1, %f1;\nselp.b32 %r4, 1, 2, %p1;", [0x7FC00000, 0], [2, 2]),
    ("{ .reg .b16 h; }\ncvt.rn.f16.f32 %rs1, %f1;\ncvt.u32.u16 %r4, %rs1;", [0x477FF000, 0x3F800000], [0x7C00, 0x3C00]),
]
"""Statements that make %r4 of a word, which %r3 and %f1 hold; words, and what becomes of them."""


def test_instructions() -> None:
    """What differs between PTX and C++."""
    texts = {f"snippet {n}": as_text(COPY.replace("STATEMENTS", each)) for n, (each, _, _) in enumerate(SNIPPETS)}
    made = build(texts)
    for name, (statements, words, expected) in zip(texts, SNIPPETS, strict=True):
        assert made.run(copying(name, words)).tolist() == [word % 2**32 for word in expected], statements


def test_any_kernel_by_its_name() -> None:
    """With the addresses of its parameters, as a driver takes them; beside another kernel."""
    copy = COPY.replace("STATEMENTS", "popc.b32 %r4, %r3;")
    other = COPY.replace("cupysample_entry", "other").replace("STATEMENTS", "mov.u32 %r4, 0;")
    made = build({"copy": as_text(copy + other, "cupysample_entry")})
    x, out, parameters = np.array([7, 0xFFFFFFFF], np.uint32), np.zeros(2, np.uint32), np.array([0, 2], np.uint32)
    pointers = np.array([x.ctypes.data, out.ctypes.data], np.uint64)
    addresses = np.array([*(pointers.ctypes.data + 8 * n for n in range(2)), parameters.ctypes.data], np.uint64)
    made.launch(Job("copy", (1, 1, 1), (3, 1, 1), {}, b"\0"), {"source": addresses.ctypes.data, "out": 0})
    assert out.tolist() == [3, 32]


@pytest.mark.parametrize(
    "statement", ["sqrt.rn.f32 %f1, %f2;", "atom.global.add.u32 %r4, [%rd1], 1;", "bar.warp.sync -1;"]
)
def test_an_unknown_instruction_is_an_error(statement: str) -> None:
    with pytest.raises(PTXError):
        as_text(COPY.replace("STATEMENTS", statement))


def test_what_the_sanitizers_would_see() -> None:
    """Words at half of their alignment, and behind the end of shared memory."""
    shared = ".shared .align 4 .b8 some[8];"
    for statements, said in (
        ("ld.global.u32 %r4, [%rd1+2];", "misaligned address"),
        (f"{shared}\nmov.u32 %r5, some;\nst.shared.u32 [%r5+4], %r3;\nld.shared.u32 %r4, [some+4];", None),
        (
            f"{shared}\nmov.u32 %r5, some;\nst.shared.u32 [%r5+8], %r3;\nmov.u32 %r4, 0;",
            "insufficient space for an object",
        ),
    ):
        job = copying("copy", [0, 1])
        made = build({"copy": as_text(COPY.replace("STATEMENTS", statements))})
        if said is None:
            replay_sanitized(made, [job])
        else:
            with pytest.raises(SanitizerError, match=said):
                replay_sanitized(made, [job])


def test_what_is_left_to_contract_would_be_seen() -> None:
    product, total = "mul.ftz.f32 %f3, %f1, %f2;", "add.ftz.f32 %f4, %f0, %f3;"
    assert contractible(f"{product} {total}") == [total[:-1]]
    assert contractible(f"{product} mov.f32 %f5, %f3; {total.replace('%f3', '%f5')}")
    assert not contractible(f"{product.replace('mul', 'mul.rn')} {total}")
    assert not contractible(f"{product} }}\n}}\n{total}")
    assert not contractible(f"{product} {total.replace('add', 'add.rn')}")
