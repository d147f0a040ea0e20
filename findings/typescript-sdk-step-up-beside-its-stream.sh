#!/usr/bin/env bash
# TypeScript MCP SDK, @modelcontextprotocol/client 2.4.0: two authorizations at one step-up. When a server begins to require more
# scopes (403 insufficient_scope), the client's call asks for an authorization, and so does its listening GET as soon as the stream is
# opened again. Both use the one provider: the code verifier of the second replaces that of the first in its storage. A user who answers
# the page that opened first brings a code whose verifier is gone, and the server refuses it (PKCE). The user sees two pages.
#
# Seen on 2026-11-30:
#   authorizations: 2
#   different code challenges: true
#   the stored verifier belongs to: the second
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >stepup.mjs <<'JS'
import { createHash } from "node:crypto";
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from "@modelcontextprotocol/client";

const SERVER = "https://mcp.example.com/mcp";
const CALLBACK = "http://127.0.0.1:9/callback";
const METADATA = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
const DOCUMENTS = {
  "oauth-protected-resource": { resource: SERVER, authorization_servers: ["https://as.example.com"] },
  "oauth-authorization-server": {
    issuer: "https://as.example.com",
    authorization_endpoint: "https://as.example.com/authorize",
    token_endpoint: "https://as.example.com/token",
    response_types_supported: ["code"],
    code_challenge_methods_supported: ["S256"],
  },
};
let requiresMore = false;
let stream;

// a server with sessions, as of 2025-11-25
async function server(to, init) {
  const url = new URL(to);
  if (url.pathname.startsWith("/.well-known/")) {
    const document = DOCUMENTS[url.pathname.split("/")[2]];
    return document ? Response.json(document) : new Response(null, { status: 404 });
  }
  if (requiresMore) {
    const challenge = `Bearer error="insufficient_scope", scope="read write", resource_metadata="${METADATA}"`;
    return new Response(null, { status: 403, headers: { "www-authenticate": challenge } });
  }
  if (init?.method === "GET") {
    const body = new ReadableStream({ start: (controller) => (stream = controller) });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  }
  const message = JSON.parse(init.body);
  if (message.id === undefined) return new Response(null, { status: 202 });
  const result = { protocolVersion: "2025-11-25", capabilities: { tools: {} }, serverInfo: { name: "s", version: "1" } };
  return Response.json({ jsonrpc: "2.0", id: message.id, result }, { headers: { "mcp-session-id": "s1" } });
}

const pages = [];
let verifier;
const provider = {
  redirectUrl: CALLBACK,
  clientMetadata: { redirect_uris: [CALLBACK] },
  clientInformation: () => ({ client_id: "c" }),
  tokens: () => ({ access_token: "t", token_type: "Bearer", scope: "read" }),
  saveTokens() {},
  saveCodeVerifier: (text) => (verifier = text),
  codeVerifier: () => verifier,
  redirectToAuthorization: (to) => pages.push(to.searchParams.get("code_challenge")),
};
const transport = new StreamableHTTPClientTransport(new URL(SERVER), {
  authProvider: provider,
  fetch: server,
  reconnectionOptions: {
    initialReconnectionDelay: 50,
    maxReconnectionDelay: 50,
    reconnectionDelayGrowFactor: 1,
    maxRetries: 2,
  },
});
const client = new Client({ name: "c", version: "1" });
await client.connect(transport);
while (!stream) await new Promise((resolve) => setTimeout(resolve, 10));
// the server is restarted with another setting: its streams end, and calls need more
requiresMore = true;
stream.close();
const refused = await client.callTool({ name: "echo", arguments: {} }).catch((error) => error);
if (!(refused instanceof UnauthorizedError)) throw refused;
for (let waited = 0; pages.length < 2 && waited < 3000; waited += 50) await new Promise((resolve) => setTimeout(resolve, 50));
const [first, second] = pages;
const challenge = createHash("sha256").update(verifier).digest("base64url");
console.log(`authorizations: ${pages.length}`);
console.log(`different code challenges: ${first !== second}`);
console.log(`the stored verifier belongs to: ${challenge === second ? "the second" : "the first"}`);
process.exit(0);
JS
echo '{"private":true}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts "@modelcontextprotocol/client@2.4.0"
seen=$(node stepup.mjs 2>/dev/null)
echo "$seen"
[ "$seen" = "authorizations: 2
different code challenges: true
the stored verifier belongs to: the second" ]
