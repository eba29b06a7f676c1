"""A device that works, slowly: ``FOLDER/python -m pytest -m gpu -p bench.stub.device …``; FOLDER is ``build.py``'s.

CuPy is real, and so are its calls to the driver; memory is the host's, and kernels run on the CPU before their launch returns:
those of this project from their text, CuPy's own from their PTX. It shows that the tests of a GPU, and what they call, do what
they should; not streams, captures or time.
"""

from __future__ import annotations

import ctypes
import os
import traceback
from functools import cache
from typing import Any

os.environ |= {
    "CUPY_STUB_DEVICE": "1",
    "CUPY_COMPILE_WITH_PTX": "1",
    "CUPY_ACCELERATORS": "",  # CUB's kernels exchange values within a warp
    "CUPY_CACHE_DIR": os.environ["CUPY_CACHE_DIR"] + "-ptx",
}

from cupysample import _kernels
from cupysample._kernels import Defines
from tests import launches
from tests.host.harness import HostKernels, Job, build
from tests.host.ptx import as_text

compiling: list[str] = []
"""Names of our instances that are being compiled: one, or none."""
modules: dict[int, tuple[bool, str]] = {}
"""Whether a module is ours; then the name of its instance, else its PTX."""
functions: list[tuple[bool, str, str]] = []
"""Their modules, and their names."""
LAUNCH_FAILED = 719

ours = cache(launches.build_all)


@cache
def of_cupy(text: str, name: str) -> HostKernels:
    """A kernel from its PTX."""
    return build({name: as_text(text, name)})


def load(module: int, image: int) -> int:
    """``cuModuleLoadData``."""
    modules[module] = (True, compiling[-1]) if compiling else (False, ctypes.string_at(image).decode())
    return 0


def get(module: int, name: bytes) -> int:
    """``cuModuleGetFunction``: the number of a function, from 1."""
    functions.append((*modules[module], name.decode()))
    return len(functions)


def launch(function: int, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, addresses: int, /) -> int:
    """``cuLaunchKernel``; ``addresses`` is where those of the parameters are."""
    is_ours, module, name = functions[function - 1]
    try:
        if is_ours:
            kernels, name = ours(), module
            source, out, geometry = (ctypes.c_uint64 * 3).from_address(addresses)
            placed = {key: ctypes.c_uint64.from_address(at).value for key, at in (("source", source), ("out", out))}
            parameters = ctypes.string_at(geometry, kernels.parameter_bytes(name))
        else:
            kernels, placed, parameters = of_cupy(module, name), {"source": addresses, "out": 0}, b"\0"
        kernels.launch(Job(name, (gx, gy, gz), (bx, by, bz), {}, parameters, shared), placed)
    except Exception:  # it must not leave a callback of C
        traceback.print_exc()
        return LAUNCH_FAILED
    return 0


compiled = _kernels._compile


def compile_noting(kernel: str, defines: Defines, device: int) -> Any:
    """``_kernels._compile``, which loads a module."""
    compiling.append(launches.name(kernel, defines))
    try:
        return compiled(kernel, defines, device)
    finally:
        compiling.pop()


_kernels._compile = compile_noting
ASKED = (
    ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p)(load),
    ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_size_t, ctypes.c_char_p)(get),
    ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, *[ctypes.c_uint] * 7, ctypes.c_size_t)(launch),
)
ctypes.CDLL("libcuda.so.1").stub_ask(*ASKED)
