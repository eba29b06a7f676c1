"""What is built, and that it runs where it is installed: from a wheel, editable, from a checkout."""

from __future__ import annotations

import email
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from packaging.requirements import Requirement

import cupysample
from cupysample import _remedies

ROOT = Path(__file__).parents[1]
VERSION = cupysample.__version__

KERNELS = {path.name for path in (ROOT / "kernels").glob("*.cu*")}
DATA = {path.name for path in (ROOT / "cupysample" / "data").iterdir()}

PROBE = """
import site, sys
from pathlib import Path
import numpy as np

place = sys.argv[1]
before = list(sys.path)
site.addsitedir(place)  # reads .pth files, as Python does at its start
sys.path[:] = [entry for entry in sys.path if entry not in before] + before

import cupysample
from cupysample import _kernels, _launch

text = _kernels.source("resample", _launch.resample_defines(2, "float32", "float", True, 0, False))
assert "cupysample_resample" in text and "__global__" in text
assert (Path(_kernels.folder()) / "nearest.cu").is_file()
y = cupysample.interpolate(np.arange(4.0).reshape(1, 1, 2, 2), scale_factor=2, mode="bilinear")
assert y.shape == (1, 1, 4, 4) and y[0, 0, 0].tolist() == [0, 0.25, 0.75, 1]
print(cupysample.__file__, _kernels.folder(), sep="\\n")
"""


class Built(NamedTuple):
    """What the build makes of a copy of the tree."""

    tree: Path
    sdist: Path
    wheel: Path
    wheel_of_sdist: Path


