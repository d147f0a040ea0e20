#!/usr/bin/env bash
# ZITADEL's OpenID Connect library for Go (github.com/zitadel/oidc/v3 v3.52.0), token endpoint of its example provider: it looks at a
# code before it looks at the client, so that a wrong client secret with a wrong code is `invalid_grant` (RFC 6749 3.2.1 has the client
# authenticated first). With a refresh token it is the other way round. A client that checks its secret with a made-up code learns
# nothing; with a made-up refresh token it does.
#
# Seen on 2026-11-30 (confidential client, HTTP Basic):
#   code, right secret: 400 invalid_grant
#   code, wrong secret: 400 invalid_grant
#   refresh token, right secret: 400 invalid_grant
#   refresh token, wrong secret: 401 invalid_client
#
# It needs Go 1.26.
set -euo pipefail

folder=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT
cat >"$folder/go.mod" <<'GO'
module finding

go 1.26.0

require github.com/zitadel/oidc/v3 v3.52.0
GO
cat >"$folder/main.go" <<'GO'
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

func main() {
	address := "127.0.0.1:" + os.Args[1]
	issuer := "http://" + address + "/"
	storage.RegisterClients(storage.WebClient("c", "right", "http://127.0.0.1:9/callback"))
	provider := exampleop.SetupServer(issuer, storage.NewStorage(storage.NewUserStore(issuer)), nil, false)
	log.Fatal(http.ListenAndServe(address, provider))
}
GO
(cd "$folder" && go mod tidy 2>/dev/null && CGO_ENABLED=0 go build -buildvcs=false -o provider .)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$folder/provider" "$port" >"$folder/log" 2>&1 &
server=$!
curl -sf --retry 50 --retry-connrefused --retry-delay 1 -o /dev/null "http://127.0.0.1:$port/.well-known/openid-configuration"
ask() {
    local status
    status=$(curl -s -o "$folder/answer" -w '%{http_code}' -u "c:$3" -d "grant_type=$2" "http://127.0.0.1:$port/oauth/token")
    echo "$1, $3 secret: $status $(grep -o '"error":"[a-z_]*"' "$folder/answer" | cut -d'"' -f4)"
}
seen=$(for secret in right wrong; do
    ask code "authorization_code&code=x&redirect_uri=http://127.0.0.1:9/callback" "$secret"
done
for secret in right wrong; do
    ask "refresh token" "refresh_token&refresh_token=x" "$secret"
done)
echo "$seen"
[ "$seen" = "code, right secret: 400 invalid_grant
code, wrong secret: 400 invalid_grant
refresh token, right secret: 400 invalid_grant
refresh token, wrong secret: 401 invalid_client" ]
