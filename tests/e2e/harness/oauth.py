"""An OAuth client for tests: discovery, registration, authorization, tokens, each step callable separately."""

import base64
import hashlib
import json
import secrets
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx2

from harness.person import Answer, Person
from harness.secrets_seen import remember

REDIRECT_URI = "http://127.0.0.1:43210/callback"
Json = dict[str, Any]


def http_client(timeout: float = 20, trust: ssl.SSLContext | bool = True) -> httpx2.Client:
    """An HTTP client that follows no redirects and ignores proxies in the environment."""
    return httpx2.Client(timeout=timeout, trust_env=False, follow_redirects=False, verify=trust)


def challenge_parameters(response: httpx2.Response) -> dict[str, str]:
    """The parameters of a `WWW-Authenticate: Bearer` value."""
    scheme, _, rest = response.headers["www-authenticate"].partition(" ")
    assert scheme == "Bearer"
    pairs = (item.partition("=") for item in rest.split(", ") if item)
    return {name.strip(): value.strip('"') for name, _, value in pairs}


def unverified_claims(token: str) -> Json:
    """The claims of a JWT, without verification."""
    payload = token.split(".")[1]
    claims: Json = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def pkce_pair() -> tuple[str, str]:
    """A fresh verifier and its S256 challenge."""
    verifier = secrets.token_urlsafe(48)
    remember(verifier)
    digest = hashlib.sha256(verifier.encode()).digest()
    return verifier, base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass
class Tokens:
    """A response of the token endpoint."""

    access_token: str
    refresh_token: str | None
    expires_in: int
    scope: str

    @classmethod
    def read(cls, response: httpx2.Response) -> "Tokens":
        """Parses a 200; any other status is a failure."""
        assert response.status_code == 200, f"{response.status_code}: {response.text}"
        assert response.headers["cache-control"] == "no-store"
        body = response.json()
        remember(body["access_token"], body.get("refresh_token"))
        return cls(body["access_token"], body.get("refresh_token"), body["expires_in"], body["scope"])


@dataclass
class Attempt:
    """One authorization request."""

    url: str
    state: str
    verifier: str
    redirect_uri: str


@dataclass
class Client:
    """A registered client that talks to one MCP server."""

    server_url: str
    resource: Json
    metadata: Json
    client_id: str
    redirect_uri: str = REDIRECT_URI
    client_secret: str | None = None
    http: httpx2.Client = field(default_factory=http_client)

    @classmethod
    def register(cls, server_url: str, http: httpx2.Client | None = None, **registration: Any) -> "Client":
        """Discovers the authorization server from the 401 of an MCP server, and registers there."""
        http = http or http_client()
        refusal = http.post(server_url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
        assert refusal.status_code == 401, refusal.status_code
        resource = http.get(challenge_parameters(refusal)["resource_metadata"]).raise_for_status().json()
        issuer = resource["authorization_servers"][0]
        metadata = http.get(f"{issuer}/.well-known/oauth-authorization-server").raise_for_status().json()
        asked = {"client_name": "Portcullis tests", "redirect_uris": [REDIRECT_URI], **registration}
        answer = http.post(metadata["registration_endpoint"], json=asked)
        assert answer.status_code == 201, answer.text
        known = answer.json()
        remember(known.get("client_secret"))
        redirect_uri = asked["redirect_uris"][0]
        return cls(server_url, resource, metadata, known["client_id"], redirect_uri, known.get("client_secret"), http)

    def attempt(self, **changed: str | None) -> Attempt:
        """Builds an authorization request; `name=None` omits a parameter."""
        (verifier, challenge), state = pkce_pair(), secrets.token_urlsafe(16)
        asked: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "state": state,
            "resource": self.resource["resource"],
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **changed,
        }
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        return Attempt(f"{self.metadata['authorization_endpoint']}?{query}", state, verifier, self.redirect_uri)

    def token(self, **form: str | None) -> httpx2.Response:
        """Posts to the token endpoint as this client."""
        sent = {"client_id": self.client_id, "client_secret": self.client_secret, **form}
        data = {name: value for name, value in sent.items() if value is not None}
        return self.http.post(self.metadata["token_endpoint"], data=data)

    def redeem(self, attempt: Attempt, answer: Answer) -> httpx2.Response:
        """Redeems a code."""
        assert answer.parameters.get("state") == attempt.state
        assert answer.parameters.get("iss") == self.metadata["issuer"]
        return self.token(
            grant_type="authorization_code",
            code=answer.code,
            redirect_uri=attempt.redirect_uri,
            code_verifier=attempt.verifier,
            resource=self.resource["resource"],
        )

    def refresh(self, refresh_token: str | None) -> httpx2.Response:
        """Redeems a refresh token."""
        assert refresh_token is not None
        return self.token(grant_type="refresh_token", refresh_token=refresh_token)

    def sign_in(self, person: Person) -> Tokens:
        """The complete sign-in, for tests of later steps."""
        attempt = self.attempt()
        return Tokens.read(self.redeem(attempt, person.authorize(attempt.url, self.redirect_uri)))
