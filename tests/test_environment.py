"""Machines in every state: ``import cupysample`` never fails, and what cannot run says why and what to do, in one sentence."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cupysample
from cupysample import _kernels, _remedies
from tests import cupy_on_host
from tests.cupy_on_host import Array, Driver

ROOT = Path(__file__).parents[1]

PANIC = "class PanicException(BaseException): pass\nraise PanicException('Python API call failed')"

BROKEN: dict[str, tuple[str, str, str]] = {
    "missing": ("raise ModuleNotFoundError(\"No module named 'cupy'\", name='cupy')", "ModuleNotFoundError", "install"),
    "exits": ("raise SystemExit(1)", "SystemExit: 1", "reinstall it: pip uninstall"),
    "panics": (PANIC, "PanicException: Python API call failed", "reinstall it: pip uninstall"),
    "library": (
        "raise ImportError('libcudart.so.12:\\n  cannot open')",
        "libcudart.so.12: cannot open",
        "reinstall it",
    ),
    "circular": ("import cupy\ncupy.ndarray", "AttributeError: partially initialized module 'cupy'", "reinstall it"),
    "silent": ("raise KeyError()", "KeyError", "reinstall it"),
    "damaged": ("def", "SyntaxError", "reinstall it"),
    "empty": ("", "ImportError: it has no RawModule", "reinstall it"),
    "cache": ("raise PermissionError(13, 'Permission denied', '/x')", "PermissionError", "set CUPY_CACHE_DIR"),
    "full": ("raise OSError(28, 'No space left on device')", "OSError: [Errno 28]", "set CUPY_CACHE_DIR"),
}
"""The text of ``cupy/__init__.py``, the cause that is told, and the remedy."""


def python(folder: Path, program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, in which the modules of the folder shadow installed ones."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    command = [sys.executable, "-B", "-c", program]
    variables = os.environ | {"PYTHONPATH": path} | environment
    return subprocess.run(command, env=variables, cwd=folder, capture_output=True, text=True, check=False)


def package(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(text)


@pytest.mark.parametrize("state", BROKEN)
def test_numpy_runs_whatever_is_broken(state: str, tmp_path: Path) -> None:
    """Neither CuPy nor torch is imported, so it does not matter what they raise; nor is a home or a cache needed."""
    for name in ("cupy", "torch", "jax", "ml_dtypes"):
        package(tmp_path, name, BROKEN[state][0])
    program = """
