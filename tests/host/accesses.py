"""What the memory accesses of a launch show: traffic in sectors, and races.

A request is the k-th execution of one instruction by the threads of one warp. Threads that skip an iteration their
neighbours take are counted with the wrong ones from there on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ACCESS = np.dtype(  # as in cuda_on_host.cpp
    [
        ("address", np.uint64),
        ("pc", np.uint64),
        ("block", np.uint32),
        ("thread", np.uint32),
        ("interval", np.uint32),  # block barriers passed
        ("size", np.uint32),
        ("is_write", np.uint32),
        ("occurrence", np.uint32),  # executions of pc by this thread before this one
    ]
)
SECTOR = 32
WARP = 32


class Range(NamedTuple):
    """Bytes of memory."""

    address: int
    nbytes: int

    def holds(self, addresses: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of `addresses` lie inside."""
        return (addresses >= self.address) & (addresses < self.address + self.nbytes)


@dataclass(frozen=True)
class Log:
    """Accesses in the order of execution, and where the arrays and the shared memory of the launch were."""

    accesses: NDArray[Any]
    arrays: Mapping[str, Range]
    shared: Mapping[str, Range]

    def of(self, buffer: str) -> NDArray[Any]:
        """The accesses to an array, to "shared" (dynamic) or to a static shared variable."""
        return self.accesses[{**self.arrays, **self.shared}[buffer].holds(self.accesses["address"])]


class Traffic(NamedTuple):
    """What the reads, or the writes, of one buffer move; sectors have 32 bytes."""

    accesses: int
    bytes: int
    launch_sectors: int  # distinct in the launch: what DRAM moves at least
    block_sectors: int  # distinct in a block, summed: what L2 moves where L1 keeps a block's sectors
    requests: int  # of warps
    request_sectors: int  # distinct in a request, summed: what L1 moves

    @property
    def sectors_per_request(self) -> float:
        """1 per 32 bytes of a coalesced request: 4 for 32 lanes with 4 bytes each, 32 at worst."""
        return self.request_sectors / self.requests


class Race(NamedTuple):
    """A byte that `threads` touch, `writers` of them writing, with no barrier between."""

    buffer: str
    byte: int
    threads: tuple[tuple[int, int], ...]  # (block, thread), both linear
    writers: tuple[tuple[int, int], ...]
    interval: int | None  # of the block, in shared memory


def numbered(accesses: NDArray[Any]) -> NDArray[Any]:
    """Fill in `occurrence`."""
    order = np.lexsort((accesses["pc"], accesses["thread"], accesses["block"]))  # stable
    keys = accesses[["block", "thread", "pc"]][order]
    starts = _starts(keys)
    counts = np.diff(np.append(starts, len(keys)))
    accesses["occurrence"][order] = np.arange(len(keys)) - np.repeat(starts, counts)
    return accesses


def sectors(log: Log) -> dict[tuple[str, str], Traffic]:
    """(array, "read" or "write") -> its traffic; only what occurs is listed."""
    table = {}
    for name in log.arrays:
        accesses = log.of(name)
        for word, is_write in (("read", 0), ("write", 1)):
            some = accesses[accesses["is_write"] == is_write]
            if len(some):
                table[name, word] = _traffic(some)
    return table


def _traffic(accesses: NDArray[Any]) -> Traffic:
    which, sector = _units(accesses, SECTOR)
    block, warp = accesses["block"], accesses["thread"] // WARP
    request = _labels(block, warp, accesses["pc"], accesses["occurrence"])
    return Traffic(
        accesses=len(accesses),
        bytes=int(accesses["size"].sum(dtype=np.int64)),
        launch_sectors=_distinct(sector),
        block_sectors=_distinct(sector, block[which]),
        requests=int(request.max()) + 1,
        request_sectors=_distinct(sector, request[which]),
    )


def races(log: Log, limit: int = 100) -> list[Race]:
    """Bytes touched by two threads, one of them writing: in shared memory by threads of one block between two of its
    barriers, in arrays by any threads. The first `limit` of each buffer. A warp's own synchronisation does not count.
    """
    found = []
    for name, where in {**log.shared, **log.arrays}.items():
        accesses = log.of(name)
        if name in log.shared:  # nearly all are reads between two barriers where nobody writes
            between = accesses["block"].astype(np.int64) * (1 + int(accesses["interval"].max(initial=0)))
            between += accesses["interval"]
            written = np.zeros(1 + int(between.max(initial=0)), bool)
            written[between[accesses["is_write"] == 1]] = True
            accesses = accesses[written[between]]
        if not accesses["is_write"].any():
            continue
        which, byte = _units(accesses, 1)
        accesses = accesses[which]
        if name in log.shared:
            key = _labels(accesses["block"], accesses["interval"], byte)
        else:
            key = _labels(byte)
        order = np.argsort(key, kind="stable")
        key, accesses, byte = key[order], accesses[order], byte[order]
        thread = accesses["block"].astype(np.int64) << 10 | accesses["thread"]  # at most 1024 threads in a block
        starts = _starts(key)
        suspect = np.maximum.reduceat(thread, starts) != np.minimum.reduceat(thread, starts)
        suspect &= np.maximum.reduceat(accesses["is_write"], starts) == 1
        ends = np.append(starts[1:], len(key))
        for start, end in zip(starts[suspect][:limit], ends[suspect][:limit], strict=True):
            group = accesses[start:end]
            found.append(
                Race(
                    buffer=name,
                    byte=int(byte[start]) - where.address,
                    threads=_threads(group),
                    writers=_threads(group[group["is_write"] == 1]),
                    interval=int(group["interval"][0]) if name in log.shared else None,
                )
            )
    return found


def _threads(accesses: NDArray[Any]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted({(int(a["block"]), int(a["thread"])) for a in accesses}))


def _units(accesses: NDArray[Any], size: int) -> tuple[NDArray[np.intp], NDArray[np.uint64]]:
    """Every unit of `size` bytes that every access touches: (index of the access, number of the unit)."""
    first = accesses["address"] // np.uint64(size)
    last = (accesses["address"] + accesses["size"] - np.uint64(1)) // np.uint64(size)
    counts = (last - first).astype(np.intp) + 1
    which = np.repeat(np.arange(len(accesses)), counts)
    step = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    return which, first[which] + step.astype(np.uint64)


def _labels(*keys: NDArray[Any]) -> NDArray[np.intp]:
    """Rows of keys as numbers from 0, equal where the rows are."""
    order = np.lexsort(keys)
    new = np.zeros(len(order), bool)
    for key in keys:
        new[1:] |= key[order][1:] != key[order][:-1]
    labels = np.empty(len(order), np.intp)
    labels[order] = np.cumsum(new)
    return labels


def _distinct(*keys: NDArray[Any]) -> int:
    return int(_labels(*keys).max()) + 1


def _starts(keys: NDArray[Any]) -> NDArray[np.intp]:
    """Where runs of equal keys begin."""
    new = np.ones(len(keys), bool)
    new[1:] = keys[1:] != keys[:-1]
    return np.flatnonzero(new)
