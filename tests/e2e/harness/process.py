"""A child process in its own process group, with its output in a log file."""

import contextlib
import itertools
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.places import LOGS
from harness.waiting import wait_until

_NUMBERS = itertools.count(1)


class Child:
    """Starts on construction. Its output goes to a file in `tests/.state/logs`."""

    def __init__(
        self,
        name: str,
        command: Sequence[object],
        environment: Mapping[str, str] | None = None,
        screen: Path | None = None,
    ) -> None:
        """`screen`: a file for standard output that must not go to the log."""
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log_file = LOGS / f"{next(_NUMBERS):03}-{name}.log"
        self.name = name
        with contextlib.ExitStack() as files:
            log = files.enter_context(self.log_file.open("ab"))
            out = files.enter_context(screen.open("ab")) if screen else log
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                env={**os.environ, **(environment or {})},
                process_group=0,
            )

    @property
    def pid(self) -> int:
        """The process id, also that of the group."""
        return self._process.pid

    @property
    def log(self) -> str:
        """Its log so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    @property
    def exit_status(self) -> int | None:
        """Its exit status; `None` while it runs."""
        return self._process.poll()

    def wait(self, timeout: float) -> int:
        """Waits until it exits."""
        return self._process.wait(timeout)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """Kills the group, as a crash would."""
        self.signal(signal.SIGKILL)
        self._process.wait(10)

    def stop(self, timeout: float = 15) -> int:
        """Sends SIGTERM, and SIGKILL after the time-out; returns the exit status."""
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        self.signal(signal.SIGKILL)
        return self._process.wait(10)

    def wait_for_log(self, text: str, timeout: float) -> None:
        """Waits until its log contains a text."""
        wait_until(f"{self.name} logs {text!r}", lambda: text in self.log, timeout)
