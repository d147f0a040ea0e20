"""Starting `portcullis dev`: the first time, again, and with mistakes."""

import json
import socket
import stat
from pathlib import Path

import pytest

from harness.dev import USERS, Dev
from harness.mcp_wire import McpSession
from harness.oauth import Client, Tokens, unverified_claims
from harness.upstreams import Upstream
from harness.waiting import free_port, wait_until


def test_the_first_screen_has_the_url_the_users_and_settings_to_paste(dev: Dev) -> None:
    assert dev.url() in dev.screen
    for user in USERS:
        assert dev.password(user) in dev.screen
    for client in ("VS Code", "Claude Code", "Inspector"):
        assert client in dev.screen


def test_a_new_client_gets_from_the_url_to_a_tool_call(dev: Dev) -> None:
    tokens = Client.register(dev.url()).sign_in(dev.person())
    session = McpSession(dev.url(), tokens.access_token).open()
    tools = session.list_tools()
    assert len(tools) >= 3, "a tool that shows the caller, one that streams, one that keeps state"
    subject = unverified_claims(tokens.access_token)["sub"]
    answers = [session.call(tool["name"]) for tool in tools if not tool["inputSchema"].get("required")]
    assert any(subject in answer for answer in answers), "one tool shows the caller that the gateway names"


def test_two_users_have_different_subjects(dev: Dev) -> None:
    client = Client.register(dev.url())
    subjects = {unverified_claims(client.sign_in(dev.person(user)).access_token)["sub"] for user in USERS}
    assert len(subjects) == len(USERS)


def test_users_clients_and_grants_survive_a_restart(dev: Dev) -> None:
    password = dev.password()
    client = Client.register(dev.url())
    tokens = client.sign_in(dev.person())
    assert dev.child.stop(40) == 0
    dev.start()
    assert dev.password() == password
    assert McpSession(dev.url(), tokens.access_token).ping() == 200
    assert Tokens.read(client.refresh(tokens.refresh_token)).access_token
    assert client.sign_in(dev.person()).access_token


def test_other_users_of_the_machine_cannot_read_the_state(dev: Dev) -> None:
    folders = [path for path in dev.state.rglob("*") if path.is_dir() and path.name != "screens"]
    files = [path for path in dev.state.rglob("*") if path.is_file() and path.parent.name != "screens"]
    assert files
    private = [folder for folder in folders if stat.S_IMODE(folder.stat().st_mode) == 0o700]
    assert all(any(folder in file.parents for folder in private) for file in files)


def test_a_second_instance_names_the_running_one(dev: Dev) -> None:
    second = Dev(dev.state / "second")
    second.port, second.state = dev.port, dev.state
    status, said = _ends(second)
    assert status == 1
    assert str(dev.port) in said
    assert McpSession(dev.url(), "none").ping() == 401, "the first instance still runs"


def test_a_port_in_use_is_reported_with_a_hint(directory: Path) -> None:
    late = Dev(directory)
    with socket.create_server(("127.0.0.1", late.port)):
        status, said = _ends(late)
    assert status == 1
    assert str(late.port) in said
    assert "--port" in said


@pytest.mark.parametrize("upstream", ["not a url", "ftp://127.0.0.1/mcp", "http://127.0.0.1:{free}/mcp"])
def test_a_bad_upstream_is_reported_by_its_url(upstream: str, directory: Path) -> None:
    address = upstream.format(free=free_port())
    status, said = _ends(Dev(directory, "--upstream", address))
    assert status in (1, 2)
    assert address in said
    assert "panicked" not in said


def test_dev_protects_a_running_server(directory: Path, whoami: Upstream) -> None:
    dev = Dev(directory, "--upstream", whoami.url).start()
    try:
        tokens = Client.register(dev.url()).sign_in(dev.person())
        headers = json.loads(McpSession(dev.url(), tokens.access_token).open().call("headers"))
        assert headers["x-forwarded-user"] == unverified_claims(tokens.access_token)["sub"]
        assert "authorization" not in headers
    finally:
        dev.close()


def _ends(dev: Dev) -> tuple[int, str]:
    """A start that must fail: its exit status and output."""
    child = dev.spawn()
    try:
        wait_until("it ends", lambda: child.exit_status is not None, 20)
    finally:
        child.kill()
    return child.wait(5), dev.screen + child.log
