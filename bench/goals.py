"""What kernels are meant to reach: shares of the bandwidth of a copy, and torch's time over ours."""

from __future__ import annotations

from typing import Any, NamedTuple

from bench.record import key_of


class Goal(NamedTuple):
    """The least share of a copy, and the least ratio to torch; of uint8 that torch lacks, to torch's float32."""

    share: float
    ratio: float

    def has(self, share: float) -> bool:
        """Whether a share of a copy is enough, in whole percent."""
        return round(share, 2) >= self.share


class _Row(NamedTuple):
    names: str
    float32: Goal
    half: Goal
    uint8: Goal | None = None


_FORWARD = (
    _Row("decoder features-nearest", Goal(0.90, 1.05), Goal(0.90, 2), Goal(0.90, 3)),
    _Row("features logits", Goal(0.90, 1.9), Goal(0.90, 2), Goal(0.60, 3)),
    _Row("features-bicubic superresolution", Goal(0.85, 3), Goal(0.70, 3), Goal(0.60, 3)),
    _Row("volume", Goal(0.88, 3), Goal(0.75, 3)),
    _Row("photo photo-bicubic lanczos area-batch", Goal(0.80, 2), Goal(0.75, 2), Goal(0.50, 3)),
    _Row("photo-quarter thumbnail lanczos-quarter", Goal(0.80, 6), Goal(0.75, 6), Goal(0.50, 3)),
    # Many channels of small planes; rows alone; one image.
    _Row("pyramid embedding audio area", Goal(0.60, 15), Goal(0.60, 15)),
)
_ANYTHING = Goal(0, 1)
_BACKWARD = _Row("", Goal(0.75, 2), Goal(0.75, 5))
_CHANNELS_LAST = {"features-nearest float32": 3.0}
"""Over torch; 4 but for these."""


def goal(key: tuple[str, ...]) -> Goal:
    """Of the workload with that key, a row of a file of results or ``Workload.key``."""
    name, dtype, layout, direction = key
    row = next((row for row in _FORWARD if name in row.names.split()), None) if direction == "forward" else _BACKWARD
    found = {"float32": row.float32, "uint8": row.uint8}.get(dtype, row.half) if row else None
    if found is None:
        return _ANYTHING
    if layout == "channels_last" and direction == "forward" and dtype != "uint8":
        return found._replace(ratio=_CHANNELS_LAST.get(f"{name} {dtype}", 4.0))
    return found


def missed(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each row of a file of results that is below its goal."""
    torch = {key_of(row): row["ratio"]["torch"] * row["time_us"] for row in rows if "torch" in row["ratio"]}
    lines = []
    for row in rows:
        key = key_of(row)
        meant = goal(key)
        widened = (key[0], "float32", "contiguous", key[3]) if row["dtype"] == "uint8" else key
        other = torch.get(key, torch.get(widened))
        measured = other / row["time_us"] if other else None
        below = [] if meant.has(row["copy_fraction"]) else [f"{row['copy_fraction']:.0%} of {meant.share:.0%}"]
        below += [f"{measured:.2f}x of {meant.ratio:g}x"] if measured is not None and measured < meant.ratio else []
        if below:
            lines.append(f"{' '.join(key)}: {', '.join(below)}")
    return lines
