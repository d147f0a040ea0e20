"""Searches all logs of this run for secrets."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.places import LOGS
from harness.secrets_seen import recall

SHAPES = {
    "a refresh token": re.compile(rb"pcr_[A-Za-z0-9_-]{20,}"),
    "a code": re.compile(rb"pcc_[A-Za-z0-9_-]{20,}"),
    "a client secret": re.compile(rb"pcs_[A-Za-z0-9_-]{20,}"),
    "a registration access token": re.compile(rb"pcm_[A-Za-z0-9_-]{20,}"),
    "an API key": re.compile(rb"pck_[A-Za-z0-9_-]{20,}"),
    "a JWT": re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}"),
    "a bearer": re.compile(rb"[Bb]earer [A-Za-z0-9._~+/-]{20,}"),
    "a password field": re.compile(rb"password=[^&\s\"']{4,}"),
}


def leaks(log: bytes, secrets: set[bytes]) -> Iterator[str]:
    """Describes the leaks in a log without repeating them."""
    for name, shape in SHAPES.items():
        for match in shape.finditer(log):
            yield f"{name} at byte {match.start()}"
    for secret in secrets:
        if secret in log:
            yield f"a secret of this run at byte {log.index(secret)}"


def test_the_search_finds_planted_secrets() -> None:
    planted = {
        b"x pcr_" + b"a" * 30: "a refresh token",
        b"code=pcc_" + b"b" * 30: "a code",
        b'"pcs_' + b"c" * 30: "a client secret",
        b'"pcm_' + b"c" * 30: "a registration access token",
        b"eyJhbGciOiJF.eyJpc3MiOiJo.sig": "a JWT",
        b"username=alice&password=opensesame": "a password field",
        b"... correct horse ...": "a secret of this run",
    }
    for log, what in planted.items():
        found = list(leaks(log, {b"correct horse"}))
        assert found, what
        assert found[0].startswith(what)
    assert not list(leaks(b"POST /token 200 client=c_abc grant=g_def", {b"correct horse"}))


def test_the_run_has_logged_something() -> None:
    files = sorted(LOGS.glob("*.log"))
    assert files, "no logs: run other suites before this one"
    assert recall(), "no secrets: run other suites before this one"
    ours = [file for file in files if re.search(r"-(serve|dev)\.log$", file.name)]
    assert ours
    assert any(b"/token" in file.read_bytes() for file in ours), "requests to the token endpoint are logged"


@pytest.mark.timeout(300)
def test_no_log_holds_a_token_a_code_a_secret_or_a_password() -> None:
    secrets = {secret.encode() for secret in recall()}
    found = {file.name: list(leaks(file.read_bytes(), secrets)) for file in logs()}
    assert not {name: what for name, what in found.items() if what}


def logs() -> list[Path]:
    """All log files."""
    return [path for path in LOGS.rglob("*") if path.is_file()]
