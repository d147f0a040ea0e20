"""The MCP project's conformance suite for authorization servers (2 scenarios, 3 checks)."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from harness.person import Person
from harness.places import CONFORMANCE
from harness.upstreams import node
from harness.waiting import free_port


@dataclass
class Result:
    """What the suite printed, and how it ended."""

    status: int
    output: str

    @property
    def passed(self) -> int:
        """How many checks passed; a failed one is a failure. The exit status is 0 even if a scenario was skipped."""
        line = next(line for line in reversed(self.output.splitlines()) if line.startswith("Total:"))
        passed, _, failed = line.removeprefix("Total: ").partition(" passed, ")
        assert failed.startswith("0 failed"), self.output
        return int(passed)


class Run:
    """One run. It waits at its own redirect URI while a person signs in."""

    def __init__(self) -> None:
        self.port = free_port()
        self.redirect_uri = f"http://127.0.0.1:{self.port}/callback"

    def grant(self, issuer: str, person: Person, client: Sequence[str], resource: str) -> Result:
        """Runs both scenarios with a client (`--client-id` and, if it has one, `--client-secret`)."""
        program = CONFORMANCE / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
        options = ["--url", issuer, "--port", str(self.port), "--resource", resource, *client]
        command = [str(node()), str(program), "authorization", *options]
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        ) as process:
            try:
                assert process.stdout is not None
                output = ""
                for line in process.stdout:
                    output += line
                    if "/authorize?" in line:
                        url = line[line.index("http") :].strip()
                        person.agent.get(person.authorize(url, self.redirect_uri).url)
                return Result(process.wait(timeout=30), output)
            finally:
                process.kill()
