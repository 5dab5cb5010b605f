"""Each worked example tells its story, and it is so; its edge.yaml is accepted as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from streamline_edge import config_file

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/run.py"))


def test_there_is_one_for_each_use_case() -> None:
    assert NAMES == ["industrial", "iot_gateway", "remote_site", "retail", "vehicle"]
    index = (EXAMPLES / "README.md").read_text()
    assert all("](%s/README.md)" % name in index for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_what_it_claims_is_so(name: str) -> None:
    if name == "iot_gateway":
        pytest.importorskip("amqtt", reason="its local broker is amqtt")
    command = [sys.executable, str(EXAMPLES / name / "run.py")]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("all as it should be\n") and "NOT SO" not in done.stdout, done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_its_configuration_is_one_and_its_readme_speaks_of_it(name: str) -> None:
    config_file.load(EXAMPLES / name / "edge.yaml")
    readme = (EXAMPLES / name / "README.md").read_text()
    assert "docs/examples/%s/run.py" % name in readme
    text = (EXAMPLES / name / "edge.yaml").read_text()
    for topic in re.findall(r"- topic: (\S+)", text):
        assert topic in readme or topic in (EXAMPLES / name / "run.py").read_text(), topic
