"""Files that are written whole or not at all: on full disks, through links, into pipes."""

import errno
import os
import resource
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from klingmask.atomic import atomic_file, atomic_folder, write_bytes

NEW = b"new " * 5000


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def no_room(size: int = 4096) -> Iterator[None]:
    """A limit to the size of files: what a full disk does, without one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    write_bytes(tmp_path / "new", NEW)
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / "new").read_bytes() == NEW
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "other").stat().st_mode
    assert names(tmp_path) == ["new", "other"]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o666])
def test_an_old_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"old")
    path.chmod(mode)
    with atomic_file(path) as part:
        assert stat.S_IMODE(part.stat().st_mode) == 0o600
        part.write_bytes(NEW)
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == NEW
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("old", [b"old", None])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_fails_changes_nothing(
    tmp_path: Path, error: type[BaseException], old: bytes | None
) -> None:
    path = tmp_path / "result.npy"
    if old:
        path.write_bytes(old)

    def fail() -> None:
        with atomic_file(path) as part:
            assert part.suffix == ".npy"
            part.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == (["result.npy"] if old else [])
    assert not old or path.read_bytes() == old


def test_no_room(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="File too large") as caught, no_room():
        write_bytes(path, NEW)
    assert caught.value.filename == str(path)
    assert names(tmp_path) == ["result"]
    assert path.read_bytes() == b"old"


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        write_bytes(disk / "a", b"old")
        with atomic_folder(disk / "folder") as part:
            (part / "b").write_bytes(b"old")
        large = bytes(1 << 20)
        for write in (
            partial(write_bytes, disk / "a", large),
            partial(write_bytes, disk / "new", large),
            partial(write_folder, disk / "folder", {"b": NEW, "c": large}),
            partial(write_folder, disk / "new", {"b": NEW, "c": large}),
        ):
            with pytest.raises(OSError, match="No space left on device") as caught:
                write()
            assert str(disk) in caught.value.filename
            assert ".part" not in caught.value.filename
            assert names(disk) == ["a", "folder"]
            assert names(disk / "folder") == ["b"]
            assert (disk / "a").read_bytes() == (disk / "folder" / "b").read_bytes() == b"old"
    finally:
        subprocess.run(["umount", disk], check=True)


def write_folder(folder: Path, files: dict[str, bytes]) -> None:
    with atomic_folder(folder) as part:
        for name, content in files.items():
            (part / name).write_bytes(content)


@pytest.mark.parametrize("leads_to_a_file", [True, False])
def test_a_link_stays(tmp_path: Path, leads_to_a_file: bool) -> None:
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "target"
    if leads_to_a_file:
        target.write_bytes(b"old")
    (tmp_path / "second").symlink_to("there/target")
    (tmp_path / "first").symlink_to("second")
    write_bytes(tmp_path / "first", NEW)
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "second").is_symlink()
    assert target.read_bytes() == NEW
    assert not target.is_symlink()
    assert names(tmp_path / "there") == ["target"]


def test_devices_and_pipes(tmp_path: Path) -> None:
    before = Path("/dev/null").stat()
    write_bytes("/dev/null", NEW)
    assert Path("/dev/null").stat().st_rdev == before.st_rdev
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_bytes(pipe, NEW)
    reader.join(20)
    assert read == [NEW]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert names(tmp_path) == ["pipe"]
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        write_bytes("/dev/full", NEW)


@pytest.mark.parametrize("mode", [">", ">>", "|"])
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "out"])
def test_standard_output(tmp_path: Path, name: str, mode: str) -> None:
    """What is said there before and after stays, however the shell opened it."""
    code = (
        "import sys; from klingmask.atomic import write_bytes; print('before', flush=True); "
        "write_bytes(sys.argv[1], b'new\\n'); print('after')"
    )
    (tmp_path / "out").write_text("old\n")
    end = "| cat > out" if mode == "|" else f"{mode} out"
    if name == "out" and mode == "|":
        pytest.skip("a file of its own then")
    subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {name} {end}', sys.executable, code],
        cwd=tmp_path,
        check=True,
    )
    old = "old\n" if mode == ">>" else ""
    assert (tmp_path / "out").read_text() == f"{old}before\nnew\nafter\n"
    assert names(tmp_path) == ["out"]


@contextmanager
def nobody() -> Iterator[None]:
    """Without the rights of root, whom no permission stops."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder in which no file may be made, but one may be written to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, mode in (("old", 0o666), ("closed", 0o444)):
            (folder / file).write_bytes(b"old " * 3)
            (folder / file).chmod(mode)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


