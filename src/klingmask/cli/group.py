"""How commands end: errors become one line, and signals leave no temporary files."""

import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from PIL import Image

from klingmask.cli.advice import in_options
from klingmask.quoting import printable

__all__ = ["Commands", "Terminated"]

_EXPECTED = (
    ValueError,
    TypeError,
    IndexError,
    ImportError,
    OSError,
    MemoryError,  # the size of a stack of masks has no other limit
    OverflowError,
    RecursionError,  # a label may be nested too deeply to be printed
)


class Terminated(SystemExit):
    """SIGTERM or SIGHUP was received."""


class Commands(click.Group):
    """A group of commands that end as this module says."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the arguments of the group."""
        with _errors_in_one_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Parse the arguments of a command, and run it."""
        with _errors_in_one_line(), _signals_raise(), _warnings_in_one_line():
            return super().invoke(ctx)


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    """Turn expected errors into errors of click, which prints them in one line.

    A message may quote a file, a reply or an argument. All of it is made printable here, so that
    it cannot hold escape sequences for the terminal.
    """
    try:
        yield
    except click.ClickException as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
            raise  # its message is the help text
        message = printable(error.format_message())
        if isinstance(error, click.UsageError):
            raise click.UsageError(message, error.ctx) from error
        raise click.ClickException(message) from error
    except (click.exceptions.Exit, click.Abort):
        raise
    except Exception as error:
        if not _is_expected(error):
            raise
        raise click.ClickException(printable(in_options(error))) from error


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Print warnings without the line of Python that they come from."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        click.echo(printable(f"Warning: {message}"), err=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        # Pillow warns of pictures over a limit of its own; klingmask's is --max-pixels.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def _is_expected(error: Exception) -> bool:
    if isinstance(error, BrokenPipeError):
        return False  # click exits without a message when the reader of a pipe has closed it
    kling = sys.modules.get("klingmask.kling.errors")
    return isinstance(error, _EXPECTED) or (
        kling is not None and isinstance(error, kling.KlingError)
    )


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise `Terminated`, so that commands remove their temporary files.

    A signal that was ignored from the start, as nohup does with SIGHUP, stays ignored.
    """
    numbers = [
        number
        for name in ("SIGTERM", "SIGHUP")
        if (number := getattr(signal, name, None)) and signal.getsignal(number) == signal.SIG_DFL
    ]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # only the main thread may set handlers

    def terminate(number: int, _: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)  # a second signal must not stop the clean-up
        raise Terminated(128 + number)

    for number in numbers:
        signal.signal(number, terminate)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
