"""The eight endpoints, one method each, and three short ways to use several of them.

What a method sends is checked in `checks`, how it is sent is `transport`'s
business, and how a task is made only once is that of `once`.

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
from klingmask.kling.models import FrameSize, InitReply, PreviewReply, Reply, SelectionReply, Task
from klingmask.kling.once import PATH, create_once, task_path
from klingmask.kling.redaction import clean
from klingmask.kling.transport import Patience, Transport, undone

if TYPE_CHECKING:
    from klingmask.kling.session import EditSession, EditTask

__all__ = ["KlingClient"]

SINGAPORE = "https://api-singapore.klingai.com"


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
    timeout : float or (float, float)
        Seconds to wait for a connection, and for a reply; one number is for both.
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
        timeout: float | tuple[float, float] = (10.0, 60.0),
        retry_for: float = 120.0,
        settle: float = 20.0,
    ) -> None:
        auth: Auth = find_auth(api_key, access_key, secret_key)
        url = base_url or os.environ.get("KLING_BASE_URL") or SINGAPORE
        patience = Patience(checks.timeouts(timeout), checks.seconds(retry_for, "retry_for"))
        self._transport = Transport(url, auth, patience)
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
        """Open a session on a video.

        Parameters
        ----------
        video_id : str
            Of a video that Kling made in the last 30 days.
        video_url : str
            Of an mp4 or mov that the service can reach, whatever the URL ends in: 2
            to 5 or 7 to 10 seconds, 720 to 2160 pixels a side, 24, 30 or 60 frames
            a second.

        Returns
        -------
        InitReply
        """
        body = checks.video_source(video_id, video_url)
        return self._transport.call(
            "POST", f"{PATH}/init-selection", InitReply.parse, body=body, again=undone
        )

    def add_selection(
        self, session_id: str, frame_index: int, points: Sequence[PointLike]
    ) -> SelectionReply:
        """Mark points of a frame.

        It is sent again where the service says that it did nothing, and not where
        nobody says so, as the points would count twice; `EditSession` puts such a
        session right.

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
        self,
        endpoint: Literal["add-selection", "delete-selection"],
        session_id: str,
        frame_index: int,
        points: Sequence[PointLike],
        *,
        again: Callable[[BaseException], bool] = undone,
        frame: FrameSize | None = None,
    ) -> SelectionReply:
        """Add or delete points.

        `again` says after which errors they are sent again, `frame` what is known of
        the video's frames.
        """
        index = checks.frame_index(frame_index)
        body = {
            "session_id": checks.identifier(session_id, "session_id"),
            "frame_index": index,
            "points": [{"x": x, "y": y} for x, y in checks.points_of(points)],
        }
        parse = partial(SelectionReply.parse, asked=index, frame=frame)
        return self._transport.call("POST", f"{PATH}/{endpoint}", parse, body=body, again=again)

    def clear_selection(self, session_id: str) -> Reply:
        """Take all points of a session away."""
        body = {"session_id": checks.identifier(session_id, "session_id")}
        return self._transport.call("POST", f"{PATH}/clear-selection", Reply.parse, body=body)

    def preview_selection(self, session_id: str) -> PreviewReply:
        """Have the selection followed through the video, and get the URLs of the result."""
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
        model_name: str | None = checks.MODEL,
    ) -> Task:
        """Start an edit, which costs money, once.

        The request always has an external_task_id. If it is not known whether the
        service received it (no reply, or a 5xx), the task is looked for under that
        id for a while before the request is sent again, under the same id. So a second
        task takes a service that both says for all of `settle` seconds that there is
        none of that id, though there is, and then accepts the id again.

        An `external_task_id` of your own is looked for before the first request too:
        a task that has it already is an error, never taken for this call's.

        Parameters
        ----------
        session_id : str
        edit_mode : {"addition", "swap", "removal"}
        prompt : str
            At most 2500 characters, with ``<<<video_1>>>`` and ``<<<image_1>>>``
            where the mode has images; `klingmask.kling.prompts` builds them.
        images : sequence of str, bytes or path
            1 or 2 for addition, 1 for swap, none for removal. A str is a URL, a path
            or the raw base64 of a picture. JPEG or PNG of at most 10 MB, at least 300
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
            Your own name for the task, unique in the account.
        model_name : str or None
            None leaves it to the service.

        Returns
        -------
        Task

        Raises
        ------
        InvalidRequestError
            Before anything is sent, if a documented limit is not kept or a task has
            the `external_task_id` already.
        UnknownOutcomeError
            If the task may have been made, but the service does not tell.
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
            self._transport, body, own_id=external_task_id is None, settle=self._settle
        )

    def get_task(self, task_id: str | None = None, *, external_task_id: str | None = None) -> Task:
        """Ask how a task stands, by either of its ids."""
        path = task_path(checks.task_id(task_id, external_task_id))
        parse = partial(Task.parse, task_id=task_id, external=external_task_id)
        return self._transport.call("GET", path, parse)

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
        return self._transport.call("GET", PATH, Task.parse_list, params=params)

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
