"""Threads for the NumPy path: how many, and dealing work to them.

The thread that calls always works itself; helpers of one pool, which all callers share, take work from it as they are
free. So calls from many threads at once never wait for each other's helpers, and the pool never grows beyond its bound.
What a piece of work is must not depend on who does it.
"""

from __future__ import annotations

import ctypes
import operator
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cupysample._words import shown

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

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
        number = operator.index(n)
    except TypeError:
        number = None
    if number is None or isinstance(n, bool | np.bool_):
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
        never more than the CPUs this process may run on.
    """
    if _chosen:
        return _chosen[0]
    return max(1, min(_cpus(), _blas_threads()))


def _cpus() -> int:
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


_pool: list[tuple[int, ThreadPoolExecutor]] = []


def _forget() -> None:
    """The threads of the parent of a fork do not exist in the child."""
    _pool.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _helpers(n: int) -> ThreadPoolExecutor:
    """The pool, of at least ``n`` threads."""
    if not _pool or _pool[-1][0] < n:
        from concurrent.futures import ThreadPoolExecutor  # a tenth of the import time of NumPy

        _pool[:] = [(n, ThreadPoolExecutor(n, "cupysample"))]  # one that is replaced ends when its work is done
    return _pool[-1][1]


def deal(work: Callable[[Iterator[Any]], None], pieces: Iterable[Any], threads: int) -> None:
    """Call ``work`` in as many threads, each with an iterator of which every piece comes out once, in one of them."""
    hands = _Hands(iter(pieces))
    futures: list[Future[None]] = []
    try:
        if threads > 1:
            try:
                pool = _helpers(threads - 1)
                futures = [pool.submit(work, hands) for _ in range(threads - 1)]
            except RuntimeError:  # no new threads while the interpreter ends
                pass
        work(hands)
    except BaseException:
        hands.stop()
        raise
    finally:
        running = [future for future in futures if not future.cancel()]
        for future in running:
            future.exception()  # waits: nobody may still be writing
    for future in running:
        future.result()


class _Hands:
    """An iterator for several threads."""

    def __init__(self, pieces: Iterator[Any]) -> None:
        self._pieces = pieces
        self._lock = threading.Lock()

    def __iter__(self) -> _Hands:
        return self

    def __next__(self) -> Any:
        with self._lock:
            return next(self._pieces)

    def stop(self) -> None:
        """Give out no more."""
        self._pieces = iter(())
