"""A host of client metadata documents, over https with a certificate of an authority of its own."""

import datetime
import ipaddress
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Json = dict[str, Any]


class DocumentHost:
    """Serves documents on 127.0.0.1, each with its own URL as `client_id`, and counts the requests."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.ca_file = directory / "documents-ca.pem"
        self._documents: dict[str, Json] = {}
        self.requests: list[str] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.answer(self)

            def log_request(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_make_certificate(directory, self.ca_file))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def publish(self, path: str, **document: object) -> str:
        """Publishes a document; returns its URL, which is the client's id."""
        url = f"https://127.0.0.1:{self._server.server_address[1]}{path}"
        self._documents[path] = {"client_id": url, **document}
        return url

    def withdraw(self, path: str) -> None:
        """Answers 404 from now on."""
        del self._documents[path]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answers one request."""
        self.requests.append(request.path)
        document = self._documents.get(request.path)
        body = json.dumps(document or {}).encode()
        request.send_response(200 if document else 404)
        request.send_header("content-type", "application/json")
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def _make_certificate(directory: Path, ca_file: Path) -> Path:
    """Writes the authority's certificate, and a file with chain and key of the server."""
    authority_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _name("Portcullis tests")
    root = _builder(authority, authority, authority_key).add_extension(
        x509.BasicConstraints(ca=True, path_length=None), critical=True
    )
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    server = (
        _builder(_name("documents.test"), authority, server_key)
        .add_extension(loopback, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    pem = serialization.Encoding.PEM
    ca_file.write_bytes(root.sign(authority_key, hashes.SHA256()).public_bytes(pem))
    both = directory / "documents.pem"
    both.write_bytes(
        server.sign(authority_key, hashes.SHA256()).public_bytes(pem)
        + server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return both


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
