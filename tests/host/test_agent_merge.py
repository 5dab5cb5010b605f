"""The strategy of a keyed topic at an agent: its merge module is used, and one that fails or cannot work is told by name."""

import asyncio
from pathlib import Path

import pytest

from local_agent import config, from_elsewhere, run, topic
from streamline_core.config import ConfigError
from streamline_core.errors import UsageError
from streamline_edge import config_file
from streamline_edge.agent import Agent

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "merge"


@pytest.mark.parametrize("module", ["python:union_of_lines.py", "wasm:union_of_lines.wasm"])
def test_a_merge_module_beside_the_configuration_is_used(tmp_path: Path, module: str) -> None:
    if module.startswith("wasm"):
        pytest.importorskip("wasmtime")
    (tmp_path / "union_of_lines.py").write_bytes((EXAMPLES / "union_of_lines.py").read_bytes())
    (tmp_path / "union_of_lines.wasm").write_bytes((EXAMPLES / "union_of_lines.wasm").read_bytes())
    (tmp_path / "edge.yaml").write_text(
        "node_id: n1\ndata_dir: d\nsync_topics: [{topic: state, kind: keyed, direction: bidirectional}]\n"
        f"conflict_resolution: custom_merge\nmerge: {module}\n"
    )

    async def main() -> None:
        async with Agent(config_file.load(tmp_path / "edge.yaml")) as agent:
            await agent.produce("state", b"ours\n", key="k")
            await from_elsewhere(agent, b"k", b"theirs\n")
            assert agent.get("state", "k") == b"ours\ntheirs\n"
            found = agent.explain("state", "k")["conflict"]
            assert (found["resolution"], len(found["winners"])) == ("merged", 2)
            assert agent.report_health() == {"healthy": True, "problems": []}

    asyncio.run(main())


def test_a_merge_module_that_fails_shows_every_version_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("def merge(key, earlier, later):\n    return 1 // 0\n")

    async def test(agent: Agent) -> None:
        await agent.produce("state", b"ours", key="k")
        await from_elsewhere(agent, b"k", b"theirs")
        found = agent.explain("state", "k")
        assert found["conflict"]["resolution"] == "both" and "ZeroDivisionError" in found["conflict"]["merge_failure"]
        assert found["shown"] == "theirs" and len(found["versions"]) == 2
        assert agent.report_health()["problems"] == ["state: its merge module failed 1 times; every version is shown"]

    run(tmp_path, test, **topic(strategy="custom_merge", merge=f"python:{tmp_path}/m.py"))


WRONG_MODULES = {
    "none.py": None,
    "empty.py": b"",
    "number.py": b"merge = 5",
    "syntax.py": b"def merge(",
    "raises.py": b"raise RuntimeError('at import')",
    "text.wasm": b"(module)",
}


@pytest.mark.parametrize("name", sorted(WRONG_MODULES))
def test_a_merge_module_that_cannot_work_is_refused_at_start_by_name(tmp_path: Path, name: str) -> None:
    if name.endswith(".wasm"):
        pytest.importorskip("wasmtime")
    content = WRONG_MODULES[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    refused_at_start(tmp_path, name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(module)", "must export a memory"),
        ('(module (memory (export "memory") 1) (func (export "merge")))', "must export a function alloc"),
        ('(module (import "x" "y" (func)) (memory (export "memory") 1))', "imports"),
    ],
)
def test_webassembly_with_wrong_exports_is_refused_at_start_by_name(tmp_path: Path, text: str, said: str) -> None:
    wasmtime = pytest.importorskip("wasmtime")
    (tmp_path / "wrong.wasm").write_bytes(wasmtime.wat2wasm(text))
    assert said in refused_at_start(tmp_path, "wrong.wasm")


def refused_at_start(folder: Path, name: str) -> str:
    """Nothing is left behind: not even the data directory."""
    module = f"{'wasm' if name.endswith('.wasm') else 'python'}:{folder}/{name}"

    async def main() -> str:
        with pytest.raises(UsageError) as caught:
            await Agent(config(folder, **topic(strategy="custom_merge", merge=module))).start()
        return str(caught.value)

    text = asyncio.run(main())
    assert text.startswith(f"topic state: merge module {module}: ") and "\n" not in text
    assert not (folder / "d").exists()
    return text


def test_a_topic_that_does_not_fit_together_is_refused_by_name(tmp_path: Path) -> None:
    for wrong, said in (
        (topic(strategy="newest_wins"), "sync_topics[0].strategy: 'newest_wins' is not allowed; use one of last_write_wins"),
        (topic(strategy="custom_merge"), "sync_topics[0].merge: is missing"),
        (topic(merge="python:m.py"), "sync_topics[0].merge: is for the strategy custom_merge"),
        (topic(kind="table"), "sync_topics[0].kind: 'table' is not allowed; use one of log, keyed"),
        (topic(kind="log", strategy="edge_wins"), "sync_topics[0].strategy: is for topics of kind keyed"),
        ({"conflict_resolution": "mine"}, "conflict_resolution: 'mine' is not allowed"),
    ):
        with pytest.raises(ConfigError) as caught:
            config(tmp_path, **wrong)
        assert str(caught.value).startswith(said), caught.value
