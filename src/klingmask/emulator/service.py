"""The emulated service: sessions, selections, tasks, the documented limits and codes."""

import base64
import hashlib
import hmac
import json
import secrets
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import av
import jwt
import numpy as np
import requests
from PIL import Image

from klingmask import Mask
from klingmask.emulator import segmenter
from klingmask.kling import checks
from klingmask.kling.errors import InvalidRequestError
from klingmask.kling.transport import anonymous_session
from klingmask.video import frame_at, frames, map_video, overlay_video

__all__ = ["Fault", "Refusal", "Service"]

_T = TypeVar("_T")

SESSION_SECONDS = 24 * 3600
SIDES = (720, 2160)
RATES = (24, 30, 60)
MODELS = ("kling-v1-6",)
_CODES = {400: 1200, 401: 1000, 403: 1103, 404: 1203, 429: 1302, 503: 5001, 504: 5002}


class Refusal(Exception):  # noqa: N818 - an answer, not a failure
    """What the service answers in the place of a success."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def bad_value(message: str) -> Refusal:
    """Answer that a key or value is invalid."""
    return Refusal(400, 1201, message)


@dataclass
class Fault:
    """What goes wrong with one request, by plan.

    Parameters
    ----------
    status : int
        Of HTTP. From 300 on the request is refused, and nothing is done.
    code, message
        Of the service, in a refusal; by default the first that the platform's
        table has for the status. A code other than 0 refuses under any status.
    delay : float
        Seconds before the answer, after the work.
    reset : {"", "before", "after"}
        Break the connection before or after the work is done.
    cut : bool
        Send half of the answer only.
    retry_after : str
        A Retry-After header.
    works : bool
        Whether the work is done although the request is refused.
    body : bytes, optional
        What is sent in the place of the answer, whatever it is.
    slow : float
        Seconds over which the answer is spread.
    """

    status: int = 200
    code: int | None = None
    message: str = "planned"
    delay: float = 0.0
    reset: str = ""
    cut: bool = False
    retry_after: str = ""
    works: bool = False
    body: bytes | None = None
    slow: float = 0.0

    def refusal(self) -> Refusal | None:
        """The answer in the place of a success, if there is to be one."""
        code = _CODES.get(self.status, 5000) if self.code is None else self.code
        if self.status < 300 and not self.code:
            return None
        return Refusal(self.status, code, self.message)


@dataclass
class _Session:
    id: str
    path: Path
    size: tuple[int, int]
    fps: float
    milliseconds: int
    total: int
    born: float
    points: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    masks: dict[int, Mask] = field(default_factory=dict)


@dataclass
class _Task:
    id: str
    external: str
    session: _Session
    body: Mapping[str, Any]
    status: str = "submitted"
    reason: str = ""
    created: int = field(default_factory=lambda: int(time.time() * 1000))
    updated: int = field(default_factory=lambda: int(time.time() * 1000))
    file: str = ""


class Service:
    """The state of the emulator, and what each endpoint does to it.

    Parameters
    ----------
    folders : sequence of path
        From which videos may be opened, under the file port's ``/files/<n>/``.
    api_key, access_key, secret_key : str
        That are accepted.
    webhook_secret : str
        With which callbacks are signed.
    parallel_tasks : int, optional
        How many may be submitted or processing at once.
    """

    def __init__(
        self, folders: "list[Path]", keys: Mapping[str, str], parallel_tasks: int | None = None
    ) -> None:
        self.folders = [folder.resolve(strict=True) for folder in folders]
        self.keys = keys
        self.parallel_tasks = parallel_tasks
        self.cdn_url = ""
        self.lock = threading.RLock()
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.sessions: dict[str, _Session] = {}
        self.tasks: dict[str, _Task] = {}
        self.named: dict[str, _Task] = {}
        """The tasks by the ids that their callers gave them."""
        self.running = 0
        self.offset = 0.0
        """Seconds that the service's clock is ahead, for tests of expiry."""
        self._folder = tempfile.TemporaryDirectory(prefix="klingmask-emulator-")
        self.results = Path(self._folder.name)
        self._pool = ThreadPoolExecutor(1, "klingmask-emulator")

    def close(self) -> None:
        """Finish the task at hand and delete all results."""
        self._pool.shutdown(cancel_futures=True)
        self._folder.cleanup()

    # ---- sign-in ----

    def sign_in(self, header: str) -> None:
        """Accept an Authorization header, or refuse it as documented."""
        if not header:
            raise Refusal(401, 1001, "Authorization is empty")
        scheme, _, token = header.partition(" ")
        if scheme != "Bearer" or not token:
            raise Refusal(401, 1002, "Authorization is invalid")
        if hmac.compare_digest(token.encode(), self.keys["api_key"].encode()):
            return
        try:
            claims = jwt.decode(
                token,
                self.keys["secret_key"],
                algorithms=["HS256"],
                options={
                    "require": ["iss", "exp", "nbf"],
                    "verify_exp": False,  # below, by the service's own clock
                    "verify_nbf": False,
                },
            )
            begin, end = float(claims["nbf"]), float(claims["exp"])
        except (jwt.InvalidTokenError, TypeError, ValueError):
            raise Refusal(401, 1000, "authentication failed") from None
        if claims["iss"] != self.keys["access_key"]:
            raise Refusal(401, 1000, "authentication failed")
        if self.now() < begin:
            raise Refusal(401, 1003, "the token is not valid yet")
        if self.now() >= end:
            raise Refusal(401, 1004, "the token has expired")

    # ---- files ----

    def file(self, path: str) -> Path | None:
        """The file that the file port serves under a path, if there is one."""
        parts = unquote(path).strip("/").split("/")
        if len(parts) == 2 and parts[0] == "results":
            folder = self.results
        elif len(parts) > 2 and parts[0] == "files" and parts[1].isdecimal():
            if int(parts[1]) >= len(self.folders):
                return None
            folder, parts = self.folders[int(parts[1])], parts[1:]
        else:
            return None
        found = folder.joinpath(*parts[1:]).resolve()
        return found if found.is_relative_to(folder.resolve()) and found.is_file() else None

    def url_of(self, path: Path) -> str:
        """The URL under which the file port serves a file of the folders."""
        found = path.resolve(strict=True)
        for number, folder in enumerate(self.folders):
            if found.is_relative_to(folder):
                return f"{self.cdn_url}/files/{number}/{found.relative_to(folder).as_posix()}"
        raise ValueError(f"{path} is in none of the emulator's folders")

    def _result(self, suffix: str) -> Path:
        return self.results / f"{secrets.token_hex(8)}{suffix}"

    def _result_url(self, path: Path) -> str:
        return f"{self.cdn_url}/results/{path.name}?sign={secrets.token_hex(8)}"

    # ---- selection ----

    def init_selection(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Open a video, if it keeps the documented limits."""
        source = _checked(
            lambda: checks.video_source(body.get("video_id") or None, body.get("video_url") or None)
        )
        if "video_id" in source:
            task = self.tasks.get(source["video_id"].removeprefix("video-"))
            if task is None or not task.file:
                raise Refusal(404, 1203, "no such video")
            path = self.results / task.file
        else:
            url = urlsplit(source["video_url"])
            found = self.file(url.path) if source["video_url"].startswith(self.cdn_url) else None
            if found is None:
                raise bad_value("video_url: only files of the emulator's own file port are opened")
            path = found
        session = self._opened(path)
        with self.lock:
            self.sessions[session.id] = session
        height, width = session.size
        return {
            "status": 0,
            "session_id": session.id,
            "final_unit_deduction": "0",
            "fps": session.fps,
            "original_duration": session.milliseconds,
            "width": width,
            "height": height,
            "total_frame": session.total,
            "normalized_video": source.get("video_url", ""),
        }

    def _opened(self, path: Path) -> _Session:
        try:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                fps = float(stream.average_rate or 0)
                total = stream.frames or sum(1 for _ in container.decode(stream))
            height, width = frame_at(path, 0).shape[:2]
        except (ValueError, IndexError, OSError) as error:
            raise bad_value(f"the video cannot be read: {error}") from None
        seconds = total / fps if fps else 0
        if not any(abs(fps - rate) < 0.1 for rate in RATES):
            raise bad_value(f"frame rate {fps:g}; only 24, 30 or 60 fps are supported")
        if not all(SIDES[0] <= side <= SIDES[1] for side in (height, width)):
            raise bad_value(f"{width} x {height}; each side must have 720 to 2160 pixels")
        _checked(lambda: checks.duration(None, seconds))
        return _Session(
            uuid.uuid4().hex, path, (height, width), fps, round(seconds * 1000), total, self.now()
        )

    def now(self) -> float:
        """The service's clock."""
        return time.time() + self.offset

    def session(self, body: Mapping[str, Any]) -> _Session:
        """The session of a request, if it lives."""
        name = body.get("session_id")
        found = self.sessions.get(name) if isinstance(name, str) else None
        if found is None or self.now() - found.born >= SESSION_SECONDS:
            raise Refusal(404, 1203, "the session does not exist or has expired")
        return found

    def add_selection(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Mark points of a frame."""
        session, index, points = self._marked(body)
        with self.lock:
            kept = session.points.get(index, [])
            if index not in session.points and len(session.points) >= checks.MAX_FRAMES:
                raise bad_value(f"at most {checks.MAX_FRAMES} frames can be marked")
            if len(kept) + len(points) > checks.MAX_POINTS:
                raise bad_value(f"at most {checks.MAX_POINTS} points of a frame can be marked")
            session.points[index] = [*kept, *points]
        return self._selected(session, index)

    def delete_selection(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Take points of a frame away."""
        session, index, points = self._marked(body)
        with self.lock:
            left = list(session.points.get(index, []))
            for point in points:
                if point not in left:
                    raise bad_value("points must match those that were added")
                left.remove(point)
            session.points[index] = left
            if not left:
                del session.points[index]
        return self._selected(session, index)

    def _marked(self, body: Mapping[str, Any]) -> tuple[_Session, int, list[tuple[float, float]]]:
        session = self.session(body)
        index = _checked(lambda: checks.frame_index(body.get("frame_index", -1), session.total))
        listed = body.get("points")
        if not isinstance(listed, list) or not all(isinstance(point, dict) for point in listed):
            raise bad_value("points must be a list of {x, y}")
        pairs = [(point.get("x"), point.get("y")) for point in listed]
        points = _checked(lambda: checks.points_of(pairs))
        return session, index, [(x, y) for x, y in points]

    def _selected(self, session: _Session, index: int) -> dict[str, Any]:
        points = session.points.get(index, [])
        session.masks.pop(index, None)
        listed = []
        if points:
            mask = segmenter.segment(frame_at(session.path, index), points)
            session.masks[index] = mask
            png = base64.b64encode(mask.to_png()).decode()
            listed.append(
                {
                    "object_id": 0,
                    "rle_mask": mask.to_rle(),
                    "png_mask": {"size": list(mask.size), "base64": png},
                }
            )
        return {
            "status": 0,
            "session_id": session.id,
            "final_unit_deduction": "0",
            "res": {"frame_index": index, "rle_mask_list": listed},
        }

    def clear_selection(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Take all points away."""
        session = self.session(body)
        session.points.clear()
        session.masks.clear()
        return {"status": 0, "session_id": session.id, "final_unit_deduction": "0"}

    def tracked(self, session: _Session) -> list[Mask]:
        """The selection on every frame: that of the nearest marked frame, carried there."""
        if not session.masks:
            raise bad_value("nothing is selected")
        small = [segmenter.shrunk(picture) for picture in frames(session.path)]
        carried = {
            index: segmenter.follow(small, min(index, len(small) - 1), mask)
            for index, mask in session.masks.items()
        }
        return [
            carried[min(carried, key=lambda index: abs(index - place))][place]
            for place in range(len(small))
        ]

    def preview_selection(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Follow the selection through the video, and show it."""
        session = self.session(body)
        masks = self.tracked(session)
        video, cover, tracking = (self._result(suffix) for suffix in (".mp4", ".png", ".json"))
        overlay_video(session.path, [{0: mask} for mask in masks], video, step=1)
        Image.fromarray(frame_at(video, 0)).save(cover)
        listed = [
            {"frame_index": i, "rle_mask_list": [{"object_id": 0, "rle_mask": mask.to_rle()}]}
            for i, mask in enumerate(masks)
        ]
        tracking.write_text(json.dumps(listed))
        return {
            "status": 0,
            "session_id": session.id,
            "final_unit_deduction": "0",
            "res": {
                "video": self._result_url(video),
                "video_cover": self._result_url(cover),
                "tracking_output": self._result_url(tracking),
            },
        }

    # ---- tasks ----

    def create_task(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Start an edit."""
        session = self.session(body)
        given = body.get("edit_mode", "")
        mode = _checked(lambda: checks.one_of(given, checks.EDIT_MODES, "edit_mode"))
        listed = body.get("image_list") or []
        if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
            raise bad_value("image_list must be a list of {image}")
        sources = [str(entry.get("image", "")) for entry in listed]
        _checked(lambda: checks.images(sources, mode))
        prompt, negative = body.get("prompt", ""), body.get("negative_prompt") or ""
        _checked(lambda: checks.prompts(prompt, negative, mode, len(sources)))
        _checked(lambda: checks.one_of(body.get("mode") or "std", checks.MODES, "mode"))
        _checked(lambda: checks.duration(body.get("duration") or "5", session.milliseconds / 1000))
        model = body.get("model_name") or MODELS[0]
        _checked(lambda: checks.one_of(model, MODELS, "model_name"))
        if mode != "addition" and not session.masks:
            raise bad_value(f"{mode} needs a selection")
        external = body.get("external_task_id") or ""
        if not isinstance(external, str):
            raise bad_value("external_task_id must be a text")
        with self.lock:
            if external in self.named:
                raise bad_value("external_task_id must be unique")
            if self.parallel_tasks is not None and self.running >= self.parallel_tasks:
                raise Refusal(429, 1303, "parallel task over resource pack limit")
            task = _Task(uuid.uuid4().hex, external, session, dict(body))
            self.tasks[task.id] = task
            if external:
                self.named[external] = task
            self.running += 1
        masks = dict(session.masks)
        self._pool.submit(self._work, task, mode, sources, masks)
        return self._shown(task)

    def _work(self, task: _Task, mode: str, sources: list[str], masks: dict[int, Mask]) -> None:
        self._moved(task, "processing")
        try:
            task.file = self._edited(task, mode, sources, masks).name
            self._moved(task, "succeed")
        except Exception as error:
            task.reason = f"{type(error).__name__}: {error}"
            self._moved(task, "failed")

    def _edited(self, task: _Task, mode: str, sources: list[str], masks: dict[int, Mask]) -> Path:
        session, result = task.session, self._result(".mp4")
        images = [_rgba(source) for source in sources]
        followed: list[Mask] = []
        if mode != "addition":
            view = _Session(**{**vars(session), "masks": masks})
            followed = self.tracked(view)
        height, width = session.size

        def change(picture: Any, index: int) -> Any:
            if mode == "addition":
                for place, image in enumerate(images):
                    box = (place * width // 2, height // 2, width // 2, height // 2)
                    picture = segmenter.paste(picture, image, box)
                return picture
            mask = followed[min(index, len(followed) - 1)]
            picture = segmenter.inpaint(picture, mask)
            return segmenter.paste(picture, images[0], mask.bbox) if images and mask else picture

        map_video(session.path, change, result)
        return result

    def _moved(self, task: _Task, status: str) -> None:
        """To another status; who has asked for it is told."""
        with self.lock:
            task.status, task.updated = status, int(time.time() * 1000)
            self.running -= status in ("succeed", "failed")
        url = task.body.get("callback_url")
        if not url:
            return
        content = json.dumps(self._shown(task)).encode()
        name, stamp = uuid.uuid4().hex, str(int(self.now()))
        key = base64.b64decode(self.keys["webhook_secret"].removeprefix("whsec_"))
        signed = hmac.digest(key, f"{name}.{stamp}.".encode() + content, hashlib.sha256)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
        }
        if urlsplit(str(url)).hostname not in ("localhost", "127.0.0.1", "::1"):
            return  # the emulator talks to this machine alone
        try:
            with anonymous_session() as session:
                session.post(str(url), data=content, headers=headers, timeout=5)
        except requests.RequestException:
            pass  # as with the service: who is not there is not told

    def _shown(self, task: _Task) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "task_id": task.id,
            "task_status": task.status,
            "task_status_msg": task.reason,
            "task_info": {"external_task_id": task.external},
            "created_at": task.created,
            "updated_at": task.updated,
        }
        if task.status == "succeed":
            url = self._result_url(self.results / task.file)
            marked = bool((task.body.get("watermark_info") or {}).get("enabled"))
            video = {
                "id": f"video-{task.id}",
                "session_id": task.session.id,
                "url": url,
                "watermark_url": url if marked else "",
                "duration": f"{task.session.milliseconds / 1000:g}",
            }
            shown |= {
                "task_result": {"videos": [video]},
                "watermark_info": {"enabled": marked},
                "final_unit_deduction": "0",
            }
        return shown

    def get_task(self, name: str) -> dict[str, Any]:
        """A task by either of its ids."""
        task = self.tasks.get(name) or self.named.get(name)
        if task is None:
            raise Refusal(404, 1203, "the task does not exist")
        return self._shown(task)

    def list_tasks(self, query: Mapping[str, list[str]]) -> list[dict[str, Any]]:
        """A page of the tasks, the latest first."""
        try:
            number = int(query.get("pageNum", ["1"])[0])
            size = int(query.get("pageSize", ["30"])[0])
        except ValueError:
            raise bad_value("pageNum and pageSize must be integers") from None
        _checked(lambda: checks.page(number, size))
        with self.lock:
            tasks = list(self.tasks.values())[::-1]
        return [self._shown(task) for task in tasks[(number - 1) * size : number * size]]


def _checked(check: Callable[[], _T]) -> _T:
    """What the client's own checks say, as the service says it."""
    try:
        return check()
    except InvalidRequestError as error:
        raise bad_value(error.message) from None


def _rgba(source: str) -> Any:
    """An image of a request as RGBA pixels; of URLs only those to this machine."""
    if source.startswith("http"):
        if urlsplit(source).hostname not in ("localhost", "127.0.0.1", "::1"):
            raise ValueError("the emulator fetches images from this machine alone")
        with anonymous_session() as session:
            content = session.get(source, timeout=10).content
    else:
        content = base64.b64decode(source)
    with Image.open(BytesIO(content)) as image:
        return np.asarray(image.convert("RGBA"))
