"""What users install: the sdist builds the wheel, and the wheel is complete."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, and the wheel built from it alone."""
    folder = tmp_path_factory.mktemp("packages")
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
    )
    return folder


def test_the_wheel_holds_what_is_used_and_nothing_else(packages: Path, tmp_path: Path) -> None:
    (wheel,) = packages.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("klingmask/")}
        for name in names:
            archive.extract(name, tmp_path)
    package = ROOT / "src" / "klingmask"
    tracked = {
        str(path.relative_to(package))
        for suffix in ("py", "pyi")
        for path in package.rglob(f"*.{suffix}")
    }
    found = {name.removeprefix("klingmask/") for name in names if "_rle.cp" not in name}
    assert found == {*tracked, "py.typed"}
    assert sum("_rle.cp" in name for name in names) == 1
    check = (
        "import klingmask as km, sys;"
        f"assert km.__file__.startswith({str(tmp_path)!r}), km.__file__;"
        "assert km.decode(km.encode([[0, 1], [1, 1]])).tolist() == [[0, 1], [1, 1]]"
    )
    subprocess.run([sys.executable, "-c", check], env={"PYTHONPATH": str(tmp_path)}, check=True)


def test_the_sdist_holds_all_that_is_needed_to_test(packages: Path) -> None:
    (sdist,) = packages.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    tracked = subprocess.run(
        ["git", "ls-files", "src", "tests", "bench", "demo", "docs", "Makefile", "CHANGELOG.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    if not tracked:
        pytest.skip("needs a git checkout")
    assert set(tracked) <= names
    assert not any(name.endswith((".so", ".pyc", "_rle.c")) for name in names)
