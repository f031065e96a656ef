"""A task is made once, however the network fails.

A request that costs money is sent again only when it is known that it made
nothing. The service knows: each request carries an external_task_id, under
which its task can be asked for. Where even that gets no answer, the error names
the id, so that no task is lost.

An id that the caller chose may be that of an older task. It is looked for before
the first request, as later nobody could tell the two apart.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote

from klingmask.kling.errors import (
    InvalidRequestError,
    KlingError,
    NotFoundError,
    UnknownOutcomeError,
)
from klingmask.kling.models import Task
from klingmask.kling.transport import ABSENT, Transport

__all__ = ["PATH", "create_once", "task_path"]

log = logging.getLogger("klingmask.kling")

PATH = "/v1/videos/multi-elements"
BAD_VALUE = 1201  # the service's code for an invalid value, as an id is that is taken


def task_path(task_id: str) -> str:
    """Where a task is, by either of its ids."""
    return f"{PATH}/{quote(task_id, safe='')}"


def create_once(
    transport: Transport, body: Mapping[str, Any], *, own_id: bool, settle: float
) -> Task:
    """Create a task, and look for it before anything is sent a second time.

    Parameters
    ----------
    transport : Transport
    body : mapping
        Of the request, with an external_task_id.
    own_id : bool
        Whether the id was made for this call, so that no other task has it.
    settle : float
        Seconds for which a task is looked for: as long as the service may be
        busy with a request that it has received.

    Raises
    ------
    InvalidRequestError
        If a task has the id already.
    UnknownOutcomeError
        If the task may have been made, but the service does not tell.
    KlingError
        Whichever it is, it has the external_task_id.
    """
    external = body["external_task_id"]
    parse = partial(Task.parse, external=external)
    was_free = own_id or _is_free(transport, external)
    doubtful = False  # whether a request may have made the task

    def look_up(seconds: float) -> Task | None:
        found = _look_up(transport, external, seconds)
        if found is None or was_free:
            return found
        raise UnknownOutcomeError(
            f"there is a task {external}, but the service did not say before whether "
            "there was one already, so it may be an older one",
            external,
        )

    def attempt() -> Task:
        nonlocal doubtful
        if doubtful and (found := look_up(0)):
            return found
        try:
            log.info("create_task %s", external)
            task = transport.once("POST", PATH, parse, body=body)
            return replace(task, external_task_id=external)
        except KlingError as error:
            open_ = error.outcome not in ("unsent", "refused")
            taken = own_id and error.code == BAD_VALUE  # perhaps of the id: of whose task?
            if not (open_ or doubtful or taken):
                raise  # nothing was made
            # A refusal for good may follow from a task that does not show up yet.
            last = open_ or (doubtful and not error.passing)
            doubtful |= open_
            log.warning("create_task %s: %s; looking for the task", external, error)
            found = look_up(settle if last else 0)
            if found is None:
                raise
            return found

    try:
        return transport.retry(attempt)
    except KlingError as error:
        error.external_task_id = external
        if not doubtful or isinstance(error, UnknownOutcomeError):
            raise
        if error.outcome == "refused" and not error.passing and error.code != BAD_VALUE:
            # The service has decided, and knows of no task; an earlier request got no answer.
            # (Where it refuses a value, that may be the id, as it is a task's already.)
            error.advice = f"{error.advice}; {_where(external)}"
            raise
        raise UnknownOutcomeError(f"task {external}: {error.message}", external, error) from error
    except BaseException as error:  # an interrupt, say
        error.add_note(_where(external))
        raise


def _where(external: str) -> str:
    return f"if the task was made all the same, get_task(external_task_id={external!r}) finds it"


def _is_free(transport: Transport, external: str) -> bool:
    """Whether no task has that id; False if the service gives no answer.

    Raises
    ------
    InvalidRequestError
        If one has it: nothing was sent that could make another.
    """
    try:
        older = transport.call("GET", task_path(external), partial(Task.parse, external=external))
    except KlingError as error:
        absent = isinstance(error, NotFoundError) and error.code == ABSENT
        if not absent:
            log.warning("create_task %s: whether the id is in use: %s", external, error)
        return absent
    made = f", made at {older.created_at:%Y-%m-%d %H:%M} UTC" if older.created_at else ""
    taken = InvalidRequestError(
        f"external_task_id {external!r} is that of a task that there is already, "
        f"{older.task_id} ({older.task_status}{made})",
        advice="nothing was sent; take another id for a new task, or client.task("
        f"external_task_id={external!r}) for that one",
        outcome="unsent",
    )
    taken.external_task_id = external
    raise taken


def _look_up(transport: Transport, external: str, settle: float) -> Task | None:
    """The task of that id, if it turns up within `settle` seconds; None if there is none."""
    parse = partial(Task.parse, external=external)
    until, pause = time.monotonic() + settle, 0.25
    while True:
        failure: KlingError | None = None
        try:
            task = transport.call("GET", task_path(external), parse)
            return replace(task, external_task_id=external)
        except NotFoundError as error:
            if error.code != ABSENT:  # a gateway's own 404, say: only the service knows
                failure = error
        except KlingError as error:
            failure = error
        left = until - time.monotonic()
        if left <= 0:
            break
        time.sleep(min(pause, left))
        pause = min(2 * pause, 5.0)
    if failure is None:
        return None
    raise UnknownOutcomeError(
        f"task {external} may have been made, and looking for it failed: {failure.message}",
        external,
        failure,
    ) from failure
