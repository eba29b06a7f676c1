"""What ``conftest.py`` promises: GPU tests skip and are counted, nothing else skips, random numbers repeat."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
BROKEN = {"absent": "raise ImportError('no CuPy')", "broken": "def zeros(n): raise RuntimeError('no\\ndriver')"}


def run(folder: Path, **files: str) -> tuple[int, str]:
    """Run pytest on files beside a copy of ``conftest.py``."""
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n")
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:benchmark"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("cupy", "reason"), [("absent", "ImportError: no CuPy"), ("broken", "RuntimeError: no driver")]
)
def test_gpu_tests_skip_and_are_counted(cupy: str, reason: str, tmp_path: Path) -> None:
    """Before their fixtures run, and whatever is wrong with CuPy."""
    code, output = run(
        tmp_path,
        cupy=BROKEN[cupy],
        test_gpu="""
import pytest
@pytest.fixture
def device(): raise AssertionError("asked for a device")
@pytest.mark.gpu
@pytest.mark.parametrize("n", range(3))
def test_device(device, n): pass
def test_host(): pass
""",
    )
    assert code == 0, output
    assert f"not checked here: 3 GPU tests (no CUDA device: {reason})" in output.splitlines()
    assert "1 passed, 3 skipped" in output


def test_gpu_tests_run_where_a_device_answers(tmp_path: Path) -> None:
    """And may skip for reasons of their own, which are counted too."""
    code, output = run(
        tmp_path,
        cupy="import numpy\nclass zeros:\n    def __init__(self, n): pass\n    def get(self): pass",
        test_gpu="""
import pytest
pytestmark = pytest.mark.gpu
def test_runs(): pass
def test_skips(): pytest.skip("needs more memory")
""",
    )
    assert code == 0, output
    assert "not checked here: 1 GPU tests (needs more memory)" in output.splitlines()
    assert "1 passed, 1 skipped" in output


@pytest.mark.parametrize(
    "text",
    [
        "import pytest\ndef test(): pytest.skip('lazy')",
        "import pytest\n@pytest.mark.skip(reason='lazy')\ndef test(): pass",
        "import pytest\n@pytest.mark.skipif(True, reason='lazy')\ndef test(): pass",
        "import pytest\npytest.skip('lazy', allow_module_level=True)",
        "import pytest\npytest.importorskip('nonsense', reason='lazy')\ndef test(): pass",
    ],
)
def test_no_other_test_skips(text: str, tmp_path: Path) -> None:
    code, output = run(tmp_path, test_lazy=text)
    assert code != 0
    assert "skipped, which only tests of a GPU may: lazy" in output


def test_expected_failures_are_no_skips(tmp_path: Path) -> None:
    code, output = run(tmp_path, test_x="import pytest\n@pytest.mark.xfail\ndef test(): assert False")
    assert code == 0, output
    assert "1 xfailed" in output


@pytest.mark.parametrize("first", [pytest.param(966198594672, id="one"), pytest.param(623722096196, id="other")])
def test_random_numbers_repeat(rng: np.random.Generator, first: int) -> None:
    """The same in every run of a test, others in another test."""
    assert rng.integers(2**40) == first
