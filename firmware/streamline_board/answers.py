"""A board's answers to questions from afar.

Rule: it is loaded when somebody asks, and lets go of all that it loaded: of what one question needed after its answer, of the rest when
nobody asks any more. Sync needs the heap more. Must not know: sockets, names of topics.
"""

import sys

from .main import let_go

STAYS_MS = 3000  # after the last answer: who asks often asks again
PIECE_BYTES_MIN = 768  # what the link takes, whatever the configuration says of frames
LENT = ("health", "resources", "sync_queue")  # of the core, where the configuration did not load them
_LENT = ["streamline_core." + name for name in LENT if "streamline_core." + name not in sys.modules]


class BoardAnswers:
    """link: the Carrier that takes them; it forgets this object when nobody asks any more."""

    def __init__(self, config, node, link):
        from streamline_core.answer import give_back
        from streamline_core.ask import Answers

        from .status import status

        self._node = node
        self._link = link
        self._give_back = give_back
        own = getattr(node, "own_answers", None) or {"status": lambda: status(node, link)}
        self._answers = Answers(node, own, max(PIECE_BYTES_MIN, config.frame_bytes_max), link.seen)
        self._until_ms = 0
        self.receive = self._answers.receive

    def deadline_ms(self, other_ms):
        """When `next_piece` wants to be called (monotonic ms), or what is sooner of the link's own."""
        due_ms = self._answers.deadline_ms()
        if due_ms < 0:
            due_ms = self._until_ms
        return due_ms if other_ms is None else min(due_ms, other_ms)

    def next_piece(self):
        """The next message to publish; None if nothing may leave now."""
        now_ms, answers = self._node.clock.monotonic_ms(), self._answers
        if answers.deadline_ms() >= 0:
            self._until_ms = now_ms + STAYS_MS
        piece = answers.next_piece(now_ms)
        if not answers.answering:
            self._give_back(self._node)
            for name in _LENT:
                let_go(name)
            if now_ms >= self._until_ms:
                self._link.seen, self._link.answers = answers.seen, None
                for name in ("streamline_core.ask", "streamline_core.answer", "streamline_board.status", __name__):
                    let_go(name)
        return piece
