# Installs the Debian packages that are missing.
# shellcheck shell=bash

# rustup installs cargo here, even if PATH of this shell lacks it.
PATH=$PATH:$HOME/.cargo/bin

have() { command -v "$1" >/dev/null 2>&1; }

java_is_new() {
    have java && [ "$(java -version 2>&1 | grep -m1 ' version ' | sed 's/[^"]*"\([0-9]*\).*/\1/')" -ge 17 ] 2>/dev/null
}

# The first interpreter that is new enough and can create virtual environments.
find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

# The first of these packages that the distribution has.
first_available() {
    local package
    for package in "$@"; do
        if [[ $(apt-cache policy "$package" 2>/dev/null) == *"Candidate: "[0-9]* ]]; then
            echo "$package"
            return
        fi
    done
    return 1
}

# Ubuntu's chromium-browser is a stub for a snap, so Playwright fetches a browser there.
browser_is_there() {
    [ -n "${CHROMIUM:-}" ] || have chromium || have google-chrome
}

# Debian's programs of the PostgreSQL server are not on the path.
postgres_is_there() {
    have initdb || [ -n "$(find /usr/lib/postgresql -path '*/bin/initdb' 2>/dev/null)" ]
}

# The packages that the chosen suites lack, one per line.
missing_packages() {
    local for_rust=$1 for_python=$2 for_keycloak=$3 for_browser=$4 for_proxy=$5
    if [ "$for_rust" = yes ]; then
        have cc || printf '%s\n' gcc libc6-dev
        have cargo || printf '%s\n' curl ca-certificates
        postgres_is_there || echo postgresql
        [ -x /usr/sbin/pgbouncer ] || echo pgbouncer
    fi
    if [ "$for_python" = yes ]; then
        have pkill || echo procps
        if ! find_python >/dev/null; then
            if [ "$(apt-cache policy python3 | sed -n 's/.*Candidate: 3\.\([0-9]*\).*/\1/p')" -ge 11 ] 2>/dev/null; then
                printf '%s\n' python3 python3-venv
            else
                printf '%s\n' python3.11 python3.11-venv
            fi
        fi
    fi
    if [ "$for_keycloak" = yes ] && [ -z "${KEYCLOAK_HOME:-}" ]; then
        have mvn || echo maven
    fi
    if [ "$for_keycloak" = yes ] && ! java_is_new; then
        first_available openjdk-21-jre-headless openjdk-17-jre-headless default-jre-headless
    fi
    if [ "$for_browser" = yes ] && ! browser_is_there && first_available chromium >/dev/null; then
        printf '%s\n' chromium fonts-dejavu-core
    fi
    # Apache has a package without a service; those of the others install one
    if [ "$for_proxy" = yes ]; then
        [ -x /usr/sbin/apache2 ] || echo apache2-bin
        [ -x /usr/sbin/nginx ] || echo nginx
        [ -x /usr/sbin/haproxy ] || echo haproxy
        have caddy || first_available caddy
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Installs packages without starting their services (policy-rc.d).
install_unstarted() {
    # shellcheck disable=SC2016
    as_root sh -c '
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            trap "rm -f $policy" EXIT
            trap "exit 1" HUP INT TERM
            printf "#!/bin/sh\nexit 101\n" >"$policy" && chmod 755 "$policy" || exit
        fi
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null' sh "$@"
}

# The tests start PostgreSQL servers of their own: keeps Debian's package from creating a cluster for the machine.
without_main_cluster() {
    install_unstarted postgresql-common &&
        as_root sed -i 's/^#\{0,1\} *create_main_cluster.*/create_main_cluster = false/' \
            /etc/postgresql-common/createcluster.conf
}

# Installs what is missing, or prints what to install if this user may not.
install_packages() {
    local packages
    packages=$(missing_packages "$@" | sort -u | xargs)
    [ -n "$packages" ] || return 0
    if ! have apt-get || { [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; }; then
        echo "packages are missing, and this user cannot install them; run as root: apt-get install $packages" >&2
        return 1
    fi
    echo "installing $packages"
    as_root apt-get update -qq || true
    # The package lists may have been empty before.
    packages=$(missing_packages "$@" | sort -u | xargs)
    if [[ " $packages " == *" postgresql "* ]]; then
        without_main_cluster || return
    fi
    # shellcheck disable=SC2086
    install_unstarted $packages
}
