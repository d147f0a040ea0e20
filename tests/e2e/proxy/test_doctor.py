"""`portcullis doctor` through real proxies: the documented settings are well, each spoilt one is found by its id."""

from collections.abc import Callable
from typing import Any

import pytest

from harness.certificate import Certificate
from harness.portcullis import Portcullis
from harness.proxies import NAMES, Proxy
from harness.realm import Realm
from harness.waiting import free_port

Json = dict[str, Any]
Behind = Callable[..., Portcullis]

HOST = "proxy_set_header Host $http_host;"
FORWARDED = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
# what is written in the place of what, and the fault
NGINX_FAULTS: dict[str, tuple[str, str, str]] = {
    "Host": (HOST, "", "public_url.host"),
    "made-up address": (FORWARDED, "", "public_url.client_address"),
    "buffers": (
        "proxy_http_version 1.1;",
        "proxy_http_version 1.0; proxy_ignore_headers X-Accel-Buffering;",
        "public_url.buffers",
    ),
    "parameters": ("ignore_invalid_headers off;", "", "public_url.drops_parameter_headers"),
    "Authorization": (HOST, f'{HOST} proxy_set_header Authorization "";', "public_url.drops_headers"),
    "session of answers": (HOST, f"{HOST} proxy_hide_header Mcp-Session-Id;", "public_url.drops_headers"),
    "challenge": (HOST, f"{HOST} proxy_hide_header WWW-Authenticate;", "public_url.challenge"),
    "redirect": (HOST, "return 301 https://mcp.example.com$request_uri;", "public_url.redirects"),
    "a page": (HOST, "return 200 hello;", "public_url.answer"),
}


@pytest.fixture
def behind(
    new_realm: Callable[..., Realm],
    gateway: Callable[..., Portcullis],
    certificate: Certificate,
    start_proxy: Callable[..., Proxy],
) -> Behind:
    """A gateway behind a proxy by name, with changed settings of either."""

    def make(name: str, edit: Callable[[str], str] | None = None) -> Portcullis:
        port = free_port()
        public_url = f"https://127.0.0.1:{port}"
        realm = new_realm(client={"redirectUris": [f"{public_url}/callback/keycloak"]})
        trusted = {"trusted_proxies": ["127.0.0.1"]}
        portcullis = gateway(realm, public_url=public_url, ca_file=str(certificate.authority), server=trusted).start()
        start_proxy(name, port, portcullis.port, edit)
        return portcullis

    return make


def _found(portcullis: Portcullis) -> list[str]:
    return [finding["id"] for finding in portcullis.doctor()[1]["findings"]]


@pytest.mark.parametrize("name", NAMES)
def test_the_documented_settings_are_well(behind: Behind, name: str) -> None:
    found = _found(behind(name))
    # versions of Caddy differ in which names they drop
    assert found == [] or (name, found) == ("caddy", ["public_url.drops_parameter_headers"])


@pytest.mark.parametrize("fault", NGINX_FAULTS)
def test_each_spoilt_setting_of_nginx_is_found(behind: Behind, fault: str) -> None:
    old, new, name = NGINX_FAULTS[fault]

    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    assert _found(behind("nginx", edit)) == [name]


def test_a_gateway_that_is_down_behind_its_proxy_is_found(behind: Behind) -> None:
    portcullis = behind("nginx")
    portcullis.kill()
    assert _found(portcullis) == ["public_url.answer"]


def test_a_certificate_that_is_not_trusted_is_found(behind: Behind) -> None:
    portcullis = behind("nginx")
    portcullis.rewrite(lambda document: document.pop("ca_file"))
    assert _found(portcullis) == ["public_url.tls"]
