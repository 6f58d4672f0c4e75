"""The DaemonSet against the schemas of Kubernetes, which have a hundred megabytes: `make test-packages`."""

import importlib.util
import subprocess
import sys

import pytest

from deploy.tree import HERE

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(
        importlib.util.find_spec("kubernetes_validate") is None, reason="kubernetes-validate is not installed (pip)"
    ),
]


@pytest.mark.parametrize("version", ["1.25", "1.30", "1.34"])
def test_kubernetes_takes_the_manifest(version: str) -> None:
    manifest = HERE / "container/daemonset.yaml"
    command = (sys.executable, "-m", "kubernetes_validate", "--strict", "--kubernetes-version", version, str(manifest))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("passed for resource") == 2


def test_a_misspelled_key_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    wrong = tmp_path_factory.mktemp("manifest") / "wrong.yaml"
    text = (HERE / "container/daemonset.yaml").read_text()
    wrong.write_text(text.replace("hostNetwork:", "hostNetworking:"))
    command = (sys.executable, "-m", "kubernetes_validate", "--strict", "--kubernetes-version", "1.34", str(wrong))
    assert subprocess.run(command, capture_output=True).returncode != 0
