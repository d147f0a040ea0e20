# The environment of the end-to-end tests: Python packages, Node.js (from a Python package, so that its version is ours),
# and the published clients and servers from the npm registry.
# shellcheck shell=bash

VENV=$STATE/venv

# A folder is current when it was made from what we have now.
is_current() { [ -f "$1/.made-from" ] && [ "$(cat "$1/.made-from")" = "$2" ]; }

prepare_python() {
    local python wanted
    python=$(find_python) || { echo "no Python 3.11 or newer with venv" >&2; return 1; }
    wanted="$(cat "$ROOT/tests/e2e/requirements.txt" | sha256sum) $("$python" --version)"
    if ! is_current "$VENV" "$wanted"; then
        rm -rf "$VENV"
        "$python" -m venv "$VENV" || return
        "$VENV/bin/pip" install -q --disable-pip-version-check -r "$ROOT/tests/e2e/requirements.txt" || return
        echo "$wanted" >"$VENV/.made-from"
    fi
    PATH=$VENV/bin:$PATH
}

prepare_node() {
    local folder=$ROOT/tests/clients/typescript wanted
    wanted=$(sha256sum <"$folder/package-lock.json")
    is_current "$folder/node_modules" "$wanted" && return
    (cd "$folder" && npm ci --silent --ignore-scripts --no-audit --no-fund) || return
    echo "$wanted" >"$folder/node_modules/.made-from"
}

# Where the distribution has no Chromium, Playwright's own is used.
prepare_browser() {
    browser_is_there || as_root "$VENV/bin/playwright" install --with-deps chromium-headless-shell
}