def python(*arguments: str | Path, cwd: Path | None = None) -> str:
    """What a Python of its own prints; it knows the environment's packages and nothing of the checkout."""
    done = subprocess.run(
        [sys.executable, "-I", *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copy(source: Path, to: Path) -> Path:
    """A copy of what a clone would hold."""
    hidden = shutil.ignore_patterns(
        ".git", ".venv", "__pycache__", ".*_cache", ".benchmarks", ".hypothesis", "dist", "build"
    )
    shutil.copytree(source, to, ignore=hidden)
    return to


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Sdist and wheels, without the network."""
    folder = tmp_path_factory.mktemp("built")
    tree = copy(ROOT, folder / "tree")
    python("-m", "build", "--no-isolation", "--outdir", folder / "both", tree)  # the wheel, from the sdist
    python("-m", "build", "--no-isolation", "--wheel", "--outdir", folder / "wheel", tree)
    wheel = f"cupysample-{VERSION}-py3-none-any.whl"
    return Built(
        tree, folder / "both" / f"cupysample-{VERSION}.tar.gz", folder / "wheel" / wheel, folder / "both" / wheel
    )


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def install(wheel: Path, target: Path) -> Path:
    python("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel)
    return target


def test_wheel_holds_the_package_and_nothing_else(built: Built) -> None:
    names = set(contents(built.wheel))
    assert {f"cupysample/kernels/{name}" for name in KERNELS} <= names
    assert {f"cupysample/data/{name}" for name in DATA} <= names
    assert {"cupysample/py.typed", f"cupysample-{VERSION}.dist-info/licenses/LICENSE"} <= names
    assert {name.partition("/")[0] for name in names} == {"cupysample", f"cupysample-{VERSION}.dist-info"}
    assert not [name for name in names if name.endswith(".pyc")]


def test_sdist_holds_what_the_tests_need(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()}
    assert {f"kernels/{name}" for name in KERNELS} <= names
    assert {f"cupysample/data/{name}" for name in DATA} <= names
    assert {"cupysample/py.typed", "LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", ".ci/run"} <= names
    for folder in ("cupysample", "docs", "tests", "bench", "kernels"):
        files = (path.relative_to(built.tree) for path in (built.tree / folder).rglob("*") if path.is_file())
        assert {path.as_posix() for path in files} <= names


def test_wheel_of_the_sdist_is_the_wheel_of_the_tree(built: Built) -> None:
    assert contents(built.wheel_of_sdist) == contents(built.wheel)


def test_installed_wheel_runs(built: Built, tmp_path: Path) -> None:
    place = install(built.wheel, tmp_path / "site")
    assert python("-c", PROBE, place, cwd=tmp_path).split() == [
        str(place / "cupysample" / "__init__.py"),
        str(place / "cupysample" / "kernels"),
    ]


def test_editable_install_reads_the_checkout(built: Built, tmp_path: Path) -> None:
    """One line that points there: an edited kernel is what runs."""
    hook = "import hatchling.build, sys; hatchling.build.build_editable(sys.argv[1])"
    (tmp_path / "wheel").mkdir()
    python("-c", hook, tmp_path / "wheel", cwd=built.tree)
    (wheel,) = (tmp_path / "wheel").iterdir()
    assert not [name for name in contents(wheel) if name.endswith((".cu", ".cuh", ".py"))]
    place = install(wheel, tmp_path / "site")
    assert python("-c", PROBE, place, cwd=tmp_path).split() == [
        str(built.tree / "cupysample" / "__init__.py"),
        str(built.tree / "kernels"),
    ]


def test_checkout_runs(built: Built, tmp_path: Path) -> None:
    assert python("-c", PROBE, built.tree, cwd=tmp_path).split() == [
        str(built.tree / "cupysample" / "__init__.py"),
        str(built.tree / "kernels"),
    ]


def metadata(wheel: Path) -> Message:
    return email.message_from_bytes(contents(wheel)[f"cupysample-{VERSION}.dist-info/METADATA"])


def test_metadata(built: Built) -> None:
    found = metadata(built.wheel)
    assert found["Version"] == VERSION
    assert found["License-Expression"] == "BSD-3-Clause"
    requirements = [Requirement(text) for text in found.get_all("Requires-Dist", [])]
    needed = [each.name for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert needed == ["numpy"]

    def asked(extra: str, platform: str) -> set[str]:
        environment = {"extra": extra, "sys_platform": platform}
        return {
            each.name.replace("_", "-") for each in requirements if each.marker and each.marker.evaluate(environment)
        }

    for extra, cupy in (("cuda12", "cupy-cuda12x"), ("cuda13", "cupy-cuda13x")):
        assert cupy in asked(extra, "linux") & asked(extra, "win32")
        assert asked(extra, "darwin") == {"ml-dtypes"}


def test_remedies_name_what_can_be_installed(built: Built) -> None:
    """From an index where this package need not be: what the extras ask for, and an extra that CuPy has."""
    requirements = [Requirement(text) for text in metadata(built.wheel).get_all("Requires-Dist", [])]
    asked = {each.name: each.specifier for each in requirements if each.marker}
    for remedy in (_remedies.INSTALL, _remedies.PILLOW):
        (text,) = re.findall(r'pip install "(.*?)"', remedy)
        named = Requirement(text)
        assert set(named.specifier) <= set(asked[named.name])
        if named.extras:
            assert named.extras <= set(importlib.metadata.metadata(named.name).get_all("Provides-Extra", []))
    for path in (ROOT / "cupysample").glob("*.py"):
        assert "cupysample[" not in path.read_text(encoding="utf-8"), path


def test_version_is_in_the_changelog() -> None:
    assert re.search(rf"^## .*\b{re.escape(VERSION)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_continuous_integration_runs_the_command_of_the_readme(tmp_path: Path) -> None:
    """The very line: with stand-ins for the environment's Python and pip, ``.ci/run`` runs it in a fresh environment."""
    command = 'pip install -e ".[test]" && pytest -n auto'
    assert f"\n    {command}\n" in (ROOT / "README.md").read_text()
    tree = tmp_path / "tree"
    (tree / ".ci").mkdir(parents=True)
    for name in (".ci/run", "README.md"):
        shutil.copy(ROOT / name, tree / name)
    stand_in = tmp_path / "bin" / "python3.11"
    stand_in.parent.mkdir()
    stand_in.write_text(
        """#!/usr/bin/env bash
        if [ "$1" = -m ]; then
            mkdir -p "$3/bin"
            echo 'PATH="'$3'/bin:$PATH"' > "$3/bin/activate"
            for name in pip pytest; do
                printf '#!/bin/sh\\necho ran %s "$@" in "$PWD"\\n' "$name" > "$3/bin/$name"
                chmod +x "$3/bin/$name"
            done
            printf '#!/bin/sh\\necho Python of its own\\n' > "$3/bin/python"
            chmod +x "$3/bin/python"
        fi
        """
    )
    stand_in.chmod(0o755)
    environment = {"PATH": f"{stand_in.parent}:/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["bash", str(tree / ".ci" / "run")], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        f"Python of its own: {command}",
        f"ran pip install -e .[test] in {tree}",
        f"ran pytest -n auto in {tree}",
    ], done.stderr
    assert done.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "tree"]  # nothing is left


def test_the_readmes_examples_run() -> None:
    """Its Python, with NumPy in CuPy's place."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 3
    model = torch.nn.Sequential(torch.nn.Upsample(scale_factor=2))
    names: dict[str, Any] = {"model": model, "picture": np.zeros((6, 9, 3), np.uint8), "h": 3, "w": 4}
    for block in blocks:
        exec(block.replace("import cupy as cp, ", "import numpy as cp, "), names)
    assert names["y"].shape == (8, 3, 224, 224)
    assert names["resized"].shape == (3, 4, 3) and names["resized"].flags.c_contiguous


def test_no_other_library_of_cuda_is_needed() -> None:
    """CuPy's random numbers and its linear algebra load libraries that the extras do not install."""
    texts = [ROOT / "README.md", *(ROOT / "bench").glob("*.py"), *(ROOT / "tests").glob("*.py")]
    for path in texts:
        found = re.search(r"\b(cp|cupy)\.(random|fft|linalg|dot|matmul)\b", path.read_text(encoding="utf-8"))
        assert not found, f"{path}: {found}"
