"""`portcullis dev` as a process, and its first screen."""

import os
import re
import tempfile
from pathlib import Path

from harness.oauth import http_client
from harness.person import Person
from harness.places import BINARY
from harness.process import Child
from harness.secrets_seen import remember
from harness.waiting import free_port, listens, wait_until

USERS = ("alice", "bob")


class Dev:
    """One port with its state directory. It can be started, killed and started again."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.port = free_port()
        self.public_url = f"http://127.0.0.1:{self.port}"
        self.state = directory
        self._arguments = arguments
        self._screens = directory / "screens"
        self._screens.mkdir(parents=True)
        self._passwords: dict[str, str] = {}
        self._child: Child | None = None
        self._screen_file = Path(os.devnull)

    @property
    def child(self) -> Child:
        """Its process."""
        assert self._child is not None, "not started"
        return self._child

    @property
    def screen(self) -> str:
        """The output of its latest start."""
        return self._screen_file.read_text(encoding="utf-8")

    def url(self, path: str = "/mcp") -> str:
        """The server URL for clients."""
        return self.public_url + path

    def spawn(self) -> Child:
        """Starts it without waiting."""
        with tempfile.NamedTemporaryFile(dir=self._screens, delete=False) as file:
            self._screen_file = Path(file.name)
        command = [BINARY, "dev", "--port", str(self.port), *self._arguments]
        environment = {"XDG_STATE_HOME": str(self.state), "RUST_LOG": "debug"}
        self._child = Child("dev", command, environment, self._screen_file)
        return self._child

    def start(self) -> "Dev":
        """Starts it and waits until it answers and has printed its first screen."""
        child = self.spawn()
        wait_until("dev answers", lambda: child.exit_status is not None or listens(self.port), 30)
        assert child.exit_status is None, f"dev ended: {child.log[-3000:]}"
        wait_until("dev has printed the URL", lambda: self.url() in self.screen, 10)
        with http_client(5) as http:
            assert http.get(f"{self.public_url}/.well-known/oauth-authorization-server").status_code == 200
        self._passwords.update(read_passwords(self.screen))
        remember(*self._passwords.values())
        return self

    def person(self, username: str = "alice") -> Person:
        """A demo user with a browser of their own."""
        return Person(username, self.password(username))

    def password(self, username: str = "alice") -> str:
        """The password on the first screen."""
        return self._passwords[username]

    def kill(self) -> None:
        """Kills it, as a power failure would."""
        self.child.kill()

    def close(self) -> None:
        """Stops it; a panic is a failure."""
        if self._child is None:
            return
        self._child.kill()
        assert "panicked" not in self._child.log, self._child.log[-3000:]


def read_passwords(screen: str) -> dict[str, str]:
    """The users and passwords on the first screen: a line with the name, then the password as its last word."""
    found = {}
    for user in USERS:
        match = re.search(rf"^.*\b{user}\b.*\s(\S{{8,}})\s*$", screen, re.MULTILINE)
        if match:
            found[user] = match[1]
    return found
