"""A PostgreSQL server for providers that keep their data there: reached by a socket, gone after the run."""

import os
import subprocess
import tempfile
from pathlib import Path

from harness.process import Child
from harness.waiting import wait_until

# its programs refuse to run as root
_AS_SERVER = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"] if os.geteuid() == 0 else []


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    assert found, "no initdb: tests/run installs PostgreSQL"
    return found[-1].parent


class Postgres:
    """Started on construction. Only its own user, and root, can reach its directory."""

    def __init__(self) -> None:
        self._made = tempfile.TemporaryDirectory(prefix="portcullis-postgres-")
        self.directory = Path(self._made.name)
        self._programs, self._databases = _programs(), 0
        if os.geteuid() == 0:
            subprocess.run(["chown", "postgres:", self.directory], check=True)
        data = self.directory / "data"
        self._run("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        settings = ["listen_addresses=", f"unix_socket_directories={self.directory}", "fsync=off"]
        options = [part for setting in settings for part in ("-c", setting)]
        self._child = Child("postgres", [*_AS_SERVER, self._programs / "postgres", "-D", data, *options])
        wait_until("PostgreSQL is ready", self._is_ready, 30)

    def _run(self, program: str, *arguments: object) -> None:
        command = [*_AS_SERVER, self._programs / program, *arguments]
        words = [str(word) for word in command]
        done = subprocess.run(words, cwd="/", capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _is_ready(self) -> bool:
        assert self._child.exit_status is None, self._child.log
        command = [str(self._programs / "pg_isready"), "-q", "-h", str(self.directory)]
        return subprocess.run(command, check=False).returncode == 0

    def new_database(self) -> str:
        """Creates an empty database."""
        self._databases += 1
        name = f"test_{self._databases}"
        self._run("createdb", "-h", self.directory, "-U", "postgres", name)
        return name

    def close(self) -> None:
        """Stops it and deletes its data."""
        self._child.kill()
        self._made.cleanup()
