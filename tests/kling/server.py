"""A stand-in for the service, written from its reference: real HTTP, on loopback.

The API is on one port, the files that replies point at on another, as with a
CDN. Faults are planned for each endpoint, and every request is kept.
"""

import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt

import klingmask as km

PREFIX = "/v1/videos/multi-elements"
SIZE = (36, 64)
FRAMES = 150


def strong_etag(content: bytes) -> dict[str, str]:
    """A header by which the CDN's clients know a file again."""
    return {"ETag": f'"{hashlib.sha256(content).hexdigest()[:16]}"'}


@dataclass
class Fault:
    """What goes wrong with one request."""

    status: int = 200
    code: int | None = None
    message: str = "planned"
    delay: float = 0.0  # before the reply, after the work
    reset: str = ""  # "before" or "after" the work; "garbled": then bytes that are no TLS
    body: bytes | None = None  # in the place of the reply
    cut: bool = False  # half of the reply, under the length of the whole
    headers: dict[str, str] = field(default_factory=dict)
    works: bool = False  # whether the work is done all the same


@dataclass
class Request:
    """A request that came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


def mask_at(points: list[dict[str, float]], size: tuple[int, int] = SIZE) -> km.Mask:
    """A box of 9 x 9 pixels around each point."""
    mask = km.Mask.zeros(size)
    for point in points:
        x, y = int(point["x"] * size[1]), int(point["y"] * size[0])
        mask |= km.Mask.from_bbox(size, (x - 4, y - 4, 9, 9))
    return mask


class Service:
    """The state of the stand-in."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.requests: list[Request] = []
        self.cdn_requests: list[Request] = []
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.cdn_faults: list[Fault] = []
        self.sessions: dict[str, dict[int, list[dict[str, float]]]] = {}
        self.tasks: dict[str, dict[str, Any]] = {}
        self.created: list[str] = []  # external ids, one for each task that was made
        self.files: dict[str, bytes] = {"/result.mp4": bytes(range(256)) * 2000}
        self.validators: Callable[[bytes], dict[str, str]] = strong_etag
        self.heeds_if_range = True
        self.api_key = "key-for-tests"
        self.secret_key = "secret-key-for-tests-of-32-bytes-or-more"  # noqa: S105
        self.unique = True  # whether a second task of an external id is refused
        self.polls_until_done = 2
        self.final = "succeed"
        self.tracking_shape: Any = lambda frames: frames
        self.base_url = self.cdn_url = ""

    # ---- sign-in ----

    def refusal(self, header: str) -> tuple[int, int, str] | None:
        if not header:
            return 401, 1001, "Authorization is empty"
        scheme, _, token = header.partition(" ")
        if scheme != "Bearer":
            return 401, 1002, "Authorization is invalid"
        if token == self.api_key:
            return None
        try:
            jwt.decode(
                token,
                self.secret_key,
                algorithms=["HS256"],
                options={"require": ["exp", "nbf", "iss"]},
            )
        except jwt.ImmatureSignatureError:
            return 401, 1003, "token not valid yet"
        except jwt.ExpiredSignatureError:
            return 401, 1004, "token expired"
        except jwt.InvalidTokenError:
            return 401, 1000, "authentication failed"
        return None

    # ---- endpoints ----

    def handle(self, request: Request) -> tuple[int, dict[str, Any]]:
        name = request.path.removeprefix(PREFIX).strip("/")
        with self.lock:
            if request.method == "GET":
                return self.page(request) if not name else self.get(name)
            if not name:
                return self.create(request.body)
            if name == "init-selection":
                session = f"session-{len(self.sessions) + 1}"
                self.sessions[session] = {}
                return ok(
                    status=0,
                    session_id=session,
                    final_unit_deduction="0",
                    fps=30.0,
                    original_duration=5000,
                    width=SIZE[1],
                    height=SIZE[0],
                    total_frame=FRAMES,
                    normalized_video=f"{self.cdn_url}/clip.mp4?sign=hidden",
                    new_field={"a": 1},
                )
            marked = self.sessions.get(request.body["session_id"])
            if marked is None:
                return no(404, 1203, "no such session")
            if name == "clear-selection":
                marked.clear()
                return ok(status=0, session_id=request.body["session_id"])
            if name == "preview-selection":
                return self.preview(request.body["session_id"], marked)
            return self.select(name, request.body, marked)

    def select(self, name: str, body: Any, marked: Any) -> tuple[int, dict[str, Any]]:
        points = marked.setdefault(body["frame_index"], [])
        if name == "add-selection":
            points.extend(body["points"])
        else:
            for point in body["points"]:
                if point not in points:
                    return no(400, 1201, "no such point")
                points.remove(point)
        mask = mask_at(points)
        entry = {
            "object_id": 0,
            "rle_mask": mask.to_rle(),
            "png_mask": {"size": list(SIZE), "base64": base64.b64encode(mask.to_png()).decode()},
        }
        return ok(
            status=0,
            session_id=body["session_id"],
            final_unit_deduction="0",
            res={"frame_index": body["frame_index"], "rle_mask_list": [entry] if points else []},
        )

    def preview(self, session: str, marked: Any) -> tuple[int, dict[str, Any]]:
        points = [point for points in marked.values() for point in points]
        frames = [
            {
                "frame_index": i,
                "rle_mask_list": [
                    {"object_id": 0, "rle_mask": mask_at(points).shift(i, 0).to_rle()}
                ],
            }
            for i in range(3)
        ]
        shaped = self.tracking_shape(frames)
        content = shaped if isinstance(shaped, bytes) else json.dumps(shaped).encode()
        self.files["/tracking.json"] = content
        return ok(
            status=0,
            session_id=session,
            res={
                "video": f"{self.cdn_url}/result.mp4?sign=hidden",
                "video_cover": f"{self.cdn_url}/cover.png?sign=hidden",
                "tracking_output": f"{self.cdn_url}/tracking.json?sign=hidden",
            },
        )

    def create(self, body: Any) -> tuple[int, dict[str, Any]]:
        external = body["external_task_id"]
        if self.unique and external in self.created:
            return no(400, 1201, "external_task_id must be unique")
        self.created.append(external)
        task = {"task_id": f"task-{len(self.created)}", "polls": 0, "external": external}
        self.tasks[task["task_id"]] = task
        return ok(**self.shown(task))

    def shown(self, task: dict[str, Any]) -> dict[str, Any]:
        done = task["polls"] >= self.polls_until_done
        status = self.final if done else "processing" if task["polls"] else "submitted"
        shown = {
            "task_id": task["task_id"],
            "task_status": status,
            "task_status_msg": "the sky is too blue" if status == "failed" else "",
            "task_info": {"external_task_id": task["external"]},
            "created_at": 1722769557708,
            "updated_at": 1722769557708,
        }
        if status == "succeed":
            video = {
                "id": "v1",
                "session_id": "s",
                "duration": "5.0",
                "url": f"{self.cdn_url}/result.mp4?sign=hidden",
                "watermark_url": "",
            }
            shown |= {"task_result": {"videos": [video]}, "final_unit_deduction": "3.5"}
        return shown

    def get(self, name: str) -> tuple[int, dict[str, Any]]:
        for task in self.tasks.values():
            if name in (task["task_id"], task["external"]):
                shown = self.shown(task)
                task["polls"] += 1
                return ok(**shown)
        return no(404, 1203, "no such task")

    def page(self, request: Request) -> tuple[int, dict[str, Any]]:
        number, size = (int(request.query[key][0]) for key in ("pageNum", "pageSize"))
        tasks = [self.shown(task) for task in list(self.tasks.values())[::-1]]
        page = tasks[(number - 1) * size : number * size]
        return 200, {"code": 0, "message": "ok", "request_id": "r", "data": page}

    # ---- for tests ----

    def bodies(self, endpoint: str) -> list[Any]:
        return [r.body for r in self.requests if r.method == "POST" and r.path == PREFIX + endpoint]


