"""Real OpenID Connect providers besides Keycloak, each with the users alice and bob, and our client."""

import json
import secrets
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import httpx2

from harness.cable import Cable
from harness.forms import Form
from harness.oauth import Client, Tokens, http_client
from harness.person import Person
from harness.places import OIDC_PROVIDER, PROVIDERS
from harness.portcullis import Portcullis
from harness.postgres import Postgres
from harness.process import Child
from harness.secrets_seen import remember
from harness.upstreams import node
from harness.user_agent import page_of
from harness.waiting import free_port, wait_until

CLIENT_ID = "portcullis"
# bcrypt, because Dex takes only hashes, at the lowest cost that it takes
PASSWORD = "correct-horse-of-alice"
PASSWORD_HASH = "$2b$10$edY1CyNRcPjmbCjbrPDzzOyECB4P.KMxf3uSyTBoZ4MGZn5YcWpGC"
Json = dict[str, Any]


class Provider(ABC):
    """One provider behind a cable, which it and everyone else know it by."""

    name: ClassVar[str]
    scopes: ClassVar[list[str]] = ["profile", "email"]
    path = ""
    # what the server behind the gate learns of alice
    groups: ClassVar[str | None] = None

    def __init__(self, directory: Path, postgres: Postgres) -> None:
        self._directory, self._postgres = directory, postgres
        self._port = free_port()
        self.cable = Cable(self._port)
        self.base = f"http://127.0.0.1:{self.cable.port}"
        self.issuer = self.base + self.path
        self.client_secret = secrets.token_urlsafe(24)
        self.redirect_uri = ""
        remember(self.client_secret, PASSWORD)
        self._child: Child | None = None

    @abstractmethod
    def command(self) -> tuple[list[object], Mapping[str, str]]:
        """The command and its environment."""

    @abstractmethod
    def person(self, **traits: Any) -> Person:
        """Alice, with a browser of her own."""

    def start(self) -> None:
        """Starts it and waits until it answers."""
        command, environment = self.command()
        self._child = Child(f"provider-{self.name}", command, environment)
        with http_client(2) as http:
            wait_until(f"{self.name} answers", lambda: self._answers(http), 30)

    def _answers(self, http: httpx2.Client) -> bool:
        assert self.child.exit_status is None, self.child.log[-2000:]
        try:
            discovery = f"{self.base}{self.path.rstrip('/')}/.well-known/openid-configuration"
            return http.get(discovery).status_code == 200
        except httpx2.TransportError:
            return False

    @property
    def child(self) -> Child:
        """Its process."""
        assert self._child is not None, "not started"
        return self._child

    def restart(self) -> None:
        """Stops and starts it."""
        self.child.stop()
        self.start()

    def forget(self) -> None:
        """Restarts it without its tokens, sessions and keys."""
        self.restart()

    def close(self) -> None:
        """Stops it."""
        if self._child is not None:
            self._child.stop()
        self.cable.close()

    def identity(self, **settings: object) -> Json:
        """The `[[identity]]` entry."""
        return {
            "id": "corp",
            "kind": "oidc",
            "issuer": self.issuer,
            "client_id": CLIENT_ID,
            "client_secret": {"env": "PROVIDER_CLIENT_SECRET"},
            "scopes": self.scopes,
            **settings,
        }

    def _users_file(self, users: Json) -> Path:
        file = self._directory / f"{self.name}-users.json"
        file.write_text(json.dumps(users), encoding="utf-8")
        return file


class DexPerson(Person):
    """Signs in with an e-mail address."""

    def _entries(self, form: Form) -> dict[str, str] | None:
        if form.password_field is not None:
            return {"login": self.username, form.password_field: self.password}
        if "approval" in form.hidden:
            return {} if form.hidden["approval"] == ("approve" if self.accepts_at_provider else "rejected") else None
        return super()._entries(form)


