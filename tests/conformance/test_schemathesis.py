"""Thousands of requests that schemathesis makes up from `/openapi.json`, one by one and in sequences."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.server import Server
from tests.conformance.jobs import none_is_stuck
from tests.conftest import serving

BUDGET = int(os.environ.get("FUZZ_BUDGET", "1"))
"""How many times the usual number of cases."""
EXAMPLES = 10
CASES_MIN = 2_000
SEED = 20261122


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Server]:
    """A service of its own, whose log must have no traceback at the end."""
    with serving(tmp_path / "data", tasks="workers.tasks") as server:
        yield server


@pytest.mark.timeout(240 * BUDGET)
def test_the_service_is_as_its_openapi_document_says(service: Server, tmp_path: Path) -> None:
    """No 5xx, no undocumented status, header or member, in thousands of cases; and no job is stuck afterwards."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(Path(__file__).with_name("schemathesis.toml"))),
        *("run", f"{service.url}/openapi.json"),
        *("--seed", str(SEED), "--max-examples", str(EXAMPLES * BUDGET), "--generation-database", "none"),
        *("--exclude-path", "/v1/events"),  # which has no end, so each case would take until its time is out
        *("--request-timeout", "30", "--continue-on-failure", "--no-shrink"),
        *("--warnings", "off", "--no-color"),
    ]

    run = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=230 * BUDGET, check=False
    )

    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
    generated = re.search(r"(\d+) generated", run.stdout)
    assert generated is not None
    assert int(generated[1]) >= CASES_MIN
    none_is_stuck(service)
