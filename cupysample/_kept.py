"""What is kept of earlier calls, bounded in number and in bytes.

Plain dicts without a lock, which a fork might leave taken: every step is one operation of a dict, and two threads that make
the same thing do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Protocol, TypeAlias, TypeVar


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


K = TypeVar("K")
V = TypeVar("V", bound=_Sized)


Entry: TypeAlias = tuple[V, int, int]
"""A value, and where its bytes begin and end among those of all that were ever kept with it, in their order."""


def keep(kept: dict[K, Entry[V]], key: K, value: V, most: int, nbytes: int) -> V:
    """Add one, forget the oldest beyond so many or so many bytes, and return it.

    The newest stays, whatever its size. Its bytes are counted once, for that may take long. Those of one that was taken out
    count while an older one is there.
    """
    kept.pop(key, None)
    newest = _first_of(kept, reversed)
    begin = newest[1][2] if newest else 0
    end = begin + value.nbytes
    kept[key] = value, begin, end
    while len(kept) > 1 and (oldest := _first_of(kept, iter)):
        other, (_, first, _) = oldest
        if len(kept) <= most and end - first <= nbytes:
            break
        kept.pop(other, None)
    return value


def _first_of(
    kept: dict[K, Entry[V]], order: Callable[[Any], Iterator[tuple[K, Entry[V]]]]
) -> tuple[K, Entry[V]] | None:
    """The first in this order, without a look at the others, which would take long: they are in no cache."""
    while True:
        with suppress(RuntimeError):  # another thread has added or forgotten one meanwhile
            return next(order(kept.items()), None)
