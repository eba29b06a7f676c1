"""What is promised of other environments, tried in fresh ones: ``python -m tests.matrix [--only WORD] [--tests EXPRESSION]``.

* the tests that need NumPy alone, on every Python that is found here, with its oldest and its newest NumPy; torch, CuPy, JAX
  and OpenCV are absent, and the files that import them are left out by name;
* wheel and sdist, built twice: the same bytes;
* the dependencies, by ``pip-audit``;
* no network while it runs.

A line for each, and a last one that counts. Needs a package index, and some minutes for each environment.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

OLDEST = {"3.10": "2.0", "3.11": "2.0", "3.12": "2.0", "3.13": "2.1", "3.13t": "2.1", "3.14": "2.3", "3.14t": "2.3"}
"""Every Python that is supported, free-threaded ones too, and the first NumPy that has wheels for it."""

ABSENT = {"torch", "cupy", "cupyx", "jax", "cv2"}
TOOLS = ("pytest>=8", "packaging", "ml_dtypes>=0.5", "pillow>=10.1,<13")

MARKS = "not host and not nvrtc and not gpu"
"""The kernels' own tests need a compiler or a GPU, whatever the Python."""

KEYWORDS = "not torch and not jax"

NOT_HERE = {
    "test_style.py": "ruff and mypy",
    "test_packaging.py": "build",
    "test_bench.py": "the benchmarks' libraries",
    "test_on_device.py": "the benchmarks' libraries",
    "test_command_line.py": "fonts and versions of Pillow",
}
"""Files that test the repository more than the package."""

OFFLINE = """
import sys, tempfile
asked = []
def hook(event, arguments):
    if event.startswith("socket.") or event == "urllib.Request":
        asked.append(event)
        raise OSError("no network here")
sys.addaudithook(hook)
import numpy as np, cupysample
x = np.arange(3 * 64 * 64, dtype=np.float32).reshape(1, 3, 64, 64)
for mode in ("nearest", "area", "bilinear", "bicubic", "lanczos"):
    y = cupysample.interpolate(x, size=(31, 40), mode=mode, antialias=mode == "lanczos")
    cupysample.interpolate_backward(y, x.shape, (31, 40), mode=mode, antialias=mode == "lanczos")
from cupysample.__main__ import main
main([])
main(["demo", "--device", "cpu", "--output", tempfile.mkdtemp() + "/demo.png"])
assert not asked, asked
"""


class Failure(Exception):  # noqa: N818 - of a row, not an error of ours
    """What went wrong, in a line or two."""


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | environment
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=variables, capture_output=True, text=True, check=False, timeout=3600
    )
    if done.returncode:
        raise Failure("\n".join((done.stdout + done.stderr).strip().splitlines()[-15:]))
    return done.stdout.strip()


def interpreter(version: str) -> Path | None:
    """The newest Python of a version: on the path, or one of pyenv's."""
    pattern = rf"{re.escape(version.removesuffix('t'))}\.\d+{'t' if version.endswith('t') else ''}"
    folder = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = sorted(path for path in folder.glob("*") if re.fullmatch(pattern, path.name))
    for path in (*(each / "bin" / "python" for each in reversed(found)), shutil.which(f"python{version}")):
        if (
            path
            and subprocess.run([path, "-c", "import venv, ensurepip"], capture_output=True, check=False).returncode == 0
        ):
            return Path(path)
    return None


def environment(python: Path, folder: Path, *packages: str) -> Path:
    """The Python of a fresh environment with these packages; from wheels, for what must be built is not what users get."""
    run(python, "-m", "venv", folder)
    fresh = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(fresh, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *packages)
    return fresh


# ---------------------------------------------------------------------------------------------------------------------
# The tests


def needs(path: Path, seen: set[Path]) -> set[str]:
    """What a file of the tests imports at its top that is to be absent, by itself or by another file of the tests."""
    seen.add(path)
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.partition(".")[0] for name in names} & ABSENT
        for name in names:
            for file in (
                ROOT / (name.replace(".", "/") + ".py"),
                ROOT / (name.rpartition(".")[0].replace(".", "/") + ".py"),
            ):
                if file.is_file() and name.startswith(("tests.", "bench.")) and file not in seen:
                    found |= needs(file, seen)
    return found


def left_out() -> dict[str, str]:
    """The files of tests that are not run, and for want of what."""
    files = {path.name: ", ".join(sorted(needs(path, set()))) for path in sorted((ROOT / "tests").glob("*.py"))}
    return {name: missing for name, missing in files.items() if missing} | NOT_HERE


