"""A TCP relay between two processes, which a test can cut or block."""

import contextlib
import enum
import socket
import threading
import time

from harness.waiting import free_port


class Condition(enum.Enum):
    """The state of the cable."""

    WHOLE = "whole"
    CUT = "cut"
    SILENT = "silent"


class Cable:
    """Forwards from `port` to `target`, with `delay` seconds of latency."""

    def __init__(self, target: int, delay: float = 0) -> None:
        self.port = free_port()
        self._target = target
        self._delay = delay
        self._condition = Condition.WHOLE
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = self._listen()

    def _listen(self) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def cut(self) -> None:
        """Resets connections and refuses new ones."""
        self._become(Condition.CUT)

    def block(self) -> None:
        """Resets connections; new ones are accepted and never answered."""
        self._become(Condition.SILENT)

    def restore(self) -> None:
        """Forwards again."""
        self._become(Condition.WHOLE)

    def close(self) -> None:
        """Cuts for good."""
        self._become(Condition.CUT)

    def _become(self, condition: Condition) -> None:
        with self._lock:
            was, self._condition = self._condition, condition
            for end in self._open:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._open.clear()
        if condition is Condition.CUT and was is not Condition.CUT:
            # The shutdown wakes the thread in `accept`, which frees the port at once.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        elif was is Condition.CUT and condition is not Condition.CUT:
            self._listener = self._listen()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(near)
                silent = self._condition is Condition.SILENT
            if not silent:
                self._connect(near)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._target), 5)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        with self._lock:
            self._open.add(far)
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=_copy, args=(one, other, self._delay), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket, delay: float) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            time.sleep(delay)
            sink.sendall(data)
    time.sleep(delay)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
