"""Raw bytes on a socket, for requests that no HTTP library would send."""

import contextlib
import socket
import threading
import time
from dataclasses import dataclass


@dataclass
class Ending:
    """The end of a connection: the bytes received, its duration in seconds, and whether the peer closed it."""

    received: bytes
    seconds: float
    closed: bool

    @property
    def statuses(self) -> list[int]:
        """The status of each response."""
        parts = self.received.split(b"HTTP/1.1 ")[1:]
        return [int(part[:3]) for part in parts]


def converse(port: int, data: bytes, patience: float = 5, drip: float = 0) -> Ending:
    """Sends bytes, at once or one every `drip` seconds, and reads to the end, for at most `patience` seconds."""
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.settimeout(patience)
        stop = threading.Event()
        sender = threading.Thread(target=_send, args=(connection, data, drip, stop))
        sender.start()
        received, closed = _receive(connection, start + patience)
        stop.set()
        sender.join(10)
    return Ending(received, time.monotonic() - start, closed)


def _send(connection: socket.socket, data: bytes, drip: float, stop: threading.Event) -> None:
    with contextlib.suppress(OSError):
        if not drip:
            connection.sendall(data)
            return
        for byte in data:
            connection.sendall(bytes([byte]))
            if stop.wait(drip):
                return


def _receive(connection: socket.socket, end: float) -> tuple[bytes, bool]:
    received = b""
    while (left := end - time.monotonic()) > 0:
        connection.settimeout(left)
        try:
            data = connection.recv(65536)
        except TimeoutError:
            return received, False
        except OSError:
            return received, True
        if not data:
            return received, True
        received += data
    return received, False


class Recorder:
    """An upstream that records every byte, and answers each request head with the same JSON."""

    ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{}}'

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.received = b""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def requests(self) -> int:
        """The number of request heads anywhere in the received bytes."""
        return sum(self.received.count(method + b" /") for method in (b"POST", b"GET", b"DELETE"))

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(self.ANSWER)
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                self.received += data
                if b" HTTP/1.1\r\n" in data:
                    connection.sendall(head + self.ANSWER)

    def close(self) -> None:
        """Stops listening."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
