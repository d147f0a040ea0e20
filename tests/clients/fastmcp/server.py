"""A FastMCP server that verifies JWTs. Usage: server.py PORT; JWKS_URI, ISSUER, AUDIENCE and ALGORITHM are set."""

import os
import sys

from fastmcp import FastMCP
from fastmcp.server.auth.providers.jwt import JWTVerifier
from fastmcp.server.dependencies import get_access_token

verifier = JWTVerifier(
    jwks_uri=os.environ["JWKS_URI"],
    issuer=os.environ["ISSUER"],
    audience=os.environ["AUDIENCE"],
    algorithm=os.environ["ALGORITHM"],
)
server = FastMCP("whoami", auth=verifier)


@server.tool
def claims() -> dict[str, object]:
    """What the verified token says of the caller."""
    token = get_access_token()
    assert token is not None
    return {"client_id": token.client_id, "scopes": token.scopes, "claims": token.claims}


if __name__ == "__main__":
    server.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False)
