"""Find the CUDA sources, assemble the text of an instance, compile, load and launch it.

An instance is a kernel file and its ``#define`` lines; the text handed to the compiler contains everything but CUDA's
own headers, because CuPy's disk cache is keyed on the text alone and would not notice an edited include.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cupysample import _threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

Defines = tuple[tuple[str, str], ...]

OPTIONS = ("-std=c++17",)
"""One constant tuple without paths: CuPy derives a slow key from each new one."""

LEAST_CAPABILITY = 70
"""Parameters are read where the driver put them: ``__grid_constant__``."""

_INCLUDE = re.compile(r'^#include "([^"]+)"$')


@cache
def folder() -> Path:
    """The folder of the CUDA sources: inside the installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "kernels", package.parent / "kernels"):
        if (candidate / "resample.cu").is_file():
            return candidate
    raise RuntimeError(
        f"cupysample's CUDA sources are missing: looked for kernels/resample.cu in {package} and {package.parent}; "
        "reinstall the package"
    )


def entry(kernel: str) -> str:
    """The name of the one function of an instance, by which profilers show it."""
    return f"cupysample_{kernel}"


def source(kernel: str, defines: Defines) -> str:
    """Return the full text of an instance of ``kernels/<kernel>.cu``."""
    lines = [f"#define {name} {value}\n" for name, value in (("CS_ENTRY", entry(kernel)), *defines)]
    return "".join(lines) + _text(kernel)


@cache
def _text(kernel: str) -> str:
    """The same but for the defines."""
    return _inlined(f"{kernel}.cu", set())


def _inlined(name: str, seen: set[str]) -> str:
    """Return a file with its quoted includes replaced by their text, each once; errors keep their file and line."""
    seen.add(name)
    text = [f'#line 1 "kernels/{name}"\n']
    for number, line in enumerate((folder() / name).read_text(encoding="utf-8").splitlines(), start=1):
        include = _INCLUDE.match(line)
        if include and include[1] not in seen:
            text += [_inlined(include[1], seen), f'#line {number + 1} "kernels/{name}"\n']
        else:
            text.append(("" if include or line == "#pragma once" else line) + "\n")
    return "".join(text)


lock = threading.RLock()
"""Held by the one thread that compiles and uploads for a call; it may come back, from a finalizer."""


def _renew() -> None:
    """A thread that held it does not exist in the child of a fork."""
    global lock  # noqa: PLW0603
    lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)

_functions: dict[tuple[str, Defines, int], Any] = {}
"""Never forgotten: of those that are launched, only handles are held elsewhere."""


def function(kernel: str, defines: Defines, device: int) -> Any:
    """Return the compiled instance for a device, as a CuPy function, whose ``ptr`` is the driver's."""
    key = (kernel, defines, device)
    try:
        return _functions[key]
    except KeyError:
        with lock:  # one thread compiles, the others wait for its result
            return _functions.get(key) or _functions.setdefault(key, _compile(kernel, defines, device))


def compile_all(instances: Iterable[tuple[str, Defines]], device: int) -> None:
    """Compile what is not yet, as many instances at a time as there are processors: NVRTC runs beside the interpreter.

    Nobody waits for these threads with ``lock`` held: a finalizer that runs in one of them may call for a kernel.
    """
    missing = [instance for instance in instances if (*instance, device) not in _functions]
    set_device, caller = import_cupy().cuda.runtime.setDevice, threading.get_ident()

    def work(some: Iterator[tuple[str, Defines]]) -> None:
        if threading.get_ident() != caller:
            set_device(device)  # for good: to go back to another one would give a helper a context there
        for instance in some:
            _functions.setdefault((*instance, device), _compile(*instance, device))

    _threads.deal(work, missing, min(len(missing), _threads.cpus()))


