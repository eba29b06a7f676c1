"""What came, as an error shows it."""

from __future__ import annotations

LONGEST = 200
"""Characters; a list of a million numbers tells no more."""


def shown(value: object) -> str:
    """The repr, or its beginning; of what has none, the type."""
    try:
        text = repr(value)
    except Exception:  # a user's class raises what it likes, and Python will not print an int of 5000 digits
        text = f"a {type_name(value)} without a repr"
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def type_name(value: object) -> str:
    """The class, with its module."""
    return f"{type(value).__module__}.{type(value).__qualname__}"
