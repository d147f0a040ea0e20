"""A Keycloak realm made from the file in the README, and its administration."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from harness.oauth import http_client
from harness.person import Person
from harness.places import REALM_FILE
from harness.secrets_seen import remember

CLIENT_ID = "portcullis"
Json = dict[str, Any]


@dataclass
class Realm:
    """A realm with the users alice and bob, and carol, who may not have offline tokens."""

    base: str
    name: str
    admin_password: str
    client_secret: str
    passwords: dict[str, str]
    http: httpx2.Client = field(default_factory=http_client)

    @classmethod
    def create(cls, base: str, admin_password: str, settings: Mapping[str, object]) -> "Realm":
        """Posts a copy of the shipped realm file. `client` changes our client, other settings the realm."""
        name = f"mcp-{secrets.token_hex(4)}"
        document = json.loads(
            REALM_FILE.read_text(encoding="utf-8").replace("default-roles-mcp", f"default-roles-{name}")
        )
        changed = dict(settings)
        client = document["clients"][0]
        client.update(changed.pop("client", {}))
        client["secret"] = secrets.token_urlsafe(24)
        document.update(changed, realm=name)
        passwords = {user["username"]: secrets.token_urlsafe(12) for user in document["users"]}
        for user in document["users"]:
            user["credentials"] = [{"type": "password", "value": passwords[user["username"]]}]
        remember(client["secret"], *passwords.values())
        realm = cls(base, name, admin_password, client["secret"], passwords)
        realm.admin("POST", "", document)
        return realm

    @property
    def issuer(self) -> str:
        """Its issuer at its own address."""
        return f"{self.base}/realms/{self.name}"

    def person(self, username: str = "alice", **traits: Any) -> Person:
        """A user of the realm with a browser of their own."""
        return Person(username, self.passwords[username], **traits)

    def admin(self, method: str, path: str, body: object = None) -> Any:
        """Calls the admin API at a `path` below the realm; an empty one means the list of realms."""
        with_token = {"Authorization": f"Bearer {self._admin_token()}"}
        url = f"{self.base}/admin/realms" + (f"/{self.name}{path}" if path else "")
        answer = self.http.request(method, url, headers=with_token, json=body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def _admin_token(self) -> str:
        form = {
            "grant_type": "password",
            "client_id": "admin-cli",
            "username": "admin",
            "password": self.admin_password,
        }
        answer = self.http.post(f"{self.base}/realms/master/protocol/openid-connect/token", data=form)
        token: str = answer.raise_for_status().json()["access_token"]
        return token

    def change(self, **settings: object) -> None:
        """Changes settings of the realm."""
        self.admin("PUT", "/", settings)

    def delete(self) -> None:
        """Deletes it."""
        self.admin("DELETE", "/")

    def user_id(self, username: str) -> str:
        """The `sub` of a user."""
        found: str = self.admin("GET", f"/users?username={username}&exact=true")[0]["id"]
        return found

    def set_enabled(self, username: str, enabled: bool) -> None:
        """Disables or enables a user."""
        self.admin("PUT", f"/users/{self.user_id(username)}", {"enabled": enabled})

    def set_client_secret(self, secret: str) -> None:
        """Changes our client's secret, as a rotation does."""
        remember(secret)
        client: Json = self.admin("GET", f"/clients?clientId={CLIENT_ID}")[0]
        self.admin("PUT", f"/clients/{client['id']}", {"clientId": CLIENT_ID, "secret": secret})

    def end_sessions(self, username: str) -> None:
        """Ends all online sessions of a user."""
        self.admin("POST", f"/users/{self.user_id(username)}/logout")
