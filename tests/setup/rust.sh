# Installs the toolchain of rust-toolchain.toml, and cargo-deny.
# shellcheck shell=bash

CARGO_DENY_VERSION=0.20.2

prepare_rust() {
    if ! have cargo; then
        if package=$(first_available rustup); then
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null || return
        else
            curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal --default-toolchain none || return
        fi
    fi
    # With rustup, the first call installs the pinned toolchain with its components.
    if have rustup; then rustup show active-toolchain >/dev/null 2>&1 || rustup toolchain install || return; fi
    if ! cargo clippy --version >/dev/null || ! cargo fmt --version >/dev/null; then
        echo "cargo lacks clippy or rustfmt of the toolchain in rust-toolchain.toml: install rustup" >&2
        return 1
    fi
}

prepare_deny() {
    local root=$CACHE/cargo-deny-$CARGO_DENY_VERSION
    PATH=$root/bin:$PATH
    [ -x "$root/bin/cargo-deny" ] && return
    # cargo install deletes its own target folder.
    cargo install --quiet --locked --root "$root" --version "$CARGO_DENY_VERSION" cargo-deny
}
