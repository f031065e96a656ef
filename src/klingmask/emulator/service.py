"""The emulated service: sessions, selections and tasks, and what each endpoint does to them."""

import base64
import hmac
import json
import secrets
import tempfile
import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from PIL import Image

from klingmask import Mask
from klingmask.emulator import limits, loopback, tokens
from klingmask.emulator.faults import Fault, Refusal, bad_value
from klingmask.emulator.vision import editing
from klingmask.emulator.workers import Stopped, Workers

__all__ = ["Service", "Task"]

_T = TypeVar("_T")

SESSION_SECONDS = 24 * 3600
RESULT_SECONDS = 30 * 24 * 3600
KEPT_IMAGES_BYTES = 128 << 20
"""Of images that the requests of tasks hold; beyond it, the oldest requests lose theirs."""
NOTHING_FOUND = 1
"""The data.status of a recognition that found nothing; the reference names no values."""


@dataclass
class _Session:
    id: str
    path: Path
    facts: editing.VideoFacts
    created: float
    """Unix seconds, by the service's clock."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held to change the selection: one request at a time."""
    work: threading.RLock = field(default_factory=threading.RLock)
    """Held to follow the selection through the video: one job at a time."""
    points: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    """By frame, as are the masks."""
    masks: dict[int, Mask] = field(default_factory=dict)
    followed: tuple[dict[int, Mask], list[Mask]] | None = None
    """The masks that were followed last, and the result."""
    preview: tuple[dict[int, Mask], "Future[dict[str, str]]"] | None = None
    """The masks that were shown last, and the files."""

    @property
    def size(self) -> tuple[int, int]:
        return self.facts.height, self.facts.width

    @property
    def seconds(self) -> float:
        return self.facts.n_frames / self.facts.fps if self.facts.fps else 0.0


@dataclass
class Task:
    """A task and its state."""

    id: str
    external_id: str
    session: _Session
    body: Mapping[str, Any]
    """The request that created it; an old one may have lost its images."""
    created: int
    """Unix milliseconds, as is `updated`."""
    updated: int
    callback_url: str = ""
    watermark: bool = False
    status: str = "submitted"
    status_message: str = ""
    result: str = ""
    """The name of the result's file."""

    @property
    def ended(self) -> bool:
        """Whether the status is final."""
        return self.status in ("succeed", "failed")


