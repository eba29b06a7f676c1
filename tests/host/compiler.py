"""Kernel texts to one shared object, with g++."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

Flavour = Literal["plain", "sanitize", "log"]

HERE = Path(__file__).resolve().parent
HEADERS = ("cuda_on_host.h", "cuda_fp16.h", "cuda_bf16.h", "ptx_on_host.h")
RUNTIME = "cuda_on_host.cpp"

COMMON = (
    "-std=c++17",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-strict-aliasing",  # device compilers let a vector stand for its elements
    "-ffp-contract=off",  # a kernel that wants an FMA says so
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unknown-pragmas",  # unroll
    "-Wno-unused-function",  # one text serves many instances: a function for some is unused in others
    "-Wno-unused-local-typedefs",  # likewise
    f"-I{HERE}",
)
KERNEL_FLAGS: Mapping[Flavour, tuple[str, ...]] = {
    "plain": ("-O1",),
    "sanitize": ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    # Calls the hooks in cuda_on_host.cpp. Every access stays what the text says: neither merged nor taken apart.
    "log": (
        "-O1",
        "-fsanitize=thread",
        "--param=tsan-instrument-func-entry-exit=0",
        "-fno-tree-vectorize",
        "-fno-tree-sra",
        "-fno-store-merging",
    ),
}
RUNTIME_FLAGS = ("-O2",)  # never instrumented: the scheduler and the hooks of the access log must not log themselves
LINK_FLAGS: Mapping[Flavour, tuple[str, ...]] = {
    "plain": (),
    "sanitize": ("-fsanitize=address,undefined",),
    "log": (),
}
KEPT_DAYS = 14


class CompileError(Exception):
    """What g++ said."""


def shared_object(texts: Mapping[str, str], flavour: Flavour, directory: Path | None) -> Path:
    """The compiled `texts`, from the cache if they are there. Instance k is the k-th name in sorted order."""
    directory = _writable(directory)
    path = directory / f"{flavour}-{_key(texts, flavour)}.so"
    with _alone(directory):
        if path.exists():
            os.utime(path)
        else:
            _compile(texts, flavour, path)
    return path


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One process at a time: the others of a parallel run want the same, and it takes every core."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _compile(texts: Mapping[str, str], flavour: Flavour, path: Path) -> None:
    directory = path.parent
    _prune(directory)
    with tempfile.TemporaryDirectory(dir=directory) as work:
        sources = _write_units(texts, Path(work))
        commands = [
            ["g++", "-c", *COMMON, *KERNEL_FLAGS[flavour], str(source), "-o", str(source.with_suffix(".o"))]
            for source in sources
        ]
        runtime = Path(work) / "runtime.o"
        commands.append(["g++", "-c", *COMMON, *RUNTIME_FLAGS, str(HERE / RUNTIME), "-o", str(runtime)])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, commands))
        objects = [str(source.with_suffix(".o")) for source in sources]
        linked = Path(work) / path.name
        # -Bsymbolic because several of these live in one process, each with its own runtime.
        _run(["g++", "-shared", "-Wl,-Bsymbolic", *LINK_FLAGS[flavour], *objects, str(runtime), "-o", str(linked)])
        os.replace(linked, path)


class Static(NamedTuple):
    """A static shared variable of an instance, at an offset in the shared object."""

    instance: int
    name: str
    offset: int
    nbytes: int


def statics(path: Path) -> list[Static]:
    """Return the static shared variables: what is writable and local to a function of a kernel."""
    symbols = subprocess.run(["nm", "-SC", str(path)], capture_output=True, text=True, check=True).stdout
    return [
        Static(int(k), name, int(offset, 16), int(nbytes, 16)) for offset, nbytes, k, name in STATIC.findall(symbols)
    ]


def _writable(directory: Path | None) -> Path:
    """`directory`, or pytest's cache; a temporary one where that cannot be written."""
    wanted = directory or HERE.parents[1] / ".pytest_cache" / "host"
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=wanted):
            return wanted
    except OSError:
        temporary = tempfile.mkdtemp(prefix="host-kernels-")
        atexit.register(shutil.rmtree, temporary, ignore_errors=True)
        return Path(temporary)


def _key(texts: Mapping[str, str], flavour: Flavour) -> str:
    compiler = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout
    flags = (*COMMON, *KERNEL_FLAGS[flavour], *RUNTIME_FLAGS, *LINK_FLAGS[flavour])
    files = [(HERE / name).read_text() for name in (*HEADERS, RUNTIME, Path(__file__).name)]
    everything = json.dumps([sorted(texts.items()), compiler, flags, files])
    return hashlib.sha256(everything.encode()).hexdigest()[:32]


def _prune(directory: Path) -> None:
    for path in directory.glob("*.so"):
        with contextlib.suppress(FileNotFoundError):  # another process prunes too
            if time.time() - path.stat().st_mtime > KEPT_DAYS * 86400:
                path.unlink()


def _run(command: Sequence[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise CompileError(result.stderr)


def _write_units(texts: Mapping[str, str], work: Path) -> list[Path]:
    """As many translation units as keep every core busy, the instances dealt out to them."""
    instances = [_instance(k, name, texts[name]) for k, name in enumerate(sorted(texts))]
    count = min(len(instances), 2 * (os.cpu_count() or 1))
    units = []
    for u in range(count):
        unit = work / f"unit_{u}.cpp"
        unit.write_text("\n".join(["".join(f'#include "{h}"\n' for h in HEADERS), *instances[u::count]]))
        units.append(unit)
    return units


DEFINE = re.compile(r"^[ \t]*#[ \t]*define[ \t]+(\w+)", re.MULTILINE)
ENTRY = re.compile(r"^#define CS_ENTRY .*$", re.MULTILINE)
INCLUDE = re.compile(r"^[ \t]*#[ \t]*(include[ \t]*<.*>|pragma[ \t]+once)", re.MULTILINE)
STATIC = re.compile(r"^(\w+) (\w+) [bBdDuV] .*?\binstance_(\d+)_.*::(\w+)$", re.MULTILINE)  # of nm
OURS = frozenset(DEFINE.findall("".join((HERE / name).read_text() for name in HEADERS)))


def _instance(k: int, name: str, text: str) -> str:
    """One instance in its own namespace, its macros taken back behind it, and how to call it."""
    namespace = f"instance_{k}_{re.sub('[^A-Za-z0-9]+', '_', name)}"
    entry = f"instance_{k}_entry"
    text, found = ENTRY.subn(f"#define CS_ENTRY {entry}", text)
    if found != 1:
        raise ValueError(f"{name}: expected one line '#define CS_ENTRY …', found {found}")
    macros = sorted(set(DEFINE.findall(text)) - OURS)
    return f"""
namespace {namespace} {{
#line 1 {json.dumps(name)}
{INCLUDE.sub("//", text)}
}}
#line 1 {json.dumps(f"call of {name}")}
CUDA_ON_HOST_INSTANCE({namespace}::{entry}, call_{k}, parameter_bytes_{k})
{"".join(f"#undef {macro}" + chr(10) for macro in macros)}"""
