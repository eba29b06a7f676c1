"""What each kernel moves, counted from every memory access of its run on the CPU: ``python -m tests.traffic``.

Sectors are 32 bytes. *Minimum*: the sectors of the source and the output, each once. *Blocks*: sectors distinct within
a block, summed over blocks: what must come from L2 if a block's own sectors stay in L1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests import cases, launches
from tests.host.harness import HostKernels, Job, build, sectors

SECTOR = 32
BEGIN, END = "<!-- traffic -->", "<!-- /traffic -->"

STRIDED = """
#define CS_ENTRY strided
struct Geometry { long long rows, columns; };
// Neighbouring threads read a column: one sector for each element.
extern "C" __global__ void CS_ENTRY(const float* source, float* out, const __grid_constant__ Geometry g) {
    const long long t = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (t < g.rows * g.columns) out[t] = source[t % g.rows * g.columns + t / g.rows];
}
"""
"""A deliberately bad kernel, which the count must expose: it transposes without shared memory."""


@dataclass(frozen=True)
class Workload:
    """A call whose launch is counted, or that of its gradient."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    layout: str
    arguments: Mapping[str, Any]
    gradient: bool = False

    def job(self) -> Job:
        """Pack the launch that this is the part of a large one of; a gradient's reads an array laid out as the output is."""
        with pytest.MonkeyPatch.context() as patch:
            # However small: runs of rows as if it filled a device.
            launches.tune(patch, RESIDENT_THREADS=1, FILLING_BLOCKS=1, MULTIPROCESSORS=1, ALONE=0)
            launches.tune_resident(patch, 128)
            return self._job()

    def _job(self) -> Job:
        x = cases.lay_out(cases.values(np.random.default_rng(0), self.shape, self.dtype), self.layout)
        if not self.gradient:
            return launches.job(x, **self.arguments)[0]
        plan, out = launches.plan_and_output(x, **self.arguments)
        gradient = cases.lay_out(cases.values(np.random.default_rng(0), out.shape, self.dtype), self.layout)
        return launches.pack(plan.transposed(self.dtype), gradient, x * 0)


_2X: dict[str, Any] = {"scale_factor": 2}
_HALF: dict[str, Any] = {"scale_factor": 0.5, "antialias": True}
_QUARTER: dict[str, Any] = {"scale_factor": 0.25, "antialias": True}
_EIGHTH: dict[str, Any] = {"scale_factor": 0.125, "antialias": True}