class Service:
    """The state of the emulator, with a method for each endpoint.

    Parameters
    ----------
    folders : sequence of path
        Whose videos may be opened, by the file port's ``/files/<n>/``.
    keys : mapping
        api_key, access_key and secret_key, which sign in, and webhook_secret, which
        signs callbacks.
    parallel_tasks : int, optional
        How many tasks may be submitted or processing at once.
    rate_limit : (int, float), optional
        How many requests are answered in how many seconds.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        keys: Mapping[str, str],
        parallel_tasks: int | None = None,
        rate_limit: tuple[int, float] | None = None,
    ) -> None:
        self.folders = [folder.resolve(strict=True) for folder in folders]
        self.keys = keys
        self.parallel_tasks = parallel_tasks
        self.rate_limit = rate_limit
        self.cdn_url = ""
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.sessions: dict[str, _Session] = {}
        self.tasks: dict[str, Task] = {}
        self.by_external_id: dict[str, Task] = {}
        self.running = 0
        """Tasks that have not ended."""
        self.clock_offset = 0.0
        """Seconds that the service's clock is ahead, for tests of expiry."""
        self._admitted: deque[float] = deque()
        """When requests were admitted, within the seconds of the rate limit."""
        self._folder = tempfile.TemporaryDirectory(prefix="klingmask-emulator-")
        self.results = Path(self._folder.name).resolve()
        self._created: dict[str, float] = {}
        """Name of a file in `results` -> when it was created."""
        self._with_images: deque[tuple[Task, int]] = deque()
        """Tasks whose requests hold images, and how many bytes; the oldest first."""
        self.interactive = Workers(4)
        """Jobs that a request waits for: selections and previews."""
        self.edits = Workers(1)
        self._callbacks = Workers(1, daemon=True)

    def close(self) -> None:
        """Stop all jobs at their next frame, and delete all results."""
        self.closing.set()
        everything = (self.interactive, self.edits, self._callbacks)
        for workers in everything:
            workers.stop()
        for workers in everything:
            workers.join()
        self._folder.cleanup()

    def now(self) -> float:
        """Read the service's clock, in Unix seconds."""
        return time.time() + self.clock_offset

    # ---- admission ----

    def sign_in(self, header: str) -> None:
        """Accept an Authorization header, or raise the documented refusal."""
        tokens.sign_in(header, self.keys, self.now())

    def admit(self) -> None:
        """Admit a request, unless the rate limit is reached."""
        with self.lock:
            if self.rate_limit is None:
                return
            most, seconds = self.rate_limit
            now = self.now()
            while self._admitted and not now - seconds < self._admitted[0] <= now:
                self._admitted.popleft()
            if len(self._admitted) >= most:
                raise Refusal(1302)
            self._admitted.append(now)

    # ---- files ----

    def file(self, path: str) -> Path | None:
        """Find the file that the file port serves under a URL's path."""
        parts = unquote(path).strip("/").split("/")
        if len(parts) == 2 and parts[0] == "results":
            folder = self.results
        elif len(parts) > 2 and parts[0] == "files" and parts[1].isascii() and parts[1].isdigit():
            number, parts = int(parts[1][:9]), parts[1:]
            if number >= len(self.folders):
                return None
            folder = self.folders[number]
        else:
            return None
        try:
            found = folder.joinpath(*parts[1:]).resolve()
            if not (found.is_relative_to(folder) and found.is_file()):
                return None
        except (ValueError, OSError, RuntimeError):  # not a name that a file can have
            return None
        created = self._created.get(found.name) if folder == self.results else None
        return found if created is None or self.now() - created < RESULT_SECONDS else None

    def url_of(self, path: Path) -> str:
        """Return the URL under which the file port serves a file of the folders.

        A relative path may start from here or from one of them.
        """
        places = (place.resolve() for place in (path, *(folder / path for folder in self.folders)))
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            shown = ", ".join(str(folder) for folder in self.folders)
            raise FileNotFoundError(f"there is no file {path}, here or in {shown}")
        for number, folder in enumerate(self.folders):
            if found.is_relative_to(folder):
                return (
                    f"{self.cdn_url}/files/{number}/{quote(found.relative_to(folder).as_posix())}"
                )
        raise ValueError(f"{path} is in none of the emulator's folders")

    def _new_file(self, suffix: str) -> Path:
        path = self.results / f"{secrets.token_hex(8)}{suffix}"
        self._created[path.name] = self.now()
        return path

    def _signed_url(self, name: str) -> str:
        return f"{self.cdn_url}/results/{name}?sign={secrets.token_hex(8)}"

    # ---- selection ----

    def init_selection(self, body: Mapping[str, Any], rejects: int = 0) -> dict[str, Any]:
        """Open a video that keeps the documented limits."""
        video_id, url = limits.video_source(body)
        path = self._result_of(video_id) if video_id else self._file_of(url)
        facts = self._read(lambda: editing.read_facts(path))
        session = _Session(uuid.uuid4().hex, path, facts, self.now())
        limits.video(facts.width, facts.height, facts.fps, session.seconds)
        if rejects:
            return {"status": rejects, "session_id": "", "final_unit_deduction": "0"}
        with self.lock:
            self.sessions[session.id] = session
        return {
            "status": 0,
            "session_id": session.id,
            "final_unit_deduction": "0",
            "fps": facts.fps,
            "original_duration": round(session.seconds * 1000),
            "width": facts.width,
            "height": facts.height,
            "total_frame": facts.n_frames,
            "normalized_video": url or self._signed_url(path.name),
        }

    def _result_of(self, video_id: str) -> Path:
        task = self.tasks.get(video_id.removeprefix("video-"))
        path = self.file(f"/results/{task.result}") if task and task.result else None
        if path is None:
            raise Refusal(1203, "there is no such video; it may be older than 30 days")
        return path

    def _file_of(self, url: str) -> Path:
        base = f"{self.cdn_url}/"
        path = self.file(url[len(base) :].partition("?")[0]) if url.startswith(base) else None
        if path is None:
            raise bad_value(f"video_url: only files of {base} are opened, and there is none")
        return path

    def _read(self, job: Callable[[], _T]) -> _T:
        """Run a job on a video; a video that cannot be read is the request's fault."""
        try:
            return self.interactive.run(job)
        except editing.UnreadableError as error:
            raise bad_value(str(error)) from None

    def session(self, body: Mapping[str, Any]) -> _Session:
        """Find the session of a request, unless it has expired."""
        found = self.sessions.get(limits.text(body, "session_id", None))
        if found is None or self.now() - found.created >= SESSION_SECONDS:
            raise Refusal(1203, "the session does not exist or has expired")
        return found

    def add_selection(self, body: Mapping[str, Any], rejects: int = 0) -> dict[str, Any]:
        """Add points to a frame."""
        session = self.session(body)
        index, points = limits.frame_index(body, session.facts.n_frames), limits.points(body)
        with session.lock:
            marked = [*session.points.get(index, []), *points]
            if len(session.points | {index: marked}) > limits.MARKED_FRAMES:
                raise bad_value(f"at most {limits.MARKED_FRAMES} frames can be marked")
            if len(marked) > limits.POINTS:
                raise bad_value(f"at most {limits.POINTS} points can be marked on a frame")
            return self._select(session, index, marked, rejects)

    def delete_selection(self, body: Mapping[str, Any], rejects: int = 0) -> dict[str, Any]:
        """Delete points of a frame."""
        session = self.session(body)
        index, points = limits.frame_index(body, session.facts.n_frames), limits.points(body)
        with session.lock:
            left = list(session.points.get(index, []))
            for point in points:
                if point not in left:
                    raise bad_value("points to delete must exactly match those that were added")
                left.remove(point)
            return self._select(session, index, left, rejects)

    def _select(
        self, session: _Session, index: int, points: list[tuple[float, float]], rejects: int
    ) -> dict[str, Any]:
        """Make these the points of a frame, if something is recognized under them."""
        listed = []
        if points and not rejects:
            checkpoint = self.interactive.checkpoint
            mask = self._read(lambda: editing.select(session.path, index, points, checkpoint))
            if mask:
                session.points[index], session.masks[index] = points, mask
                png = base64.b64encode(mask.to_png()).decode()
                png_mask = {"size": list(mask.size), "base64": png}
                listed = [{"object_id": 0, "rle_mask": mask.to_rle(), "png_mask": png_mask}]
            else:
                rejects = NOTHING_FOUND
        elif not rejects:
            del session.points[index], session.masks[index]
        result = {"frame_index": index, "rle_mask_list": listed}
        return self._selection_reply(session, rejects, result)

    def _selection_reply(
        self, session: _Session, status: int, result: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        reply = {"status": status, "session_id": session.id, "final_unit_deduction": "0"}
        return reply if result is None else reply | {"res": result}

    def clear_selection(self, body: Mapping[str, Any], rejects: int = 0) -> dict[str, Any]:
        """Delete all points."""
        session = self.session(body)
        with session.lock:
            if not rejects:
                session.points.clear()
                session.masks.clear()
        return self._selection_reply(session, rejects)

    def preview_selection(self, body: Mapping[str, Any], rejects: int = 0) -> dict[str, Any]:
        """Follow the selection through the video, and show it.

        A second request for the same selection gets the files of the first, or waits for
        them.
        """
        session = self.session(body)
        with session.lock:
            marked = self._marked(session)
            if rejects:
                return self._selection_reply(session, rejects, {})
            if session.preview is None or session.preview[0] != marked:
                job = self.interactive.submit(lambda: self._make_preview(session, marked))
                session.preview = marked, job
            preview = session.preview
        try:
            names = preview[1].result()
        except BaseException as error:
            with session.lock:
                if session.preview is preview:
                    session.preview = None
            if isinstance(error, editing.UnreadableError):
                raise bad_value(str(error)) from None
            raise
        urls = {key: self._signed_url(name) for key, name in names.items()}
        return self._selection_reply(session, 0, urls)

    def _marked(self, session: _Session) -> dict[int, Mask]:
        if not session.masks:
            raise bad_value("nothing is selected")
        return dict(session.masks)

    def _make_preview(self, session: _Session, marked: dict[int, Mask]) -> dict[str, str]:
        video, cover, tracking = (self._new_file(suffix) for suffix in (".mp4", ".png", ".json"))
        with session.work:
            masks = self._follow(session, marked, self.interactive)
            first = editing.show(session.path, masks, video, self.interactive.checkpoint)
        Image.fromarray(first).save(cover)
        listed = [
            {"frame_index": i, "rle_mask_list": [{"object_id": 0, "rle_mask": mask.to_rle()}]}
            for i, mask in enumerate(masks)
        ]
        tracking.write_text(json.dumps(listed))
        return {
            "video": video.name,
            "video_cover": cover.name,
            "tracking_output": tracking.name,
        }

    def _follow(self, session: _Session, marked: dict[int, Mask], workers: Workers) -> list[Mask]:
        """Follow the marked masks to all frames; the latest result is used again."""
        with session.work:
            if session.followed is None or session.followed[0] != marked:
                session.followed = (
                    marked,
                    editing.follow(session.path, marked, workers.checkpoint),
                )
            return session.followed[1]

    # ---- tasks ----

    def create_task(self, body: Mapping[str, Any], fails: str = "") -> dict[str, Any]:
        """Create a task, which edits the video as soon as the tasks before it have ended."""
        limits.model(body)
        session = self.session(body)
        mode = limits.choice(body, "edit_mode", tuple(limits.IMAGES))
        external_id = limits.text(body, "external_task_id")
        limits.choice(body, "mode", ("std", "pro"), "std")
        limits.duration(body, session.seconds)
        callback_url, watermark = limits.callback_url(body), limits.watermark(body)
        images = limits.images(body, mode)
        limits.prompts(body, len(images))
        with session.lock:
            marked = {} if mode == "addition" else self._marked(session)
        with self.lock:
            if external_id in self.by_external_id:
                raise bad_value("external_task_id must be unique")
            if self.parallel_tasks is not None and self.running >= self.parallel_tasks:
                raise Refusal(1303)
            paths = [self._new_file(".image") for _ in images]
            for path, content in zip(paths, images, strict=True):
                path.write_bytes(content)  # not in memory: many tasks may wait for their turn
            now = round(self.now() * 1000)
            task = Task(
                uuid.uuid4().hex,
                external_id,
                session,
                dict(body),
                now,
                now,
                callback_url,
                watermark,
            )
            self.tasks[task.id] = task
            if external_id:
                self.by_external_id[external_id] = task
            self._bound_images(task)
            self.running += 1
            reply = self.task_reply(task)
            self._call_back(task)
        self.edits.submit(lambda: self._edit(task, marked, paths, fails))
        return reply

    def _bound_images(self, task: Task) -> None:
        """Keep a new task's request, and drop the images of the oldest if all are too large."""
        listed = task.body.get("image_list") or []
        self._with_images.append((task, sum(len(entry["image"]) for entry in listed)))
        total = sum(n_bytes for _, n_bytes in self._with_images)
        while total > KEPT_IMAGES_BYTES:
            oldest, n_bytes = self._with_images.popleft()
            oldest.body = {**oldest.body, "image_list": []}
            total -= n_bytes

    def _edit(
        self, task: Task, marked: dict[int, Mask], images: Sequence[Path], fails: str
    ) -> None:
        self._set_status(task, "processing")
        try:
            if not fails:
                result = self._new_file(".mp4")
                checkpoint = self.edits.checkpoint
                masks = self._follow(task.session, marked, self.edits) if marked else []
                editing.edit(task.session.path, masks, images, result, checkpoint)
                task.result = result.name
        except Stopped:
            raise
        except Exception as error:
            fails = f"{type(error).__name__}: {error}"
        finally:
            for image in images:
                image.unlink(missing_ok=True)
        task.status_message = fails
        self._set_status(task, "failed" if fails else "succeed")

    def _set_status(self, task: Task, status: str) -> None:
        with self.lock:
            task.status, task.updated = status, round(self.now() * 1000)
            self.running -= task.ended
            self._call_back(task)

    def _call_back(self, task: Task) -> None:
        """Send the task's state to its callback URL, after those that came before."""
        if not task.callback_url:
            return
        state = self.task_reply(task)
        for video in state.get("task_result", {}).get("videos", []):
            del video["session_id"], video["watermark_url"]  # which callbacks do not have
        state.pop("watermark_info", None)
        content = json.dumps(state).encode()
        name, stamp = uuid.uuid4().hex, str(int(self.now()))
        key = base64.b64decode(self.keys["webhook_secret"].removeprefix("whsec_"))
        digest = hmac.digest(key, f"{name}.{stamp}.".encode() + content, "sha256")
        headers = {
            "Content-Type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }

        def send() -> None:
            with suppress(*loopback.FAILURES):  # a listener that is not there misses it
                loopback.post(task.callback_url, content, headers)

        self._callbacks.submit(send)

    def task_reply(self, task: Task) -> dict[str, Any]:
        """Describe a task as replies do."""
        reply: dict[str, Any] = {
            "task_id": task.id,
            "task_status": task.status,
            "task_status_msg": task.status_message,
            "task_info": {"external_task_id": task.external_id},
            "final_unit_deduction": "0",
            "created_at": task.created,
            "updated_at": task.updated,
        }
        if task.status == "succeed":
            url = self._signed_url(task.result)
            video = {
                "id": f"video-{task.id}",
                "session_id": task.session.id,
                "url": url,
                "watermark_url": url if task.watermark else "",
                "duration": f"{task.session.seconds:g}",
            }
            reply |= {
                "task_result": {"videos": [video]},
                "watermark_info": {"enabled": task.watermark},
            }
        return reply

    def get_task(self, name: str) -> dict[str, Any]:
        """Describe the task that has either id."""
        with self.lock:
            task = self.tasks.get(name) or self.by_external_id.get(name)
            if task is None:
                raise Refusal(1203, "the task does not exist")
            return self.task_reply(task)

    def list_tasks(self, query: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        """Describe a page of the tasks, the latest first."""
        number, size = limits.page(query)
        with self.lock:
            tasks = list(self.tasks.values())[::-1]
            return [self.task_reply(task) for task in tasks[(number - 1) * size : number * size]]
