"""Questions from afar and their answers: what is read, how it is cut, and how little it may cost."""

import json

from harness import cuts, flips, raises
from streamline_core import ask
from streamline_core.answer import OPS, give_back, written
from streamline_core.ask import Answers, read_request
from streamline_core.errors import ProtocolError
from world import World

REQUEST = b'{"id": "q-1", "op": "status"}'


def edge_of(**more):
    edge = World().edge("e1", **more)
    for _ in range(5):
        edge.node.produce("t", bytes(100))
        edge.clock.advance(100)
        edge.settle()
        edge.settle()
    return edge


def request(op, id="q"):
    return json.dumps({"id": id, "op": op}).encode()


def pieces(answers, clock, secs=600):
    """All that it says, with the ms at which it says it."""
    found = []
    for _ in range(secs * 100):
        piece = answers.next_piece(clock.monotonic_ms())
        if piece is not None:
            found.append((clock.monotonic_ms(), piece))
        elif answers.deadline_ms() < 0:
            return found
        else:
            clock.advance(10)
    raise AssertionError("it does not end")


def joined(found):
    """(the value, or the text of an error; the head of the last piece)"""
    text = b""
    for n, (_, piece) in enumerate(found):
        line, _, body = bytes(piece).partition(b"\n")
        head = json.loads(line)
        assert head["piece"] == n and head["last"] is (n == len(found) - 1) and len(piece) <= ask.PIECE_BYTES_MAX
        text += body
    return (str(body, "utf-8"), head) if "error" in head else (json.loads(text), head)


def answered(edge, op, own=None):
    answers = Answers(edge.node, own or {})
    answers.receive(request(op))
    return joined(pieces(answers, edge.clock))


def test_each_operation_says_what_the_node_says():
    edge = edge_of()
    node = edge.node
    for op, expected in (
        ("status", node.status()),
        ("ledger", node.ledger()),
        ("health", {"healthy": True, "problems": []}),
        ("topics", [{"topic": "t", "kind": "log", "direction": "edge_to_cloud", "partitions": 1, "strategy": None}]),
        ("queue", node.queue.status()),
        ("consumers", []),
        ("resources", node.resources.status()),
    ):
        said, head = answered(edge, op)
        assert head["id"] == "q" and said == {op: expected}, (op, said)
    assert sorted(OPS) == sorted(["status", "ledger", "health", "topics", "queue", "consumers", "resources"])


def test_the_shell_answers_what_it_knows_better():
    edge = edge_of()
    assert answered(edge, "status", {"status": lambda: {"mine": 1}})[0] == {"status": {"mine": 1}}
    assert answered(edge, "ledger", {"status": lambda: {"mine": 1}})[0] == {"ledger": edge.node.ledger()}


def test_an_unknown_operation_is_answered_with_those_that_there_are():
    text, head = answered(edge_of(), "reboot")
    assert head["error"] == "usage" and text == "unknown operation; known are status, ledger, health, topics, queue, resources, consumers"


def test_whatever_fails_is_answered_and_the_next_question_too():
    def fail():
        raise OSError("no\nroom " + "x" * 9000)

    def exhaust():
        raise MemoryError("")

    edge = edge_of()
    answers = Answers(edge.node, {"status": fail, "ledger": exhaust})
    answers.receive(request("status"))
    text, head = joined(pieces(answers, edge.clock))
    assert head["error"] == "other" and text.startswith("OSError: no\nroom") and len(text) < ask.PIECE_BYTES_MAX
    answers.receive(request("ledger"))
    assert joined(pieces(answers, edge.clock))[0] == "no memory for this answer now; ask again"
    answers.receive(request("topics"))
    assert "topics" in joined(pieces(answers, edge.clock))[0]


def test_a_request_is_read_or_refused_whatever_the_bytes():
    assert read_request(REQUEST) == ("q-1", "status")
    assert read_request(b'{"op": "x", "more": [1], "id": "a"}') == ("a", "x")
    assert read_request(memoryview(REQUEST)) == ("q-1", "status")
    largest = REQUEST[:-1] + b" " * (ask.REQUEST_BYTES_MAX - len(REQUEST)) + b"}"
    assert read_request(largest) == ("q-1", "status")
    for wrong in (
        b"", b"{}", b"[]", b"null", b"5", b'{"id": "a"}', b'{"op": "status"}', b'{"id": 5, "op": "status"}', b'{"id": "a", "op": 5}',
        b'{"id": "", "op": "x"}', b'{"id": "a b", "op": "x"}', b'{"id": "a\\"", "op": "x"}', b'{"id": "-a", "op": "x"}',
        b'{"id": "%s", "op": "x"}' % (b"a" * 65), b"\xff" * 20, b"[" * 256, largest + b" ", b"{" * 5000,
    ):  # fmt: skip
        raises(ProtocolError, read_request, wrong)
    answers = Answers(edge_of().node, {})
    for data in list(cuts(REQUEST)) + [data for _, data in flips(REQUEST)]:
        try:
            id, op = read_request(data)
            assert id and len(id) <= 64 and len(op) <= ask.REQUEST_BYTES_MAX
        except ProtocolError:
            answers.receive(data)
    assert answers.refused > 50 and answers.deadline_ms() == -1


