"""Apache as a reverse proxy: with `ProxyPass` alone it keeps idle connections to the server behind it without limit."""

import shutil
from pathlib import Path

from harness.process import Child
from harness.waiting import free_port, listens, wait_until

CONFIGURATION = """
ServerRoot "{directory}"
ServerName proxy.test
PidFile "{directory}/apache.pid"
ErrorLog "{directory}/error.log"
Listen 127.0.0.1:{port}
LoadModule mpm_event_module "{modules}/mod_mpm_event.so"
LoadModule authz_core_module "{modules}/mod_authz_core.so"
LoadModule proxy_module "{modules}/mod_proxy.so"
LoadModule proxy_http_module "{modules}/mod_proxy_http.so"
StartServers 1
ServerLimit 1
ThreadsPerChild 128
MaxRequestWorkers 128
ProxyPreserveHost On
ProxyPass / http://127.0.0.1:{target}/ timeout=60
"""


class Apache:
    """In front of a port of this machine."""

    def __init__(self, directory: Path, target: int) -> None:
        self.port = free_port()
        program = shutil.which("apache2", path="/usr/sbin:/usr/bin") or shutil.which("httpd")
        assert program, "no Apache: tests/run installs apache2-bin"
        modules = Path("/usr/lib/apache2/modules")
        file = directory / "apache.conf"
        file.write_text(
            CONFIGURATION.format(directory=directory, port=self.port, modules=modules, target=target), encoding="utf-8"
        )
        self._child = Child("apache", [program, "-X", "-f", file])
        wait_until("apache listens", lambda: self._child.exit_status is not None or listens(self.port), 20)
        assert self._child.exit_status is None, self._child.log + (directory / "error.log").read_text(encoding="utf-8")

    def close(self) -> None:
        """Ends it."""
        self._child.stop()
