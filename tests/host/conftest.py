"""What the tests of the host programs may ask for besides."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from agent_process import AgentProcess
from edge_topics import KEYED


@pytest.fixture
def agent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AgentProcess]:
    """A real agent that runs, with the CONFIG of the test's file; killed afterwards if it still does."""
    agent = AgentProcess(tmp_path, request.module.CONFIG)
    agent.start()
    yield agent
    if agent.process is not None and agent.process.poll() is None:
        agent.kill()


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[AgentProcess]:
    """A real agent with keyed topics, not started yet; killed afterwards if it runs."""
    agent = AgentProcess(tmp_path, KEYED)
    yield agent
    if agent.process is not None and agent.process.poll() is None:
        agent.kill()
