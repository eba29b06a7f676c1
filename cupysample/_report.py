"""What this machine offers: which device runs, why, and the versions that a bug report needs.

Nothing here may crash: a report is wanted most where something is broken. CuPy is imported only when a function of this
module asks for it, and any exception it raises on the way (without a driver nearly every call does) becomes a sentence.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import platform
import time
import warnings
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import cupysample
from cupysample import _kernels, _remedies
from cupysample._remedies import INSTALL, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray


class UserError(Exception):
    """What a user of the command line can mend, in one sentence."""


class NoGpuError(UserError):
    """Why no GPU can be used here, and the remedy, in one sentence."""


@dataclass(frozen=True)
class Device:
    """Where pictures are resized: the GPU when `cupy` is the module, NumPy when it is None."""

    name: str
    cupy: Any = None

    def resize(self, pixels: NDArray[Any], **options: Any) -> NDArray[Any]:
        """Pixels of shape (height, width, channels), resized; they are read in place, through a transposed view."""
        result = _resized(self._here(pixels), options)
        return np.asarray(result if self.cupy is None else self.cupy.asnumpy(result))

    def seconds(self, pixels: NDArray[Any], *, budget: float = 0.2, **options: Any) -> float:
        """The best time of a warm call on pixels that are already on the device."""
        array = self._here(pixels)
        best, end = float("inf"), time.perf_counter() + budget
        for call in range(8):
            self._wait()
            start = time.perf_counter()
            _resized(array, options)
            self._wait()
            if call:  # the first call builds tables and may compile
                best = min(best, time.perf_counter() - start)
                if time.perf_counter() > end:
                    break
        return best

    def _here(self, pixels: NDArray[Any]) -> Any:
        return pixels if self.cupy is None else self.cupy.asarray(pixels)

    def _wait(self) -> None:
        if self.cupy is not None:
            self.cupy.cuda.get_current_stream().synchronize()


def _resized(pixels: Any, options: dict[str, Any]) -> Any:
    return cupysample.interpolate(pixels.transpose(2, 0, 1)[None], **options)[0].transpose(1, 2, 0)


def pick(device: str) -> Device:
    """The device of that name: cpu, gpu (NoGpuError if there is none), or auto: the GPU if one answers, else NumPy."""
    if device == "cpu":
        return Device("NumPy")
    try:
        return _gpu()
    except NoGpuError:
        if device == "gpu":
            raise
        return Device("NumPy")


def report() -> str:
    """The whole report, one fact a line."""
    verdict = _verdict()  # first: it imports CuPy, and the lines below then see what that import loaded
    facts: list[tuple[str, Callable[[], str]]] = [
        ("cupysample", lambda: f"{cupysample.__version__} in {Path(__file__).parent}"),
        ("runs on", lambda: verdict),
        ("CuPy", _cupy_version),
        ("CUDA driver", _driver),
        ("CUDA runtime", lambda: _dotted(_cupy().cuda.runtime.runtimeGetVersion())),
        ("GPU", _gpus),
        ("NVRTC", _nvrtc),
        ("CUDA headers", _headers),
        ("kernel cache", _kernel_cache),
        ("Python", lambda: f"{platform.python_version()} ({platform.system()} {platform.machine()})"),
        *((name, _version_of(name)) for name in ("numpy", "torch", "ml_dtypes", "pillow")),
    ]
    return "\n".join(f"{name:<13} {_answer(question)}" for name, question in facts)


def _answer(question: Callable[[], str]) -> str:
    try:
        return question()
    except NoGpuError:
        return "unknown without CuPy"
    except Exception as error:
        return f"unknown ({one_line(error)})"


# ---- the GPU ---------------------------------------------------------------------------------------------------------


def _cupy() -> Any:
    """The module `cupy`; NoGpuError, with the remedy, where it is missing or does not import."""
    found = _import_cupy()
    if not isinstance(found, BaseException):
        return found
    if _remedies.is_missing(found):
        raise NoGpuError(f"CuPy is not installed; for an NVIDIA GPU: {INSTALL}") from found
    raise NoGpuError(
        f"CuPy is installed but does not import ({one_line(found)}); {_remedies.of_import(found)}"
    ) from found


@functools.cache
def _import_cupy() -> Any:
    """The module or what its import raised: tried once, for a second try is slow and may fail for another reason."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what CuPy warns of at import is among the facts of the report
            return _kernels.load_cupy()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # some extensions' own errors, and SystemExit, are no Exception
        return error


def _gpu() -> Device:
    """The GPU, once it has answered a call of this package: only that proves driver, NVRTC, headers and cache at once."""
    cupy = _cupy()
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        raise NoGpuError(f"no GPU answers ({one_line(error)}); {_driver_remedy(cupy)}") from error
    if count < 1:
        raise NoGpuError(f"no GPU is visible; {_driver_remedy(cupy)}")
    try:
        Device("GPU", cupy).resize(np.zeros((2, 2, 1), np.float32), size=(3, 3), mode="bilinear")
    except Exception as error:
        cause = error.__cause__ or error
        raise NoGpuError(f"the GPU runs no kernel ({one_line(cause)}); {_kernel_remedy(cause)}") from error
    return Device(f"GPU ({_answer(lambda: _gpu_name(cupy, 0))})", cupy)