import sys, numpy as np, cupysample
y = cupysample.interpolate(np.arange(4.0).reshape(1, 1, 2, 2), scale_factor=2, mode="bilinear")
print(y[0, 0, 0].tolist(), *({"cupy", "torch", "jax", "ml_dtypes"} & set(sys.modules)))
"""
    nowhere = str(tmp_path / "no" / "home")
    done = python(tmp_path, program, HOME=nowhere, CUPY_CACHE_DIR=nowhere, CUDA_VISIBLE_DEVICES="")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "[0.0, 0.25, 0.75, 1.0]\n"


@pytest.mark.parametrize("way", ["import cupysample.torch", "import cupysample; cupysample.torch"])
def test_tensors_modules_without_torch(way: str, tmp_path: Path) -> None:
    """One sentence with the remedy; what a torch that is there lacks is its own to say."""
    for lacking, words in (("torch", "cupysample.torch needs torch: pip install torch"), ("sympy", "nothing")):
        shutil.rmtree(tmp_path / "torch", ignore_errors=True)
        package(tmp_path, "torch", f"raise ModuleNotFoundError('nothing', name={lacking!r})")
        done = python(tmp_path, way)
        assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: {words}"


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose ``cupy`` is the one that is imported."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "cupy"}
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("cupy", None)
    sys.modules.update(before)


class Described:
    """An array on a device, of a library that knows no more than where it lies."""

    def __init__(self) -> None:
        self.values = np.ones((1, 1, 2, 2), np.float32)
        self.__cuda_array_interface__ = self.values.__array_interface__ | {"version": 3}


@pytest.mark.parametrize("state", BROKEN)
def test_device_memory_with_a_broken_cupy(state: str, broken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, cause, remedy = BROKEN[state]
    package(broken, "cupy", text)
    monkeypatch.setattr(_remedies, "cupy_wheels", lambda: ["cupy-cuda12x"])
    with pytest.raises(RuntimeError, match=r" with CuPy, which cannot be imported \(") as caught:
        cupysample.interpolate(Described(), scale_factor=2)
    sentence = str(caught.value)
    assert f"({cause}" in sentence.replace("ImportError: libcudart", "libcudart")
    assert remedy in sentence.partition("; ")[2] and "\n" not in sentence


def test_wheels_of_two_versions_of_cuda(broken: Path) -> None:
    """As pip leaves them: both are installed, and files of one have replaced those of the other."""
    for name in ("cupy_cuda12x", "cupy_cuda13x"):
        info = broken / f"{name}-14.2.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 14.2.0\n")
    package(broken, "cupy", "raise ImportError('libnvrtc.so.13: cannot open shared object file')")
    words = "cupy-cuda12x and cupy-cuda13x overwrite each other: uninstall them all, then install one"
    with pytest.raises(RuntimeError, match=words):
        _kernels.import_cupy()


def test_a_package_without_its_kernels_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are inside of it, or beside it in a checkout."""
    package_folder = tmp_path.resolve() / "cupysample"
    monkeypatch.setattr(_kernels, "__file__", str(package_folder / "_kernels.py"))
    with pytest.raises(RuntimeError) as caught:
        _kernels.folder.__wrapped__()
    assert str(caught.value) == (
        "cupysample's CUDA sources are missing: looked for kernels/resample.cu in "
        f"{package_folder} and {package_folder.parent}; reinstall the package"
    )
    for parent in (tmp_path, package_folder):
        (parent / "kernels").mkdir(parents=True)
        (parent / "kernels" / "resample.cu").touch()
        assert _kernels.folder.__wrapped__() == parent.resolve() / "kernels"


