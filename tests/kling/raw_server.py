"""A server that answers with bytes of its own, whether they are HTTP or not."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

OK = b"HTTP/1.1 200 OK\r\n"


FOUND = b"HTTP/1.1 302 Found\r\n"


Answer = Callable[[socket.socket], None]


@contextmanager
def answering(answer: Answer) -> Iterator[str]:
    """A server that reads a request and then does what it likes."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(5)
            connection.recv(1 << 16)
            answer(connection)

    def serve() -> None:
        while not ended.is_set():
            with suppress(OSError):
                connection, _ = listener.accept()
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def says(content: bytes) -> Answer:
    return lambda connection: connection.sendall(content)


def drops(head: bytes, drop: bytes, pause: float = 0.05, count: int = 200) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(count):
            connection.sendall(drop)
            time.sleep(pause)

    return answer


def in_turn(*contents: bytes) -> Answer:
    """One of them for each request."""
    left = list(contents)
    return lambda connection: connection.sendall(left.pop(0))