def test_json_in_parts_is_the_same_json():
    value = {"a": [], "b": {}, "c": [1, "x\u00e9\"", None, [2, [3]]], "d": {"e": {"f": [True, False]}, "g": -1}, "h": "text"}
    for depth in range(6):
        assert json.loads("".join(list(written(value, depth)))) == value
    assert [list(written(empty, 2)) for empty in ([], {})] == [["[]"], ["{}"]]


def test_a_large_answer_comes_in_pieces_and_one_that_is_too_large_says_so():
    edge = edge_of(sync_topics=[{"topic": "t", "partitions": 40}])
    found = pieces_of(edge, "ledger")
    assert len(found) > 3 and joined(found)[0] == {"ledger": edge.node.ledger()}
    edge = edge_of(sync_topics=[{"topic": "t", "partitions": 300}])
    found = pieces_of(edge, "ledger")
    text, head = joined(found)
    assert head["error"] == "usage" and "longer than 65536 bytes" in text and sum([len(piece) for _, piece in found]) < 80000


def pieces_of(edge, op, **more):
    answers = Answers(edge.node, {}, **more)
    answers.receive(request(op))
    return pieces(answers, edge.clock)


def test_a_carrier_of_small_messages_gets_small_pieces():
    found = pieces_of(edge_of(), "status", piece_bytes=768)
    assert len(found) > 1 and max([len(piece) for _, piece in found]) <= 768 and "status" in joined(found)[0]


def test_of_a_flood_few_wait_the_rest_is_dropped_and_what_leaves_is_bounded():
    edge = edge_of()
    answers = Answers(edge.node, {})
    for n in range(10000):
        answers.receive(request("status", "q%d" % n))
    assert answers.dropped == 10000 - ask.PENDING_MAX
    found = pieces(answers, edge.clock)
    assert len(found) == ask.PENDING_MAX
    for (before_ms, _), (at_ms, _) in zip(found, found[1:]):  # noqa: B905  # MicroPython's has no strict
        assert at_ms - before_ms >= ask.GAP_MS


def test_answers_count_within_the_bandwidth_limit_and_take_a_fourth_of_it_at_most():
    edge = edge_of(sync={"bandwidth_limit": 4000})
    answers = Answers(edge.node, {})
    pacing, spent = edge.node.link.pacing, 0
    for _ in range(2000):
        answers.receive(request("status"))
        piece = answers.next_piece(edge.clock.monotonic_ms())
        if piece is not None:
            spent += len(piece)
        edge.clock.advance(10)
    assert 10000 < spent < 22000, spent
    while answers.answering:  # so that a whole piece is the next
        answers.next_piece(edge.clock.monotonic_ms())
        edge.clock.advance(10)
    edge.clock.advance(5000)
    answers.receive(request("status"))
    assert pacing.wait_ms(edge.clock.monotonic_ms()) == 0
    pacing.spent(1000)  # the fourth of a second that was saved up
    assert pacing.wait_ms(edge.clock.monotonic_ms()) == 0
    while answers.next_piece(edge.clock.monotonic_ms()) is None:
        edge.clock.advance(1)
    assert pacing.wait_ms(edge.clock.monotonic_ms()) > 0


def test_two_askers_are_told_apart_by_their_ids():
    edge = edge_of()
    answers = Answers(edge.node, {})
    answers.receive(request("ledger", "a"))
    answers.receive(request("topics", "b"))
    heads = [json.loads(bytes(piece).split(b"\n")[0]) for _, piece in pieces(answers, edge.clock)]
    assert [(head["id"], head["last"]) for head in heads] == [("a", True), ("b", True)]


def test_who_went_away_is_not_answered_any_more():
    edge = edge_of()
    answers = Answers(edge.node, {})
    answers.receive(request("status"))
    assert answers.next_piece(edge.clock.monotonic_ms()) is not None and answers.answering
    answers.receive(request("status"))
    answers.clear()
    assert answers.deadline_ms() == -1 and not answers.answering


def test_asking_changes_nothing_and_leaves_nothing_behind():
    edge = edge_of()
    before = {name: bytes(edge.storage.files[name]) for name in edge.storage.files}
    for op in OPS:
        answered(edge, op)
    give_back(edge.node)
    assert edge.node._queue is None and edge.node._resources is None
    assert {name: bytes(edge.storage.files[name]) for name in edge.storage.files} == before


def test_health_remembers_the_look_before():
    edge = edge_of()
    answers = Answers(edge.node, {"status": lambda: status(edge)})
    for secs, healthy in ((0, True), (40, False)):
        edge.clock.advance(secs * 1000)
        answers.receive(request("health"))
        assert joined(pieces(answers, edge.clock))[0]["health"]["healthy"] is healthy
    later = Answers(edge.node, {"status": lambda: status(edge)}, seen=answers.seen)
    later.receive(request("health"))
    assert "have not moved for 4" in joined(pieces(later, edge.clock))[0]["health"]["problems"][0]


def status(edge):
    said = edge.node.status()
    said["link"] = {"connected": True, "endpoint": "mqtt://h:1", "reason": ""}
    return said
