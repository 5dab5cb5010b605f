"""What is refused of a board before anything is written to it. What the numbers are made of is measured in tests/images."""

import dataclasses
import json
from dataclasses import replace
from typing import Any

import pytest

from board_process import ROOT
from streamline_core.config import EdgeConfig
from streamline_core.errors import UsageError
from streamline_edge import board_needs
from streamline_edge.board_facts import BoardFacts

EXAMPLES = [path for path in sorted((ROOT / "boards").glob("*/board.json")) if "flash" in json.loads(path.read_text())]


def facts(given: dict[str, Any]) -> BoardFacts:
    """Of a board that is new, by its board.json."""
    flash = given["flash"]
    return BoardFacts(
        machine=given["title"], micropython="1.25.0", streamline="0.1.0", node_id=None, heap_bytes=given["heap_bytes"],
        tls_bytes=22000 if "mqtts" in given["links"] else None, socket="mqtt" in given["links"], wifi=False, wifi_file=False,
        files_bytes=flash["files_bytes"], files_free_bytes=flash["files_bytes"],
        log_blocks=flash["log_bytes"] // flash["block_bytes"], log_block_bytes=flash["block_bytes"],
    )  # fmt: skip


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_example_of_each_board_fits_it(path: Any) -> None:
    config = EdgeConfig.from_dict(json.loads((path.parent / "edge.json").read_text()))
    assert not board_needs.problems(config, facts(json.loads(path.read_text())))


def test_without_a_file_system_that_is_all_there_is_to_say() -> None:
    given, board = pico()
    (problem,) = board_needs.problems(EdgeConfig.from_dict(given), dataclasses.replace(board, fault="the file system does not mount"))
    assert problem.startswith("the file system does not mount")


def pico() -> tuple[dict[str, Any], BoardFacts]:
    folder = ROOT / "boards" / "rpi_pico_w"
    return json.loads((folder / "edge.json").read_text()), facts(json.loads((folder / "board.json").read_text()))


def test_each_thing_that_is_too_much_is_named_with_both_numbers() -> None:
    given, board = pico()
    for changes, words in (
        ({"frame_bytes_max": 16384}, ("KB of heap, the board has 176 KB", "frame_bytes_max (16384)")),
        ({"sync_topics": ["t%d" % n for n in range(20)]}, ("of heap", "partitions (20)")),
        ({"resources": {"max_storage": 4000000}}, ("max_storage is 4,000,000 bytes", "log partition has room for 809,472")),
    ):
        found = board_needs.problems(EdgeConfig.from_dict(given | changes), board)
        assert any(all(word in text for word in words) for text in found), found


def test_compaction_needs_its_buffer() -> None:
    given, board = pico()
    given["resources"]["eviction_policy"] = "compact"
    assert not board_needs.problems(EdgeConfig.from_dict(given), board)
    (problem,) = board_needs.problems(EdgeConfig.from_dict(given), replace(board, heap_bytes=131072))
    assert "of heap, the board has 128 KB" in problem and "eviction_policy (compact)" in problem, problem


def test_what_it_cannot_reach_is_refused() -> None:
    given, board = pico()
    config = EdgeConfig.from_dict(given | {"cloud_endpoint": "mqtts://broker.example", "ca_file": "ca.pem"})
    assert not board_needs.problems(config, board)
    assert "no TLS" in board_needs.problems(config, replace(board, tls_bytes=None))[0]
    assert "no network" not in str(board_needs.problems(config, board))
    assert "use serial://UART" in board_needs.problems(config, replace(board, socket=False))[0]
    assert "make flash" in board_needs.problems(config, replace(board, streamline=None))[0]


def test_each_part_that_is_not_on_it_is_named_with_what_asks_for_it() -> None:
    given, board = pico()
    topics = ["logs", {"topic": "settings", "direction": "bidirectional", "kind": "keyed"}, {"topic": "news", "direction": "cloud_to_edge"}]
    config = EdgeConfig.from_dict(given | {"sync_topics": topics})
    bare = replace(board, lacks=["keyed topics", "topics that flow down", "links over MQTT", "serial links"])
    said = board_needs.problems(config, bare)
    assert [text.partition(":")[0] for text in said] == ["topic settings", "topic settings", "topic news", "cloud_endpoint"], said
    assert "built without keyed topics" in said[0] and "flow down" in said[2] and "links over MQTT" in said[3]
    assert not board_needs.problems(EdgeConfig.from_dict(given), replace(board, lacks=bare.lacks[:2] + ["serial links"]))
    line = EdgeConfig.from_dict(given | {"cloud_endpoint": "serial://1:115200"})
    assert "without serial links" in board_needs.problems(line, bare)[-1]


def test_tls_counts_where_its_buffers_are_in_the_heap() -> None:
    given, board = pico()
    plain = board_needs.heap_bytes(EdgeConfig.from_dict(given), board)
    config = EdgeConfig.from_dict(given | {"cloud_endpoint": "mqtts://broker.example", "ca_file": "ca.pem"})
    assert board_needs.heap_bytes(config, board) == plain + 22000 + board_needs.TLS_HANDSHAKE_BYTES
    assert board_needs.heap_bytes(config, replace(board, tls_bytes=900)) == plain
    assert board_needs.heap_bytes(config, replace(board, tls_bytes=-1)) == plain + board_needs.TLS_BYTES


def test_a_full_file_system_has_nothing_free() -> None:
    """littlefs counts some blocks twice, and what is left of it, less than none, comes as a large number."""
    given = dataclasses.asdict(pico()[1]) | {"files_bytes": 262144, "files_free_bytes": 4294967292 * 4096}
    assert BoardFacts.read(json.dumps(given)).files_free_bytes == 0


@pytest.mark.parametrize("text", ["", "MicroPython v1.25\r\n>>> ", "{", '{"machine": 1}', "[1]"])
def test_an_answer_that_is_none_is_said(text: str) -> None:
    with pytest.raises(UsageError, match="does not say what it is"):
        BoardFacts.read(text)


def test_sizes_are_shown_so_that_too_much_shows() -> None:
    assert [board_needs.shown(n) for n in (0, 1023, 1024, 1025, 10 << 20, (10 << 20) + 1)] == [
        "0 bytes", "1023 bytes", "1 KB", "2 KB", "10 MB", "11 MB",
    ]  # fmt: skip
