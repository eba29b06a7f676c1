"""Many threads, processes, interrupts and the interpreter's end: no deadlock, no wrong bit, no memory kept.

The same calls are made on every path: NumPy arrays, torch tensors, and CuPy arrays on the stand-in whose device is the CPU.
"""

from __future__ import annotations

import ctypes
import gc
import itertools
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

import cupysample
from cupysample import (
    _bands,
    _blocks,
    _cuda,
    _few_taps,
    _interpolate,
    _kernels,
    _launch,
    _numpy,
    _plan,
    _program,
    _steps,
    _tables,
    _taps,
    _threads,
)
from tests import cases, cupy_on_host
from tests.threads import TIMEOUT, together

ROOT = Path(__file__).parents[1]
HOST = pytest.param("cupy", marks=pytest.mark.host)


class Route(NamedTuple):
    """How a NumPy array becomes one of another library, and the result an array again."""

    of: Callable[[NDArray[Any]], Any]
    back: Callable[[Any], NDArray[Any]]


def _tensor(x: NDArray[Any]) -> Any:
    import torch

    return torch.from_numpy(x.copy(order="K"))


ROUTES = {
    "numpy": Route(lambda x: x, lambda y: y),
    "torch": Route(_tensor, lambda y: y.numpy()),
    "cupy": Route(lambda x: cupy_on_host.Array(None, values=x, device=x.shape[1] % 3), lambda y: y.values),
}

TENSORS = ("float16", "float32", "float64", "complex64", "uint8", "int16", "int64")
"""Dtypes that ``torch.from_numpy`` takes."""


class Work(NamedTuple):
    """A call and the bytes that it gives in a single thread."""

    input: Any
    arguments: dict[str, Any]
    expected: bytes


def work(path: str, n: int) -> list[Work]:
    """Random calls, and on NumPy's path three that are worth several threads."""
    rng = np.random.default_rng(14)
    found: list[tuple[NDArray[Any], dict[str, Any]]] = []
    while len(found) < n:
        case = cases.any_case(rng)
        if case.dtype in TENSORS and case.layout not in ("big-endian", "negative"):
            found.append((case.input(), case.arguments))
    if path != "cupy":
        large = cases.values(rng, (4, 16, 96, 96), "float32")
        found += [
            (large, how) for how in ({"scale_factor": 2, "mode": "bicubic"}, {"scale_factor": 0.5, "mode": "area"})
        ]
        found += [(large, {"size": 150})]
    of, back = ROUTES[path]
    inputs = [(of(x), arguments) for x, arguments in found]
    return [Work(x, how, back(cupysample.interpolate(x, **how)).tobytes()) for x, how in inputs]


@pytest.fixture
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a path, with the stand-in installed where it is CuPy's; threads take turns often, and helpers help."""
    before, interval = list(_threads._chosen), sys.getswitchinterval()
    with ExitStack() as stack:
        if request.param == "cupy":
            stack.enter_context(cupy_on_host.installed())
        cupysample.set_num_threads(3)
        sys.setswitchinterval(1e-5)
        yield request.param
        sys.setswitchinterval(interval)
        _threads._chosen[:] = before


def forget() -> None:
    """Empty every cache, as if no call had been made."""
    _interpolate._calls.clear()
    _numpy._programs.clear()
    with _kernels.lock:
        _cuda._launches.clear()
        _cuda._tables.clear()
    _taps._kept.clear()
    _taps._parts.clear()
    _blocks._matrices.clear()
    for function in (
        *(_plan.make, _taps.fixed_point_bits, _taps._totals, _taps.counts, _blocks.choose, _blocks._choices),
        *(_few_taps._has_windows, _few_taps._has_gaps, _few_taps._share_windows, _tables.begun_rows, _bands._tile),
    ):
        function.cache_clear()


