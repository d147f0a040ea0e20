"""Attacks that need a real process and real sockets: request smuggling, slowloris, oversized bodies."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.dev import Dev
from harness.oauth import Client, http_client
from harness.wire import Ending, Recorder, converse

MEBIBYTE = 1024 * 1024


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """An upstream that counts the requests that reach it."""
    upstream = Recorder()
    yield upstream
    upstream.close()


@pytest.fixture
def guarded(directory: Path, recorder: Recorder) -> Iterator[Dev]:
    """`dev` in front of the recorder."""
    running = Dev(directory, "--upstream", recorder.url)
    yield running.start()
    running.close()


CONTENT_LENGTH = "Content-Length: 6\r\n"
TRANSFER_ENCODING = "Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize("lengths", [CONTENT_LENGTH + TRANSFER_ENCODING, TRANSFER_ENCODING + CONTENT_LENGTH])
@pytest.mark.parametrize("smuggled", ["0\r\n\r\nGET /mcp HTTP/1.1\r\nHost: x\r\n\r\n", "0\r\n\r\n"])
def test_conflicting_lengths_never_smuggle_a_second_request(
    lengths: str, smuggled: str, guarded: Dev, recorder: Recorder
) -> None:
    token = Client.register(guarded.url()).sign_in(guarded.person()).access_token
    before = recorder.requests
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{guarded.port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n{lengths}\r\n"
    )
    ending = converse(guarded.port, (head + smuggled).encode(), patience=8)
    assert recorder.requests - before <= 1, "at most one request reaches the upstream"
    assert len(ending.statuses) <= 1, ending.received
    assert ending.statuses in ([], [400]) or recorder.requests - before == 1
    assert ending.closed, "a connection with ambiguous framing is closed"


@pytest.mark.parametrize(
    "lengths",
    [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
    ],
)
def test_an_ambiguous_length_reaches_no_upstream(lengths: str, guarded: Dev, recorder: Recorder) -> None:
    token = Client.register(guarded.url()).sign_in(guarded.person()).access_token
    before = recorder.requests
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{guarded.port}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\n{lengths}\r\n"
    )
    ending = converse(guarded.port, (head + "0\r\n\r\n").encode(), patience=20)
    assert recorder.requests == before
    assert all(400 <= status < 500 for status in ending.statuses)
    assert ending.closed


@pytest.fixture(scope="module")
def patience(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Ending]]]:
    """Four slow clients in parallel: each runs until its time-out."""
    dev = Dev(tmp_path_factory.mktemp("slow")).start()
    host = f"Host: 127.0.0.1:{dev.port}\r\n"
    half_head = f"GET /.well-known/oauth-authorization-server HTTP/1.1\r\n{host}X-Slow: {'a' * 4000}"
    half_preface = "PRI * HTTP/2.0\r\n\r\nSM"
    half_body = f"POST /register HTTP/1.1\r\n{host}Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n{{"
    with ThreadPoolExecutor(4) as pool:
        yield {
            "silent": pool.submit(converse, dev.port, b"", 25),
            "slow head": pool.submit(converse, dev.port, half_head.encode(), 25, 0.02),
            "half preface": pool.submit(converse, dev.port, half_preface.encode(), 25),
            "slow body": pool.submit(converse, dev.port, half_body.encode(), 30),
        }
    dev.close()


@pytest.mark.parametrize(
    ("client", "limit", "statuses"),
    [
        ("silent", 14, ([],)),
        ("slow head", 14, ([], [408])),
        ("half preface", 14, ([], [400], [408])),
        ("slow body", 20, ([], [408])),
    ],
)
def test_a_slow_client_is_disconnected(
    client: str, limit: float, statuses: tuple[list[int], ...], patience: dict[str, Future[Ending]]
) -> None:
    ending = patience[client].result()
    assert ending.closed
    assert ending.seconds < limit
    assert ending.statuses in statuses


def test_a_registration_of_twelve_megabytes_is_refused_and_uses_no_memory_or_disk(dev: Dev) -> None:
    database = sum(path.stat().st_size for path in dev.state.rglob("*") if path.is_file())
    before = resident_memory(dev.child.pid)
    registration = {"redirect_uris": ["http://127.0.0.1/callback"], "client_name": "a" * (12 * MEBIBYTE)}
    with http_client() as http:
        for _ in range(5):
            try:
                status = http.post(f"{dev.public_url}/register", json=registration).status_code
            except OSError:
                continue
            assert status == 413
    assert resident_memory(dev.child.pid) - before < 8 * MEBIBYTE
    assert sum(path.stat().st_size for path in dev.state.rglob("*") if path.is_file()) - database < MEBIBYTE
    assert Client.register(dev.url()).client_id, "the next registration works"


def resident_memory(pid: int) -> int:
    """The resident memory of a process, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096
