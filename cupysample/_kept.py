"""What is kept of earlier calls, bounded in number and in bytes.

Plain dicts without a lock, which a fork might leave taken: every step is one operation of a dict, and two threads that make
the same thing do no harm.
"""

from __future__ import annotations

from typing import Protocol, TypeVar


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


K = TypeVar("K")
V = TypeVar("V", bound=_Sized)


def keep(kept: dict[K, tuple[V, int]], key: K, value: V, most: int, nbytes: int) -> V:
    """Add one with its bytes, forget the oldest beyond so many or so many bytes, and return it.

    The newest stays, whatever its size. Bytes are counted once, for that may take long.
    """
    kept[key] = value, value.nbytes
    for n, (each, (_, held)) in enumerate(reversed(list(kept.items()))):
        nbytes -= held
        if n and (n >= most or nbytes < 0):
            kept.pop(each, None)
    return value
