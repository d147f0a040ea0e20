"""`portcullis serve` as a process: configuration file, start, health, crash."""

import base64
import json
import os
import secrets
import subprocess
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import tomli_w

from harness.oauth import http_client
from harness.places import BINARY
from harness.process import Child
from harness.realm import CLIENT_ID, Realm
from harness.secrets_seen import remember
from harness.upstreams import Upstream
from harness.waiting import free_port, wait_until

Json = dict[str, Any]


def keycloak_identity(realm: Realm, **settings: object) -> Json:
    """The `[[identity]]` entry of a realm. The setting `base` replaces the address of Keycloak."""
    base = settings.pop("base", realm.base)
    return {
        "id": "keycloak",
        "kind": "keycloak",
        "name": "Keycloak",
        "issuer": f"{base}/realms/{realm.name}",
        "client_id": CLIENT_ID,
        "client_secret": {"env": "KEYCLOAK_CLIENT_SECRET"},
        **settings,
    }


def upstream_entry(upstream: Upstream, path: str) -> Json:
    """The `[[upstream]]` entry of a running MCP server."""
    return {"id": path.strip("/"), "path": path, "name": upstream.name, "url": upstream.url, "scopes": ["mcp:access"]}


class Portcullis:
    """One configuration with its database. It can be started, killed and restarted."""

    def __init__(
        self,
        directory: Path,
        upstreams: Sequence[Json],
        identity: Json,
        client_secret: str,
        sections: Mapping[str, object] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port, self.operations_port = free_port(), free_port()
        self._environment = {identity["client_secret"]["env"]: client_secret, "RUST_LOG": "debug"}
        self._config = directory / "portcullis.toml"
        self._child: Child | None = None
        key_file = directory / "root.key"
        key_file.touch(mode=0o600)
        key_file.write_text(_root_key() + "\n", encoding="ascii")
        given = dict(sections or {})
        self.public_url = str(given.pop("public_url", f"http://127.0.0.1:{self.port}"))
        listening = {"listen": f"127.0.0.1:{self.port}", "operations": f"127.0.0.1:{self.operations_port}"}
        server = given.pop("server", {})
        assert isinstance(server, dict)
        document = {
            "public_url": self.public_url,
            "server": {**listening, **server},
            "storage": {"url": f"sqlite:{directory / 'portcullis.db'}"},
            "secrets": {"keys": [{"file": str(key_file)}]},
            "identity": [identity],
            "upstream": list(upstreams),
            **given,
        }
        self._config.write_text(tomli_w.dumps(document), encoding="utf-8")

    def url(self, path: str = "/mcp") -> str:
        """The server URL for clients."""
        return self.public_url + path

    @property
    def child(self) -> Child:
        """Its process."""
        assert self._child is not None, "not started"
        return self._child

    def start(self) -> "Portcullis":
        """Starts it and waits until it is ready."""
        self._child = Child("serve", [BINARY, "serve", "--config", self._config], self._environment)
        wait_until("portcullis is ready", self._is_ready, 20)
        return self

    def restart_with(self, change: Callable[[Json], None]) -> "Portcullis":
        """Starts it anew with another configuration and the same database."""
        self.rewrite(change)
        self.kill()
        return self.start()

    def rewrite(self, change: Callable[[Json], object]) -> None:
        """Changes the configuration file, which a running process does not read again."""
        document = tomllib.loads(self._config.read_text(encoding="utf-8"))
        change(document)
        self._config.write_text(tomli_w.dumps(document), encoding="utf-8")

    def _is_ready(self) -> bool:
        assert self.child.exit_status is None, f"portcullis ended: {self.child.log[-3000:]}"
        try:
            return self.ready().status_code == 200
        except httpx2.TransportError:
            return False

    def check_online(self) -> subprocess.CompletedProcess[str]:
        """Runs `portcullis check --online` on the same configuration."""
        command = [str(BINARY), "check", "--online", "--config", str(self._config)]
        environment = {**os.environ, **self._environment, "RUST_LOG": "off"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def count(self, series: str) -> float:
        """The value of a counter, by its name without prefix and its labels as written; 0 before its first event."""
        lines = self.scrape().text.splitlines()
        found = [line.rsplit(" ", 1)[1] for line in lines if line.rsplit(" ", 1)[0] == f"portcullis_{series}"]
        return float(found[0]) if found else 0

    def doctor(self, *options: str) -> tuple[int, Json]:
        """Runs `portcullis doctor --json` on the same configuration: its exit status, and the document."""
        command = [str(BINARY), "doctor", "--json", "--config", str(self._config), *options]
        environment = {**os.environ, **self._environment, "RUST_LOG": "off"}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
        secret = next(iter(self._environment.values()))
        assert secret not in ended.stdout + ended.stderr, "no secret is printed"
        document: Json = json.loads(ended.stdout)
        return ended.returncode, document

    def ready(self) -> httpx2.Response:
        """The response of `/ready`."""
        with http_client(5) as http:
            return http.get(f"http://127.0.0.1:{self.operations_port}/ready")

    def scrape(self) -> httpx2.Response:
        """The response of `/metrics`."""
        with http_client(5) as http:
            return http.get(f"http://127.0.0.1:{self.operations_port}/metrics")

    def kill(self) -> None:
        """Kills it, as a power failure would."""
        self.child.kill()

    def close(self) -> None:
        """Stops it; an earlier exit or a panic is a failure."""
        if self._child is None:
            return
        status, log = self._child.exit_status, self._child.log
        self._child.kill()
        assert status in (None, -9), f"portcullis ended by itself with {status}: {log[-3000:]}"
        assert "panicked" not in log, log[log.index("panicked") - 500 :][:3000]


def _root_key() -> str:
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    remember(key)
    return key
