"""KlingClient: the eight endpoints of the Multi-Elements API, and shortcuts that combine them.

`checks` and `images` check the arguments, `transport` sends the requests, and `once`
makes sure that a task is created only once.

Source: the Multi-Elements page of Kling's API reference.
"""

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from klingmask.kling import checks
from klingmask.kling.auth import Auth, find_auth
from klingmask.kling.checks import Duration, EditMode, Mode, PointLike
from klingmask.kling.images import ImageSource, image_list
from klingmask.kling.models import InitReply, PreviewReply, Reply, SelectionReply, Task
from klingmask.kling.objects import FrameSize
from klingmask.kling.once import PATH, create_once, task_path
from klingmask.kling.redaction import clean
from klingmask.kling.transport import TimeLimits, Transport, is_retryable_and_failed

if TYPE_CHECKING:
    from klingmask.kling.session import EditSession
    from klingmask.kling.task import EditTask

__all__ = ["KlingClient"]

SINGAPORE = "https://api-singapore.klingai.com"


class KlingClient:
    """A client of Kling's Multi-Elements API.

    It can be used from several threads, and as a context manager that closes its
    connections.

    Parameters
    ----------
    api_key : str, optional
        Sent as it is.
    access_key, secret_key : str, optional
        Used to make tokens. If no key is given, KLING_API_KEY, or else KLING_ACCESS_KEY
        and KLING_SECRET_KEY, are read from the environment.
    base_url : str, optional
        By default KLING_BASE_URL, or else the servers outside China.
    timeout : float or (float, float)
        Seconds to connect, and seconds for a whole reply. One number stands for both.
    retry_for : float
        Seconds during which a request is retried, if that may help.
    settle : float
        Seconds during which a task is looked up before its request is sent again, if it
        is not known whether the first request made it. The service should be done with
        any request in that time.

    Examples
    --------
    ::

        with KlingClient() as client:
            edit = client.edit_video(video_url="https://example.org/clip.mp4")
            edit.add_selection(0, [(0.77, 0.30)])
            task = edit.submit("removal", prompts.removal("the chick"))
            task.wait().download("edited.mp4")
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        access_key: str | None = None,
        secret_key: str | None = None,
        base_url: str | None = None,
        timeout: float | tuple[float, float] = (10.0, 60.0),
        retry_for: float = 120.0,
        settle: float = 20.0,
    ) -> None:
        auth: Auth = find_auth(api_key, access_key, secret_key)
        url = base_url or os.environ.get("KLING_BASE_URL") or SINGAPORE
        limits = TimeLimits(checks.timeouts(timeout), checks.seconds(retry_for, "retry_for"))
        self._transport = Transport(url, auth, limits)
        self._settle = checks.seconds(settle, "settle")

    def __repr__(self) -> str:
        return clean(f"KlingClient({self._transport.base_url!r})")

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
        """Open a session for a video; give exactly one of the two parameters.

        Parameters
        ----------
        video_id : str
            The id of a video that Kling made in the last 30 days.
        video_url : str
            The URL of an mp4 or mov that the service can reach; its ending does not
            matter. The video must be 2 to 5 or 7 to 10 seconds long, 720 to 2160 pixels
            wide and high, and have 24, 30 or 60 frames a second.

        Returns
        -------
        InitReply
        """
        body = checks.video_source(video_id, video_url)
        return self._transport.call(
            "POST",
            f"{PATH}/init-selection",
            InitReply.parse,
            body=body,
            retry_if=is_retryable_and_failed,
        )

    def add_selection(
        self, session_id: str, frame_index: int, points: Sequence[PointLike]
    ) -> SelectionReply:
        """Add points to a frame.

        The request is retried only if the service says that it was not done. If a reply
        is lost, it is not: the points could be added twice. `EditSession` can recover
        from that.

        Parameters
        ----------
        session_id : str
        frame_index : int
            From 0. At most 10 frames of a session can have points.
        points : sequence of (float, float)
            1 to 10 points, x and y as shares of width and height; see `Point`.

        Returns
        -------
        SelectionReply
            The masks of everything that the frame's points select.
        """
        return self._select("add-selection", session_id, frame_index, points)

    def delete_selection(
        self, session_id: str, frame_index: int, points: Sequence[PointLike]
    ) -> SelectionReply:
        """Delete points from a frame; they must be exactly those that were added.

        Parameters and result are those of `add_selection`.
        """
        return self._select("delete-selection", session_id, frame_index, points)

    def _select(
        self,
        endpoint: Literal["add-selection", "delete-selection"],
        session_id: str,
        frame_index: int,
        points: Sequence[PointLike],
        *,
        retry_if: Callable[[BaseException], bool] = is_retryable_and_failed,
        frame_size: FrameSize | None = None,
    ) -> SelectionReply:
        """Add or delete points; `frame_size` is what is known of the video's frames."""
        index = checks.frame_index(frame_index)
        body = {
            "session_id": checks.identifier(session_id, "session_id"),
            "frame_index": index,
            "points": [{"x": x, "y": y} for x, y in checks.points_of(points)],
        }
        parse = partial(SelectionReply.parse, asked=index, frame_size=frame_size)
        return self._transport.call(
            "POST", f"{PATH}/{endpoint}", parse, body=body, retry_if=retry_if
        )

    def clear_selection(self, session_id: str) -> Reply:
        """Delete all points of a session."""
        body = {"session_id": checks.identifier(session_id, "session_id")}
        return self._transport.call("POST", f"{PATH}/clear-selection", Reply.parse, body=body)

    def preview_selection(self, session_id: str) -> PreviewReply:
        """Let the service track the selection through the video, and get the URLs of the result."""
        body = {"session_id": checks.identifier(session_id, "session_id")}
        return self._transport.call(
            "POST", f"{PATH}/preview-selection", PreviewReply.parse, body=body
        )

    # ---- tasks ----

    def create_task(
        self,
        session_id: str,
        edit_mode: EditMode,
        prompt: str,
        *,
        images: Sequence[ImageSource] = (),
        negative_prompt: str = "",
        mode: Mode = "std",
        duration: Duration | None = None,
        watermark: bool | None = None,
        callback_url: str | None = None,
        external_task_id: str | None = None,
        model_name: str | None = checks.DEFAULT_MODEL,
    ) -> Task:
        """Start an edit, which costs money, and make sure that it is started only once.

        Every request has an external_task_id. If a request has no clear answer (no reply,
        or a 5xx), the task is looked up by that id for `settle` seconds. Only if there is
        none is the request sent again, with the same id. So two tasks can be made only by
        a service that does not find the first one in all that time, and then accepts its
        id a second time.

        An `external_task_id` of your own is looked up before the first request, too. If a
        task has it already, that is an error: the older task is never returned.

        Parameters
        ----------
        session_id : str
        edit_mode : {"addition", "swap", "removal"}
        prompt : str
            At most 2500 characters, with ``<<<video_1>>>``, and with ``<<<image_1>>>``
            for each image; `klingmask.kling.prompts` makes such texts.
        images : sequence of str, bytes or path
            1 or 2 for addition, 1 for swap, none for removal. A str is a URL, a path or
            the raw base64 of a picture; bytes are a file's content. JPEG or PNG, at most
            10 MB, each side at least 300 pixels and at most 2.5 times the other.
        negative_prompt : str
            At most 2500 characters.
        mode : {"std", "pro"}
        duration : {"5", "10"}, optional
            Length of the result in seconds; "5" by default.
        watermark : bool, optional
            Whether to make a version with a watermark, too.
        callback_url : str, optional
            URL that the service calls when the task's status changes; see `parse_callback`.
        external_task_id : str, optional
            Your own id for the task, unique in the account.
        model_name : str, optional
            None leaves the choice to the service.

        Returns
        -------
        Task

        Raises
        ------
        InvalidRequestError
            Before anything is sent, if a documented limit is exceeded or a task has the
            `external_task_id` already.
        UnknownOutcomeError
            If the task may have been made, but the service gives no answer.
        """
        body: dict[str, Any] = {
            "session_id": checks.identifier(session_id, "session_id"),
            "edit_mode": checks.one_of(edit_mode, checks.EDIT_MODES, "edit_mode"),
        }
        if model_name is not None:
            body["model_name"] = checks.identifier(model_name, "model_name")
        body["image_list"] = image_list(images, edit_mode)
        checks.prompts(prompt, negative_prompt, edit_mode, len(body["image_list"]))
        body |= {
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "mode": checks.one_of(mode, checks.MODES, "mode"),
            "duration": checks.duration(duration, None),
            "callback_url": checks.callback_url(callback_url),
            "external_task_id": f"klingmask-{uuid.uuid4().hex}"
            if external_task_id is None
            else checks.task_id(None, external_task_id),
        }
        if watermark is not None:
            body["watermark_info"] = {"enabled": checks.flag(watermark, "watermark")}
        return create_once(
            self._transport,
            body,
            is_generated_id=external_task_id is None,
            settle=self._settle,
        )

    def get_task(self, task_id: str | None = None, *, external_task_id: str | None = None) -> Task:
        """Query a task by one of its two ids."""
        path = task_path(checks.task_id(task_id, external_task_id))
        parse = partial(Task.parse, task_id=task_id, external=external_task_id)
        return self._transport.call("GET", path, parse)

    def list_tasks(self, page_num: int = 1, page_size: int = 30) -> list[Task]:
        """Get one page of the account's tasks.

        Parameters
        ----------
        page_num : int
            1 to 1000.
        page_size : int
            1 to 500.
        """
        params = checks.page(page_num, page_size)
        return self._transport.call("GET", PATH, Task.parse_list, params=params)

    def iter_tasks(self, page_size: int = 100) -> Iterator[Task]:
        """Iterate over all tasks, page by page, each task once.

        It ends at an empty page, or at one that repeats the page before. A page that is
        not full does not end it: the service may have a smaller page size of its own.
        """
        seen: set[str] = set()
        previous: list[str] = []
        for number in range(1, 1001):
            page = self.list_tasks(number, page_size)
            names = [task.task_id for task in page]
            if not page or names == previous:
                return
            for task in page:
                if task.task_id not in seen:  # new tasks move the older ones to later pages
                    seen.add(task.task_id)
                    yield task
            previous = names

    # ---- sessions and tasks as objects ----

    def edit_video(
        self, *, video_id: str | None = None, video_url: str | None = None
    ) -> "EditSession":
        """Open an `EditSession`; the parameters are those of `init_selection`."""
        from klingmask.kling.session import EditSession

        return EditSession(self, self.init_selection(video_id=video_id, video_url=video_url))

    def task(
        self, task_id: str | None = None, *, external_task_id: str | None = None
    ) -> "EditTask":
        """Return a task that was submitted before, to wait for it and download its video."""
        from klingmask.kling.task import EditTask

        return EditTask(self, self.get_task(task_id, external_task_id=external_task_id))