def ok(**data: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"code": 0, "message": "ok", "request_id": "request-1", "data": data}


def no(status: int, code: int, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"code": code, "message": message, "request_id": "request-2", "data": None}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    service: Service
    is_cdn = False

    def log_message(self, *_: Any) -> None:
        pass

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def garble(self) -> None:
        """Write past the TLS layer, which the client's then cannot read."""
        with socket.socket(fileno=os.dup(self.connection.fileno())) as bare:
            bare.sendall(b"this was never encrypted")
        self.close_connection = True

    def send(self, status: int, content: bytes, headers: dict[str, str], cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self.close_connection = True

    def request_made(self) -> Request:
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        parts = urlsplit(self.path)
        return Request(
            self.command,
            parts.path,
            parse_qs(parts.query),
            dict(self.headers),
            json.loads(content) if content else None,
        )


class _Api(_Handler):
    def do_POST(self) -> None:
        service, request = self.service, self.request_made()
        with service.lock:
            service.requests.append(request)
            name = request.path.removeprefix(PREFIX) or f"{request.method} /"
            planned = service.faults[name] or service.faults["*"]
            fault = planned.pop(0) if planned else None
        if fault and fault.reset == "before":
            self.reset()
            return
        refused = service.refusal(request.headers.get("Authorization", ""))
        if refused:
            status, envelope = no(*refused)
        elif fault and not fault.works and (fault.code is not None or fault.body is not None):
            status, envelope = no(fault.status, fault.code or 0, fault.message)
        elif fault and not fault.works and fault.status >= 300:
            status, envelope = no(fault.status, 5000, fault.message)
        else:
            status, envelope = service.handle(request)
            if fault and fault.works and fault.status != 200:
                status, envelope = no(fault.status, fault.code or 5000, fault.message)
        if fault and fault.reset == "after":
            self.reset()
            return
        if fault and fault.reset == "garbled":
            self.garble()
            return
        if fault:
            time.sleep(fault.delay)
        content = json.dumps(envelope).encode()
        headers = {"Content-Type": "application/json"}
        if fault:
            headers |= fault.headers
            content = content if fault.body is None else fault.body
            status = fault.status if fault.body is not None else status
        with suppress(OSError):  # the client has gone
            self.send(status, content, headers, cut=bool(fault and fault.cut))

    def do_GET(self) -> None:
        self.do_POST()


class _Cdn(_Handler):
    def do_GET(self) -> None:
        service, request = self.service, self.request_made()
        with service.lock:
            service.cdn_requests.append(request)
            fault = service.cdn_faults.pop(0) if service.cdn_faults else None
        content = service.files.get(request.path)
        if fault and fault.status != 200:
            self.send(fault.status, b"", fault.headers)
        elif content is None:
            self.send(404, b"gone", {})
        else:
            validators = service.validators(content)
            headers = validators | (fault.headers if fault else {})
            span = self.headers.get("Range")
            cut = bool(fault and fault.cut)
            same = self.headers.get("If-Range") in (None, *validators.values())
            if span and (same or not service.heeds_if_range):
                start = int(span.removeprefix("bytes=").removesuffix("-"))
                whole = f"bytes {start}-{len(content) - 1}/{len(content)}"
                headers = {"Content-Range": whole} | headers
                self.send(206, content[start:], headers, cut)
            else:
                self.send(200, content, headers, cut)


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[Service]:
    """The service on two ports of its own, until the end of the block."""
    service = Service()
    servers = []
    for handler in (_Api, _Cdn):
        server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type(handler.__name__, (handler,), {"service": service})
        )
        server.daemon_threads = True
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
    service.base_url, service.cdn_url = (
        f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}" for server in servers
    )
    try:
        yield service
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
