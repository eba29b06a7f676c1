"""CuPy on a driver that does nothing: ``python -m bench.stub.build FOLDER``, then ``FOLDER/python -m pytest bench …``.

CuPy links NVIDIA's runtime into one extension module. That module is compiled again from the sources of the installed
version against ``cudart.c``, and put into a copy of CuPy; ``cuda.c`` is the driver. Everything on the host's side of a
launch is then what it is with a GPU. Needs g++, nm, Cython, setuptools and cupy-cuda12x with its headers.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
MODULE = "cupy_backends/cuda/api/runtime"
PROFILER = """#pragma once
#include <cuda_runtime_api.h>
extern "C" { cudaError_t cudaProfilerStart(void); cudaError_t cudaProfilerStop(void); }
"""

STARTS = """import os, sys
if os.environ.get("CUPY_STUB_DEVICE"):
    sys.path.insert(0, os.getcwd())
    import bench.stub.device
"""


def run(*command: object, **environment: str) -> str:
    """Run a command to its end and return what it printed."""
    words = [str(word) for word in command]
    return subprocess.run(words, env=os.environ | environment, check=True, text=True, stdout=subprocess.PIPE).stdout


def sources(folder: Path, version: str) -> Path:
    """CuPy's sources of this version."""
    found = folder / f"cupy-{version}"
    if not found.exists():
        run(
            *(
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "--no-binary",
                "cupy",
                "--no-build-isolation",
            ),
            *("-d", folder, f"cupy=={version}"),
            READTHEDOCS="True",  # its metadata without a CUDA installation
        )
        with tarfile.open(folder / f"cupy-{version}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
    return found


def extension(folder: Path, tree: Path) -> Path:
    """Compile the module; what it calls is left open."""
    program = (
        "import Cython, sys; from Cython.Build import cythonize; from setuptools import Extension; "
        f"cythonize([Extension('{MODULE.replace('/', '.')}', ['{MODULE}.pyx'], language='c++')], language_level=3, "
        "compiler_directives={'embedsignature': True, 'binding': False, 'warn.deprecated.IF': False}, "
        "compile_time_env={'CUPY_USE_CUDA_PYTHON': False, 'CUPY_CUFFT_STATIC': False, 'CUPY_HIP_VERSION': 0, "
        "'CUPY_CYTHON_VERSION': Cython.__version__, 'CUPY_CUDA_VERSION': 12090})"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tree, check=True, stdout=subprocess.DEVNULL)
    stubs = folder / "include"
    stubs.mkdir(exist_ok=True)
    (stubs / "cuda_profiler_api.h").write_text(PROFILER)
    out = folder / f"runtime{sysconfig.get_config_var('EXT_SUFFIX')}"
    include = (*headers(folder), "-I", tree, "-I", tree / "cupy/_core/include")
    python = ("-I", sysconfig.get_paths()["include"])
    run("g++", "-O3", "-shared", "-fPIC", "-w", *include, *python, tree / f"{MODULE}.cpp", "-o", out)
    return out


def headers(folder: Path) -> list[object]:
    """Options that find CUDA's headers: of the wheel beside CuPy, and those of them that NVIDIA ships with nvcc."""
    if not (folder / "nvcc").exists():
        release = ".".join(importlib.metadata.version("nvidia-cuda-runtime-cu12").split(".")[:2])
        wheel = f"nvidia-cuda-nvcc-cu12=={release}.*"
        run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", folder / "nvcc", wheel)
    runtime = Path(sysconfig.get_paths()["purelib"]) / "nvidia" / "cuda_runtime"
    nvcc = folder / "nvcc" / "nvidia" / "cuda_nvcc"
    return [each for path in (folder, runtime, nvcc) for each in ("-I", path / "include")]


def libraries(folder: Path, module: Path) -> Path:
    """Compile driver and runtime; of the runtime, what ``cudart.c`` does not define does nothing."""
    written = (HERE / "cudart.c").read_text()
    defined = set(re.findall(r"(?:F\(|const char\* )(cuda\w+)", written))
    called = set(re.findall(r"\b(cuda\w+)$", run("nm", "-D", "--undefined-only", module), re.MULTILINE))
    rest = folder / "rest.c"
    rest.write_text("".join(f"int {name}(void) {{ return 0; }}\n" for name in sorted(called - defined)))
    target = folder / "lib"
    target.mkdir(exist_ok=True)
    flags = ("-O2", "-shared", "-fPIC", "-w", *headers(folder))
    run("gcc", *flags, HERE / "cudart.c", rest, "-o", target / "libcudart_stub.so")
    run("gcc", *flags, HERE / "cuda.c", "-o", target / "libcuda.so.1")
    return target


def main(folder: Path) -> None:
    """Build everything, and a ``python`` that uses it."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    version = importlib.metadata.version("cupy-cuda12x")
    module = extension(folder, sources(folder, version))
    target = libraries(folder, module)
    packages, site = Path(sysconfig.get_paths()["purelib"]), folder / "site"
    for name in ("cupy", "cupyx", "cupy_backends", f"cupy_cuda12x-{version}.dist-info"):
        shutil.copytree(packages / name, site / name, dirs_exist_ok=True)
    for old in (site / MODULE).parent.glob("runtime.*.so"):
        old.unlink()
    shutil.copy(module, (site / MODULE).parent)
    (site / "sitecustomize.py").write_text(STARTS)
    launcher = folder / "python"
    launcher.write_text(
        f'#!/bin/sh\nexport PYTHONPATH="{site}:$PYTHONPATH" LD_LIBRARY_PATH="{target}" CUPY_CACHE_DIR="{folder}/cache"\n'
        f'export LD_PRELOAD="{target}/libcudart_stub.so"\nexec "{sys.executable}" "$@"\n'
    )
    launcher.chmod(0o755)


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m bench.stub.build", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="made if it is not there")
    main(parser.parse_args().folder)
