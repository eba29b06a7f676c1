"""Imports go downward: every import of the package is read and held to the table of layers."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

PACKAGE = Path(__file__).parents[1] / "cupysample"

LAYERS = (
    ("_rounding", "_filters", "_coordinates", "_tuning", "_words", "_kept", "_threads", "_remedies"),
    ("_taps",),
    ("_plan", "_blocks", "_tables"),
    ("_arrays", "_call"),
    ("_numpy", "_sums", "_ways", "_copies", "_program", "_steps", "_exact")
    + ("_kernels", "_view", "_made", "_few_taps", "_bands", "_launch", "_cuda", "_foreign"),
    ("_interpolate",),
    ("__init__", "_functional", "_modules", "_tensors", "torch", "__main__", "_pictures", "_demo", "_report"),
)
"""From the bottom to the top; the README and this table agree."""

LAYER = {module: number for number, modules in enumerate(LAYERS) for module in modules}

SIDEWAYS = {
    ("_filters", "_rounding"),
    ("_coordinates", "_rounding"),
    ("_threads", "_words"),
    ("_call", "_arrays"),
    ("_numpy", "_sums"),
    ("_numpy", "_copies"),
    ("_numpy", "_program"),
    ("_sums", "_ways"),
    ("_sums", "_program"),
    ("_sums", "_steps"),
    ("_ways", "_program"),
    ("_copies", "_program"),
    ("_copies", "_steps"),
    ("_program", "_steps"),
    ("_program", "_exact"),
    ("_cuda", "_kernels"),
    ("_cuda", "_launch"),
    ("_launch", "_bands"),
    ("_launch", "_few_taps"),
    ("_launch", "_kernels"),
    ("_launch", "_made"),
    ("_launch", "_view"),
    ("_bands", "_kernels"),
    ("_bands", "_made"),
    ("_bands", "_view"),
    ("_few_taps", "_kernels"),
    ("_few_taps", "_made"),
    ("_few_taps", "_view"),
    ("_made", "_kernels"),
    ("_foreign", "_kernels"),
    ("__init__", "_functional"),
    ("__init__", "_modules"),
    ("__init__", "torch"),
    ("_functional", "_tensors"),
    ("_modules", "_functional"),
    ("_tensors", "_functional"),
    ("torch", "_functional"),
    ("torch", "_tensors"),
    ("__main__", "__init__"),
    ("__main__", "_report"),
    ("__main__", "_pictures"),
    ("__main__", "_demo"),
    ("_demo", "__init__"),
    ("_demo", "_pictures"),
    ("_demo", "_report"),
    ("_pictures", "_report"),
    ("_report", "__init__"),
}
"""The imports within a layer, each of them wanted."""

OTHERS = {
    ("_foreign", "ml_dtypes"),
    ("_kernels", "cupy"),
    ("_tensors", "torch"),
    ("torch", "torch"),
    ("_report", "cuda"),
    ("_pictures", "PIL"),
    ("_demo", "PIL"),
}
"""Who imports anything but NumPy and the standard library."""


class Import(NamedTuple):
    """``module`` imports ``target``: one of the package (``own``), or the top level of another."""

    module: str
    target: str
    own: bool
    late: bool
    """Inside a function."""


def imports(module: str, text: str) -> Iterator[Import]:
    """Every import, in whatever way it is written."""
    tree = ast.parse(text)
    late = {
        inner
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for inner in ast.walk(function)
    }
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and re.search(r"\b(import_module|__import__)$", ast.unparse(node.func)):
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        for name in names:
            yield Import(module, *target(name), node in late)


def target(name: str) -> tuple[str, bool]:
    """The package's module that a dotted name lies in, and True; or the top level of another package, and False."""
    top, _, rest = name.partition(".")
    if top != "cupysample":
        return top, False
    first = rest.partition(".")[0]
    return (first if first in LAYER else "__init__"), True


def all_imports() -> list[Import]:
    return [found for path in PACKAGE.glob("*.py") for found in imports(path.stem, path.read_text())]


def test_every_module_has_a_layer() -> None:
    assert {path.stem for path in PACKAGE.rglob("*.py")} == set(LAYER)


def test_readme_shows_the_layers() -> None:
    rows = re.findall(r"^\| (\d) \| (.*?) \|", (PACKAGE.parent / "README.md").read_text(), re.MULTILINE)
    shown = {int(number): set(re.findall(r"`(\w+)`", modules)) for number, modules in rows}
    assert shown == {number: set(modules) for number, modules in enumerate(LAYERS)}


def test_imports_go_downward() -> None:
    sideways = set()
    for module, to, own, _ in all_imports():
        if own and LAYER[to] >= LAYER[module]:
            assert (module, to) in SIDEWAYS, f"{module} imports {to}"
            sideways.add((module, to))
    assert sideways == SIDEWAYS, "listed, but nobody imports it"


def test_other_packages_are_imported_where_they_are_needed() -> None:
    others = set()
    for module, to, own, late in all_imports():
        if own or to in sys.stdlib_module_names or to == "numpy":
            continue
        assert (module, to) in OTHERS, f"{module} imports {to}"
        assert late or to in ("PIL", "torch"), f"{module} imports {to} outside of a function"
        others.add((module, to))
    assert others == OTHERS, "listed, but nobody imports it"


def test_every_way_to_import_is_read() -> None:
    text = """
import cupysample, torch.nn as nn
from cupysample import _taps, torch, interpolate
from cupysample._plan import MODES
def f():
    import cupy
    importlib.import_module("cuda.pathfinder")
    __import__("PIL")
"""
    found = [each[1:] for each in imports("module", text)]
    early = [
        ("__init__", True),
        ("torch", False),
        ("_taps", True),
        ("torch", True),
        ("__init__", True),
        ("_plan", True),
    ]
    assert found == [(*to, False) for to in early] + [(to, False, True) for to in ("cupy", "cuda", "PIL")]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, in the checkout."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | environment
    return subprocess.run(
        [sys.executable, *arguments], cwd=PACKAGE.parent, env=variables, capture_output=True, text=True, check=True
    )


def test_import_loads_numpy_and_nothing_else() -> None:
    program = "import sys, cupysample; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    baseline = "import sys, numpy; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded, before = (set(run("-c", text).stdout.split()) for text in (program, baseline))
    assert loaded - before - set(sys.stdlib_module_names) == {"cupysample"}
    assert not loaded & {"cupy", "torch", "PIL", "ml_dtypes"}


def test_import_costs_little_more_than_numpy(tmp_path: Path) -> None:
    """At most 1.3 times: the two times of one process, from -X importtime, and the median ratio of several."""

    def ratio() -> float:
        # Compiled files of its own, so that the first run alone compiles them, whatever the checkout has.
        log = run("-X", "importtime", "-c", "import numpy, cupysample", PYTHONPYCACHEPREFIX=str(tmp_path)).stderr
        numpy, cupysample = (
            int(line.split("|")[1])
            for name in ("numpy", "cupysample")
            for line in log.splitlines()
            if line.endswith(f"| {name}")
        )
        return (numpy + cupysample) / numpy

    ratio()
    assert median(ratio() for _ in range(7)) < 1.3
