"""A plugin of pytest, ``-p bench.unpooled``: CuPy without its memory pool.

Every array then is an allocation of its own, so that a memory checker sees where it ends.
"""

from __future__ import annotations

import contextlib


def pytest_configure() -> None:
    with contextlib.suppress(Exception):  # without CuPy the tests say so
        import cupy

        cupy.cuda.set_allocator(None)
