"""NVRTC compiles every instance that a launch can ask for; needs neither a device nor a driver."""

from __future__ import annotations

import re

import pytest

from bench.sass import compiled
from cupysample import _kernels, _launch
from cupysample._kernels import Defines

pytestmark = pytest.mark.nvrtc

ARCHITECTURES = ("sm_75", "sm_90", "sm_120")
ALL_ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")

INSTANCES = _launch.instances()

LONGEST, LONGEST_COMPUTED = 30 << 10, 40 << 10
"""Bytes of machine code for sm_90, and what is beside it; of instances whose threads compute rows."""


def architectures(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Three generations by default."""
    return ALL_ARCHITECTURES if request.config.getoption("--exhaustive") else ARCHITECTURES


@pytest.mark.parametrize(
    ("kernel", "defines"), INSTANCES, ids=lambda v: v if isinstance(v, str) else "-".join(d for _, d in v)
)
def test_compiles_without_local_memory(kernel: str, defines: Defines, request: pytest.FixtureRequest) -> None:
    """No register spills, no arrays in local memory, no warning; and no more code than a first call may wait for."""
    text = _kernels.source(kernel, defines)
    for architecture in architectures(request):
        code, log = compiled(text, architecture)
        if architecture == "sm_90":
            assert len(code) <= (LONGEST if ("CS_COMPUTED", "0") in defines else LONGEST_COMPUTED)
        assert "warning" not in log, log
        used = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", log)
        assert used, log
        assert max(map(int, used.groups())) == 0, f"{architecture}: {used[0]}"


def test_errors_name_the_file_and_line() -> None:
    """The inlined text keeps the places of its files, so a compile error points into them."""
    kernel, defines = INSTANCES[0]
    text = _kernels.source(kernel, defines)
    broken = text.replace("const Position p(g, t);", "const Position p(g, nonsense);")
    line = (_kernels.folder() / "nearest.cu").read_text().splitlines().index("        const Position p(g, t);") + 1
    with pytest.raises(RuntimeError, match=rf"kernels/nearest\.cu\({line}\): error: .*nonsense"):
        compiled(broken, "sm_90")
    header = text.replace("Index total = Index(outer[0].extent)", "Index total = nonsense(outer[0].extent)")
    with pytest.raises(RuntimeError, match=r"kernels/geometry\.cuh\(\d+\): error: .*nonsense"):
        compiled(header, "sm_90")


def test_a_spill_would_be_seen() -> None:
    """The check itself: an array indexed at run time lives in local memory."""
    text = """
    extern "C" __global__ void f(const int* x, int* y) {
        int a[64];
        for (int i = 0; i < 64; ++i) a[i] = i;
        for (int i = 0; i < 64; ++i) a[x[i] & 63] += a[x[i + 64] & 63];
        y[0] = a[x[128] & 63];
    }"""
    assert re.search(r"[1-9]\d* bytes stack frame", compiled(text, "sm_90")[1])


def test_text_is_self_contained() -> None:
    """Nothing but CUDA's own headers is left to include: CuPy's disk cache sees only the text."""
    for kernel, defines in INSTANCES:
        includes = re.findall(r"^\s*#\s*include\s*(.*)$", _kernels.source(kernel, defines), re.MULTILINE)
        assert set(includes) <= {"<cuda_fp16.h>", "<cuda_bf16.h>"}
