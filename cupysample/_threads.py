"""Threads for the NumPy path: how many, dealing work to them, and forks beside them.

The thread that calls always works itself; helpers of one pool, which all callers share, join it as they are free. So calls
from many threads at once never wait for each other's helpers, the pool never grows beyond its bound, and a call that finds
no helper, because none can start or the interpreter ends, is only slower. What a piece of work is must not depend on who
does it.
"""

from __future__ import annotations

import atexit
import ctypes
import operator
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from cupysample._words import shown

if TYPE_CHECKING:
    from queue import SimpleQueue

_chosen: list[int] = []
"""The number given to ``set_num_threads``, if any."""


def set_num_threads(n: int) -> None:
    """Set how many threads resample one NumPy array; ``torch.set_num_threads`` for cupysample.

    The bits of a result do not depend on it. Tensors of torch on the CPU follow ``torch.set_num_threads`` instead.

    Parameters
    ----------
    n : int
        At least 1; the calling thread is one of them.

    Returns
    -------
    None

    Raises
    ------
    TypeError
        ``n`` is not an integer.
    ValueError
        ``n`` is less than 1.
    """
    try:
        number = None if isinstance(n, bool | np.bool_) else operator.index(n)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"n: must be an int, the number of threads, got {shown(n)}")
    if number < 1:
        raise ValueError(f"n: must be at least 1, got {number}")
    _chosen[:] = [number]


def get_num_threads() -> int:
    """Return how many threads resample one NumPy array; ``torch.get_num_threads`` for cupysample.

    Parameters
    ----------
    None

    Returns
    -------
    int
        The number given to ``set_num_threads``. Before that, what NumPy's own BLAS may use at this moment, so that
        whatever limits it (``OMP_NUM_THREADS``, ``OPENBLAS_NUM_THREADS``, ``threadpoolctl``) limits this too; and
        never more than the CPUs this process may run on; and 1 in a worker of a torch ``DataLoader``, as torch's own.
    """
    if _chosen:
        return _chosen[0]
    if _is_a_worker():
        return 1
    return max(1, min(cpus(), _blas_threads()))


def _is_a_worker() -> bool:
    """Whether this process is one of several that load data side by side."""
    info = getattr(sys.modules.get("torch.utils.data"), "get_worker_info", None)
    return info is not None and info() is not None


def cpus() -> int:
    """The CPUs that this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


BLAS = (
    "scipy_openblas_get_num_threads64_",
    "scipy_openblas_get_num_threads",
    "openblas_get_num_threads64_",
    "openblas_get_num_threads",
    "MKL_Get_Max_Threads",
)
"""Functions of the libraries that NumPy is linked with, each returning its limit."""

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""What limits a BLAS that cannot be asked."""


def _find_blas() -> Callable[[], int]:
    """How to ask NumPy's BLAS; the environment where there is no way."""
    try:
        library = ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined]
        for name in BLAS:
            if hasattr(library, name):
                found: Callable[[], int] = getattr(library, name)
                return found
    except (OSError, AttributeError):
        pass
    return lambda: min(
        (int(text) for name in VARIABLES if (text := os.environ.get(name, "").partition(",")[0]).isdigit()),
        default=1 << 30,
    )


_blas: list[Callable[[], int]] = []


def _blas_threads() -> int:
    if not _blas:
        _blas.append(_find_blas())
    return _blas[0]()


# ---------------------------------------------------------------------------------------------------------------------
# The pool


_NONE = object()
"""No piece."""


class _Job:
    """An iterator of pieces of work, each given out once, to the thread that calls or to a helper that has joined.

    Nothing but the job counts who works on it, so whatever becomes of a call for help, ``run`` ends when nobody does.
    """

    def __init__(self, work: Callable[[Iterator[Any]], None], pieces: Iterable[Any]) -> None:
        self._work: Callable[[Iterator[Any]], None] | None = work
        self._pieces = iter(pieces)
        self._helpers = 0
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._helped = threading.Lock()  # held while somebody helps; an interrupted wait for it has not taken it

    def __iter__(self) -> _Job:
        return self

    def __next__(self) -> Any:
        with self._lock:  # nothing is raised inside: before CPython 3.11 an interrupt that follows would leave it taken
            piece = next(self._pieces, _NONE)
        if piece is _NONE:
            raise StopIteration
        return piece

    def run(self, helpers: int) -> None:
        """Work on it, with so many helpers if they are free, until all is done; or raise what one of them raised."""
        work = self._work
        assert work is not None
        interrupt: BaseException | None = None
        try:
            _pool.call(helpers, self)
            work(self)
        except BaseException as caught:
            interrupt = caught
        while True:  # entered without a call, at whose beginning an interrupt would leave the helpers writing
            try:
                with self._lock:
                    self._close()
                while self._helpers:
                    self._helped.acquire()
                break
            except BaseException as caught:
                interrupt = caught  # it waits with us, for as long as a piece takes
        error, self._error = interrupt or self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error, interrupt  # which hold this frame, and so the arrays

    def help(self) -> None:
        """Join it, unless it is over."""
        with self._lock:
            work = self._work
            if work is None:
                return
            if self._helpers == 0:
                self._helped.acquire()
            self._helpers += 1
        error = None
        try:
            work(self)
        except BaseException as caught:
            error = caught
        with self._lock:
            if error is not None:
                self._error = error
                self._close()
            self._helpers -= 1
            if self._helpers == 0:
                self._helped.release()
        del error, work  # as in run

    def _close(self) -> None:
        """Give out no more, and let go of the arrays, for a call for help may lie in the queue for long."""
        self._work, self._pieces = None, iter(())


