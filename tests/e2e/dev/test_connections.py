"""Keep-alive connections of clients that send head and body separately, as many HTTP libraries do."""

import socket
import time

import pytest

from harness.dev import Dev

BODY = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [("/mcp", None, 401), ("/nowhere", None, 404), ("/mcp", "elsewhere.example", 421)],
)
@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_a_refusal_before_the_body_arrives_does_not_break_the_next_request(
    path: str, host: str | None, status: int, pause: float, dev: Dev
) -> None:
    """The response is complete; then the connection takes another request, or the response announced its close."""
    own = f"127.0.0.1:{dev.port}"
    head = f"POST {path} HTTP/1.1\r\nHost: {host or own}\r\nContent-Type: application/json\r\n"
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", dev.port), 5) as connection:
            connection.sendall(f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode())
            time.sleep(pause)
            connection.sendall(BODY)
            time.sleep(0.01)
            answer = connection.recv(65536)
            assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:100]
            if b"connection: close" in answer.lower():
                continue
            connection.sendall(f"GET /.well-known/jwks.json HTTP/1.1\r\nHost: {own}\r\n\r\n".encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
