"""The machine code of an instance, from NVRTC and nvdisasm: no device, no driver.

What is counted here is counted along paths of the control flow: the shortest through an instruction that must be
passed, an inner loop left out, or the longest where every branch's work is done.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

from cupysample import _kernels
from cupysample._kernels import Defines

_INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(?:(@!?U?P\w+)\s+)?(.*?)\s*;")
_LABEL = re.compile(r"^(\.L_x_\d+):")
_TARGET = re.compile(r"`\((\.L_x_\d+)\)")


def headers() -> Path:
    """CUDA's headers, from the wheel that the extra installs."""
    spec = importlib.util.find_spec("nvidia.cuda_runtime")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("CUDA's headers are missing: pip install nvidia-cuda-runtime-cu12")
    return Path(spec.submodule_search_locations[0]) / "include"


def compiled(text: str, architecture: str) -> tuple[bytes, str]:
    """The cubin, and what ptxas says, with the options of CuPy's RawModule and ours; RuntimeError with the log."""
    from cupy.cuda import nvrtc

    with _program(text, architecture, "--ptxas-options=-v") as program:
        return nvrtc.getCUBIN(program) + b"\0", str(nvrtc.getProgramLog(program))  # CuPy takes the last byte for a NUL


def ptx(text: str, architecture: str) -> str:
    """What ptxas gets, of an architecture by the name of compute_90."""
    from cupy.cuda import nvrtc

    with _program(text, architecture) as program:
        code: bytes = nvrtc.getPTX(program)
        return code.rstrip(b"\0").decode()


@contextmanager
def _program(text: str, architecture: str, *options: str) -> Iterator[int]:
    from cupy.cuda import nvrtc

    program = nvrtc.createProgram(text, "instance.cu", (), ())
    try:
        given = (*_kernels.OPTIONS, f"-arch={architecture}", f"-I{headers()}", "-ftz=true", *options)
        nvrtc.compileProgram(program, given)
        yield program
    except nvrtc.NVRTCError as error:
        raise RuntimeError(nvrtc.getProgramLog(program)) from error
    finally:
        nvrtc.destroyProgram(program)


def nvdisasm() -> str:
    """The disassembler: on the path, or of the wheel nvidia-cuda-nvdisasm."""
    found = shutil.which("nvdisasm")
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        found = found or next(map(str, Path(folder).glob("*/bin/nvdisasm")), None)
    if not found:
        raise RuntimeError("nvdisasm is missing: pip install nvidia-cuda-nvdisasm")
    return found


class Instruction(NamedTuple):
    """``target``: the address that a branch goes to."""

    address: int
    predicated: bool
    text: str
    target: int | None

    @property
    def stores(self) -> int:
        """Bytes that a store to global memory writes; 0 for anything else."""
        return self._bytes("STG.E")

    @property
    def loads(self) -> int:
        """The same of a load, also of one that goes straight to shared memory."""
        return self._bytes("LDG.E", "LDGSTS.E")

    def _bytes(self, *names: str) -> int:
        if not self.text.startswith(names):
            return 0
        parts = self.text.split()[0].split(".")
        return next(
            (n for part, n in {"128": 16, "64": 8, "U16": 2, "U8": 1, "S16": 2, "S8": 1}.items() if part in parts), 4
        )


class Loop(NamedTuple):
    """From its head to the branch back, both numbers of instructions."""

    head: int
    latch: int

    def holds(self, other: Loop) -> bool:
        """Whether the other lies inside."""
        return self != other and self.head <= other.head and other.latch <= self.latch


