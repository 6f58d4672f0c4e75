"""The systemd units in the documentation: what they ask for, and how exposed they are."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.deadlines import PATIENCE

DOCS = Path(__file__).parents[2] / "docs"
# The document, the name of the unit, and the exposure that must not be exceeded (of 10).
UNITS = [("operators.md", "nodespan.service", 5.0), ("kubespan.md", "nodespan-discovery.service", 2.5)]


def unit(document: str, name: str) -> str:
    text = (DOCS / document).read_text()
    found = re.search(rf"`/etc/systemd/system/{re.escape(name)}`:\n\n```ini\n(.*?)```", text, re.DOTALL)
    assert found
    return found[1]


@pytest.mark.parametrize(("document", "name", "_exposure"), UNITS)
def test_a_unit_reports_readiness_and_signs_of_life(document: str, name: str, _exposure: float) -> None:
    lines = unit(document, name).splitlines()
    assert {"Type=notify", "WatchdogSec=2min", "Restart=on-failure", "NoNewPrivileges=yes"} <= set(lines)


@pytest.mark.needs_program("systemd-analyze")
@pytest.mark.parametrize(("document", "name", "exposure"), UNITS)
def test_the_exposure_of_a_unit_is_limited(tmp_path: Path, document: str, name: str, exposure: float) -> None:
    path = tmp_path / name
    path.write_text(unit(document, name))
    done = subprocess.run(
        ("systemd-analyze", "security", "--offline=yes", "--no-pager", str(path)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    found = re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= exposure, done.stdout
