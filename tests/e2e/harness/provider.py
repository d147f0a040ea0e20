"""An OpenID Connect provider on loopback, for tests that need several quick sign-ins and no particular product."""

import base64
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from harness.secrets_seen import remember

Json = dict[str, Any]
PAGE = """<!doctype html><html lang="en"><title>Test provider</title><h1>Sign in</h1><form method="post">
<label>Name <input name="username" autofocus></label><button>Sign in</button></form>"""


class OpenIdProvider:
    """Signs in under any name, without a password; the name is the `sub`. It remembers no one."""

    def __init__(self) -> None:
        self.client_secret = secrets.token_urlsafe(24)
        remember(self.client_secret)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._codes: dict[str, Json] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.answer(self)

            def do_POST(self) -> None:
                provider.answer(self)

            def log_request(self, *_: object) -> None:
                """Logs nothing: the request line contains the state."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def identity(self, identity: str = "staff", name: str = "Staff accounts") -> Json:
        """The `[[identity]]` entry for it; the secret is in the variable that `Portcullis` sets."""
        return {
            "id": identity,
            "kind": "oidc",
            "name": name,
            "issuer": self.issuer,
            "client_id": "portcullis",
            "client_secret": {"env": "KEYCLOAK_CLIENT_SECRET"},
            "standing": "none",
        }

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answers one request."""
        url = urlsplit(request.path)
        query = dict(parse_qsl(url.query))
        length = int(request.headers.get("content-length") or 0)
        form = dict(parse_qsl(request.rfile.read(length).decode()))
        match url.path:
            case "/.well-known/openid-configuration":
                respond(request, self._metadata())
            case "/keys":
                respond(request, self._keys())
            case "/token":
                respond(request, *self._token(form.get("code", "")))
            case "/authorize" if form:
                redirect(request, self._answered(query, form["username"]))
            case "/authorize":
                respond(request, PAGE)
            case _:
                respond(request, "not found", 404)

    def _metadata(self) -> Json:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def _keys(self) -> Json:
        public: Json = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**public, "use": "sig", "alg": "ES256", "kid": "test"}]}

    def _answered(self, query: dict[str, str], username: str) -> str:
        code = secrets.token_urlsafe(24)
        remember(code)
        self._codes[code] = {"nonce": query["nonce"], "aud": query["client_id"], "sub": username, "name": username}
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state'], 'iss': self.issuer})}"

    def _token(self, code: str) -> tuple[Json, int]:
        known, now = self._codes.pop(code, None), int(time.time())
        if known is None:
            return {"error": "invalid_grant"}, 400
        claims = {**known, "iss": self.issuer, "iat": now, "exp": now + 300}
        access_token, id_token = base64.urlsafe_b64encode(secrets.token_bytes(24)).decode(), self._sign(claims)
        remember(access_token, id_token)
        return {"access_token": access_token, "token_type": "Bearer", "expires_in": 300, "id_token": id_token}, 200

    def _sign(self, claims: Json) -> str:
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": "test"})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def respond(request: BaseHTTPRequestHandler, content: Json | str, status: int = 200) -> None:
    """Answers with JSON, or with a page."""
    body, kind = (content, "text/html") if isinstance(content, str) else (json.dumps(content), "application/json")
    request.send_response(status)
    request.send_header("content-type", kind)
    request.send_header("content-length", str(len(body.encode())))
    request.end_headers()
    request.wfile.write(body.encode())


def redirect(request: BaseHTTPRequestHandler, location: str) -> None:
    """Sends the browser elsewhere."""
    request.send_response(302)
    request.send_header("location", location)
    request.send_header("content-length", "0")
    request.end_headers()
