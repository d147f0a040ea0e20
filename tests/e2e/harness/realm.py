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

    def report_logouts_to(self, url: str, **attributes: str) -> None:
        """Registers our back-channel logout URL as docs/logout.md says; `attributes` replace what stands there."""
        wanted = {
            "backchannel.logout.url": url,
            "backchannel.logout.session.required": "true",
            "backchannel.logout.revoke.offline.tokens": "false",
            **{name.replace("_", "."): value for name, value in attributes.items()},
        }
        client = self.our_client()
        client["attributes"].update(wanted)
        self.admin("PUT", f"/clients/{client['id']}", client)

    def our_client(self) -> Json:
        """Our client as it is stored."""
        client: Json = self.admin("GET", f"/clients?clientId={CLIENT_ID}")[0]
        return client

    def end_offline_session(self, username: str) -> None:
        """Ends the one offline session of a user, as the button in the admin console does."""
        sessions = self.admin("GET", f"/users/{self.user_id(username)}/offline-sessions/{self.our_client()['id']}")
        assert len(sessions) == 1, f"{username} has {len(sessions)} offline sessions"
        self.admin("DELETE", f"/sessions/{sessions[0]['id']}?isOffline=true")

    def add_signing_key(self) -> None:
        """Adds a signing key, which signs from now on. The older one stays published."""
        key = {
            "name": "newer",
            "providerId": "rsa-generated",
            "providerType": "org.keycloak.keys.KeyProvider",
            "parentId": self.admin("GET", "/")["id"],
            "config": {"priority": ["200"], "enabled": ["true"], "active": ["true"]},
        }
        self.admin("POST", "/components", key)