class Dex(Provider):
    """Dex on PostgreSQL: with storage in memory it never answers a refresh (`findings/dex-refresh-tokens.sh`)."""

    name = "dex"
    scopes: ClassVar[list[str]] = ["profile", "email", "groups"]
    path = "/dex"
    groups = "platform"

    def __init__(self, directory: Path, postgres: Postgres) -> None:
        super().__init__(directory, postgres)
        self._api = free_port()
        self._database = postgres.new_database()

    def forget(self) -> None:
        self._database = self._postgres.new_database()
        self.restart()

    def command(self) -> tuple[list[object], Mapping[str, str]]:
        alice = {
            "email": "alice@example.com",
            "hash": PASSWORD_HASH,
            "username": "alice",
            "preferredUsername": "alice",
            "name": "Alice Example",
            "groups": ["platform"],
            "userID": "id-of-alice",
        }
        client = {
            "id": CLIENT_ID,
            "name": "Portcullis",
            "secret": self.client_secret,
            "redirectURIs": [self.redirect_uri],
        }
        storage = {
            "host": str(self._postgres.directory),
            "user": "postgres",
            "database": self._database,
            "ssl": {"mode": "disable"},
        }
        settings = {
            "issuer": self.issuer,
            "storage": {"type": "postgres", "config": storage},
            "web": {"http": f"127.0.0.1:{self._port}"},
            "grpc": {"addr": f"127.0.0.1:{self._api}"},
            "staticClients": [client],
            "enablePasswordDB": True,
            "staticPasswords": [alice],
        }
        file = self._directory / "dex.json"
        file.write_text(json.dumps(settings), encoding="utf-8")
        return [PROVIDERS / "dex", "serve", file], {"DEX_EXPAND_ENV": "false"}

    def person(self, **traits: Any) -> Person:
        return DexPerson(traits.pop("email", "alice@example.com"), PASSWORD, **traits)

    def add_user(self, email: str, name: str, user_id: str) -> None:
        """Adds a user who can be deleted, which those of its configuration cannot."""
        self._administer("add", email, PASSWORD_HASH, name, user_id)

    def delete_user(self, email: str) -> None:
        """Deletes a user."""
        self._administer("delete", email)

    def _administer(self, *arguments: str) -> None:
        subprocess.run([PROVIDERS / "dex-admin", f"127.0.0.1:{self._api}", *arguments], check=True, timeout=20)


class OidcProviderPerson(Person):
    """Refuses by the link that the consent page has."""

    def answer_page(self, response: httpx2.Response) -> httpx2.Response:
        page = page_of(response)
        asks_consent = any(form.hidden.get("prompt") == "consent" for form in page.forms)
        if asks_consent and not self.accepts_at_provider:
            return self.open(next(link for link in page.links if link.endswith("/abort")))
        return super().answer_page(response)

    def _entries(self, form: Form) -> dict[str, str] | None:
        if form.password_field is not None:
            return {"login": self.username, form.password_field: self.password}
        return {} if form.hidden.get("prompt") == "consent" else super()._entries(form)


class OidcProvider(Provider):
    """npm's `oidc-provider`, in memory, or in a file that survives a restart."""

    name = "oidc-provider"
    scopes: ClassVar[list[str]] = ["profile", "email", "groups"]
    groups = "platform"

    def __init__(self, directory: Path, postgres: Postgres) -> None:
        super().__init__(directory, postgres)
        self._store: Path | None = None
        self._cookie_key = secrets.token_urlsafe(24)
        self.set_users("alice")

    def set_users(self, *ids: str) -> None:
        """Replaces the users, at once."""
        users = {
            user: {
                "name": f"{user.capitalize()} Example",
                "preferred_username": user,
                "email": f"{user}@example.com",
                "email_verified": True,
                "groups": ["platform"],
            }
            for user in ids
        }
        self._users = self._users_file(users)

    def keep(self) -> None:
        """Keeps its tokens and sessions in a file, and its keys."""
        self._store = self._directory / "oidc-provider-store.json"

    def command(self) -> tuple[list[object], Mapping[str, str]]:
        environment = {
            "ISSUER": self.issuer,
            "PORT": str(self._port),
            "CLIENT_SECRET": self.client_secret,
            "REDIRECT_URI": self.redirect_uri,
            "USERS_FILE": str(self._users),
            "COOKIE_KEY": self._cookie_key,
            "STORE": str(self._store or ""),
        }
        return [node(), OIDC_PROVIDER / "server.mjs"], environment

    def person(self, **traits: Any) -> Person:
        return OidcProviderPerson("alice", PASSWORD, **traits)


class Zitadel(Provider):
    """The example of ZITADEL's library, in memory: a restart forgets every token and makes new keys."""

    name = "zitadel"
    path = "/"

    def command(self) -> tuple[list[object], Mapping[str, str]]:
        alice = {
            "ID": "id-of-alice",
            "Username": "alice",
            "Password": PASSWORD,
            "FirstName": "Alice",
            "LastName": "Example",
            "Email": "alice@example.com",
            "EmailVerified": True,
        }
        environment = {
            "ISSUER": self.issuer,
            "PORT": str(self._port),
            "CLIENT_SECRET": self.client_secret,
            "REDIRECT_URI": self.redirect_uri,
            "USERS_FILE": str(self._users_file({"id-of-alice": alice})),
        }
        return [PROVIDERS / "zitadel"], environment

    def person(self, **traits: Any) -> Person:
        return Person("alice", PASSWORD, **traits)


@dataclass
class Behind:
    """A gateway whose users sign in at a provider."""

    provider: Provider
    portcullis: Portcullis

    def signed_in(self, client_name: str = "one") -> tuple[Client, Tokens]:
        """A client of alice's, signed in by a browser that was never there before."""
        client = Client.register(self.portcullis.url(), client_name=client_name)
        return client, client.sign_in(self.provider.person())

    def degraded(self) -> str:
        """What `/ready` says is wrong."""
        answer = self.portcullis.ready()
        assert answer.status_code == 200, answer.text
        return " ".join(answer.json()["degraded"])