class Sass:
    """The instructions of a kernel, its loops, and the paths through them."""

    def __init__(self, listing: str, log: str) -> None:
        self.registers = int(re.search(r"Used (\d+) registers", log)[1])  # type: ignore[index]
        self.shared = int((re.search(r"(\d+) bytes smem", log) or [0, 0])[1])
        self.local = int(re.search(r"(\d+) bytes stack frame", log)[1])  # type: ignore[index]
        self.instructions = list(_parsed(listing))
        self._at = {each.address: n for n, each in enumerate(self.instructions)}

    @cached_property
    def loops(self) -> list[Loop]:
        """Branches back, but for the trap behind the end; the innermost first."""
        found = [
            Loop(self._at[each.target], n)
            for n, each in enumerate(self.instructions)
            if each.target is not None and self._at[each.target] < n
        ]
        return sorted(found, key=lambda loop: loop.latch - loop.head)

    @cached_property
    def innermost_loops(self) -> list[Loop]:
        """Those that hold no other."""
        return [loop for loop in self.loops if not any(loop.holds(other) for other in self.loops)]

    def innermost(self, wanted: Callable[[Instruction], bool]) -> Loop | None:
        """The smallest loop with such an instruction."""
        return next((loop for loop in self.loops if self._has(loop, wanted)), None)

    def inside(self, outer: Loop, wanted: Callable[[Instruction], bool]) -> list[Loop]:
        """Those with such an instruction that lie inside another, the smallest first."""
        return [loop for loop in self.loops if outer.holds(loop) and self._has(loop, wanted)]

    def _has(self, loop: Loop, wanted: Callable[[Instruction], bool]) -> bool:
        return any(map(wanted, self.instructions[loop.head : loop.latch + 1]))

    def shortest(self, first: int, last: int, through: Callable[[Instruction], bool] | None = None) -> int:
        """Instructions on the shortest way, both ends included, that passes one of those; 0 if there is none."""
        return self._path(first, last, through, min)

    def longest(self, first: int, last: int, through: Callable[[Instruction], bool] | None = None) -> int:
        """The same of the longest way that repeats nothing."""
        return self._path(first, last, through, max)

    def _path(
        self, first: int, last: int, through: Callable[[Instruction], bool] | None, choose: Callable[..., int]
    ) -> int:
        lengths: list[tuple[int | None, int | None]] = [(None, None)] * (
            last + 1
        )  # (before, after) the one to be passed
        for n in range(last, first - 1, -1):
            each = self.instructions[n]
            ends: tuple[int | None, int | None] = (None, 0) if n == last else (None, None)
            following = [] if n == last else [m for m in self._following(n) if n < m <= last]
            options: list[list[int]] = [[], []]
            for state in (0, 1):
                options[state] = [length for m in following if (length := lengths[m][state]) is not None]
            after = ends[1] if n == last else (choose(options[1]) if options[1] else None)
            before = choose(options[0]) if options[0] else None
            if through is None or through(each):
                before = (
                    after
                    if before is None or through is None
                    else choose(before, after if after is not None else before)
                )
            lengths[n] = (None if before is None else before + 1, None if after is None else after + 1)
        return lengths[first][0] or 0

    def _following(self, n: int) -> Iterator[int]:
        each = self.instructions[n]
        if each.target is not None:
            yield self._at[each.target]
        ends = each.target is not None or each.text.startswith(("EXIT", "RET"))
        if each.predicated or not ends:
            yield n + 1


def _parsed(listing: str) -> Iterator[Instruction]:
    lines = listing.splitlines()
    labels, pending = {}, []
    for line in lines:
        if label := _LABEL.match(line):
            pending.append(label[1])
        elif found := _INSTRUCTION.match(line):
            labels.update(dict.fromkeys(pending, int(found[1], 16)))
            pending = []
    for line in lines:
        if found := _INSTRUCTION.match(line):
            text = found[3]
            target = _TARGET.search(text) if text.startswith("BRA") else None
            conditional = bool(found[2]) or bool(re.match(r"BRA(\.\S+)?\s+!?U?P\w+,", text))
            yield Instruction(int(found[1], 16), conditional, text, labels[target[1]] if target else None)


@cache
def sass(kernel: str, defines: Defines, architecture: str = "sm_90") -> Sass:
    """Compile and disassemble an instance."""
    cubin, log = compiled(_kernels.source(kernel, defines), architecture)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run([nvdisasm(), "-c", file.name], capture_output=True, text=True, check=True)
    return Sass(done.stdout, log)
