# Downloads, unpacks and builds Keycloak with the options that the tests use.
# shellcheck shell=bash

KEYCLOAK_VERSION=26.7.0
KEYCLOAK_SHA256=f771df0aa1e4820f57d56f7d6d015beb6415487b43f8de7e5a6d48f8a7fe118a

prepare_keycloak() {
    if [ -z "${KEYCLOAK_HOME:-}" ]; then
        local name=keycloak-quarkus-dist-$KEYCLOAK_VERSION.tar.gz
        fetch_keycloak "$CACHE/$name" || return
        KEYCLOAK_HOME=$CACHE/keycloak-$KEYCLOAK_VERSION
        unpack_keycloak "$CACHE/$name" || return
    fi
    ln -sfn "$KEYCLOAK_HOME" "$STATE/keycloak"
}

is_the_archive() { echo "$KEYCLOAK_SHA256  $1" | sha256sum --check --status 2>/dev/null; }

fetch_keycloak() {
    is_the_archive "$1" && return
    echo "fetching Keycloak $KEYCLOAK_VERSION"
    local fresh
    fresh=$(mktemp -d "$CACHE/fetch.XXXXXX")
    mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
        "-Dartifact=org.keycloak:keycloak-quarkus-dist:$KEYCLOAK_VERSION:tar.gz" "-DoutputDirectory=$fresh" |
        sed 's/\x1b\[[0-9;]*m//g'
    if is_the_archive "$fresh/${1##*/}"; then
        mv "$fresh/${1##*/}" "$1"
        rm -rf "$fresh"
    else
        rm -rf "$fresh"
        echo "Keycloak $KEYCLOAK_VERSION could not be fetched, or has another checksum: set KEYCLOAK_HOME to an unpacked one" >&2
        return 1
    fi
}

# Unpacks into a temporary folder first: an interrupted run leaves nothing incomplete.
unpack_keycloak() {
    [ -f "$KEYCLOAK_HOME/.built" ] && return
    local fresh
    fresh=$(mktemp -d "$CACHE/unpack.XXXXXX")
    if ! tar xzf "$1" -C "$fresh" --strip-components=1 ||
        ! "$fresh/bin/kc.sh" build --db=dev-file --health-enabled=true --cache=local >"$fresh/.built"; then
        cat "$fresh/.built" >&2
        rm -rf "$fresh"
        return 1
    fi
    rm -rf "$KEYCLOAK_HOME"
    mv "$fresh" "$KEYCLOAK_HOME"
}
