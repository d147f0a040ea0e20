"""Fixtures for all suites."""

import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.dev import Dev
from harness.keycloak import Keycloak
from harness.portcullis import Portcullis, keycloak_identity, upstream_entry
from harness.realm import Realm
from harness.suites import Suites
from harness.upstreams import Upstream
from harness.upstreams import everything as start_everything
from harness.upstreams import whoami as start_whoami

_KEYCLOAK: list[Keycloak] = []


def pytest_configure(config: pytest.Config) -> None:
    """On SIGTERM the run still cleans up after itself."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.pluginmanager.register(Suites())


def pytest_collection_finish(session: pytest.Session) -> None:
    """Starts Keycloak right away if a test needs it: its start takes as long as all tests before that one."""
    wanted = any("keycloak" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly:
        _KEYCLOAK.append(Keycloak())
        _KEYCLOAK[0].launch()


def pytest_unconfigure() -> None:
    """Stops Keycloak at the end of the run, even of one that stops before its first test."""
    for server in _KEYCLOAK:
        server.close()
    _KEYCLOAK.clear()


@pytest.fixture(scope="session")
def keycloak() -> Keycloak:
    """The Keycloak of this run."""
    _KEYCLOAK[0].wait_until_ready()
    return _KEYCLOAK[0]


@pytest.fixture
def new_realm(keycloak: Keycloak) -> Iterator[Callable[..., Realm]]:
    """Creates realms with changed settings, and deletes them."""
    made: list[Realm] = []

    def make(**settings: object) -> Realm:
        made.append(keycloak.new_realm(**settings))
        return made[-1]

    yield make
    for realm in made:
        realm.delete()


@pytest.fixture
def realm(new_realm: Callable[..., Realm]) -> Realm:
    """The shipped realm."""
    return new_realm()


@pytest.fixture(scope="session")
def everything() -> Iterator[Upstream]:
    """The MCP project's reference server."""
    upstream = start_everything()
    yield upstream
    upstream.child.stop()


@pytest.fixture(scope="session")
def whoami() -> Iterator[Upstream]:
    """A server whose tool returns the headers that reached it."""
    upstream = start_whoami()
    yield upstream
    upstream.child.stop()


@pytest.fixture
def directory() -> Iterator[Path]:
    """An empty directory for state, deleted after the test."""
    with tempfile.TemporaryDirectory(prefix="portcullis-test-") as name:
        yield Path(name)


@pytest.fixture
def gateway(directory: Path, everything: Upstream) -> Iterator[Callable[..., Portcullis]]:
    """Configures a gateway for a realm; its upstream is `everything` at /mcp unless the test names others."""
    made: list[Portcullis] = []

    def make(
        realm: Realm,
        *,
        upstreams: dict[str, Upstream] | None = None,
        identity: dict[str, Any] | None = None,
        **sections: object,
    ) -> Portcullis:
        entries = [upstream_entry(upstream, path) for path, upstream in (upstreams or {"/mcp": everything}).items()]
        settings = keycloak_identity(realm, **(identity or {}))
        made.append(Portcullis(directory / str(len(made)), entries, settings, realm.client_secret, sections))
        return made[-1]

    yield make
    for portcullis in made:
        portcullis.close()


@pytest.fixture
def dev(directory: Path) -> Iterator[Dev]:
    """`portcullis dev`, started."""
    running = Dev(directory)
    yield running.start()
    running.close()
