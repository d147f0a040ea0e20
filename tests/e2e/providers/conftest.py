"""Fixtures: each provider, and a gateway in front of it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.portcullis import Portcullis, upstream_entry
from harness.postgres import Postgres
from harness.providers import Behind, Dex, OidcProvider, Provider, Zitadel
from harness.upstreams import Upstream


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server."""
    server = Postgres()
    yield server
    server.close()


@pytest.fixture
def behind(directory: Path, whoami: Upstream) -> Iterator[Callable[..., Behind]]:
    """Starts a provider and a gateway in front of it; `secret` replaces the one that the provider knows."""
    providers: list[Provider] = []
    gateways: list[Portcullis] = []

    def make(provider: Provider, *, secret: str | None = None, **identity: object) -> Behind:
        providers.append(provider)
        entries = [upstream_entry(whoami, "/mcp")]
        known = secret or provider.client_secret
        portcullis = Portcullis(directory / "gateway", entries, provider.identity(**identity), known)
        provider.redirect_uri = f"{portcullis.public_url}/callback/corp"
        provider.start()
        gateways.append(portcullis.start())
        return Behind(provider, portcullis)

    yield make
    for portcullis in gateways:
        portcullis.close()
    for provider in providers:
        provider.close()


@pytest.fixture(params=[Dex, OidcProvider, Zitadel], ids=lambda kind: kind.name)
def any_provider(request: pytest.FixtureRequest, directory: Path, postgres: Postgres) -> Provider:
    """Each provider, not started."""
    made: Provider = request.param(directory, postgres)
    return made


@pytest.fixture
def each(any_provider: Provider, behind: Callable[..., Behind]) -> Behind:
    """A gateway in front of each provider."""
    return behind(any_provider)


@pytest.fixture
def dex(directory: Path, postgres: Postgres) -> Dex:
    """Dex, not started."""
    return Dex(directory, postgres)


@pytest.fixture
def oidc_provider(directory: Path, postgres: Postgres) -> OidcProvider:
    """The npm package `oidc-provider`, not started."""
    return OidcProvider(directory, postgres)
