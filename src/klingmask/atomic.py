"""Files that are written whole or not at all.

A result is written under another name beside its destination, and takes the destination's
place at the end, in one step of the file system. Whatever fails before that (a full disk, an
error, an interrupt), the old file stays as it was, and nothing half written is left behind.

A destination that cannot be replaced is written to at the end instead: a device, a pipe, a file
in a folder where no other may be made.
"""

import errno
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_file", "atomic_folder", "write_bytes"]

# What rename(2) says of a place that may be written to but not replaced: a file in a folder of
# somebody else's, one that is mounted by itself (as containers have it).
_CANNOT_REPLACE = (errno.EPERM, errno.EACCES, errno.EBUSY, errno.EXDEV)

# What write(2) says of a full disk, a quota, a limit: without the name of the file.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_bytes(destination: str | PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all; see `atomic_file`."""
    with atomic_file(destination) as part:
        part.write_bytes(content)


@contextmanager
def atomic_file(destination: str | PathLike[str]) -> Iterator[Path]:
    """Give a path to write to, and move what is there to the destination in the end.

    The path has the destination's suffix. A link stays, and what it leads to is replaced; the
    permissions of an old file stay, too.

    Parameters
    ----------
    destination : path

    Yields
    ------
    Path
        An empty file, which is gone after the block.

    Raises
    ------
    OSError
        If the destination cannot be written; the error names the destination.
    """
    target = Path(destination)
    part: Path | None = None
    try:
        old = _checked(target)
        folder = _real(target).parent if _may_replace(target, old) else tempfile.gettempdir()
        part = Path(folder, _new_name(target))
        _make_empty(part, old)
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        _put(part, target)
    except OSError as error:
        if error.filename == str(part) or error.errno in _NO_ROOM:
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(destination: str | PathLike[str]) -> Iterator[Path]:
    """Give a folder to write files to, and move them to the destination in the end.

    A folder that is there keeps its other files, and gets the new ones after all are written;
    one that is not there is made, with its parents.

    Parameters
    ----------
    destination : path

    Yields
    ------
    Path
        An empty folder, which is gone after the block.

    Raises
    ------
    OSError
        If the destination cannot be written; the error names it, or a file in it.
    """
    target = Path(destination)
    part: Path | None = None
    try:
        # Beside what is there, for files move at once only within a file system.
        folder = next(each for each in (target, *target.absolute().parents) if each.exists())
        part = folder / _new_name(target)
        part.mkdir()
        yield part
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            part.rename(target)
            return
        files = [(path, target / path.name) for path in sorted(part.iterdir())]
        for _, place in files:
            _checked(place)
        for path, place in files:
            _put(path, place)
    except OSError as error:
        name = str(target if error.filename is None else error.filename)
        if part is not None and (str(part) in name or error.errno in _NO_ROOM):
            name = name.replace(str(part), str(target))
            raise OSError(error.errno, error.strerror, name) from error
        raise
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _real(target: Path) -> Path:
    """Where links lead to."""
    return Path(os.path.realpath(target))


def _new_name(target: Path) -> str:
    """A name that nobody else has. Not the target's and more: that may be too long."""
    suffix = target.suffix if re.fullmatch(r"\.\w{1,16}", target.suffix) else ""
    return f".part-{secrets.token_hex(8)}{suffix}"


def _checked(target: Path) -> os.stat_result | None:
    """What is at the target, which may be written to, or None."""
    try:
        old = target.stat()
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(old.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    return old


def _is_standard_output(old: os.stat_result) -> bool:
    with suppress(OSError):
        return os.path.samestat(old, os.fstat(1))
    return False


def _may_replace(target: Path, old: os.stat_result | None) -> bool:
    """Whether another file may take the place of what is at the target."""
    if old is None:
        return True
    return (
        stat.S_ISREG(old.st_mode)
        and not _is_standard_output(old)
        and os.access(_real(target).parent, os.W_OK | os.X_OK)
    )


def _make_empty(part: Path, old: os.stat_result | None) -> None:
    """Make the file; nobody else reads it before it has the permissions of the old one."""
    mode = 0o666 if old is None else 0o600
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))


def _put(part: Path, target: Path) -> None:
    """Replace the target, or write to it if it cannot be replaced."""
    old = _checked(target)
    if _may_replace(target, old):
        try:
            if old is not None:
                with suppress(OSError):
                    os.chown(part, old.st_uid, old.st_gid)
                part.chmod(stat.S_IMODE(old.st_mode))
            part.replace(_real(target))
            return
        except OSError as error:
            if old is None or error.errno not in _CANNOT_REPLACE:
                raise
    with part.open("rb") as source, _opened(target) as sink:
        if sink.fileno() != 1 and stat.S_ISREG(os.fstat(sink.fileno()).st_mode):
            _reserve(sink, os.fstat(source.fileno()).st_size)
            shutil.copyfileobj(source, sink)
            sink.truncate()
        else:
            shutil.copyfileobj(source, sink)


def _opened(target: Path) -> BinaryIO:
    """What is at the target, open to be written to; standard output as it is open already."""
    old = target.stat()
    if _is_standard_output(old):
        return os.fdopen(1, "wb", closefd=False)
    return target.open("rb+" if stat.S_ISREG(old.st_mode) else "wb")


def _reserve(file: BinaryIO, size: int) -> None:
    """Give a file room for so many bytes, or leave it as it is."""
    if size == 0 or not hasattr(os, "posix_fallocate"):
        return
    before = os.fstat(file.fileno()).st_size
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        os.ftruncate(file.fileno(), before)
        if error.errno in _NO_ROOM:
            raise
