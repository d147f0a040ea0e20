# Real OpenID Connect providers: Dex and ZITADEL's library, built from their Go modules, and npm's oidc-provider. The checksums of
# all modules are in tests/providers/*/go.sum, those of the packages in package-lock.json.
# shellcheck shell=bash

prepare_providers() {
    npm_packages "$ROOT/tests/providers/oidc-provider" || return
    local sources made
    sources=$(cat "$ROOT"/tests/providers/{requirements.txt,dex/*,zitadel/*} | sha256sum)
    made=$CACHE/providers-${sources:0:16}
    if [ ! -d "$made" ]; then
        build_providers "$made" || return
    fi
    ln -sfn "$made" "$STATE/providers"
}

# Builds into a temporary folder first: an interrupted run leaves nothing incomplete.
build_providers() {
    local fresh
    make_venv "$STATE/venv-go" "$ROOT/tests/providers/requirements.txt" || return
    echo "building Dex and ZITADEL's example"
    fresh=$(mktemp -d "$CACHE/build.XXXXXX")
    if go_build dex "$fresh" . github.com/dexidp/dex/cmd/dex && go_build zitadel "$fresh" .; then
        mv "$fresh" "$1"
    else
        rm -rf "$fresh"
        return 1
    fi
}

# Builds packages of a module, two at a time.
go_build() {
    local module=$1 into=$2
    shift 2
    (cd "$ROOT/tests/providers/$module" &&
        env PATH="$STATE/venv-go/bin:$PATH" GOTOOLCHAIN=local GOFLAGS= CGO_ENABLED=0 \
            go build -p 2 -trimpath -buildvcs=false -ldflags=-s -o "$into/" "$@")
}
