"""What to do about a CuPy that does not import, or whose kernels do not compile or load: one sentence each.

CuPy's errors say what failed, in classes and words that differ from version to version; a user wants the remedy.
"""

from __future__ import annotations

import errno
import os
import re
from importlib import metadata
from pathlib import Path

INSTALL = 'pip install "cupy-cuda12x[ctk]>=14.0.1" (or cupy-cuda13x, whichever the driver is for)'
"""Of what pip finds in any environment, wherever this package was installed from; ``ctk`` is NVRTC with the headers."""

PILLOW = 'pip install "pillow>=10.1"'

HEADERS = f"kernels need NVRTC and the CUDA headers: {INSTALL}"

WRITABLE = "set CUPY_CACHE_DIR to a writable directory with room"

_CUPY_WHEEL = re.compile(r"cupy(-cuda.+|-rocm.+)?")

_KERNEL = (
    (
        "gpu-architecture|NO_BINARY_FOR_GPU|no kernel image",
        "NVRTC is older than the device: pip install --upgrade nvidia-cuda-nvrtc-cu12 (for cupy-cuda13x: "
        "nvidia-cuda-nvrtc), or set CUPY_COMPILE_WITH_PTX=1 to let the driver compile",
    ),
    ("_PTX", "the driver is older than NVRTC: update the driver, or install the CuPy wheel and NVRTC that it is for"),
    ("(could not|cannot) open source file|CUDA headers|nvrtc", HEADERS),
)
"""Words in an error of compiling or loading a kernel, and the remedy; the first row that is found.

CuPy compiles machine code of the newest architecture that its NVRTC has, which a newer device refuses to load."""


def one_line(error: BaseException) -> str:
    """An exception as a short text without line breaks."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def is_missing(error: BaseException) -> bool:
    """Whether there is no CuPy to import, as opposed to a broken one."""
    return isinstance(error, ModuleNotFoundError) and error.name == "cupy"


def of_import(error: BaseException) -> str:
    """The remedy for what the import of CuPy raised."""
    wheels = cupy_wheels()
    if len(wheels) > 1:
        return f"{' and '.join(wheels)} overwrite each other: uninstall them all, then install one"
    if is_missing(error):
        return INSTALL
    if isinstance(error, OSError) and error.errno in _CACHE:
        return f"CuPy needs a kernel cache it can write to: {WRITABLE}"
    return f"reinstall it: pip uninstall {wheels[0] if wheels else 'cupy'}, then {INSTALL}"


_CACHE = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOENT,
    errno.EEXIST,
    errno.ENOTDIR,
    errno.ENOSPC,
    errno.EDQUOT,
}
"""Errors of a folder that cannot be made or written."""


def of_kernel(error: BaseException) -> str:
    """The remedy for what compiling or loading a kernel raised; empty where it is not the environment's fault."""
    text = f"{type(error).__name__}: {error}"
    return next((remedy for words, remedy in _KERNEL if re.search(words, text, re.IGNORECASE)), "")


def cupy_wheels() -> list[str]:
    """The installed distributions that all provide the one package `cupy`."""
    names = (str(found.metadata["Name"]).lower() for found in metadata.distributions() if found.metadata)
    return sorted({name for name in names if _CUPY_WHEEL.fullmatch(name)})


def cache_folder() -> Path:
    """Where CuPy keeps compiled kernels."""
    return Path(os.environ.get("CUPY_CACHE_DIR") or os.path.expanduser("~/.cupy/kernel_cache"))


def cache_is_writable() -> bool:
    """Whether the folder takes new files, or, where it does not exist yet, whether it can be made."""
    folder = cache_folder()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
