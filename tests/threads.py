"""Calls from many threads at once, and how long to wait for them."""

from __future__ import annotations

import threading
from collections.abc import Callable

THREADS = 16
TIMEOUT = 300
"""Seconds after which threads or processes are said to hang."""


def together(function: Callable[[int], None], threads: int = THREADS) -> None:
    """Call ``function`` in so many threads at once; raise what one of them raises, or say that they hang."""
    errors: list[BaseException] = []
    start = threading.Barrier(threads)

    def guarded(number: int) -> None:
        try:
            start.wait()
            function(number)
        except BaseException as error:
            errors.append(error)

    running = [threading.Thread(target=guarded, args=(number,), daemon=True) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(TIMEOUT)
    if errors:
        raise errors[0]
    assert not any(thread.is_alive() for thread in running), "threads hang"
