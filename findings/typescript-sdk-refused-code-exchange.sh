#!/usr/bin/env bash
# TypeScript MCP SDK, @modelcontextprotocol/client 2.4.0: a client that is known by a metadata document brings its code to the token
# endpoint, and is refused: 401 invalid_client, with a description that says why. The SDK forgets its credentials and begins again with
# the code in its hand; but then the client has no id any more, and the user reads that it needs one to exchange a code. What the server
# said is in no message, and not in the cause of the error. An operator finds the reason in the log of the server alone.
#
# Seen on 2026-11-30:
#   requests to the token endpoint: 1
#   the error: Error: Existing OAuth client information is required when exchanging an authorization code
#   the server's words are in it: false
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >exchange.mjs <<'JS'
import { inspect } from "node:util";
import { auth } from "@modelcontextprotocol/client";

const SERVER = "https://mcp.example.com/mcp";
const CALLBACK = "http://127.0.0.1:9/callback";
const SAID = "no key of this client signed the assertion";
const DOCUMENTS = {
  "oauth-protected-resource": { resource: SERVER, authorization_servers: ["https://as.example.com"] },
  "oauth-authorization-server": {
    issuer: "https://as.example.com",
    authorization_endpoint: "https://as.example.com/authorize",
    token_endpoint: "https://as.example.com/token",
    response_types_supported: ["code"],
    code_challenge_methods_supported: ["S256"],
    client_id_metadata_document_supported: true,
  },
};
let requests = 0;

async function fetchFn(to) {
  const url = new URL(to);
  if (url.pathname === "/token") {
    requests += 1;
    return Response.json({ error: "invalid_client", error_description: SAID }, { status: 401 });
  }
  const document = DOCUMENTS[url.pathname.split("/")[2]];
  return document ? Response.json(document) : new Response(null, { status: 404 });
}

let registered, tokens, verifier;
const provider = {
  redirectUrl: CALLBACK,
  clientMetadata: { redirect_uris: [CALLBACK], token_endpoint_auth_method: "none" },
  clientMetadataUrl: "https://client.example.com/client.json",
  clientInformation: () => registered,
  saveClientInformation: (information) => (registered = information),
  tokens: () => tokens,
  saveTokens: (given) => (tokens = given),
  saveCodeVerifier: (text) => (verifier = text),
  codeVerifier: () => verifier,
  redirectToAuthorization() {},
  invalidateCredentials(kind) {
    if (kind === "all" || kind === "client") registered = undefined;
    if (kind === "all" || kind === "tokens") tokens = undefined;
  },
};
const begun = await auth(provider, { serverUrl: SERVER, fetchFn });
if (begun !== "REDIRECT" || registered.client_id !== provider.clientMetadataUrl) throw new Error(`it did not begin: ${begun}`);
const refused = await auth(provider, { serverUrl: SERVER, authorizationCode: "code", fetchFn }).catch((error) => error);
console.log(`requests to the token endpoint: ${requests}`);
console.log(`the error: ${refused}`);
console.log(`the server's words are in it: ${inspect(refused, { depth: null }).includes(SAID)}`);
JS
echo '{"private":true}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts "@modelcontextprotocol/client@2.4.0"
seen=$(node exchange.mjs 2>/dev/null)
echo "$seen"
[ "$seen" = "requests to the token endpoint: 1
the error: Error: Existing OAuth client information is required when exchanging an authorization code
the server's words are in it: false" ]