@pytest.mark.parametrize("path", ["numpy", "torch", HOST], indirect=True)
@pytest.mark.parametrize("bounded", [False, True])
def test_bits_are_those_of_a_single_thread(path: str, bounded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread makes all calls, in an order of its own; with caches too small for them while another empties them."""
    todo = work(path, 24 if path == "cupy" else 60)
    if bounded:
        for module, name, bound in (
            (_interpolate, "CALLS", 5),
            (_numpy, "PROGRAMS", 4),
            (_cuda, "LAUNCHES", 3),
            (_cuda, "TABLES_BYTES", 2000),
        ):
            monkeypatch.setattr(module, name, bound)
    forget()
    back = ROUTES[path].back

    def calls(number: int) -> None:
        order = np.random.default_rng(number).permutation(len(todo))
        for i in (*order, *order):
            x, arguments, expected = todo[i]
            assert back(cupysample.interpolate(x, **arguments)).tobytes() == expected, arguments
            if bounded and i % 10 == number % 10:
                forget()

    together(calls)
    if bounded:
        assert len(_numpy._programs) <= 4 and len(_cuda._launches) <= 3


@pytest.mark.parametrize("path", ["numpy", "torch", HOST], indirect=True)
def test_the_first_call_in_all_threads_at_once(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device it is prepared by one of them, while the others wait."""
    prepared: list[Any] = []

    def launch(*arguments: Any) -> Any:
        prepared.append(arguments)
        return _launch.launch(*arguments)

    monkeypatch.setattr(_cuda, "launch", launch)
    back = ROUTES[path].back
    for x, arguments, expected in work(path, 20):
        forget()
        prepared.clear()

        def call(_: int, x: Any = x, arguments: Any = arguments, expected: bytes = expected) -> None:
            assert back(cupysample.interpolate(x, **arguments)).tobytes() == expected

        together(call, 8)
        assert len(prepared) == len(_cuda._launches) <= 1


@pytest.mark.parametrize("path", ["numpy", "torch"], indirect=True)
def test_gradients_are_those_of_a_single_thread(path: str) -> None:
    of, back = ROUTES[path]
    shape, rng = (2, 3, 20, 24), np.random.default_rng(5)
    todo = []
    for mode, factor in itertools.product(("nearest", "bilinear", "bicubic", "area"), (0.5, 1.7, 3.0)):
        size = tuple(int(n * factor) for n in shape[2:])
        gradient = of(cases.values(rng, (*shape[:2], *size), "float32"))
        expected = back(cupysample.interpolate_backward(gradient, shape, size, mode=mode)).tobytes()
        todo.append((gradient, size, mode, expected))
    forget()

    def calls(number: int) -> None:
        for gradient, size, mode, expected in todo[number % 12 :] + todo[: number % 12]:
            y = back(cupysample.interpolate_backward(gradient, shape, size, mode=mode))
            assert y.tobytes() == expected

    together(calls)


@pytest.mark.parametrize("path", ["numpy"], indirect=True)
@pytest.mark.usefixtures("path")
def test_a_call_in_the_middle_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same thread, between two steps of a tile, as a signal's handler or a finalizer may make it."""
    cupysample.set_num_threads(1)
    x, other = (cases.values(np.random.default_rng(n), (2, 8, 40, 44), "float16") for n in (0, 1))
    arguments: dict[str, Any] = {"size": (61, 67), "mode": "bicubic"}
    expected = cupysample.interpolate(x, **arguments).tobytes()
    _interpolate._calls.clear()
    _numpy._programs.clear()
    nested: list[bool] = []

    class WithCalls(_steps.Step):
        def __init__(self, step: _steps.Step) -> None:
            self.step = step

        def __call__(self, tile: _steps.Tile) -> bool | None:
            done = self.step(tile)
            if not nested:
                nested.append(True)
                cupysample.interpolate(other, size=(59, 63), mode="bicubic")
                nested.clear()
                calls.append(True)
            return done

    calls: list[bool] = []
    prepare = _numpy.prepare

    def prepared(*arguments: Any) -> _program.Program:
        program = prepare(*arguments)
        program.cuts = [cut._replace(steps=tuple(map(WithCalls, cut.steps))) for cut in program.cuts]
        return program

    monkeypatch.setattr(_numpy, "prepare", prepared)
    assert cupysample.interpolate(x, **arguments).tobytes() == expected
    assert len(calls) > 2
    _numpy._programs.clear()


# ---------------------------------------------------------------------------------------------------------------------
# Processes

PROGRAM = """
import atexit, faulthandler, multiprocessing, os, signal, sys, threading, time, warnings
faulthandler.dump_traceback_later({timeout}, exit=True)
warnings.simplefilter("ignore")
import numpy as np
import cupysample
from cupysample import _kernels, _threads

x = np.random.default_rng(0).random((8, 16, 64, 64), np.float32)

def run(_=None, out=None):
    return cupysample.interpolate(x, scale_factor=2, mode="bilinear", out=out)

def again_and_again():
    while True:
        run()

def busy(n=3):
    for _ in range(n):
        threading.Thread(target=again_and_again, daemon=True).start()
    time.sleep(0.05)

def hold(lock):
    held = threading.Event()
    def holding():
        with lock:
            held.set()
            time.sleep(60)
    threading.Thread(target=holding, daemon=True).start()
    held.wait()

if __name__ == "__main__":
    cupysample.set_num_threads(3)
"""


def process(tmp_path: Path, body: str) -> str:
    """What a Python of its own prints; it may not write to its standard error, nor hang."""
    script = tmp_path / "script.py"
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    script.write_text(PROGRAM.replace("{timeout}", str(TIMEOUT)) + lines)
    command = [sys.executable, "-c", f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"]
    if "multiprocessing" in body:  # whose children import the script
        command = [sys.executable, str(script)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT + 60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.strip()


HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()

METHODS = ["spawn", "forkserver", *(["fork"] if HAS_GIL else [])]
"""Without the GIL every dict has a lock, and CPython 3.13 leaves those that other threads hold taken in the child of a fork:
it hangs in ``multiprocessing`` itself."""


@pytest.mark.parametrize("method", METHODS)
def test_workers_of_multiprocessing(method: str, tmp_path: Path) -> None:
    """Started while the pool of this process is busy; the bits are the parent's."""
    body = f"""
expected = run().tobytes()
busy()
with multiprocessing.get_context("{method}").Pool(3) as workers:
    print(all(y.tobytes() == expected for y in workers.imap_unordered(run, range(12))))
"""
    assert process(tmp_path, body) == "True"


def test_a_fork_while_another_thread_compiles(tmp_path: Path) -> None:
    """The child does not inherit a lock that nobody will release."""
    body = """
hold(_kernels.lock)
child = os.fork()
if not child:
    os._exit(not _kernels.lock.acquire(timeout=5))
print(os.waitpid(child, 0)[1])
"""
    assert process(tmp_path, body) == "0"


def test_a_fork_while_another_thread_forks(tmp_path: Path) -> None:
    """For longer than this one has patience: the child's own threads pass where those of the parent wait."""
    body = """
_threads.forks.PATIENCE = 0.2
hold(_threads.forks._turnstile)
child = os.fork()
if not child:
    over = threading.Event()
    worker = threading.Thread(target=lambda: [run() for _ in iter(over.is_set, True)], daemon=True)
    worker.start()
    for _ in range(5):
        grandchild = os.fork()
        if not grandchild:
            os._exit(0)
        os.waitpid(grandchild, 0)
    over.set()
    worker.join(10)
    os._exit(worker.is_alive())
print(os.waitpid(child, 0)[1])
"""
    assert process(tmp_path, body) == "0"


ENDS = {
    "while daemons call": "busy()",
    "while threads call": """
for _ in range(3):
    threading.Thread(target=lambda: [run() for _ in range(10)]).start()
""",
    "with calls at exit, before and after ours": """
atexit.register(run)
busy(2)
atexit.register(run)
""",
    "by an exit in the middle": """
busy(1)
threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
again_and_again()
""",
    "in a finalizer of a module": """
class Last:
    def __del__(self, interpolate=cupysample.interpolate, x=x):
        interpolate(x, scale_factor=2)
run()
last = Last()
""",
}


ENDS_HERE = [how for how, body in ENDS.items() if HAS_GIL or not ("busy" in body or "__del__" in body)]
"""Without the GIL, CPython 3.13 kills daemons that hold the lock of a dict, and waits for that lock while it finalizes; and it
takes modules apart before the finalizers of their objects."""


@pytest.mark.parametrize("how", ENDS_HERE)
def test_the_interpreter_ends(how: str, tmp_path: Path) -> None:
    for _ in range(3):
        process(tmp_path, ENDS[how])


def test_interrupts(tmp_path: Path) -> None:
    """Whenever one comes, nobody writes into ``out`` after the call, the next call is right, and nothing hangs."""
    body = """
expected, out = run(), np.empty((8, 16, 128, 128), np.float32)
rng, interrupted = np.random.default_rng(1), 0
for n in range(300):
    delay = rng.uniform(0, 0.004)
    signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, delay + 1e-6)
        while True:
            run(out=out)
    except KeyboardInterrupt:
        interrupted += 1
    out[...] = -1
    if n % 10 == 0:
        time.sleep(0.01)
        assert (out == -1).all(), "written after the call"
        assert np.array_equal(run(out=out), expected)
print(interrupted, sum(thread.name.startswith("cupysample") for thread in threading.enumerate()))
"""
    assert process(tmp_path, body) == "300 2"


def test_an_interrupt_while_a_helper_works(tmp_path: Path) -> None:
    """It arrives when the helper has finished its piece, and only that one."""
    body = """
from cupysample import _threads
caller, done = threading.current_thread(), []
def work(pieces):
    for piece in pieces:
        time.sleep(0 if threading.current_thread() is caller and len(started) == 2 else 0.3)
        started.append(piece)
        done.append(piece)
started = [0, 0]
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.1, 0.05)
try:
    _threads.deal(work, range(2), 2)
except KeyboardInterrupt:
    signal.setitimer(signal.ITIMER_REAL, 0)
    before = list(done)
    time.sleep(0.5)
    print(before == done, len(done))
"""
    assert process(tmp_path, body) in ("True 2", "True 1")


# ---------------------------------------------------------------------------------------------------------------------
# Memory


class Memory(NamedTuple):
    """Bytes of this process that lie in memory, objects, and bytes that ``tracemalloc`` has seen, NumPy's among them."""

    resident: int
    objects: int
    traced: int


def memory() -> Memory:
    """With nothing kept that is only free: ``malloc`` gives it back first, where it can be asked to."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Memory(pages * os.sysconf("SC_PAGE_SIZE"), sys.getallocatedblocks(), tracemalloc.get_traced_memory()[0])


@pytest.mark.parametrize("path", ["numpy", "torch", HOST], indirect=True)
def test_memory_is_flat(path: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """New calls and warm ones in turns; 100,000 and traced with ``--exhaustive``: nothing is kept that has no bound."""
    exhaustive = request.config.getoption("--exhaustive")
    n = 100_000 if exhaustive else 6_000
    if not exhaustive:  # else the caches are filled as they are
        for module, name, bound in ((_interpolate, "CALLS", 64), (_numpy, "PROGRAMS", 16), (_cuda, "LAUNCHES", 64)):
            monkeypatch.setattr(module, name, bound)
    monkeypatch.setattr(_cuda, "TABLES_BYTES", 1 << 14)
    rng, of = np.random.default_rng(0), ROUTES[path].of
    inputs = [of(cases.values(rng, (1, 2, 9, 11), dtype)) for dtype in ("float32", "uint8")]
    every = list(
        itertools.product(
            range(1, 200 if exhaustive else 40), range(1, 40), ("nearest", "bilinear", "bicubic", "area"), inputs
        )
    )
    new = iter(rng.permutation(len(every)).tolist())

    caches: list[tuple[str, Any, Any]] = [
        ("CALLS", _interpolate, _interpolate._calls),
        ("PROGRAMS", _numpy, _numpy._programs),
        ("LAUNCHES", _cuda, _cuda._launches),
    ]

    def calls(n: int) -> Memory:
        for i in itertools.islice(new, n // 2):
            height, width, mode, x = every[i]
            cupysample.interpolate(x, size=(height, width), mode=mode)
            cupysample.interpolate(x, size=(7, 5), mode=mode)
        for bound, module, cache in caches:
            assert len(cache) <= getattr(module, bound)
        forget()  # how full they are varies
        if path == "cupy":
            cupy_on_host.driver().launched.clear()  # the stand-in's own
        return memory()

    if exhaustive:
        tracemalloc.start()
    try:
        calls(n // 2)
        before = calls(n // 4)
        after = calls(n // 4)
    finally:
        tracemalloc.stop()
    kept = Memory(*(b - a for a, b in zip(before, after, strict=True)))
    assert kept.resident < 4 << 20, kept
    assert kept.objects < n // 4 // 16, kept
    assert kept.traced < n, kept
