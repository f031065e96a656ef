"""The eight endpoints, one method each, and nothing more.

Source: the Multi-Elements page of Kling's API reference.
"""

import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from klingmask.kling import checks
from klingmask.kling.auth import Auth, find_auth
from klingmask.kling.checks import ImageSource, PointLike
from klingmask.kling.errors import (
    BadReplyError,
    InvalidRequestError,
    KlingError,
    NotFoundError,
    RateLimitError,
    UnknownOutcomeError,
)
from klingmask.kling.models import (
    InitReply,
    PreviewReply,
    Reply,
    SelectionReply,
    Task,
    accepted,
    data_of,
)
from klingmask.kling.transport import NotSentError, Transport, is_passing

if TYPE_CHECKING:
    from klingmask.kling.session import EditSession, EditTask

__all__ = ["KlingClient"]

log = logging.getLogger("klingmask.kling")

SINGAPORE = "https://api-singapore.klingai.com"
PATH = "/v1/videos/multi-elements"


class KlingClient:
    """A client of Kling's Multi-Elements API.

    Safe to use from several threads; a context manager that closes its
    connections.

    Parameters
    ----------
    api_key : str, optional
        Sent as it is.
    access_key, secret_key : str, optional
        Tokens are made of them. Without any key, KLING_API_KEY, or else
        KLING_ACCESS_KEY and KLING_SECRET_KEY, are taken from the environment.
    base_url : str, optional
        By default KLING_BASE_URL, or else the servers outside China.
    timeout : (float, float)
        Seconds to wait for a connection, and for a reply.
    retry_for : float
        Seconds for which a request is tried again where that may help.
    settle : float
        Seconds for which a task of unknown outcome is looked for before its
        request is sent again: as long as the service may still be busy with a
        request that it has received.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        access_key: str | None = None,
        secret_key: str | None = None,
        base_url: str | None = None,
        timeout: tuple[float, float] = (10.0, 60.0),
        retry_for: float = 120.0,
        settle: float = 20.0,
    ) -> None:
        auth: Auth = find_auth(api_key, access_key, secret_key)
        url = base_url or os.environ.get("KLING_BASE_URL") or SINGAPORE
        self._transport = Transport(url, auth, timeout, retry_for)
        self._settle = settle

    def __repr__(self) -> str:
        return f"KlingClient({self._transport.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # ---- selection ----

    def init_selection(
        self, *, video_id: str | None = None, video_url: str | None = None
    ) -> InitReply:
        """Open a session on a video.

        Parameters
        ----------
        video_id : str
            Of a video that Kling made in the last 30 days.
        video_url : str
            Of a .mp4 or .mov that the service can reach: 2 to 5 or 7 to 10
            seconds, 720 to 2160 pixels a side, 24, 30 or 60 frames a second.

        Returns
        -------
        InitReply
        """
        body = checks.video_source(video_id, video_url)
        return InitReply.parse(
            self._transport.call("POST", f"{PATH}/init-selection", body=body, repeatable=False)
        )

    def add_selection(
        self, session_id: str, frame_index: int, points: Sequence[PointLike]
    ) -> SelectionReply:
        """Mark points of a frame.

        It is not sent again where it may have been done, as the points would count
        twice; `EditSession` puts such a session right.

        Parameters
        ----------
        session_id : str
        frame_index : int
            From 0; at most 10 frames of a session can be marked.
        points : sequence of (float, float)
            1 to 10 points as shares of width and height; see `Point`.

        Returns
        -------
        SelectionReply
            The masks of what the frame's points select.
        """
        return self._select("add-selection", session_id, frame_index, points)

    def delete_selection(
        self, session_id: str, frame_index: int, points: Sequence[PointLike]
    ) -> SelectionReply:
        """Take points of a frame away; they must be exactly those that were added.

        Parameters and result are those of `add_selection`.
        """
        return self._select("delete-selection", session_id, frame_index, points)

    def _select(
        self, endpoint: str, session_id: str, frame_index: int, points: Sequence[PointLike]
    ) -> SelectionReply:
        body = {
            "session_id": checks.identifier(session_id, "session_id"),
            "frame_index": checks.frame_index(frame_index),
            "points": [{"x": x, "y": y} for x, y in checks.points_of(points)],
        }
        return SelectionReply.parse(
            self._transport.call("POST", f"{PATH}/{endpoint}", body=body, repeatable=False)
        )

    def clear_selection(self, session_id: str) -> Reply:
        """Take all points of a session away."""
        body = {"session_id": checks.identifier(session_id, "session_id")}
        envelope = self._transport.call("POST", f"{PATH}/clear-selection", body=body)
        return Reply.of(accepted(envelope), envelope)

    def preview_selection(self, session_id: str) -> PreviewReply:
        """Have the selection followed through the video, and get the URLs of the result."""
        body = {"session_id": checks.identifier(session_id, "session_id")}
        return PreviewReply.parse(
            self._transport.call("POST", f"{PATH}/preview-selection", body=body)
        )

    # ---- tasks ----

    def create_task(
        self,
        session_id: str,
        edit_mode: str,
        prompt: str,
        *,
        images: Sequence[ImageSource] = (),
        negative_prompt: str = "",
        mode: str = "std",
        duration: str | int | None = None,
        watermark: bool | None = None,
        callback_url: str | None = None,
        external_task_id: str | None = None,
        model_name: str = "kling-v1-6",
    ) -> Task:
        """Start an edit, which costs money, once.

        The request always has an external_task_id. If it is not known whether the
        service received it (no reply, or a 5xx), the task is looked for under that
        id for a while before the request is sent again, under the same id.

        Parameters
        ----------
        session_id : str
        edit_mode : {"addition", "swap", "removal"}
        prompt : str
            At most 2500 characters, with ``<<<video_1>>>`` and ``<<<image_1>>>``
            where the mode has images; `klingmask.kling.prompts` builds them.
        images : sequence of str, bytes or path
            1 or 2 for addition, 1 for swap, none for removal: URLs, raw base64,
            the bytes or the Path of a JPEG or PNG of at most 10 MB, at least 300
            pixels a side, no longer than 2.5 times its width or height.
        negative_prompt : str
            At most 2500 characters.
        mode : {"std", "pro"}
        duration : {"5", "10"}, optional
            Of the result in seconds; "5" if left out.
        watermark : bool, optional
            Whether to make a watermarked result too.
        callback_url : str, optional
            Where the service tells of changes; see `parse_callback`.
        external_task_id : str, optional
            Your own name for the task, unique in the account: if the outcome is
            unknown, a task that has it already is taken for this one.
        model_name : str

        Returns
        -------
        Task

        Raises
        ------
        InvalidRequestError
            Before anything is sent, if a documented limit is not kept.
        UnknownOutcomeError
            If the task may have been made, but the service cannot be asked.
        """
        body: dict[str, Any] = {
            "model_name": checks.identifier(model_name, "model_name"),
            "session_id": checks.identifier(session_id, "session_id"),
            "edit_mode": checks.one_of(edit_mode, checks.EDIT_MODES, "edit_mode"),
        }
        body["image_list"] = checks.images(images, edit_mode)
        checks.prompts(prompt, negative_prompt, edit_mode, len(body["image_list"]))
        body |= {
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "mode": checks.one_of(mode, checks.MODES, "mode"),
            "duration": checks.duration(duration, None),
            "callback_url": callback_url or "",
            "external_task_id": f"klingmask-{uuid.uuid4().hex}"
            if external_task_id is None
            else checks.identifier(external_task_id, "external_task_id"),
        }
        if watermark is not None:
            body["watermark_info"] = {"enabled": watermark}
        return self._create_once(body, own_id=external_task_id is None)

    def _create_once(self, body: Mapping[str, Any], *, own_id: bool) -> Task:
        external = body["external_task_id"]
        unknown = False  # whether an earlier request may have made the task

        def attempt() -> Task:
            nonlocal unknown
            try:
                log.info("create_task %s", external)
                envelope = self._transport.once("POST", PATH, body=body)
                return Task.parse(data_of(envelope), envelope.get("request_id"))
            except (NotSentError, RateLimitError):
                raise  # nothing was made of this one
            except InvalidRequestError:
                # Perhaps only because an earlier request has taken the id. None but
                # this call's can have taken its own, whoever on the way repeated one.
                found = self._find(external, 0) if unknown or own_id else None
                if found is None:
                    raise
                return found
            except KlingError as error:
                if not (is_passing(error) or _undecided(error)):
                    raise
                unknown = True
                log.warning("create_task %s: %s; looking for the task", external, error)
                found = self._find(external, self._settle)
                if found is None:
                    raise
                return found

        try:
            return self._transport.retry(
                attempt, lambda error: is_passing(error) or _undecided(error)
            )
        except KlingError as error:
            if not unknown or isinstance(error, UnknownOutcomeError):
                raise
            found = self._find(external, 0)
            if found is not None:
                return found
            if not (is_passing(error) or _undecided(error)):
                raise  # the service has decided, and knows of no task
            raise UnknownOutcomeError(f"{error.message}; task {external}", external) from error
        except BaseException as error:  # an interrupt, say: whoever sees it can still find the task
            error.add_note(f"the task may have been made: get_task(external_task_id={external!r})")
            raise

    def _find(self, external_task_id: str, settle: float) -> Task | None:
        """The task of that id, if it turns up within `settle` seconds."""
        until, pause = time.monotonic() + settle, 0.25
        while True:
            try:
                found = self.get_task(external_task_id=external_task_id)
                if found.external_task_id not in (external_task_id, None):
                    raise BadReplyError(f"the task {found.external_task_id!r} came instead")
                return found
            except KlingError as error:
                # Only the service can say that there is none, not a gateway's own 404.
                if not (isinstance(error, NotFoundError) and error.code is not None):
                    raise UnknownOutcomeError(
                        f"task {external_task_id} may have been made: {error}", external_task_id
                    ) from error
            left = until - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(pause, left))
            pause = min(2 * pause, 5.0)

    def get_task(self, task_id: str | None = None, *, external_task_id: str | None = None) -> Task:
        """Ask how a task stands, by either of its ids."""
        found = quote(checks.task_id(task_id, external_task_id), safe="")
        if found in (".", ".."):
            raise InvalidRequestError(f"{found!r} is no task id")
        envelope = self._transport.call("GET", f"{PATH}/{found}")
        return Task.parse(data_of(envelope), envelope.get("request_id"))

    def list_tasks(self, page_num: int = 1, page_size: int = 30) -> list[Task]:
        """Get a page of the account's tasks.

        Parameters
        ----------
        page_num : int
            1 to 1000.
        page_size : int
            1 to 500.
        """
        params = checks.page(page_num, page_size)
        return list(Task.parse_list(self._transport.call("GET", PATH, params=params)))

    def iter_tasks(self, page_size: int = 100) -> Iterator[Task]:
        """Go through all tasks, page after page; one that moves on between pages comes once.

        To the first empty page, or one that repeats the page before: a page that is
        not full need not be the last where the service has a limit of its own.
        """
        seen: set[str] = set()
        before: list[str] = []
        for number in range(1, 1001):
            page = self.list_tasks(number, page_size)
            names = [task.task_id for task in page]
            if not page or names == before:
                return
            for task in page:
                if task.task_id not in seen:
                    seen.add(task.task_id)
                    yield task
            before = names

    # ---- the habits around them ----

    def edit_video(
        self, *, video_id: str | None = None, video_url: str | None = None
    ) -> "EditSession":
        """Open a session that remembers its points; see `EditSession`."""
        from klingmask.kling.session import EditSession

        return EditSession(self, self.init_selection(video_id=video_id, video_url=video_url))

    def task(
        self, task_id: str | None = None, *, external_task_id: str | None = None
    ) -> "EditTask":
        """Take up a task that was submitted before, to wait for and download it."""
        from klingmask.kling.session import EditTask

        return EditTask(self, self.get_task(task_id, external_task_id=external_task_id))


def _undecided(error: BaseException) -> bool:
    """Whether it is a success whose words leave open what was done."""
    return isinstance(error, BadReplyError) and error.status is None
