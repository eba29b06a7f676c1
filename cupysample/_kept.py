"""What is kept of earlier calls, bounded in number and in bytes.

Plain dicts without a lock, which a fork might leave taken: every step is one operation of a dict, and two threads that make
the same thing do no harm.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Protocol, TypeVar


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


K = TypeVar("K")
V = TypeVar("V", bound=_Sized)


def keep(kept: dict[K, tuple[V, int]], key: K, value: V, most: int, nbytes: int) -> V:
    """Add one with its bytes, forget the oldest beyond so many or so many bytes, and return it.

    The newest stays, whatever its size. Bytes are counted once, for that may take long; and added up each time, by no loop of
    Python's: that takes a tenth of a millisecond for a thousand, as long as to make what is kept.
    """
    kept[key] = value, value.nbytes
    nbytes -= sum(map(itemgetter(1), list(kept.values())))
    if len(kept) > most or nbytes < 0:
        for each, (_, held) in list(kept.items())[:-1]:
            if len(kept) <= most and nbytes >= 0:
                break
            kept.pop(each, None)
            nbytes += held
    return value