def _compile(kernel: str, defines: Defines, device: int) -> Any:
    cupy = import_cupy()
    text = source(kernel, defines)
    with cupy.cuda.Device(device) as current:
        capability = current.compute_capability
        if int(capability) < LEAST_CAPABILITY:
            raise RuntimeError(
                f"CUDA device {device} has compute capability {capability}; "
                f"the kernels need {LEAST_CAPABILITY}, that is Volta or later"
            )
        try:
            return _load_stored_or_not(cupy, text, entry(kernel))
        except Exception as error:
            from cupysample import _remedies

            instance = ", ".join(f"{name}={value}" for name, value in defines)
            if remedy := _remedies.of_kernel(error):
                raise RuntimeError(
                    f"no kernel runs on CUDA device {device}, of compute capability {capability} "
                    f"({_remedies.one_line(error)}); {remedy}"
                ) from error
            if isinstance(error, cupy.cuda.compiler.CompileException):
                raise RuntimeError(f"kernels/{kernel}.cu ({instance}) does not compile:\n{error}") from error
            raise


_unwritable: list[OSError] = []
"""What CuPy's cache directory has raised: from then on kernels are compiled without it."""


def _load_stored_or_not(cupy: Any, text: str, name: str) -> Any:
    """Compile without CuPy's cache directory where that is full or not writable."""
    if not _unwritable:
        try:
            return _load(cupy, text, name)
        except OSError as error:
            _unwritable.append(error)
    with lock:
        saved = os.environ.get("CUPY_CACHE_IN_MEMORY")
        os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
        try:
            return _load(cupy, text, name)
        finally:
            del os.environ["CUPY_CACHE_IN_MEMORY"]
            if saved is not None:
                os.environ["CUPY_CACHE_IN_MEMORY"] = saved


def _load(cupy: Any, text: str, name: str) -> Any:
    """Compile and return the function of that name, the one beneath ``RawKernel``."""
    module = cupy.RawModule(code=text, options=OPTIONS)
    return module.get_function(name).kernel


Launcher = Callable[[int, int, int], None]
"""``launcher(stream, parameters, 0)``: the handle of a stream of the current device, and what ``parameters`` gives."""


def launcher(
    kernel: str,
    defines: Defines,
    grid: tuple[int, int, int],
    block: tuple[int, int, int],
    device: int,
    /,
) -> Launcher:
    """Return the driver's launch of an instance; CuPy's own sorts out its arguments in every call."""
    launch = import_cupy().cuda.driver.launchKernel
    return partial(launch, function(kernel, defines, device).ptr, *grid, *block, 0)  # no dynamic shared memory


Parameters = tuple[memoryview, int]
"""Of ``kernel(source, out, geometry)``: words, the first two of which are the addresses of source and out; and where the
driver finds the addresses of all three."""


def parameters(geometry: NDArray[Any]) -> Parameters:
    """Return the parameters of one call at a time."""
    words: Any = np.empty(5 + geometry.nbytes // 8, np.uint64)
    start = words.ctypes.data
    words[2:5] = start, start + 8, start + 40
    words[5:] = geometry.view(np.uint64)
    return memoryview(words), start + 16


def load_cupy() -> Any:
    """Return CuPy, or raise what its import does: anything, or ImportError where it is not whole."""
    loaded = sys.modules.get("cupy")
    if hasattr(loaded, "RawModule"):  # not while another thread is importing it
        return loaded
    import cupy

    if not hasattr(cupy, "RawModule"):
        raise ImportError("it has no RawModule: what an uninstalled CuPy left behind, or another package of that name")
    return cupy


def import_cupy() -> Any:
    """Return CuPy; one sentence with the remedy where it cannot be imported."""
    try:
        return load_cupy()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # CuPy's import raises whatever its cache directory or driver raise, SystemExit too
        from cupysample import _remedies

        raise RuntimeError(
            "resampling a CUDA array compiles kernels with CuPy, which cannot be imported "
            f"({_remedies.one_line(error)}); {_remedies.of_import(error)}"
        ) from error
