"""A pytest plugin: one line per suite, a file with the counts for `tests/run`, and no silent skips."""

import time
from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.places import STATE

COUNTS = STATE / "e2e-counts"


@dataclass
class Count:
    """The result of one suite."""

    passed: int = 0
    failed: int = 0
    seconds: float = 0


class Suites:
    """Counts tests by folder."""

    def __init__(self) -> None:
        self.counts: dict[str, Count] = defaultdict(Count)
        self._failed: set[str] = set()
        self._since = time.monotonic()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.CallInfo[None], None]:
        """A skipped test counts as failed."""
        outcome = yield
        report: pytest.TestReport = outcome.get_result()  # type: ignore[attr-defined]
        if report.skipped:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} did not run: {report.longrepr}"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Adds a phase of a test to its suite."""
        count = self.counts[Path(report.nodeid.split("::")[0]).parts[0]]
        count.seconds += report.duration
        if report.failed and report.nodeid not in self._failed:
            self._failed.add(report.nodeid)
            count.failed += 1
        elif report.when == "teardown" and report.nodeid not in self._failed:
            count.passed += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be collected counts as failed."""
        if report.failed:
            self.counts[Path(report.nodeid).parts[0] if report.nodeid else "e2e"].failed += 1

    def pytest_sessionfinish(self) -> None:
        """Writes the counts to a file."""
        STATE.mkdir(parents=True, exist_ok=True)
        lines = [f"{name} {c.passed} {c.failed} {c.seconds:.0f}\n" for name, c in self.counts.items()]
        COUNTS.write_text("".join(lines), encoding="utf-8")
