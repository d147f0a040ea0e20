"""Polling with a time-out."""

import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_PORTS_GIVEN: set[int] = set()


class NeverHappened(AssertionError):
    """The condition did not become true in time."""


def wait_until(what: str, probe: Callable[[], T], timeout: float, pause: float = 0.05) -> T:
    """Calls `probe` until it returns a true value; `timeout` in seconds."""
    end = time.monotonic() + timeout
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > end:
            raise NeverHappened(f"{what}: not within {timeout:g} s")
        time.sleep(pause)


def free_port() -> int:
    """A free loopback port that this run has not used before."""
    while True:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
        if port not in _PORTS_GIVEN:
            _PORTS_GIVEN.add(port)
            return port


def listens(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
