"""Threads of the NumPy path: how many, who works, and that results do not depend on it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import cupysample
from cupysample import _interpolate, _numpy, _program, _threads
from tests import cases

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The number of threads is the process's, so it is put back; and the pool begins anew."""
    before = list(_threads._chosen)
    _threads._pool.end()
    _threads._pool.forget()
    yield
    _threads._chosen[:] = before


def noise(*shape: int, dtype: str = "float32") -> NDArray[Any]:
    return cases.values(np.random.default_rng(0), shape, dtype)


LARGE = (8, 16, 96, 96)
"""Worth several threads."""

CALLS: dict[str, dict[str, Any]] = {
    "products": {"scale_factor": 2, "mode": "bicubic"},
    "slices": {"scale_factor": 0.5, "mode": "area"},
    "antialias": {"size": (50, 61), "mode": "lanczos", "antialias": True},
    "repeats": {"scale_factor": 2},
    "gathers": {"size": (150, 131)},
    "copies": {"scale_factor": 0.5},
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64", "complex64", "uint8", "int16"])
def test_bits_are_the_same_for_any_number_of_threads(name: str, layout: str, dtype: str) -> None:
    """And on every run, prepared anew; a NaN in one tile included, which is computed in another way."""
    x = noise(*LARGE, dtype=dtype)
    if dtype in cases.FLOATS:
        x[2, 3, 40, 41] = np.nan
    x = cases.lay_out(x, layout)
    results = set()
    for n in (1, 2, 3, 3, 2):
        cupysample.set_num_threads(n)
        _interpolate._calls.clear()
        _numpy._programs.clear()
        results.add(cupysample.interpolate(x, **CALLS[name]).tobytes())
    assert len(results) == 1


@pytest.mark.parametrize("name", CALLS)
def test_bits_of_gradients(name: str) -> None:
    shape = (8, 16, 48, 48)
    size = cupysample.interpolate(np.empty(shape, np.float32), **CALLS[name]).shape
    gradient = noise(*size)
    results = set()
    for n in (1, 2, 3):
        cupysample.set_num_threads(n)
        results.add(cupysample.interpolate_backward(gradient, shape, **CALLS[name]).tobytes())
    assert len(results) == 1


def workers(monkeypatch: pytest.MonkeyPatch, call: Any) -> set[str]:
    """The names of the threads that made tiles during a call."""
    names = set()
    make = _program.Program._make

    def spy(*arguments: Any) -> None:
        names.add(threading.current_thread().name)
        time.sleep(0.01)  # so that every thread has some
        make(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(_program.Program, "_make", spy)
        call()
    return names


def test_so_many_threads_work(monkeypatch: pytest.MonkeyPatch) -> None:
    x, small = noise(*LARGE), noise(1, 3, 8, 8)
    for n in (1, 2, 3):
        cupysample.set_num_threads(n)
        assert cupysample.get_num_threads() == n
        names = workers(monkeypatch, lambda: cupysample.interpolate(x, scale_factor=2))
        assert len(names) <= n
        assert threading.current_thread().name in names
        assert len(workers(monkeypatch, lambda: cupysample.interpolate(small, scale_factor=2))) == 1
    assert len(workers(monkeypatch, lambda: cupysample.interpolate(x, scale_factor=2))) > 1
    assert sum(thread.name.startswith("cupysample") for thread in threading.enumerate()) <= 3  # the pool grows


class Threads:
    """How many threads a worker of a loader has: by default, and once that was set."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, _: int) -> tuple[int, int]:
        before = cupysample.get_num_threads()
        cupysample.set_num_threads(7)
        return before, cupysample.get_num_threads()


def test_workers_of_a_loader_have_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch gives them: there are as many of them as there are CPUs to use."""
    monkeypatch.setattr(_threads, "_chosen", [])
    monkeypatch.setattr(_threads, "cpus", lambda: 3)
    monkeypatch.setattr(_threads, "_blas_threads", lambda: 3)
    loader = torch.utils.data.DataLoader(Threads(), batch_size=None, num_workers=2)
    assert [tuple(each) for each in loader] == [(1, 7)] * 2
    assert cupysample.get_num_threads() == 3


def test_tensors_follow_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    cupysample.set_num_threads(3)
    t, before = torch.from_numpy(noise(*LARGE)), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = cupysample.interpolate(t, scale_factor=2, mode="bilinear")
        names = workers(monkeypatch, lambda: cupysample.interpolate(t, scale_factor=2, mode="bilinear"))
        assert names == {threading.current_thread().name}
        torch.set_num_threads(2)
        cupysample.set_num_threads(1)
        names = workers(monkeypatch, lambda: cupysample.interpolate(t, scale_factor=2, mode="bilinear"))
        assert len(names) == 2
        assert torch.equal(cupysample.interpolate(t, scale_factor=2, mode="bilinear"), one)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("n", [0, -1, np.int64(0)])
def test_fewer_than_one(n: Any) -> None:
    with pytest.raises(ValueError, match=f"^n: must be at least 1, got {n}$"):
        cupysample.set_num_threads(n)


@pytest.mark.parametrize("n", [1.0, "2", None, True, np.bool_(True)])
def test_not_a_number_of_threads(n: Any) -> None:
    with pytest.raises(TypeError, match=r"^n: must be an int, the number of threads, got "):
        cupysample.set_num_threads(n)


def test_numpy_integers_are_numbers() -> None:
    cupysample.set_num_threads(np.int64(2))  # type: ignore[arg-type]
    assert cupysample.get_num_threads() == 2


def in_a_process(program: str, **environment: str) -> str:
    """What a Python of its own prints."""
    limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    variables = {name: value for name, value in os.environ.items() if name not in limits} | environment
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


def test_limits_of_the_environment() -> None:
    program = "import cupysample; print(cupysample.get_num_threads())"
    cpus = len(os.sched_getaffinity(0))
    assert in_a_process(program) == str(cpus)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        assert in_a_process(program, **{name: "1"}) == "1"
        assert in_a_process(program, **{name: str(cpus + 7)}) == str(cpus)
    assert in_a_process("import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n" + program) == "1"


def test_limits_of_a_blas_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_threads, "BLAS", ("no_such_function",))
    for name in _threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert _threads._find_blas()() > 1 << 20
    monkeypatch.setenv("MKL_NUM_THREADS", "5")
    monkeypatch.setenv("OMP_NUM_THREADS", "7,3")  # a list, as OpenMP has it for nested regions
    assert _threads._find_blas()() == 5
    monkeypatch.setenv("MKL_NUM_THREADS", "many")
    assert _threads._find_blas()() == 7


def test_what_limits_blas_at_run_time_limits_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """As threadpoolctl does: it asks the library itself, which is asked anew for every call."""
    limit = [1]
    monkeypatch.setattr(_threads, "_blas", [lambda: limit[0]])
    monkeypatch.setattr(_threads, "cpus", lambda: 8)
    _threads._chosen.clear()
    for limit[0] in (1, 5, 64, 0):
        assert cupysample.get_num_threads() == min(8, max(1, limit[0]))
    cupysample.set_num_threads(12)
    assert cupysample.get_num_threads() == 12


def test_a_thread_that_starts_while_the_pool_ends_ends_too() -> None:
    """A daemon may make its first call while the interpreter ends, which would wait for that thread forever."""
    pool = _threads._Pool()
    pool._grow(2)
    pool.end()
    pool._grow(3)
    for thread in pool.threads:
        thread.join(10)
    assert [thread.is_alive() for thread in pool.threads] == [False] * 3


def test_a_forked_child_has_its_own_pool() -> None:
    """With a helper of its own, after the parent has used its pool and while another thread of it is using that."""
    program = """
import os, sys, threading, warnings
import numpy as np, cupysample
warnings.simplefilter("ignore")
cupysample.set_num_threads(2)
x = np.random.default_rng(0).random((8, 32, 64, 64), np.float32)
run = lambda: cupysample.interpolate(x, scale_factor=2, mode="bilinear")
expected = run()
stop = threading.Event()
busy = threading.Thread(target=lambda: [run() for _ in iter(stop.is_set, True)])
busy.start()
for _ in range(5):
    child = os.fork()
    if not child:
        right = all(np.array_equal(run(), expected) for _ in range(3))
        helped = any(thread.name.startswith("cupysample") for thread in threading.enumerate())
        os._exit(0 if right and helped else 1)
    print(os.waitpid(child, 0)[1])
stop.set()
busy.join()
"""
    assert in_a_process(program).split() == ["0"] * 5


@pytest.mark.parametrize(("patience", "takes", "ended"), [(60, 0.5, 1), (0.1, 60, 0)])
def test_a_fork_waits_for_the_tiles_of_other_threads(patience: float, takes: float, ended: int) -> None:
    """Else it might copy a lock of BLAS that is taken; not for ever; not for its own thread, of which a handler may fork."""
    program = f"""
import os, threading, time
import numpy as np
from cupysample import _program, _threads
import cupysample
_threads.forks.PATIENCE = {patience}
begun, went_on, ended = threading.Event(), threading.Event(), []
exactly = _program.Program._exactly

def slow(*arguments):
    begun.set()
    went_on.wait({takes})
    ended.append(1)
    exactly(*arguments)

def forked():
    child = os.fork()
    if not child:
        _program.Program._exactly = exactly
        x = np.ones((1, 1, 4, 4), np.int16)
        os._exit(len(ended) if (cupysample.interpolate(x, scale_factor=2, mode="bilinear") == 1).all() else 9)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

_program.Program._exactly = slow
run = lambda: cupysample.interpolate(np.zeros((1, 1, 4, 4), np.int16), scale_factor=2, mode="bilinear")
busy = threading.Thread(target=run)
busy.start()
begun.wait()
print(forked())
went_on.set()
busy.join()
ended.clear()
_program.Program._exactly = lambda *arguments: print(forked())
run()
print(_threads.forks.at_work, _threads.forks.coming)
"""
    assert in_a_process(program).split() == [str(ended), "0", "{}", "False"]


@pytest.mark.parametrize("seen", [False, True])
def test_a_fork_that_comes_as_a_tile_begins(seen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the tile, whose thread has looked before, or the tile for it, whose thread has looked after."""
    order: list[str] = []
    came = threading.Event()

    class Forks(_threads._Forks):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, value)
            if name == "coming" and value:
                came.set()

        def __getattribute__(self, name: str) -> Any:
            found = super().__getattribute__(name)
            if name == "coming" and not came.is_set():
                forking.start()
                assert came.wait(60)
                return seen
            return found

    def fork() -> None:
        forks.before()
        order.append("fork")
        forks.after()

    def exactly(*_: Any) -> None:
        forking.join(0.2)
        order.append("tile")
        assert list(forks.at_work.values()) == [threading.get_ident()]  # the next fork waits

    forks, forking = Forks(), threading.Thread(target=fork)
    forks.PATIENCE = 60
    monkeypatch.setattr(_threads, "forks", forks)
    monkeypatch.setattr(_program.Program, "_exactly", exactly)
    cupysample.interpolate(np.zeros((1, 1, 4, 4), np.int16), scale_factor=2, mode="bilinear")
    forking.join()
    assert order == (["fork", "tile"] if seen else ["tile", "fork"])
    assert not forks.at_work
    assert not forks.coming


def test_nested_and_concurrent_calls() -> None:
    """From threads of a pool, more of them than helpers: each ends, and is right."""
    cupysample.set_num_threads(3)
    x = noise(*LARGE)
    expected = cupysample.interpolate(x, scale_factor=2, mode="bilinear").tobytes()
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(cupysample.interpolate, x, None, 2, "bilinear") for _ in range(24)]
        assert all(future.result(timeout=60).tobytes() == expected for future in futures)
    assert sum(thread.name.startswith("cupysample") for thread in threading.enumerate()) <= 4


@pytest.mark.parametrize("can_start", [0, 1, 2])
def test_work_goes_on_when_no_more_threads_can_start(monkeypatch: pytest.MonkeyPatch, can_start: int) -> None:
    """As where the system limits them: with those that could, and nobody is still working afterwards."""
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if len(started) == can_start:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    done: list[int] = []
    caller = threading.current_thread()

    def work(pieces: Iterator[int]) -> None:
        for piece in pieces:
            time.sleep(0.005 if threading.current_thread() is caller else 0.05)
            done.append(piece)

    for _ in range(2):
        _threads.deal(work, range(10), 4)
        assert sorted(done) == list(range(10))
        done.clear()
    assert len(_threads._pool.threads) == len(started) == can_start


def test_calls_at_exit() -> None:
    program = """
import atexit, numpy as np, cupysample
x = np.ones((8, 32, 64, 64), np.float32)
def late():
    cupysample.set_num_threads(2)
    print(cupysample.interpolate(x, scale_factor=2).sum())
atexit.register(late)
"""
    assert float(in_a_process(program)) == 8 * 32 * 128 * 128


def test_every_piece_is_dealt_once() -> None:
    dealt: list[int] = []

    def work(pieces: Iterator[int]) -> None:
        for piece in pieces:
            time.sleep(0.0005)
            dealt.append(piece)

    _threads.deal(work, range(100), 4)
    assert sorted(dealt) == list(range(100))


@pytest.mark.parametrize("caller_fails", [True, False])
def test_errors_arrive_when_all_are_done(caller_fails: bool) -> None:
    """Of the caller's own share, which stops the others, or of a helper's; nobody works on afterwards."""
    caller, working = threading.current_thread(), threading.Event()
    active: list[int] = []

    def work(pieces: Iterator[int]) -> None:
        mine = threading.current_thread() is caller
        for piece in pieces:
            active.append(piece)
            if mine == caller_fails:
                if mine:
                    working.wait(10)
                raise KeyError("broken")
            working.set()
            time.sleep(0.01)
            active.append(-piece)

    with pytest.raises(KeyError, match="broken"):
        _threads.deal(work, range(1, 30), 2)
    before = list(active)
    time.sleep(0.05)
    assert active == before
    assert not caller_fails or len(active) < 29


def test_nobody_works_on_after_an_interrupt() -> None:
    """Wherever it arrives: at the entry of a function, where CPython looks for signals."""
    active: list[int] = []

    def work(pieces: Iterator[int]) -> None:
        for piece in pieces:
            active.append(piece)
            time.sleep(0.002)
            active.append(-piece)

    _threads.deal(work, range(1, 9), 3)  # the threads are there
    entered: list[str] = []
    while True:
        countdown = len(entered)
        del entered[:], active[:]

        def interrupt(frame: FrameType, event: str, _: Any) -> None:
            if event == "call" and frame.f_code.co_filename == _threads.__file__:
                entered.append(frame.f_code.co_name)
                if len(entered) > countdown:  # noqa: B023 - set before each of its calls
                    raise KeyboardInterrupt

        sys.setprofile(interrupt)
        try:
            _threads.deal(work, range(1, 9), 3)
            break
        except KeyboardInterrupt:
            before = list(active)
        finally:
            sys.setprofile(None)
        time.sleep(0.01)
        assert active == before, entered[-1]
    assert sorted(each for each in active if each > 0) == list(range(1, 9))
    assert {"deal", "run", "call", "__next__", "_close"} <= set(entered)


@pytest.mark.parametrize("caller_fails", [True, False])
def test_errors_let_go_of_arrays(caller_fails: bool) -> None:
    """Without the garbage collector: the frames of a traceback hold none that hold it."""
    caller, helping = threading.current_thread(), threading.Event()
    alive: list[weakref.ref[NDArray[Any]]] = []

    def work(pieces: Iterator[int]) -> None:
        held, mine = np.empty(8), threading.current_thread() is caller
        alive.append(weakref.ref(held))
        for _ in pieces:
            if mine:
                helping.wait(10)
            else:
                helping.set()
            if mine == caller_fails:
                raise MemoryError

    gc.disable()
    try:
        with suppress(MemoryError):
            _threads.deal(work, range(4), 2)
            raise AssertionError("nobody failed")
        end = time.monotonic() + 10
        while any(each() is not None for each in alive) and time.monotonic() < end:  # a helper may be about to let go
            time.sleep(0.001)
        assert [each() for each in alive] == [None, None]
    finally:
        gc.enable()
