"""A real Keycloak: one process per run, one realm per test."""

import secrets
import tempfile

import httpx2

from harness.oauth import http_client
from harness.places import KEYCLOAK_HOME
from harness.process import Child
from harness.realm import Realm
from harness.secrets_seen import remember
from harness.waiting import free_port, wait_until

START_TIMEOUT = 300

# The same as in tests/setup/keycloak.sh, otherwise every start would rebuild the server.
BUILD_OPTIONS = ["--db=dev-file", "--health-enabled=true", "--cache=local"]


class Keycloak:
    """Runs in its own process group; its database is a file, which survives a restart."""

    def __init__(self) -> None:
        self.port, self._management = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._admin_password = secrets.token_urlsafe(16)
        remember(self._admin_password)
        self._data = tempfile.TemporaryDirectory(prefix="portcullis-keycloak-")
        self._child: Child | None = None

    def launch(self) -> None:
        """Starts it without waiting."""
        self._child = Child(
            "keycloak",
            [
                KEYCLOAK_HOME / "bin" / "kc.sh",
                "start",
                *BUILD_OPTIONS,
                f"--db-url=jdbc:h2:file:{self._data.name}/keycloak;NON_KEYWORDS=VALUE",
                "--http-host=127.0.0.1",
                f"--http-port={self.port}",
                "--http-enabled=true",
                "--hostname-strict=false",
                "--http-management-host=127.0.0.1",
                f"--http-management-port={self._management}",
            ],
            {
                "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
                "KC_BOOTSTRAP_ADMIN_PASSWORD": self._admin_password,
                "JAVA_OPTS_APPEND": f"-Djava.io.tmpdir={self._data.name}",
            },
        )

    def wait_until_ready(self) -> None:
        """Waits until the health check on the management port succeeds."""
        with http_client(2) as http:
            wait_until("Keycloak is ready", lambda: self._is_ready(http), START_TIMEOUT, 0.25)

    def _is_ready(self, http: httpx2.Client) -> bool:
        if self._child is None or self._child.exit_status is not None:
            raise AssertionError(f"Keycloak ended: {self._child and self._child.log[-2000:]}")
        try:
            return http.get(f"http://127.0.0.1:{self._management}/health/ready").status_code == 200
        except httpx2.TransportError:
            return False

    def stop(self) -> None:
        """Stops it and keeps its database."""
        if self._child is not None:
            self._child.stop(30)

    def close(self) -> None:
        """Stops it and deletes its database."""
        self.stop()
        self._data.cleanup()

    def new_realm(self, **settings: object) -> Realm:
        """Imports the shipped realm with a new name, new secrets and changed settings."""
        return Realm.create(self.url, self._admin_password, settings)
