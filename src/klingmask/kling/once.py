"""Creating a task once, however the network fails.

Creating a task costs money. Its request is sent again only when it is known that the
last one made nothing. The service can tell: each request has an external_task_id, and
a task can be looked up by it. If the service gives no answer to that either, the error
has the id, so that no task is lost.

An id that the caller chose may belong to an older task. It is looked up before the
first request, because later nobody could tell the two apart.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote

from klingmask.kling.codes import INVALID_VALUE, NOT_FOUND
from klingmask.kling.errors import (
    InvalidRequestError,
    KlingError,
    NotFoundError,
    UnknownOutcomeError,
)
from klingmask.kling.models import Task
from klingmask.kling.transport import Transport

__all__ = ["PATH", "create_once", "task_path"]

log = logging.getLogger("klingmask.kling")

PATH = "/v1/videos/multi-elements"


def task_path(task_id: str) -> str:
    """Return the path of a task, by either of its ids."""
    return f"{PATH}/{quote(task_id, safe='')}"


def create_once(
    transport: Transport, body: Mapping[str, Any], *, is_generated_id: bool, settle: float
) -> Task:
    """Create a task; look it up before a request is sent a second time.

    Parameters
    ----------
    transport : Transport
    body : mapping
        Of the request, with an external_task_id.
    is_generated_id : bool
        Whether the id was generated for this call, so that no older task has it.
    settle : float
        Seconds during which a task is looked up: as long as the service may still be
        busy with a request that it has received.

    Raises
    ------
    InvalidRequestError
        If an older task has the id.
    UnknownOutcomeError
        If the task may have been made, but the service gives no answer.
    KlingError
        Every error has the external_task_id.
    """
    external = body["external_task_id"]
    parse = partial(Task.parse, external=external)
    was_free = is_generated_id or _is_free(transport, external)
    may_exist = False  # whether a request may have made the task

    def look_up(seconds: float) -> Task | None:
        found = _look_up(transport, external, seconds)
        if found is None or was_free:
            return found
        raise UnknownOutcomeError(
            f"there is a task {external}, but whether there was one before this call is "
            "not known, as the service gave no answer; so it may be an older one",
            external,
        )

    def attempt() -> Task:
        nonlocal may_exist
        if may_exist and (found := look_up(0)):
            return found
        try:
            log.info("create_task %s", external)
            task = transport.once("POST", PATH, parse, body=body)
            return replace(task, external_task_id=external)
        except KlingError as error:
            may_have_worked = error.outcome not in ("unsent", "refused")
            # An invalid value may be the id: a request that was repeated on the way, say.
            may_be_repeated = is_generated_id and error.code == INVALID_VALUE
            if not (may_have_worked or may_exist or may_be_repeated):
                raise  # nothing was made
            # A refusal for good may be due to a task that is not visible yet.
            is_last = may_have_worked or (may_exist and not error.retryable)
            may_exist |= may_have_worked
            log.warning("create_task %s: %s; looking the task up", external, error)
            found = look_up(settle if is_last else 0)
            if found is None:
                raise
            return found

    try:
        return transport.retry(attempt)
    except KlingError as error:
        error.external_task_id = external
        if not may_exist or isinstance(error, UnknownOutcomeError):
            raise
        if error.outcome == "refused" and not error.retryable and error.code != INVALID_VALUE:
            # The service refuses the request for good and knows no such task, but an earlier
            # request had no answer. (An invalid value may be the id, which a task has.)
            error.advice = f"{error.advice}; {_where(external)}"
            raise
        raise UnknownOutcomeError(f"task {external}: {error.message}", external, error) from error
    except BaseException as error:  # KeyboardInterrupt, for one
        error.add_note(_where(external))
        raise


def _where(external: str) -> str:
    return f"if the task was made all the same, get_task(external_task_id={external!r}) finds it"


def _is_free(transport: Transport, external: str) -> bool:
    """Return whether no task has that id; False also if the service gives no answer.

    Raises
    ------
    InvalidRequestError
        If a task has it. No task was created.
    """
    try:
        older = transport.call("GET", task_path(external), partial(Task.parse, external=external))
    except KlingError as error:
        is_absent = isinstance(error, NotFoundError) and error.code == NOT_FOUND
        if not is_absent:
            log.warning("create_task %s: is the id in use? %s", external, error)
        return is_absent
    made = f", made at {older.created_at:%Y-%m-%d %H:%M} UTC" if older.created_at else ""
    taken = InvalidRequestError(
        f"a task has the external_task_id {external!r} already: "
        f"{older.task_id} ({older.task_status}{made})",
        advice="no task was created; use another id for a new task, or client.task("
        f"external_task_id={external!r}) for that one",
        outcome="unsent",
    )
    taken.external_task_id = external
    raise taken


def _look_up(transport: Transport, external: str, settle: float) -> Task | None:
    """Return the task with that id if it appears within `settle` seconds; None if it does not.

    Raises
    ------
    UnknownOutcomeError
        If the service gives no answer.
    """
    parse = partial(Task.parse, external=external)
    until, interval = time.monotonic() + settle, 0.25
    while True:
        failure: KlingError | None = None
        try:
            task = transport.call("GET", task_path(external), parse)
            return replace(task, external_task_id=external)
        except NotFoundError as error:
            if error.code != NOT_FOUND:  # a gateway's 404: only the service knows its tasks
                failure = error
        except KlingError as error:
            failure = error
        left = until - time.monotonic()
        if left <= 0:
            break
        time.sleep(min(interval, left))
        interval = min(2 * interval, 5.0)
    if failure is None:
        return None
    raise UnknownOutcomeError(
        f"task {external} may have been made, and looking it up failed: {failure.message}",
        external,
        failure,
    ) from failure
