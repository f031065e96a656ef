"""Running an emulator: the API on one port, its files on another."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from klingmask.emulator.connections import Server
from klingmask.emulator.faults import Fault
from klingmask.emulator.handlers import PLANNED, ApiHandler, FileHandler
from klingmask.emulator.service import Service

__all__ = ["Emulator", "MadeTask", "running"]

API_KEY = "emulator-api-key"
ACCESS_KEY = "emulator-access-key"
SECRET_KEY = "emulator-secret-key-of-32-bytes-at-least"  # noqa: S105 - of nobody's account
WEBHOOK_SECRET = "whsec_ZW11bGF0b3Itd2ViaG9vay1zZWNyZXQ="  # noqa: S105


@dataclass(frozen=True)
class MadeTask:
    """A task that a client created.

    Attributes
    ----------
    task_id, external_task_id : str
        The service's id, and the client's (empty if it gave none).
    task_status : str
        submitted, processing, succeed or failed.
    body : mapping
        The request that created it. Once the images of all tasks have more than 128 MiB
        of base64, the oldest requests are without theirs.
    """

    task_id: str
    external_task_id: str
    task_status: str
    body: Mapping[str, Any]


class Emulator:
    """A running emulator; made by `running`.

    Attributes
    ----------
    base_url, cdn_url : str
        The addresses of the API and of the files that its replies point at.
    api_key, access_key, secret_key, webhook_secret : str
        The keys that sign in, and the secret that signs callbacks.
    service : Service
        The internal state. Your tests should not need it.
    """

    def __init__(self, service: Service, base_url: str) -> None:
        self.service = service
        self.base_url = base_url
        self.cdn_url = service.cdn_url
        self.api_key = service.keys["api_key"]
        self.access_key = service.keys["access_key"]
        self.secret_key = service.keys["secret_key"]
        self.webhook_secret = service.keys["webhook_secret"]

    def __repr__(self) -> str:
        return f"Emulator({self.base_url!r})"

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders from which videos may be opened."""
        return tuple(self.service.folders)

    @property
    def tasks(self) -> tuple[MadeTask, ...]:
        """The tasks that clients created, in that order."""
        with self.service.lock:
            return tuple(
                MadeTask(task.id, task.external_id, task.status, task.body)
                for task in self.service.tasks.values()
            )

    @property
    def clock_offset(self) -> float:
        """Seconds that the service's clock is ahead of this machine's; may be set.

        Tokens, sessions (24 hours), results (30 days), callbacks and the rate limit
        follow this clock.
        """
        return self.service.clock_offset

    @clock_offset.setter
    def clock_offset(self, seconds: float) -> None:
        self.service.clock_offset = seconds

    @property
    def rate_limit(self) -> tuple[int, float] | None:
        """How many requests are answered in how many seconds; may be set.

        One more is refused with code 1302. None means no limit.
        """
        return self.service.rate_limit

    @rate_limit.setter
    def rate_limit(self, limit: tuple[int, float] | None) -> None:
        self.service.rate_limit = limit

    @property
    def parallel_tasks(self) -> int | None:
        """How many tasks may be submitted or processing at once; may be set.

        One more is refused with code 1303. None means no limit.
        """
        return self.service.parallel_tasks

    @parallel_tasks.setter
    def parallel_tasks(self, most: int | None) -> None:
        self.service.parallel_tasks = most

    def url_of(self, path: str | PathLike[str]) -> str:
        """Return the URL of a file in one of the folders, as init_selection takes it.

        A relative path may start from here or from one of the folders.
        """
        return self.service.url_of(Path(path))

    def plan(self, endpoint: str, *faults: Fault) -> None:
        """Plan faults for the next requests to an endpoint.

        Parameters
        ----------
        endpoint : str
            Such as "add-selection", "create-task", "get-task" or "list-tasks"; "*" for
            any endpoint that has no plan of its own; "files" for the file port, where
            a fault's code and works mean nothing, and either reset comes at once.
        faults : Fault
            One for each request, in the order in which they come.
        """
        if endpoint not in PLANNED:
            raise ValueError(f"endpoint must be one of {', '.join(PLANNED)}, got {endpoint!r}")
        with self.service.lock:
            self.service.faults[endpoint].extend(faults)

    @property
    def planned(self) -> dict[str, tuple[Fault, ...]]:
        """The faults that are still to come, by endpoint."""
        with self.service.lock:
            return {name: tuple(left) for name, left in self.service.faults.items() if left}

    def clear_plans(self) -> None:
        """Drop all planned faults."""
        with self.service.lock:
            self.service.faults.clear()

    @contextmanager
    def tasks_held(self) -> Iterator[None]:
        """Keep new tasks in the status submitted until the end of the block."""
        self.service.edits.hold(True)
        try:
            yield
        finally:
            self.service.edits.hold(False)


@contextmanager
def running(
    *folders: str | PathLike[str],
    port: int = 0,
    api_key: str = API_KEY,
    access_key: str = ACCESS_KEY,
    secret_key: str = SECRET_KEY,
    webhook_secret: str = WEBHOOK_SECRET,
    parallel_tasks: int | None = None,
    rate_limit: tuple[int, float] | None = None,
) -> Iterator[Emulator]:
    """Run an emulator on 127.0.0.1 until the end of the block.

    Jobs that are at work then stop at their next frame, and all results are deleted.

    Parameters
    ----------
    folders : path
        Whose videos may be opened.
    port : int
        Of the API; 0 takes a free one. The files are on another, free port.
    api_key, access_key, secret_key, webhook_secret : str
        The keys that sign in, and the secret that signs callbacks.
    parallel_tasks : int, optional
        How many tasks may be submitted or processing at once; one more is refused
        with code 1303.
    rate_limit : (int, float), optional
        How many requests are answered in how many seconds; one more is refused with
        code 1302.

    Yields
    ------
    Emulator
    """
    keys = {
        "api_key": api_key,
        "access_key": access_key,
        "secret_key": secret_key,
        "webhook_secret": webhook_secret,
    }
    with ExitStack() as stack:
        paths = [Path(folder) for folder in folders]
        service = stack.enter_context(closing(Service(paths, keys, parallel_tasks, rate_limit)))
        servers = []
        for kind, number in ((FileHandler, 0), (ApiHandler, port)):
            server = Server(number, type(kind.__name__, (kind,), {"service": service}))
            stack.callback(server.stop)
            servers.append(server)
        stack.callback(service.close)  # before the servers, whose requests wait for its work
        for server in servers:
            server.start()
        service.cdn_url, api_url = (server.url for server in servers)
        yield Emulator(service, api_url)