def suite(version: str, numpy: str, chosen: str, folder: Path) -> str:
    """Run the tests, or those that pytest's ``-k`` chooses, on a Python with a NumPy."""
    python = interpreter(version)
    if python is None:
        return f"MISSING: no Python {version} on this machine"
    fresh = environment(python, folder, f"numpy{numpy}", *TOOLS)
    versions = run(fresh, "-c", "import sys, numpy; print(sys.version.split()[0], 'numpy', numpy.__version__)")
    if version.endswith("t"):
        run(fresh, "-c", "import cupysample, ml_dtypes, sys; assert not sys._is_gil_enabled()", PYTHONPATH=str(ROOT))
    for name in ABSENT:
        run(fresh, "-c", f"import importlib.util; assert importlib.util.find_spec({name!r}) is None")
    ignored = [f"--ignore=tests/{name}" for name in left_out()]
    options = [
        "-q",
        "-p",
        "no:cacheprovider",
        "--no-header",
        "-m",
        MARKS,
        "-k",
        " and ".join(filter(None, (KEYWORDS, chosen and f"({chosen})"))),
        *ignored,
    ]
    output = run(
        fresh,
        "-m",
        "pytest",
        *options,
        "tests",
        "cupysample",
        "--ignore=cupysample/torch.py",
        "--ignore=cupysample/_tensors.py",
    )
    return f"{versions}: {output.splitlines()[-1]}"


# ---------------------------------------------------------------------------------------------------------------------
# The rest


def reproducible(folder: Path) -> str:
    """Build twice, from two copies of the tree made at different times, and compare."""
    python = environment(Path(sys.executable), folder / "environment", "build", "hatchling>=1.26")
    built = []
    for name in ("first", "second"):
        tree = folder / name
        hidden = shutil.ignore_patterns(".git", ".*_cache", "__pycache__", ".venv", "dist", "build", ".hypothesis")
        shutil.copytree(ROOT, tree, ignore=hidden, copy_function=shutil.copy)  # modes, not times
        run(python, "-m", "build", "--no-isolation", "--outdir", folder / f"{name}-dist", cwd=tree)
        files = sorted((folder / f"{name}-dist").iterdir())
        built.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files})
    if built[0] != built[1]:
        raise Failure(f"different bytes: {built}")
    return "; ".join(f"{name} {digest[:12]}" for name, digest in built[0].items())


def audited(folder: Path) -> str:
    """Ask for known vulnerabilities of what is installed with the package."""
    try:
        python = environment(Path(sys.executable), folder, "pip-audit", "numpy>=2", "pillow>=10.1", "ml_dtypes>=0.5")
    except Failure as error:
        return f"MISSING: pip-audit does not install: {str(error).splitlines()[-1]}"
    (folder / "requirements.txt").write_text(
        "".join(
            f"{line}\n"
            for line in run(python, "-m", "pip", "freeze").splitlines()
            if re.match("(?i)numpy|pillow|ml", line)
        )
    )
    try:
        run(
            python,
            "-m",
            "pip_audit",
            "--no-deps",
            "--disable-pip",
            "--progress-spinner=off",
            "-r",
            folder / "requirements.txt",
        )
    except Failure as error:
        text = str(error)
        if re.search(r"Connection|resolve|timed out|HTTP|Max retries", text):
            return f"MISSING: the database of vulnerabilities is not reached ({text.splitlines()[-1][:120]})"
        raise
    return "no known vulnerability in " + ", ".join((folder / "requirements.txt").read_text().split())


def offline(folder: Path) -> str:
    """Import, resample, report and demo: in a process whose sockets raise, and without a network where Linux allows it."""
    python = environment(Path(sys.executable), folder, "numpy>=2", "pillow>=10.1,<13")
    run(python, "-c", OFFLINE, PYTHONPATH=str(ROOT))
    try:
        run("unshare", "-rn", "true")
    except (Failure, OSError):
        return "no socket is asked for"
    run("unshare", "-rn", python, "-c", OFFLINE, PYTHONPATH=str(ROOT))
    return "no socket is asked for; the same without any network (unshare -n)"


def rows(chosen: str) -> Iterator[tuple[str, Callable[[Path], str]]]:
    for version, oldest in OLDEST.items():
        for numpy in (f"=={oldest}.*", ">=2"):
            yield f"python {version}, numpy{numpy}", lambda folder, v=version, n=numpy: suite(v, n, chosen, folder)  # type: ignore[misc]
    yield "reproducible", reproducible
    yield "audit", audited
    yield "offline", offline


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", metavar="WORD", help="the rows whose name has this word")
    parser.add_argument("--tests", default="", metavar="EXPRESSION", help="the tests that pytest's -k chooses, not all")
    given = parser.parse_args()
    print("left out:", "; ".join(f"{name} ({why})" for name, why in left_out().items()), flush=True)
    print(f"run everywhere: -m '{MARKS}' -k '{KEYWORDS}'", given.tests and f"and '{given.tests}'", flush=True)
    counts = {"passed": 0, "failed": 0, "missing": 0}
    for name, row in rows(given.tests):
        if given.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                said = row(Path(folder))
                outcome = "missing" if said.startswith("MISSING") else "passed"
            except Failure as error:
                said, outcome = f"FAILED\n{error}", "failed"
        counts[outcome] += 1
        print(f"{name:<28} {said}", flush=True)
    print(", ".join(f"{n} {outcome}" for outcome, n in counts.items()))
    return int(counts["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
