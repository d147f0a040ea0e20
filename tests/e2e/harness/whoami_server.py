"""An MCP server on the official Python SDK that returns what reached it. Usage: whoami_server.py PORT."""

import json
import sys

import anyio
from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("whoami")


@server.tool()
def headers(ctx: Context) -> str:
    """The request's headers, as JSON."""
    return json.dumps(dict(ctx.headers or {}))


@server.tool()
def echo(message: str) -> str:
    """Returns the message."""
    return f"Echo: {message}"


@server.tool()
async def count(ctx: Context) -> str:
    """Reports progress three times, a second apart."""
    for step in range(3):
        await ctx.report_progress(step, 3)
        await anyio.sleep(1)
    return "done"


if __name__ == "__main__":
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
