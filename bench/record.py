"""The file of results: one JSON, written anew after every change, so that what is measured is never lost.

{"device", "driver", "versions", "commit", "copy_gbps",
 "rows":  [{"workload", "dtype", "layout", "direction", "time_us", "host_us", "gbps", "copy_fraction", "ratio",
            "commit": where it is not the file's}],
 "sweep": [{"workload", "dtype", "layout", "constants", "alike": others that make the same launch, "time_us", "same_bits"}],
 "cpu":   [{"workload", "dtype", "layout", "direction", "threads", "time_us", "ratio", "spread"}],
 "overhead": [{"call", "shape", "array", "host_us", "torch_us", "ratio"}],
 "sizes": [{"call", "pictures", "host_us", "torch_us"}],
 "parts": {"tests/…": {"status", "seconds", "summary"}}}
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

FACTS = ("device", "driver", "versions", "commit")
KEY = ("workload", "dtype", "layout", "direction")
"""What tells a row from the others; ``Workload.key`` has the same."""


def key_of(row: dict[str, Any]) -> tuple[str, ...]:
    """The key of a row."""
    return tuple(row[name] for name in KEY)


class Record:
    """The results in a file; several programs may take turns with one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, Any]:
        """Everything there is."""
        content: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else {}
        return content

    def write(self, **changes: Any) -> None:
        """Replace some of its keys."""
        text = json.dumps(self.read() | changes, indent=1)
        new = self.path.with_suffix(".new")
        new.write_text(text + "\n")
        os.replace(new, self.path)

    def append(self, key: str, row: dict[str, Any], *names: str) -> None:
        """Add a row to a list, instead of one with the same values of some names."""
        rows = [
            each for each in self.read().get(key, []) if not names or any(each[name] != row[name] for name in names)
        ]
        self.write(**{key: [*rows, row]})

    def check(self, facts: dict[str, Any]) -> None:
        """Write what was measured where; refuse to mix it with results of another device, version or commit."""
        before = self.read()
        for name in FACTS:
            if name in before and before[name] != facts[name]:
                raise ValueError(
                    f"{self.path} holds results of {name} {before[name]}, this is {facts[name]}: use another file"
                )
        self.write(**facts)


def commit() -> str:
    """The commit of the checkout, with "-dirty" if it was changed; "unknown" without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"