def test_an_interrupt_of_the_import_is_one(broken: Path) -> None:
    package(broken, "cupy", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        _kernels.import_cupy()


# ---------------------------------------------------------------------------------------------------------------------
# Kernels that do not compile or load


class CompileException(Exception):  # noqa: N818 - CuPy's name
    """CuPy's, whose text is the compiler's log."""


class DriverError(RuntimeError):
    """``CUDADriverError``."""


NO_NVRTC = "kernels need NVRTC and the CUDA headers: pip install"
OLD_NVRTC = "NVRTC is older than the device: pip install --upgrade nvidia-cuda-nvrtc-cu12 (for cupy-cuda13x: "
OLD_DRIVER = "the driver is older than NVRTC: update the driver"

KERNEL_ERRORS: dict[str, tuple[Exception, str]] = {
    "no NVRTC": (RuntimeError('Failure finding "libnvrtc.so": No such file: libnvrtc.so*\n  listdir'), NO_NVRTC),
    "no NVRTC, CuPy 13": (OSError("libnvrtc.so.12: cannot open shared object file"), NO_NVRTC),
    "no headers": (
        CompileException('kernels/elements.cuh(9): catastrophic error: could not open source file "cuda_fp16.h"'),
        NO_NVRTC,
    ),
    "no headers, CuPy 14": (RuntimeError("Failed to find CUDA headers"), NO_NVRTC),
    "newer device": (
        DriverError("CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available for execution"),
        OLD_NVRTC,
    ),
    "unknown device": (CompileException("nvrtc: error: invalid value for --gpu-architecture (-arch)\n"), OLD_NVRTC),
    "older driver": (DriverError("CUDA_ERROR_UNSUPPORTED_PTX_VERSION: the provided PTX was compiled"), OLD_DRIVER),
}


@pytest.fixture
def driver() -> Iterator[Driver]:
    with cupy_on_host.installed() as (module, driver):
        module.cuda.compiler.CompileException = CompileException
        yield driver


@pytest.mark.host
@pytest.mark.parametrize("state", KERNEL_ERRORS)
def test_kernels_that_cannot_run(state: str, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence; nothing is launched, and once it is mended the same call runs."""
    error, remedy = KERNEL_ERRORS[state]

    class Broken(cupy_on_host.RawModule):
        def get_function(self, entry: str) -> Any:
            raise error

    x = Array(None, values=np.ones((1, 1, 4, 4), np.float32))
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["cupy"], "RawModule", Broken)
        with pytest.raises(
            RuntimeError, match=r"^no kernel runs on CUDA device 0, of compute capability 90 \("
        ) as caught:
            cupysample.interpolate(x, scale_factor=2)
    sentence = str(caught.value)
    assert sentence.partition("); ")[2].startswith(remedy) and "\n" not in sentence
    assert not driver.launched and not _kernels._functions
    assert cupysample.interpolate(x, scale_factor=2).values.tolist() == np.ones((1, 1, 8, 8)).tolist()


@pytest.mark.host
@pytest.mark.usefixtures("driver")
def test_what_is_no_error_of_the_compiler_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    error = DriverError("CUDA_ERROR_OUT_OF_MEMORY: out of memory")

    class Broken(cupy_on_host.RawModule):
        def get_function(self, entry: str) -> Any:
            raise error

    monkeypatch.setattr(sys.modules["cupy"], "RawModule", Broken)
    with pytest.raises(DriverError) as caught:
        cupysample.interpolate(Array(None, values=np.ones((1, 1, 4, 4), np.float32)), scale_factor=2)
    assert caught.value is error


@pytest.mark.host
@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_cache_directory_that_is_full_or_read_only(number: int, driver: Driver) -> None:
    """Kernels are compiled without it, the first one twice."""
    cupy, asked = sys.modules["cupy"], []

    class Unwritable(cupy_on_host.RawModule):
        def get_function(self, entry: str) -> Any:
            asked.append(self.name)
            if os.environ.get("CUPY_CACHE_IN_MEMORY") != "1":
                raise OSError(number, os.strerror(number))
            return super().get_function(entry)

    cupy.RawModule = Unwritable  # type: ignore[attr-defined]
    x = Array(None, values=np.ones((1, 1, 4, 4), np.float32))
    cupysample.interpolate(x, scale_factor=2)
    assert len(driver.launched) == 1 and len(asked) == 2
    cupysample.interpolate(x, scale_factor=2, mode="bilinear")
    assert len(driver.launched) == 2 and len(asked) == 3


@pytest.mark.nvrtc
def test_what_nvrtc_says() -> None:
    """The words of the installed CuPy and NVRTC: headers that are not found, and a device of years to come."""
    from cupy.cuda import compiler

    def said(text: str, architecture: str) -> Any:
        with pytest.raises(compiler.CompileException) as caught:
            compiler._NVRTCProgram(text, method="cubin").compile((f"-arch=sm_{architecture}",))
        return _remedies.of_kernel(caught.value)

    assert said('#include "cuda_fp16.h"\n', "90").startswith(NO_NVRTC)
    assert said('extern "C" __global__ void f() {}', "990").startswith(OLD_NVRTC)
    assert said("no C++", "90") == ""


@pytest.mark.nvrtc
def test_what_cupy_says(tmp_path: Path) -> None:
    """The words of the installed CuPy without NVRTC, and where its cache cannot be made."""
    program = """
import cuda.pathfinder
def missing(name):
    raise cuda.pathfinder.DynamicLibNotFoundError(f'Failure finding "lib{name}.so": No such file: lib{name}.so*')
cuda.pathfinder.load_nvidia_dynamic_lib = missing
import cupy
from cupysample import _remedies
try:
    cupy.cuda.nvrtc.getVersion()
except Exception as error:
    print(_remedies.of_kernel(error))
"""
    done = python(tmp_path, program)
    assert done.stdout.startswith(NO_NVRTC), done.stderr
    done = python(
        tmp_path, "import runpy; runpy.run_module('cupysample', run_name='__main__')", CUPY_CACHE_DIR="/dev/null/x"
    )
    assert done.returncode == 0 and "set CUPY_CACHE_DIR" in done.stdout.splitlines()[1], done.stdout + done.stderr
