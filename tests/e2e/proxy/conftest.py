"""Fixtures for the tests behind a reverse proxy."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.certificate import Certificate
from harness.proxies import Place, Proxy


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """The certificate of the proxy."""
    return Certificate(tmp_path)


@pytest.fixture
def start_proxy(tmp_path: Path, certificate: Certificate) -> Iterator[Callable[..., Proxy]]:
    """Starts a proxy by name, with the port to listen on and the port to forward to, and with changed settings."""
    started: list[Proxy] = []

    def start(name: str, port: int, target: int, edit: Callable[[str], str] | None = None) -> Proxy:
        started.append(Proxy(name, Place(port, target, certificate, tmp_path), edit))
        return started[-1]

    yield start
    for proxy in started:
        proxy.close()
