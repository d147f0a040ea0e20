"""A key pair with which a client signs its assertions (private_key_jwt)."""

import json
import time
import uuid
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.secrets_seen import remember

ALGORITHM = "ES256"
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
Json = dict[str, Any]


class ClientKey:
    """A new key on P-256."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self.pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        # without the lines around it, which are no secrets
        remember(*self.pem.split("\n")[1:-2])
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
        self.jwks: Json = {"keys": [{**public, "use": "sig", "alg": ALGORITHM, "kid": uuid.uuid4().hex}]}

    def write(self, path: Path) -> Path:
        """Writes the private key to a file, for a client in a process of its own."""
        path.touch(mode=0o600)
        path.write_text(self.pem, encoding="ascii")
        return path

    def assertion(self, client_id: str, audience: str) -> dict[str, str]:
        """The parameters by which this client authenticates once."""
        now = int(time.time())
        claims = {"iss": client_id, "sub": client_id, "aud": audience, "iat": now, "exp": now + 60}
        signed = jwt.encode({**claims, "jti": uuid.uuid4().hex}, self.pem, algorithm=ALGORITHM)
        return {"client_assertion": signed, "client_assertion_type": JWT_BEARER}