def _driver_remedy(cupy: Any) -> str:
    try:
        version = cupy.cuda.runtime.driverGetVersion()
        needed = cupy.cuda.runtime.runtimeGetVersion()
    except Exception:
        version = needed = 0
    if not version:
        return "install the NVIDIA driver, and see whether nvidia-smi lists the GPU"
    if version < needed // 1000 * 1000:
        return (
            f"the driver is for CUDA {_dotted(version)} and CuPy for CUDA {_dotted(needed)}: "
            "update the driver or install the older CuPy wheel"
        )
    return "see whether nvidia-smi lists one and CUDA_VISIBLE_DEVICES does not hide it"


def _kernel_remedy(error: BaseException) -> str:
    if not _remedies.cache_is_writable():
        return f"the kernel cache is not writable: {_remedies.WRITABLE}"
    return _remedies.of_kernel(error) or _remedies.HEADERS


def _verdict() -> str:
    try:
        return f"{_gpu().name}: CuPy, the driver, NVRTC and the headers all answered a first call"
    except NoGpuError as reason:
        return f"NumPy: {reason}"
    except Exception as error:
        return f"NumPy: looking for a GPU failed ({one_line(error)})"


def _gpus() -> str:
    cupy = _cupy()
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        return f"none ({one_line(error)})"
    return "; ".join(_answer(functools.partial(_describe, cupy, index)) for index in range(count)) or "none visible"


def _describe(cupy: Any, index: int) -> str:
    found = cupy.cuda.runtime.getDeviceProperties(index)
    memory = found["totalGlobalMem"] / 2**30
    capability = f"compute capability {found['major']}.{found['minor']}"
    return f"{index}: {_gpu_name(cupy, index)}, {capability}, {memory:.1f} GiB"


def _gpu_name(cupy: Any, index: int) -> str:
    name = cupy.cuda.runtime.getDeviceProperties(index)["name"]
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


# ---- versions and places ---------------------------------------------------------------------------------------------


def _cupy_version() -> str:
    wheels = " and ".join(f"{name} {metadata.version(name)}" for name in _remedies.cupy_wheels())
    found = _import_cupy()
    if not isinstance(found, BaseException):
        return f"{found.__version__} ({wheels or 'not from a wheel'})"
    text = "not installed" if _remedies.is_missing(found) else f"broken: {one_line(found)}"
    return f"{text} ({wheels})" if wheels else text


def _driver() -> str:
    version = _cupy().cuda.runtime.driverGetVersion()
    return _dotted(version) if version else "none found"


def _dotted(version: int) -> str:
    """CUDA's own number, such as 12090, as people write it: 12.9."""
    return f"{version // 1000}.{version % 1000 // 10}"


def _nvrtc() -> str:
    version = ".".join(map(str, _cupy().cuda.nvrtc.getVersion()))
    place = _loaded_library("nvrtc")
    return f"{version} from {place}" if place else version


def _loaded_library(word: str) -> str:
    """The path of the loaded shared library whose file name starts lib`word`; empty where Linux does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
            path = line.partition("/")[2]
            if path.rpartition("/")[2].startswith(f"lib{word}.so"):
                return f"/{path}"
    return ""


def _headers() -> str:
    for folder in _header_folders():
        if (Path(folder) / "cuda_fp16.h").is_file():
            return str(folder)
    return f"cuda_fp16.h not found; {INSTALL}"


def _header_folders() -> Iterator[str]:
    """Where CuPy looks, in the order of its current versions: NVIDIA's locator, the CUDA root, the wheel."""
    with contextlib.suppress(Exception):
        found = importlib.import_module("cuda.pathfinder").find_nvidia_header_directory("cudart")
        yield from [found] if found else []
    with contextlib.suppress(Exception):
        yield os.path.join(_cupy().cuda.get_cuda_path(), "include")
    with contextlib.suppress(Exception):
        wheel = metadata.distribution("nvidia-cuda-runtime-cu12")
        yield str(wheel.locate_file("nvidia/cuda_runtime/include"))


def _kernel_cache() -> str:
    if os.environ.get("CUPY_CACHE_IN_MEMORY") == "1":
        return "in memory only (CUPY_CACHE_IN_MEMORY=1)"
    remedy = "writable" if _remedies.cache_is_writable() else "NOT writable: set CUPY_CACHE_DIR to a directory that is"
    return f"{_remedies.cache_folder()} ({remedy})"


def _version_of(name: str) -> Callable[[], str]:
    """Asks the installed metadata, for the import of torch alone would take seconds."""

    def ask() -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return "not installed"

    return ask
