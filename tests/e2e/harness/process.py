"""A child process in a group of its own, whose output is kept."""

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
    """Starts on construction. Everything it prints goes to one file of `tests/.state/logs`."""

    def __init__(
        self,
        name: str,
        command: Sequence[object],
        environment: Mapping[str, str] | None = None,
        screen: Path | None = None,
    ) -> None:
        """`screen`: where standard output goes when it is meant for a person's eyes and no log."""
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
        """The process id, which is its group's too."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has logged up to now."""
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    @property
    def exit_status(self) -> int | None:
        """Its exit status, once it has ended."""
        return self._process.poll()

    def wait(self, timeout: float) -> int:
        """Waits for its own end."""
        return self._process.wait(timeout)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """Ends the group at once, as a crash would."""
        self.signal(signal.SIGKILL)
        self._process.wait(10)

    def stop(self, timeout: float = 15) -> int:
        """Asks it to end, and makes it end when it does not; returns its exit status."""
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        self.signal(signal.SIGKILL)
        return self._process.wait(10)

    def wait_for_log(self, text: str, timeout: float) -> None:
        """Waits for a text in its log."""
        wait_until(f"{self.name} logs {text!r}", lambda: text in self.log, timeout)
