"""The MCP messages that tests send without an SDK (protocol 2025-11-25)."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx2

from harness.oauth import http_client

Json = dict[str, Any]
ACCEPT = "application/json, text/event-stream"


def request(method: str, number: int = 1, **parameters: Any) -> Json:
    """A JSON-RPC request."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": parameters}


INITIALIZE = request(
    "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "portcullis-tests", "version": "1"}
)


def read_result(response: httpx2.Response) -> Json:
    """The JSON-RPC message in a response, which is JSON or an event stream."""
    if response.headers["content-type"].startswith("application/json"):
        message: Json = response.json()
        return message
    events = [line[5:].strip() for line in response.text.splitlines() if line.startswith("data:")]
    messages: list[Json] = [json.loads(event) for event in events if event]
    return next(message for message in messages if "result" in message or "error" in message)


@dataclass
class McpSession:
    """A session with an MCP server, with a bearer token."""

    url: str
    access_token: str
    http: httpx2.Client = field(default_factory=http_client)
    session_id: str | None = None

    def post(self, message: Json) -> httpx2.Response:
        """Sends one message."""
        headers = {
            "Accept": ACCEPT,
            "Authorization": f"Bearer {self.access_token}",
            "MCP-Protocol-Version": "2025-11-25",
        }
        if self.session_id is not None:
            headers["Mcp-Session-Id"] = self.session_id
        return self.http.post(self.url, json=message, headers=headers)

    def ping(self) -> int:
        """The status of a request that needs a valid token but no session."""
        return self.post(INITIALIZE).status_code

    def open(self) -> "McpSession":
        """Starts the session."""
        answer = self.post(INITIALIZE)
        assert answer.status_code == 200, f"{answer.status_code}: {answer.text}"
        read_result(answer)
        self.session_id = answer.headers.get("mcp-session-id")
        assert self.post({"jsonrpc": "2.0", "method": "notifications/initialized"}).status_code == 202
        return self

    def list_tools(self) -> list[Json]:
        """The server's tools."""
        tools: list[Json] = read_result(self.post(request("tools/list", 3)))["result"]["tools"]
        return tools

    def call(self, tool: str, **arguments: Any) -> str:
        """Calls a tool and returns the text of its result."""
        answer = self.post(request("tools/call", 2, name=tool, arguments=arguments))
        assert answer.status_code == 200, f"{answer.status_code}: {answer.text}"
        text: str = read_result(answer)["result"]["content"][0]["text"]
        return text
