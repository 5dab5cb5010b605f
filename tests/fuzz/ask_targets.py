"""Questions from afar and answers to them, as whoever can publish may send them.

Rule: a question is read or refused, and the node goes on; an answer becomes text that is safe to show, or the documented error. Must not
know: what answers say.
"""

import functools
import json
from typing import Any

from fuzz.fields import Fields, Script
from fuzz.target import REFUSED, Target, attempt
from harness import FakeClock, FakeEntropy, MemoryStorage
from streamline_core import ask
from streamline_core.answer import OPS
from streamline_core.codec import NONE, Codecs
from streamline_core.config import EdgeConfig
from streamline_core.errors import ProtocolError
from streamline_core.node import Node
from streamline_edge.control_client import AgentError
from streamline_edge.node_client import Answer, read_online
from world import WALL_MS, config_of

ID = "1a2b"
SAID_PIECES_MAX = 64


@functools.cache
def node() -> Any:
    made = Node(EdgeConfig.from_dict(config_of("n")), FakeClock(1000, WALL_MS), MemoryStorage(), FakeEntropy(), Codecs(NONE))
    made.open()
    return made


def run_ask(data: bytes) -> None:
    """A question: (id, operation), or ProtocolError; its answer, if any, can be read and is of that id."""
    found = attempt(ProtocolError, ask.read_request, data)
    answers = ask.Answers(node(), {})
    answers.receive(data)
    if found is REFUSED:
        assert answers.refused == 1 and answers.deadline_ms() == -1
        return
    answer, now_ms = Answer(found[0]), 0
    while answers.deadline_ms() >= 0:
        now_ms = max(now_ms, answers.deadline_ms())
        piece = answers.next_piece(now_ms)
        assert piece is None or (len(piece) <= ask.PIECE_BYTES_MAX and answer.take(piece))
    said = attempt(AgentError, answer.value)
    assert answer.complete and (said is REFUSED) == (found[1] not in OPS)


def ask_seeds() -> list[bytes]:
    rows = [json.dumps({"id": ID, "op": op}).encode() for op in (*OPS, "reboot", "")]
    return [*rows, b'{"id": "a", "op": "status", "more": [1, {"x": null}]}', b'{"op": "\\u00e9", "id": "\\ud800"}']


def run_answer(data: bytes) -> None:
    """Pieces of an answer, good and bad: text that a terminal can show, or the documented error, in bounded memory."""
    fields, answer = Fields(data), Answer(ID)
    for _ in range(SAID_PIECES_MAX):
        if attempt(ProtocolError, answer.take, fields.text().encode("utf-8", "surrogatepass")) is REFUSED:
            break
    assert len(answer.text) <= ask.ANSWER_BYTES_MAX
    value = attempt((AgentError, ProtocolError), answer.value)
    assert value is REFUSED or json.dumps(value).encode().isascii()
    online = read_online(data)
    assert online is None or isinstance(online, bool)


def answer_seeds() -> list[bytes]:
    def piece(n: int, last: bool, text: str, more: str = "") -> str:
        return '{"id": "%s", "piece": %d, "last": %s%s}\n%s' % (ID, n, "true" if last else "false", more, text)

    rows = (
        [piece(0, True, '{"status": {"node": "n\\u001b[31m"}}')],
        [piece(0, False, '{"led'), piece(1, False, 'ger": ['), piece(2, True, "]}")],
        [piece(0, False, '{"led'), piece(2, True, "]}")],
        [piece(0, True, "unknown operation", ', "error": "usage"')],
        [piece(0, True, "[" * 2000)],
    )
    return [bytes(functools.reduce(lambda script, text: script.text(text), row, Script())) for row in rows] + [b'{"online": false}']


TARGETS = (
    Target("ask", run_ask, ask_seeds, "questions to a node from afar, and that each good one is answered", bytes_max=1024),
    Target("answer", run_answer, answer_seeds, "the pieces of an answer, and a node's status, as the command line reads them"),
)
