"""Reverse proxies with the settings from `docs/behind-a-proxy.md`, which keeps these tested.

Only addresses, ports and certificates are replaced; the rest of each file is boilerplate of that proxy.
"""

import grp
import os
import pwd
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.certificate import Certificate
from harness.places import REPOSITORY
from harness.process import Child
from harness.waiting import listens, wait_until

DOCUMENT = REPOSITORY / "docs" / "behind-a-proxy.md"
# the address of the gateway in the document
GATEWAY = "127.0.0.1:8080"


@dataclass
class Place:
    """The ports, certificate and directory of a proxy."""

    port: int
    target: int
    certificate: Certificate
    directory: Path


def _documented(proxy: str) -> list[str]:
    """The code blocks under the heading that begins with this name."""
    sections = re.split(r"^##+ ", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (section,) = (section for section in sections if section.startswith(f"{proxy} "))
    return re.findall(r"^```\w+\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def _filled(settings: str, place: Place, **replaced: str) -> str:
    """The settings with the test's addresses; every replaced text must be present."""
    for old, new in {GATEWAY: f"127.0.0.1:{place.target}", **replaced}.items():
        assert old in settings, f"{DOCUMENT.name} no longer has {old!r}"
        settings = settings.replace(old, new)
    return settings


def _nginx(place: Place) -> str:
    location, server = _documented("nginx")
    # as root, nginx would otherwise run its workers as a user that cannot write here
    user = f"{pwd.getpwuid(os.geteuid()).pw_name} {grp.getgrgid(os.getegid()).gr_name}"
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "\n".join(f"    {kind}_temp_path {place.directory}/{kind};" for kind in kinds)
    return f"""
user {user};
pid {place.directory}/nginx.pid;
error_log stderr;
daemon off;
events {{}}
http {{
    access_log off;
{folders}
    server {{
        listen 127.0.0.1:{place.port} ssl http2;
        ssl_certificate {place.certificate.chain};
        ssl_certificate_key {place.certificate.key};
{server}
{_filled(location, place)}
    }}
}}
"""


def _haproxy(place: Place) -> str:
    pem = "/etc/haproxy/mcp.example.com.pem"
    replaced = {":443": f"127.0.0.1:{place.port}", pem: str(place.certificate.both)}
    # the time-outs of Debian's default file, which the settings must override
    return f"""
defaults
    timeout connect 5s
    timeout client 50s
    timeout server 50s
{_filled(_documented("HAProxy")[0], place, **replaced)}
"""


def _apache(place: Place) -> str:
    modules = ("mpm_event", "authz_core", "socache_shmcb", "ssl", "http2", "proxy", "proxy_http")
    loaded = "\n".join(f'LoadModule {name}_module "/usr/lib/apache2/modules/mod_{name}.so"' for name in modules)
    return f"""
{loaded}
ServerRoot "{place.directory}"
ServerName proxy.test
PidFile "{place.directory}/apache.pid"
ErrorLog "|/bin/cat"
Listen 127.0.0.1:{place.port}
StartServers 1
ServerLimit 1
ThreadsPerChild 128
MaxRequestWorkers 128
Protocols h2 http/1.1
SSLEngine on
SSLCertificateFile "{place.certificate.chain}"
SSLCertificateKeyFile "{place.certificate.key}"
{_filled(_documented("Apache")[0], place)}
"""


def _caddy(place: Place) -> str:
    certificate = f"tls {place.certificate.chain} {place.certificate.key}"
    site = {"mcp.example.com {": f"https://127.0.0.1:{place.port} {{\n\t{certificate}"}
    return f"""
{{
	admin off
	auto_https off
}}
{_filled(_documented("Caddy")[0], place, **site)}
"""


# name → program, configuration, arguments before the file
_PROXIES: dict[str, tuple[str, Callable[[Place], str], tuple[str, ...]]] = {
    "nginx": ("nginx", _nginx, ("-c",)),
    "haproxy": ("haproxy", _haproxy, ("-db", "-f")),
    "apache": ("apache2", _apache, ("-X", "-f")),
    "caddy": ("caddy", _caddy, ("run", "--adapter", "caddyfile", "--config")),
}
NAMES = sorted(_PROXIES)


class Proxy:
    """A running proxy with TLS, in front of a local port. `edit` spoils its settings."""

    def __init__(self, name: str, place: Place, edit: Callable[[str], str] | None = None) -> None:
        program, configuration, arguments = _PROXIES[name]
        found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        assert found, f"no {program}: tests/run installs it"
        file = place.directory / f"{name}.conf"
        text = configuration(place)
        file.write_text(edit(text) if edit else text, encoding="utf-8")
        home = {"XDG_DATA_HOME": str(place.directory), "XDG_CONFIG_HOME": str(place.directory)}
        self._child = Child(name, [found, *arguments, file], home)
        wait_until(f"{name} listens", lambda: self._child.exit_status is not None or listens(place.port), 20)
        assert self._child.exit_status is None, self._child.log

    def close(self) -> None:
        """Stops it."""
        self._child.stop()
