#!/usr/bin/env bash
# TypeScript MCP SDK, client: the `resource` parameter. @modelcontextprotocol/sdk 1.30.0 sends the `resource` of the protected
# resource metadata after `new URL`: it adds a slash to an origin, lower-cases the host and removes the default port. 1.32.2 of the same
# line and @modelcontextprotocol/client 2.4.0 send it unchanged. A server sees both forms from clients of the same name, so it must
# treat `https://host` and `https://host/` as one resource. All three accept metadata with one slash less than the user typed, and none
# accepts one slash more.
#
# Seen on 2026-11-30 (the server's URL, the `resource` in its metadata, the `resource` in the authorization request):
#   sdk 1.30.0
#     https://mcp.example.com, https://mcp.example.com -> https://mcp.example.com/
#     https://mcp.example.com/mcp, https://MCP.example.com:443/mcp -> https://mcp.example.com/mcp
#     https://mcp.example.com/mcp/, https://mcp.example.com/mcp -> https://mcp.example.com/mcp
#     https://mcp.example.com/mcp, https://mcp.example.com/mcp/ -> Error: Protected resource ... does not match ...
#   sdk 1.32.2, client 2.4.0
#     https://mcp.example.com, https://mcp.example.com -> https://mcp.example.com
#     https://mcp.example.com/mcp, https://MCP.example.com:443/mcp -> https://MCP.example.com:443/mcp
#     the other two as above
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/resource.mjs" <<'JS'
const { auth } = await import(process.argv[2]);
const CALLBACK = "http://127.0.0.1:9/callback";
const SERVER = {
  issuer: "https://as.example.com",
  authorization_endpoint: "https://as.example.com/authorize",
  token_endpoint: "https://as.example.com/token",
  response_types_supported: ["code"],
  code_challenge_methods_supported: ["S256"],
};

async function authorize(url, resource) {
  let sent;
  const provider = {
    redirectUrl: CALLBACK,
    clientMetadata: { redirect_uris: [CALLBACK] },
    clientInformation: () => ({ client_id: "c" }),
    tokens: () => undefined,
    saveTokens() {},
    saveCodeVerifier() {},
    codeVerifier: () => "v",
    redirectToAuthorization: (to) => (sent = to.searchParams.get("resource")),
  };
  const documents = {
    "oauth-protected-resource": { resource, authorization_servers: [SERVER.issuer] },
    "oauth-authorization-server": SERVER,
  };
  const fetchFn = async (to) => {
    const document = documents[new URL(to).pathname.split("/")[2]];
    return document ? Response.json(document) : new Response(null, { status: 404 });
  };
  try {
    await auth(provider, { serverUrl: url, fetchFn });
  } catch (error) {
    sent = String(error).replaceAll(/https:\S+/g, "...").replace(" expected ... (or origin)", " ...");
  }
  console.log(`  ${url}, ${resource} -> ${sent}`);
}

await authorize("https://mcp.example.com", "https://mcp.example.com");
await authorize("https://mcp.example.com/mcp", "https://MCP.example.com:443/mcp");
await authorize("https://mcp.example.com/mcp/", "https://mcp.example.com/mcp");
await authorize("https://mcp.example.com/mcp", "https://mcp.example.com/mcp/");
JS

try() {
    mkdir "$folder/$1-$2"
    cd "$folder/$1-$2"
    echo '{"private":true}' >package.json
    npm install --silent --no-audit --no-fund --ignore-scripts "@modelcontextprotocol/$1@$2"
    cp "$folder/resource.mjs" .
    echo "$1 $2"
    node resource.mjs "@modelcontextprotocol/$3"
}
seen=$(
    try sdk 1.30.0 sdk/client/auth.js
    try sdk 1.32.2 sdk/client/auth.js
    try client 2.4.0 client
)
echo "$seen"
slashes='  https://mcp.example.com/mcp/, https://mcp.example.com/mcp -> https://mcp.example.com/mcp
  https://mcp.example.com/mcp, https://mcp.example.com/mcp/ -> Error: Protected resource ... does not match ...'
written="  https://mcp.example.com, https://mcp.example.com -> https://mcp.example.com
  https://mcp.example.com/mcp, https://MCP.example.com:443/mcp -> https://MCP.example.com:443/mcp
$slashes"
[ "$seen" = "sdk 1.30.0
  https://mcp.example.com, https://mcp.example.com -> https://mcp.example.com/
  https://mcp.example.com/mcp, https://MCP.example.com:443/mcp -> https://mcp.example.com/mcp
$slashes
sdk 1.32.2
$written
client 2.4.0
$written" ]