def test_a_file_in_a_folder_that_may_not_be_written(locked: Path) -> None:
    with nobody():
        write_bytes(locked / "old", NEW)
        assert (locked / "old").read_bytes() == NEW
        write_bytes(locked / "old", b"short")
        for name in ("new", "closed"):
            with pytest.raises(PermissionError) as caught:
                write_bytes(locked / name, NEW)
            assert caught.value.filename == str(locked / name)
        with pytest.raises(OSError, match="File too large") as full, no_room():
            write_bytes(locked / "old", NEW)
        assert full.value.filename == str(locked / "old")
    assert names(locked) == ["closed", "old"]
    assert (locked / "old").read_bytes() == b"short"
    assert (locked / "closed").read_bytes() == b"old " * 3


def test_a_file_that_gets_no_room_in_its_place(
    locked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new content exists elsewhere, and does not fit where the old one is."""
    with nobody():
        write_bytes(locked / "old", b"short")
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def fallocate(file: int, _: int, size: int) -> None:
            os.truncate(file, size // 2)  # as much as there was room for
            raise full

        monkeypatch.setattr(os, "posix_fallocate", fallocate)
        with pytest.raises(OSError, match="No space left") as caught:
            write_bytes(locked / "old", NEW)
        assert caught.value.filename == str(locked / "old")
        assert (locked / "old").read_bytes() == b"short"


def test_a_file_that_is_mounted_by_itself(tmp_path: Path) -> None:
    """As containers have it: it cannot be replaced."""
    path, other = tmp_path / "path", tmp_path / "other"
    path.write_bytes(b"old")
    other.write_bytes(b"mounted " * 9)
    mounted = subprocess.run(["mount", "--bind", other, path], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("needs the right to mount")
    try:
        write_bytes(path, b"new")
        assert path.read_bytes() == other.read_bytes() == b"new"
        with pytest.raises(OSError, match="File too large"), no_room():
            write_bytes(path, NEW)
        assert path.read_bytes() == b"new"
        assert names(tmp_path) == ["other", "path"]
    finally:
        subprocess.run(["umount", path], check=True)


def test_places_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    for name, reason in [
        ("none/x", "No such file"),
        ("file/x", "Not a directory"),
        ("loop", "symbolic links"),
        (".", "Is a directory"),
    ]:
        with pytest.raises(OSError, match=reason) as caught:
            write_bytes(tmp_path / name, NEW)
        assert caught.value.filename == str(tmp_path / name)
    assert names(tmp_path) == ["file", "loop"]


def test_names_as_long_as_they_may_be(tmp_path: Path) -> None:
    for name in ("n" * 255, "n" * 251 + ".png", "n." + "s" * 253, "é" * 127):
        write_bytes(tmp_path / name, NEW)
        write_bytes(tmp_path / name, b"again")
        assert (tmp_path / name).read_bytes() == b"again"


def test_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    write_folder(folder, {"1": b"1", "2": b"2"})
    assert names(folder) == ["1", "2"]
    (folder / "2").chmod(0o600)
    (folder / "link").symlink_to("1")
    write_folder(folder, {"2": b"two", "3": b"three", "link": b"one"})
    assert names(folder) == ["1", "2", "3", "link"]
    assert [(folder / name).read_bytes() for name in "123"] == [b"one", b"two", b"three"]
    assert stat.S_IMODE((folder / "2").stat().st_mode) == 0o600
    assert (folder / "link").is_symlink()
    assert names(tmp_path) == ["a"]
    for place in (folder, tmp_path / "c" / "d"):
        with pytest.raises(OSError, match="File too large"), no_room():
            write_folder(place, {"1": b"1", "2": NEW})
    (folder / "4").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        write_folder(folder, {"1": b"wrong", "4": b"four"})
    assert caught.value.filename == str(folder / "4")
    assert (folder / "1").read_bytes() == b"one"
    assert names(folder) == ["1", "2", "3", "4", "link"]
    assert names(tmp_path) == ["a"]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for name in ("file", "file/x"):
        with pytest.raises(NotADirectoryError) as caught:
            write_folder(tmp_path / name, {"1": b"1"})
        assert caught.value.filename.startswith(str(tmp_path / name))
