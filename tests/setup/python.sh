# The environment of the end-to-end tests: Python packages, Node.js (from a Python package, which pins its version), and the
# published clients and servers from the npm registry.
# shellcheck shell=bash

VENV=$STATE/venv

# Whether a folder was made from the current inputs.
is_current() { [ -f "$1/.made-from" ] && [ "$(cat "$1/.made-from")" = "$2" ]; }

# Creates a virtual environment from a list of packages, unless it is current.
make_venv() {
    local venv=$1 requirements=$2 python wanted
    python=$(find_python) || { echo "no Python 3.11 or newer with venv" >&2; return 1; }
    wanted="$(sha256sum <"$requirements") $("$python" --version)"
    is_current "$venv" "$wanted" && return
    rm -rf "$venv"
    "$python" -m venv "$venv" || return
    "$venv/bin/pip" install -q --disable-pip-version-check -r "$requirements" || return
    echo "$wanted" >"$venv/.made-from"
}

prepare_python() {
    make_venv "$VENV" "$ROOT/tests/e2e/requirements.txt" || return
    PATH=$VENV/bin:$PATH
}

# The official client 1.x, which cannot be installed beside 2.x.
prepare_python_1() { make_venv "$STATE/venv-python-1.20" "$ROOT/tests/clients/python-1.20/requirements.txt"; }

# The server framework whose verifier of JWTs takes our assertions.
prepare_fastmcp() { make_venv "$STATE/venv-fastmcp" "$ROOT/tests/clients/fastmcp/requirements.txt"; }

# Installs the packages of a folder's lock file, unless they are current.
npm_packages() {
    local folder=$1 wanted
    wanted=$(sha256sum <"$folder/package-lock.json")
    is_current "$folder/node_modules" "$wanted" && return
    (cd "$folder" && npm ci --silent --ignore-scripts --no-audit --no-fund) || return
    echo "$wanted" >"$folder/node_modules/.made-from"
}

prepare_node() { npm_packages "$ROOT/tests/clients/typescript"; }

# A client with DPoP.
prepare_dpop() { npm_packages "$ROOT/tests/clients/dpop"; }

# The MCP project's conformance suite.
prepare_conformance() { npm_packages "$ROOT/tests/clients/conformance"; }

# Installs Playwright's Chromium if the distribution has none.
prepare_browser() {
    browser_is_there || as_root "$VENV/bin/playwright" install --with-deps chromium-headless-shell
}
