"""A client in a process of its own, which exchanges lines of JSON with the test."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


class Script:
    """The connection to the client."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def say(self, message: dict[str, Any]) -> None:
        """Sends a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def hear(self, event: str) -> dict[str, Any]:
        """Waits for the next line, which must be this event."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the client ended instead of {event!r}: {self._process.stderr and self._process.stderr.read()}"
        message: dict[str, Any] = json.loads(line)
        assert message["event"] == event, f"{message['event']}: {message.get('message')}"
        return message


@contextmanager
def script(command: Sequence[object]) -> Iterator[Script]:
    """Runs the client until the end of the block."""
    with subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            yield Script(process)
        finally:
            process.kill()
