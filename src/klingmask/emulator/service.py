"""The emulated service: sessions, selections, tasks, and what each endpoint does to them."""

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
"""Of images that the requests of tasks hold: beyond, the oldest requests lose theirs."""
NOTHING_FOUND = 1
"""The data.status of a recognition that found nothing; the reference names no values."""


@dataclass
class _Session:
    id: str
    path: Path
    size: tuple[int, int]
    fps: float
    seconds: float
    total: int
    born: float
    lock: threading.Lock = field(default_factory=threading.Lock)
    """For the selection: one request at a time changes it."""
    work: threading.RLock = field(default_factory=threading.RLock)
    """For following it through the video: one job at a time."""
    points: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    masks: dict[int, Mask] = field(default_factory=dict)
    followed: tuple[dict[int, Mask], list[Mask]] | None = None
    """The masks that were followed last, and what came of it."""
    preview: tuple[dict[int, Mask], "Future[dict[str, str]]"] | None = None


@dataclass
class Task:
    """A task, and how it stands."""

    id: str
    external: str
    session: _Session
    body: Mapping[str, Any]
    """The request that made it; an old one may have lost its images."""
    created: int
    """Unix milliseconds, as is `updated`."""
    updated: int
    callback: str = ""
    watermark: bool = False
    status: str = "submitted"
    reason: str = ""
    file: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in ("succeed", "failed")