WORKLOADS = (
    Workload("nearest 2x", "float32", (1, 1, 64, 128), "contiguous", _2X),
    Workload("nearest 2x", "float16", (1, 1, 64, 128), "contiguous", _2X),
    Workload("nearest 2x", "float16", (1, 32, 16, 32), "channels_last", _2X),
    Workload("nearest 2x", "float16", (1, 1, 16, 32, 128), "contiguous", _2X),
    Workload("bilinear 2x", "float32", (1, 1, 64, 128), "contiguous", {**_2X, "mode": "bilinear"}),
    Workload("bilinear 2x", "float16", (1, 1, 64, 128), "contiguous", {**_2X, "mode": "bilinear"}),
    Workload("bilinear 2x", "float16", (1, 32, 16, 32), "channels_last", {**_2X, "mode": "bilinear"}),
    Workload("bilinear 2x", "uint8", (1, 3, 32, 128), "channels_last", {**_2X, "mode": "bilinear"}),
    Workload("bicubic 2x", "float32", (1, 1, 64, 128), "contiguous", {**_2X, "mode": "bicubic"}),
    Workload("trilinear 2x", "float16", (1, 1, 16, 16, 64), "contiguous", {**_2X, "mode": "trilinear"}),
    Workload("linear 2x", "float32", (4, 8, 512), "contiguous", {**_2X, "mode": "linear"}),
    Workload("area 1/2", "uint8", (1, 3, 64, 128), "contiguous", {"scale_factor": 0.5, "mode": "area"}),
    Workload("area 1/2", "float32", (1, 1, 128, 256), "contiguous", {"scale_factor": 0.5, "mode": "area"}),
    Workload("bilinear antialias 1/2", "uint8", (1, 3, 128, 256), "channels_last", {**_HALF, "mode": "bilinear"}),
    Workload("bicubic antialias 1/2", "float16", (1, 1, 128, 256), "contiguous", {**_HALF, "mode": "bicubic"}),
    Workload("bilinear antialias 1/2", "float32", (1, 1, 128, 256), "contiguous", {**_HALF, "mode": "bilinear"}),
    Workload("lanczos 1/2", "float32", (1, 1, 64, 1920), "contiguous", {**_HALF, "mode": "lanczos"}),
    Workload("lanczos 1/2", "float16", (1, 32, 64, 64), "channels_last", {**_HALF, "mode": "lanczos"}),
    Workload("bicubic antialias 1/4", "float16", (1, 1, 128, 1920), "contiguous", {**_QUARTER, "mode": "bicubic"}),
    Workload("bicubic antialias 1/4", "uint8", (1, 3, 128, 1024), "contiguous", {**_QUARTER, "mode": "bicubic"}),
    Workload("bicubic antialias 1/4", "uint8", (1, 3, 128, 640), "channels_last", {**_QUARTER, "mode": "bicubic"}),
    Workload("bicubic antialias 1/4", "int16", (1, 1, 128, 1024), "contiguous", {**_QUARTER, "mode": "bicubic"}),
    Workload("trilinear antialias 1/8", "float32", (1, 1, 64, 32, 256), "contiguous", {**_EIGHTH, "mode": "trilinear"}),
    Workload("nearest 2x", "float16", (1, 32, 16, 32), "channels_last", _2X, gradient=True),
    Workload("bilinear 2x", "float32", (1, 1, 64, 128), "contiguous", {**_2X, "mode": "bilinear"}, gradient=True),
    Workload("bicubic 2x", "float32", (1, 1, 64, 128), "contiguous", {**_2X, "mode": "bicubic"}, gradient=True),
    Workload("trilinear 2x", "float16", (1, 1, 16, 16, 32), "contiguous", {**_2X, "mode": "trilinear"}, gradient=True),
    Workload("trilinear 2x", "float16", (1, 1, 16, 32, 256), "contiguous", {**_2X, "mode": "trilinear"}, gradient=True),
    Workload(
        "bicubic antialias 1/2", "float32", (1, 1, 64, 128), "contiguous", {**_HALF, "mode": "bicubic"}, gradient=True
    ),
)


@dataclass(frozen=True)
class Row:
    """Sectors a launch moves; ``tables`` are those of the axes."""

    name: str
    minimum: int
    blocks: int
    tables: int
    sectors_per_request: float

    @property
    def ratio(self) -> float:
        """Sectors of source and output over the minimum."""
        return self.blocks / self.minimum


def count(kernels: HostKernels, job: Job, name: str) -> Row:
    """Count one launch."""
    traffic = sectors(kernels.log(job))
    source, out = traffic["source", "read"], traffic["out", "write"]
    tables = sum(t.block_sectors for (buffer, _), t in traffic.items() if buffer not in ("source", "out"))
    return Row(
        name,
        sum(-(-job.arrays[buffer].nbytes // SECTOR) for buffer in ("source", "out")),
        source.block_sectors + out.block_sectors,
        tables,
        (source.request_sectors + out.request_sectors) / (source.requests + out.requests),
    )


def rows() -> list[Row]:
    """Count every workload, and the bad kernel."""
    jobs = []
    for workload in WORKLOADS:
        layout = "NHWC" if workload.layout == "channels_last" else "NCHW"
        size = "x".join(map(str, workload.shape))
        name = f"gradient of {workload.name}" if workload.gradient else workload.name
        jobs.append((f"{name}, {workload.dtype} {layout} {size}", workload.job()))
    wanted = {job.kernel for _, job in jobs}
    kernels = launches.build_all("log", wanted.__contains__)
    counted = [count(kernels, job, name) for name, job in jobs]
    return [*counted, bad()]


def bad() -> Row:
    """The deliberately bad kernel on 128x128."""
    n = 128
    values = np.arange(n * n, dtype=np.float32)
    parameters = np.array([n, n], np.int64).tobytes()
    job = Job("strided", (n * n // 256, 1, 1), (256, 1, 1), {"source": values, "out": values * 0}, parameters)
    return count(build({"strided": STRIDED}, "log"), job, "*bad on purpose:* transpose, float32 128x128")


def table(counted: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| workload | minimum | blocks | ratio | tables | sectors per request |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {r.name} | {r.minimum} | {r.blocks} | {r.ratio:.2f} | {r.tables} | {r.sectors_per_request:.2f} |"
        for r in counted
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(rows()))