class _Pool:
    """Threads that wait for calls for help. What they do is safe to be interrupted by signals and forks."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew: the threads of the parent of a fork do not exist in the child."""
        self.threads: list[threading.Thread] = []
        self._calls: SimpleQueue[_Job | None] | None = None
        self._growing = threading.Lock()
        self._ended = False

    def call(self, n: int, job: _Job) -> None:
        """Ask ``n`` threads to help with a job; fewer where no more can start."""
        if self._ended:
            return
        if len(self.threads) < n and self._growing.acquire(blocking=False):  # else another thread is at it
            try:
                self._grow(n)
            finally:
                self._growing.release()
        for _ in range(min(n, len(self.threads))):
            assert self._calls is not None
            self._calls.put(job)

    def _grow(self, n: int) -> None:
        if self._calls is None:
            from queue import SimpleQueue  # a millisecond of import time

            self._calls = SimpleQueue()
        while len(self.threads) < n:
            name = f"cupysample_{len(self.threads)}"
            self.threads.append(threading.Thread(target=_answer, args=(self._calls,), name=name, daemon=True))
            try:
                self.threads[-1].start()
            except RuntimeError:  # the system has no more threads for us, or the interpreter ends
                self.threads.pop()
                return

    def end(self) -> None:
        """Let all threads end, also those that a caller is just about to start, and wait for them."""
        self._ended = True
        if self._calls is not None:
            self._calls.put(None)
        for thread in self.threads:
            if thread.is_alive():
                thread.join()


def _answer(calls: SimpleQueue[_Job | None]) -> None:
    """What a thread of the pool does."""
    while (job := calls.get()) is not None:
        job.help()
    calls.put(None)  # for the next one


_pool = _Pool()
atexit.register(_pool.end)  # no thread may be inside of NumPy while the interpreter is taken apart


def deal(work: Callable[[Iterator[Any]], None], pieces: Iterable[Any], threads: int) -> None:
    """Call ``work`` in as many threads, each with an iterator of which every piece comes out once, in one of them."""
    _Job(work, pieces).run(threads - 1)


# ---------------------------------------------------------------------------------------------------------------------
# Forks


class _Forks:
    """Who is inside of NumPy, for whom a fork waits: a lock of BLAS that one of them held nobody in the child would release."""

    PATIENCE = 5.0
    """Seconds that it waits, at most."""

    def __init__(self) -> None:
        self.at_work: dict[object, int] = {}
        """Threads at a tile, by what is theirs alone: as often as they are, for a signal's handler or a finalizer may resample
        too. Who begins puts itself here, then looks whether a fork is coming, which looks here after it has said so: one
        sees the other."""
        self.coming = False
        self._turnstile = threading.RLock()

    def stand_aside(self, tile: object) -> None:
        """Leave work until the fork that is coming is over; who forks passes."""
        me = self.at_work.pop(tile)
        with self._turnstile:  # back at work before the next one looks
            self.at_work[tile] = me

    def before(self) -> None:
        """Let nobody begin, and wait until the others have ended."""
        self._turnstile.acquire(timeout=self.PATIENCE)
        self.coming = True
        me, end = threading.get_ident(), time.monotonic() + self.PATIENCE
        while any(thread != me for thread in list(self.at_work.values())) and time.monotonic() < end:
            time.sleep(5e-5)

    def after(self) -> None:
        """Let them go on."""
        self.coming = False
        with suppress(RuntimeError):  # another fork, which took too long, still holds it
            self._turnstile.release()

    def after_in_child(self) -> None:
        """Of the threads, there is this one alone; another may have held the turnstile, and will not release it here."""
        me, self._turnstile = threading.get_ident(), threading.RLock()
        self.at_work = {tile: thread for tile, thread in self.at_work.items() if thread == me}
        self.coming = False
        _pool.forget()


forks = _Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=forks.before, after_in_parent=forks.after, after_in_child=forks.after_in_child)
