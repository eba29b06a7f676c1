"""Two devices that work, slowly: ``CUPY_STUB_DEVICE=1 FOLDER/python -m pytest -m gpu …``; FOLDER is ``build.py``'s.

CuPy is real, and so are its calls to the driver; memory is the host's, and kernels run on the CPU before their launch returns:
those of this project from their text, CuPy's own from their PTX. It shows that the tests of a GPU, and what they call, do what
they should; not what streams do beside each other, nor time, which is the host's.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
import traceback
from functools import cache
from typing import Any

os.environ |= {
    "CUPY_COMPILE_WITH_PTX": "1",
    "CUPY_ACCELERATORS": "",  # CUB's kernels exchange values within a warp
    "CUPY_CACHE_DIR": os.environ["CUPY_CACHE_DIR"].removesuffix("-ptx") + "-ptx",
}

from cupysample import _kernels, _launch
from cupysample._kernels import Defines
from tests import launches
from tests.host.harness import HostKernels, Job, build
from tests.host.ptx import as_text

compiling = threading.local()
"""``name``: of our instance that this thread is compiling, or none."""
modules: dict[int, tuple[bool, str]] = {}
"""Whether a module is ours; then the name of its instance, else its PTX."""
functions: dict[int, tuple[bool, str, str, int]] = {}
"""Their modules, their names and their devices."""
handles = itertools.count(1)
Launched = tuple[HostKernels, Job, dict[str, int]]
graphs: dict[int, list[Launched]] = {}
"""What was launched while a stream was captured."""
LAUNCH_FAILED, CAPTURE_UNSUPPORTED, INVALID_HANDLE = 719, 900, 400
LEGACY = 2
"""Streams up to it are the default ones, of each device."""
runtime, driver = ctypes.CDLL(None), ctypes.CDLL("libcuda.so.1")  # the runtime is loaded before everything else
runtime.stub_graph.argtypes, runtime.stub_graph.restype = (ctypes.c_size_t,), ctypes.c_size_t

texts: dict[str, str] = {}
"""Those of our instances that were compiled."""
known = {launches.name(*instance): _kernels.source(*instance) for instance in _launch.instances()}
ours = cache(lambda: build(known))


@cache
def of_ours(name: str) -> HostKernels:
    """An instance: in the build of all there are; or by itself, where constants are being tried."""
    return ours() if name in known else build({name: texts[name]})


@cache
def of_cupy(text: str, name: str) -> HostKernels:
    """A kernel from its PTX."""
    return build({name: as_text(text, name)})


def load(module: int, image: int) -> int:
    """``cuModuleLoadData``."""
    name = getattr(compiling, "name", "")
    modules[module] = (True, name) if name else (False, ctypes.string_at(image).decode())
    return 0


def get(module: int, name: bytes) -> int:
    """``cuModuleGetFunction``."""
    handle = next(handles)
    functions[handle] = *modules[module], name.decode(), runtime.stub_current_device()
    return handle


def launch(
    function: int, gx: int, gy: int, gz: int, bx: int, by: int, bz: int, shared: int, stream: int, addresses: int, /
) -> int:
    """``cuLaunchKernel``; ``addresses`` is where those of the parameters are."""
    is_ours, module, name, device = functions[function]
    if runtime.stub_current_device() != device or (stream > LEGACY and stream % 16 != device):
        return INVALID_HANDLE
    graph = runtime.stub_graph(stream)
    if graph and not is_ours:
        return CAPTURE_UNSUPPORTED  # its parameters will be elsewhere
    try:
        if is_ours:
            kernels, name = of_ours(module), module
            source, out, geometry = (ctypes.c_uint64 * 3).from_address(addresses)
            placed = {key: ctypes.c_uint64.from_address(at).value for key, at in (("source", source), ("out", out))}
            parameters = ctypes.string_at(geometry, kernels.parameter_bytes(name))
        else:
            kernels, placed, parameters = of_cupy(module, name), {"source": addresses, "out": 0}, b"\0"
    except Exception:  # it must not leave a callback of C
        traceback.print_exc()
        return LAUNCH_FAILED
    launched = kernels, Job(name, (gx, gy, gz), (bx, by, bz), {}, parameters, shared), placed
    if not graph:
        return run([launched])
    graphs.setdefault(graph, []).append(launched)
    return 0


def run(launches: list[Launched]) -> int:
    """One after another, each to its end."""
    try:
        for kernels, job, placed in launches:
            kernels.launch(job, placed)
    except Exception:  # likewise
        traceback.print_exc()
        return LAUNCH_FAILED
    return 0


def replay(graph: int) -> int:
    """``cudaGraphLaunch``."""
    return run(graphs.get(graph, []))


compiled = _kernels._compile


def compile_noting(kernel: str, defines: Defines, device: int) -> Any:
    """``_kernels._compile``, which loads a module."""
    compiling.name = launches.name(kernel, defines)
    texts[compiling.name] = _kernels.source(kernel, defines)
    try:
        return compiled(kernel, defines, device)
    finally:
        compiling.name = ""


_kernels._compile = compile_noting
Int, Word = ctypes.c_int, ctypes.c_size_t
LOAD = ctypes.CFUNCTYPE(Int, Word, ctypes.c_void_p)(load)
GET = ctypes.CFUNCTYPE(Word, Word, ctypes.c_char_p)(get)
LAUNCH = ctypes.CFUNCTYPE(Int, Word, *[ctypes.c_uint] * 7, Word, Word)(launch)
REPLAY = ctypes.CFUNCTYPE(Int, Word)(replay)
driver.stub_ask(LOAD, GET, LAUNCH)
runtime.stub_ask_to_replay(REPLAY)
