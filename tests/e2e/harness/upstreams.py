"""Third-party MCP servers, each a process on its own loopback port."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.places import FASTMCP, FASTMCP_INTERPRETER, TYPESCRIPT
from harness.process import Child
from harness.waiting import free_port, listens, wait_until

EVERYTHING = TYPESCRIPT / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"


@dataclass
class Upstream:
    """A running MCP server."""

    name: str
    url: str
    child: Child


def node() -> Path:
    """The Node.js of the test environment."""
    beside_python = Path(sys.executable).parent / "node"
    found = beside_python if beside_python.exists() else shutil.which("node")
    assert found, "no node: tests/run makes the environment"
    return Path(found)


def everything() -> Upstream:
    """The reference server of the MCP project (TypeScript, 2025-11-25 wire, with sessions)."""
    port = free_port()
    # Without this, the server listens on every interface.
    preload = TYPESCRIPT / "loopback-only.mjs"
    command = [node(), "--import", preload, EVERYTHING, "streamableHttp"]
    child = Child("server-everything", command, {"PORT": str(port)})
    return _started("everything", port, child)


def whoami() -> Upstream:
    """A server on the official Python SDK (both protocol versions) whose tool returns the headers that reached it."""
    port = free_port()
    script = Path(__file__).with_name("whoami_server.py")
    return _started("whoami", port, Child("server-whoami", [sys.executable, script, str(port)]))


def fastmcp(*, jwks_uri: str, issuer: str, audience: str, algorithm: str) -> Upstream:
    """A FastMCP server that verifies JWTs; its tool returns their claims."""
    port = free_port()
    settings = {"JWKS_URI": jwks_uri, "ISSUER": issuer, "AUDIENCE": audience, "ALGORITHM": algorithm}
    return _started("fastmcp", port, Child("server-fastmcp", [FASTMCP_INTERPRETER, FASTMCP, str(port)], settings))


def _started(name: str, port: int, child: Child) -> Upstream:
    wait_until(f"{name} listens", lambda: child.exit_status is not None or listens(port), 40)
    assert child.exit_status is None, child.log
    return Upstream(name, f"http://127.0.0.1:{port}/mcp", child)