class Service:
    """The state of the emulator, and what each endpoint does to it.

    Parameters
    ----------
    folders : sequence of path
        From which videos may be opened, under the file port's ``/files/<n>/``.
    keys : mapping
        api_key, access_key and secret_key, which sign in, and webhook_secret, with
        which callbacks are signed.
    parallel_tasks : int, optional
        How many may be submitted or processing at once.
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
        self.named: dict[str, Task] = {}
        """The tasks by the ids that their callers gave them."""
        self.running = 0
        self.offset = 0.0
        """Seconds that the service's clock is ahead, for tests of expiry."""
        self._admitted: deque[float] = deque()
        self._folder = tempfile.TemporaryDirectory(prefix="klingmask-emulator-")
        self.results = Path(self._folder.name).resolve()
        self._made: dict[str, float] = {}
        self._with_images: deque[tuple[Task, int]] = deque()
        """Tasks whose requests hold images, and how many bytes; the oldest first."""
        self.pictures = Workers(4)
        """Selections and previews."""
        self.edits = Workers(1)
        self._callbacks = Workers(1, daemon=True)

    def close(self) -> None:
        """End what is under way, at its next frame, and delete all results."""
        self.closing.set()
        everything = (self.pictures, self.edits, self._callbacks)
        for workers in everything:
            workers.stop()
        for workers in everything:
            workers.join()
        self._folder.cleanup()

    def now(self) -> float:
        """The service's clock."""
        return time.time() + self.offset

    # ---- admission ----

    def sign_in(self, header: str) -> None:
        """Accept an Authorization header, or refuse it as documented."""
        tokens.sign_in(header, self.keys, self.now())

    def admit(self) -> None:
        """Let a request in, unless there are too many."""
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
        """The file that the file port serves under a path, if there is one."""
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
        except (ValueError, OSError, RuntimeError):  # no name that a file could have
            return None
        made = self._made.get(found.name) if folder == self.results else None
        return found if made is None or self.now() - made < RESULT_SECONDS else None

    def url_of(self, path: Path) -> str:
        """The URL under which the file port serves a file of the folders.

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

    def _result(self, suffix: str) -> Path:
        path = self.results / f"{secrets.token_hex(8)}{suffix}"
        self._made[path.name] = self.now()
        return path

    def _result_url(self, name: str) -> str:
        return f"{self.cdn_url}/results/{name}?sign={secrets.token_hex(8)}"

    # ---- selection ----

    def init_selection(self, body: Mapping[str, Any], rejects: int = 0) -> dict[str, Any]:
        """Open a video, if it keeps the documented limits."""
        name, url = limits.video_source(body)
        path = self._made_video(name) if name else self._given_video(url)
        height, width, rate, total = self._read(lambda: editing.read_facts(path))
        seconds = total / rate if rate else 0.0
        limits.video(width, height, rate, seconds)
        if rejects:
            return {"status": rejects, "session_id": "", "final_unit_deduction": "0"}
        session = _Session(
            uuid.uuid4().hex, path, (height, width), rate, seconds, total, self.now()
        )
        with self.lock:
            self.sessions[session.id] = session
        return {
            "status": 0,
            "session_id": session.id,
            "final_unit_deduction": "0",
            "fps": rate,
            "original_duration": round(seconds * 1000),
            "width": width,
            "height": height,
            "total_frame": total,
            "normalized_video": url or self._result_url(path.name),
        }

    def _made_video(self, name: str) -> Path:
        task = self.tasks.get(name.removeprefix("video-"))
        path = self.file(f"/results/{task.file}") if task and task.file else None
        if path is None:
            raise Refusal(1203, "there is no such video; it may be older than 30 days")
        return path

    def _given_video(self, url: str) -> Path:
        ours = f"{self.cdn_url}/"
        path = self.file(url[len(ours) :].partition("?")[0]) if url.startswith(ours) else None
        if path is None:
            raise bad_value(f"video_url: only files of {ours} are opened, and there is none")
        return path

    def _read(self, work: Callable[[], _T]) -> _T:
        """What a video's pixels say; that they cannot be read is the request's fault."""
        try:
            return self.pictures.run(work)
        except editing.UnreadableError as error:
            raise bad_value(str(error)) from None

    def session(self, body: Mapping[str, Any]) -> _Session:
        """The session of a request, if it lives."""
        found = self.sessions.get(limits.text(body, "session_id", None))
        if found is None or self.now() - found.born >= SESSION_SECONDS:
            raise Refusal(1203, "the session does not exist or has expired")
        return found

    def add_selection(self, body: Mapping[str, Any], rejects: int = 0) -> dict[str, Any]:
        """Mark points of a frame."""
        session = self.session(body)
        index, points = limits.frame_index(body, session.total), limits.points(body)
        with session.lock:
            marked = [*session.points.get(index, []), *points]
            if len(session.points | {index: marked}) > limits.MARKED_FRAMES:
                raise bad_value(f"at most {limits.MARKED_FRAMES} frames can be marked")
            if len(marked) > limits.POINTS:
                raise bad_value(f"at most {limits.POINTS} points can be marked on a frame")
            return self._selected(session, index, marked, rejects)

    def delete_selection(self, body: Mapping[str, Any], rejects: int = 0) -> dict[str, Any]:
        """Take points of a frame away."""
        session = self.session(body)
        index, points = limits.frame_index(body, session.total), limits.points(body)
        with session.lock:
            left = list(session.points.get(index, []))
            for point in points:
                if point not in left:
                    raise bad_value("points to delete must exactly match those that were added")
                left.remove(point)
            return self._selected(session, index, left, rejects)

    def _selected(
        self, session: _Session, index: int, points: list[tuple[float, float]], rejects: int
    ) -> dict[str, Any]:
        """Have a frame marked by these points and no others, if something is recognized."""
        listed = []
        if points and not rejects:
            checkpoint = self.pictures.checkpoint
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
        return self._about(session, rejects, {"frame_index": index, "rle_mask_list": listed})

    def _about(
        self, session: _Session, status: int, result: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        about = {"status": status, "session_id": session.id, "final_unit_deduction": "0"}
        return about if result is None else about | {"res": result}

    def clear_selection(self, body: Mapping[str, Any], rejects: int = 0) -> dict[str, Any]:
        """Take all points away."""
        session = self.session(body)
        with session.lock:
            if not rejects:
                session.points.clear()
                session.masks.clear()
        return self._about(session, rejects)

    def preview_selection(self, body: Mapping[str, Any], rejects: int = 0) -> dict[str, Any]:
        """Follow the selection through the video, and show it.

        Who asks again for the same gets what is there, or is under way.
        """
        session = self.session(body)
        with session.lock:
            marked = self._marked(session)
            if rejects:
                return self._about(session, rejects, {})
            if session.preview is None or session.preview[0] != marked:
                made = self.pictures.submit(lambda: self._previewed(session, marked))
                session.preview = marked, made
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
        urls = {key: self._result_url(name) for key, name in names.items()}
        return self._about(session, 0, urls)

    def _marked(self, session: _Session) -> dict[int, Mask]:
        if not session.masks:
            raise bad_value("nothing is selected")
        return dict(session.masks)

    def _previewed(self, session: _Session, marked: dict[int, Mask]) -> dict[str, str]:
        video, cover, tracking = (self._result(suffix) for suffix in (".mp4", ".png", ".json"))
        with session.work:
            masks = self._followed(session, marked, self.pictures)
            first = editing.show(session.path, masks, video, self.pictures.checkpoint)
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

    def _followed(self, session: _Session, marked: dict[int, Mask], workers: Workers) -> list[Mask]:
        """The marked masks on every frame, from the time before if they are the same."""
        with session.work:
            if session.followed is None or session.followed[0] != marked:
                session.followed = (
                    marked,
                    editing.follow(session.path, marked, workers.checkpoint),
                )
            return session.followed[1]

    # ---- tasks ----

    def create_task(self, body: Mapping[str, Any], fails: str = "") -> dict[str, Any]:
        """Start an edit."""
        limits.model(body)
        session = self.session(body)
        mode = limits.choice(body, "edit_mode", tuple(limits.IMAGES))
        external = limits.text(body, "external_task_id")
        limits.choice(body, "mode", ("std", "pro"), "std")
        limits.duration(body, session.seconds)
        callback, watermark = limits.callback_url(body), limits.watermark(body)
        images = limits.images(body, mode)
        limits.prompts(body, len(images))
        with session.lock:
            marked = {} if mode == "addition" else self._marked(session)
        with self.lock:
            if external in self.named:
                raise bad_value("external_task_id must be unique")
            if self.parallel_tasks is not None and self.running >= self.parallel_tasks:
                raise Refusal(1303)
            paths = [self._result(".image") for _ in images]
            for path, content in zip(paths, images, strict=True):
                path.write_bytes(content)  # not in memory: many tasks may wait for their turn
            now = round(self.now() * 1000)
            task = Task(
                uuid.uuid4().hex, external, session, dict(body), now, now, callback, watermark
            )
            self.tasks[task.id] = task
            if external:
                self.named[external] = task
            self._bound_images(task)
            self.running += 1
            shown = self.shown(task)
            self._tell(task)
        self.edits.submit(lambda: self._work(task, marked, paths, fails))
        return shown

    def _bound_images(self, task: Task) -> None:
        """Keep a new task's request, and drop the images of the oldest if all are too large."""
        listed = task.body.get("image_list") or []
        self._with_images.append((task, sum(len(entry["image"]) for entry in listed)))
        total = sum(n_bytes for _, n_bytes in self._with_images)
        while total > KEPT_IMAGES_BYTES:
            oldest, n_bytes = self._with_images.popleft()
            oldest.body = {**oldest.body, "image_list": []}
            total -= n_bytes

    def _work(
        self, task: Task, marked: dict[int, Mask], images: Sequence[Path], fails: str
    ) -> None:
        self._moved(task, "processing")
        try:
            if not fails:
                result = self._result(".mp4")
                checkpoint = self.edits.checkpoint
                masks = self._followed(task.session, marked, self.edits) if marked else []
                editing.edit(task.session.path, masks, images, result, checkpoint)
                task.file = result.name
        except Stopped:
            raise
        except Exception as error:
            fails = f"{type(error).__name__}: {error}"
        finally:
            for image in images:
                image.unlink(missing_ok=True)
        task.reason = fails
        self._moved(task, "failed" if fails else "succeed")

    def _moved(self, task: Task, status: str) -> None:
        """To another status; who has asked for it is told."""
        with self.lock:
            task.status, task.updated = status, round(self.now() * 1000)
            self.running -= task.ended
            self._tell(task)

    def _tell(self, task: Task) -> None:
        """Call the task's URL back, in the order of what happens."""
        if not task.callback:
            return
        told = self.shown(task)
        for video in told.get("task_result", {}).get("videos", []):
            del video["session_id"], video["watermark_url"]  # which callbacks do not have
        told.pop("watermark_info", None)
        content = json.dumps(told).encode()
        name, stamp = uuid.uuid4().hex, str(int(self.now()))
        key = base64.b64decode(self.keys["webhook_secret"].removeprefix("whsec_"))
        signed = hmac.digest(key, f"{name}.{stamp}.".encode() + content, "sha256")
        headers = {
            "Content-Type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": stamp,
            "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
        }

        def call() -> None:
            with suppress(*loopback.FAILURES):  # as with the service: who is not there is not told
                loopback.post(task.callback, content, headers)

        self._callbacks.submit(call)

    def shown(self, task: Task) -> dict[str, Any]:
        """A task as replies show it."""
        shown: dict[str, Any] = {
            "task_id": task.id,
            "task_status": task.status,
            "task_status_msg": task.reason,
            "task_info": {"external_task_id": task.external},
            "final_unit_deduction": "0",
            "created_at": task.created,
            "updated_at": task.updated,
        }
        if task.status == "succeed":
            url = self._result_url(task.file)
            video = {
                "id": f"video-{task.id}",
                "session_id": task.session.id,
                "url": url,
                "watermark_url": url if task.watermark else "",
                "duration": f"{task.session.seconds:g}",
            }
            shown |= {
                "task_result": {"videos": [video]},
                "watermark_info": {"enabled": task.watermark},
            }
        return shown

    def get_task(self, name: str) -> dict[str, Any]:
        """A task by either of its ids."""
        with self.lock:
            task = self.tasks.get(name) or self.named.get(name)
            if task is None:
                raise Refusal(1203, "the task does not exist")
            return self.shown(task)

    def list_tasks(self, query: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
        """A page of the tasks, the latest first."""
        number, size = limits.page(query)
        with self.lock:
            tasks = list(self.tasks.values())[::-1]
            return [self.shown(task) for task in tasks[(number - 1) * size : number * size]]
