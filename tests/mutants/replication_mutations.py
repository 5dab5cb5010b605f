"""What breaks the way to the hub: producers, forks, sender, receiver, session, the hub with its credit, and the ledger of both sides.

Rule: data, nothing else; mutation.py says what a mutation is. Must not know: who is to notice.
"""

from mutation import ARRIVES, BOUNDED, CONFIRMED, DURABLE, FORK, HERD, LEDGER, REST, SESSION, SILENT, TWICE, UNSEEN, Mutation

REPLICATION = (
    # Producers
    Mutation(
        "a repeat is stored",
        "intake.py",
        "if producer and sequence <= log.producers.last(producer):",
        "if producer and sequence < log.producers.last(producer):",
        TWICE,
    ),
    Mutation("producers are forgotten in a restart", "log_state.py", "self.producers.load(row[9])", "pass", TWICE),
    Mutation("producers are forgotten in a fork", "forking.py", "rows.append((producer, sequence + below, 0, 0))", "pass", TWICE),
    Mutation(
        "who stored last is forgotten first",
        "producers.py",
        "oldest = min((not p & ANONYMOUS, r[3], p)",
        "oldest = max((not p & ANONYMOUS, r[3], p)",
        TWICE,
    ),
    # Forks, lineage
    Mutation("a parting is ignored", "sender.py", "            if at is not None:", "            if False:", FORK),
    Mutation("a parting is taken too late", "lineage.py", "return min(end, ends[term])", "return max(end, ends[term])", FORK),
    Mutation("a hub that is ahead is not noticed", "lineage.py", "if their_next <= my_next and last and", "if last and", FORK),
    Mutation("the seal comes before its successor is durable", "forking.py", " and successor.mark.reached >= self._end:", ":", DURABLE),
    Mutation("a successor is shown before the seal is durable", "forking.py", "successor.held = True", "successor.held = False", UNSEEN),
    Mutation(
        "what was moved goes before the seal is durable",
        "forking.py",
        " or log.state.slots.durable_version < self._version:",
        ":",
        DURABLE,
    ),
    Mutation(
        "a successor is not marked as provisional",
        "partition.py",
        "self._create(log.state.ordinal + 1, True, max",
        "self._create(log.state.ordinal + 1, False, max",
        TWICE,
    ),
    Mutation(
        "a node does not say which epochs it holds",
        "partition.py",
        "[other.stream.epoch for other in logs if other is not log]",
        "[]",
        SILENT,
    ),
    # Sender
    Mutation("after a hole the whole window goes again", "sender.py", "self._pieces_max = PIECES_AFTER_REWIND", "pass", ARRIVES),
    Mutation("a HAVE never says more of its lineage", "sender.py", "if last < 0 or self.log.sealed", "if True or self.log.sealed", ARRIVES),
    Mutation("a rewind is ignored", "sender.py", " or (resend and have_echo > self._rewound_at and self.sent > next_)", "", ARRIVES),
    Mutation("the receiver's limit is ignored", "sender.py", "return self._under_way_bytes < self._limit", "return True", BOUNDED),
    Mutation("what was sent counts as delivered", "sender.py", "state.acked = next_\n", "state.acked = max(next_, self.sent)\n", CONFIRMED),
    Mutation("an overtaken WANT is believed", "sender.py", "if number <= self._want_number:", "if False:", CONFIRMED),
    Mutation("what did not fit a frame is skipped", "sender.py", "self._reader.seek(self.sent)", "pass", ARRIVES),
    Mutation("a record too large for a frame is dropped", "recut.py", "parts.append((first, record.offset + 1, None))", "pass", SILENT),
    # Receiver
    Mutation(
        "a hole is accepted",
        "receiver.py",
        "if first > ahead.next or first >= self._common_end or self._parted:",
        "ahead.next = max(first, ahead.next)\n        if first >= self._common_end or self._parted:",
        SILENT,
    ),
    Mutation(
        "a gap ahead of its turn is accepted",
        "receiver.py",
        "if first > self.ahead.next or next_ > self._common_end",
        "if next_ > self._common_end",
        SILENT,
    ),
    Mutation(
        "a repeat is accepted",
        "receiver.py",
        "begin, count = ahead.next, 0\n        broken",
        "begin, count = min(first, ahead.next), 0\n        broken",
        TWICE,
    ),
    Mutation(
        "the watermark is one too high",
        "receiver.py",
        "next_ = max(applied.next, applied.produced) if closed else applied.next",
        "next_ = max(applied.next, applied.produced) if closed else applied.next + 1",
        CONFIRMED,
    ),
    Mutation(
        "what is on its way to the store is confirmed",
        "receiver.py",
        "resend, applied = self._missing, self.applied",
        "resend, applied = self._missing, self.ahead",
        CONFIRMED,
    ),
    Mutation(
        "what lies above the common end is taken",
        "receiver.py",
        "self._common_end = min(self._common_end, next_)",
        "pass",
        SILENT,
    ),
    Mutation(
        "a HAVE that does not say where it stands is believed",
        "receiver.py",
        "return mine != UNKNOWN_TERM and not sealed",
        "return False",
        FORK,
    ),
    Mutation(
        "a sender that has parted is heard",
        "receiver.py",
        "return mine != theirs\n",
        "return False\n",
        FORK,
    ),
    Mutation(
        "content of another term is accepted", "receiver.py", "return known == term or UNKNOWN_TERM in (known, term)", "return True", FORK
    ),
    # Session, link
    Mutation(
        "a frame of an old session is taken", "link.py", "frame.type != frames.WELCOME and frame.session != session.id", "False", SESSION
    ),
    Mutation(
        "the hub takes DATA of an old session",
        "hub.py",
        "frame.session == node.current.id:",
        "(frame.session == node.current.id or frame.type == frames.DATA):",
        SESSION,
    ),
    Mutation(
        "a WELCOME need not answer our HELLO",
        "session.py",
        "if fields[10] != self._nonce or frame.session != session_id(self._nonce, fields[3]):",
        "if False:",
        SESSION,
    ),
    Mutation(
        "the hub switches sessions at HELLO", "hub.py", "node.candidate = candidate", "self._switch(node, candidate, now_ms)", SESSION
    ),
    Mutation(
        "a HAVE is never repeated",
        "offers.py",
        "if not any([sender.pending for sender in self._senders.values()]):",
        "if True:",
        ARRIVES,
    ),
    Mutation(
        "HAVE is repeated at rest",
        "offers.py",
        "if not any([sender.pending for sender in self._senders.values()]):",
        "if False:",
        REST,
    ),
    Mutation(
        "a link that ended never greets again",
        "link.py",
        "self._greet_at_ms = self._now() + away_ms + self._backoff.wait_ms()",
        "pass",
        ARRIVES,
    ),
    Mutation(
        "a new boot of the hub is not greeted",
        "link.py",
        "self._greet_at_ms = self._now() + jitter(self._entropy, REGREET_MS)",
        "pass",
        ARRIVES,
    ),
    Mutation("a bandwidth limit is not counted", "pacing.py", "self._tokens -= size", "pass", BOUNDED),
    Mutation("a retry waits without jitter", "backoff.py", "return jitter(self._entropy, bound_ms)", "return bound_ms", HERD),
    Mutation("a retry never waits longer", "backoff.py", "min(self._max_ms, bound_ms * 2)", "bound_ms", HERD),
    # Hub, credit
    Mutation("an epoch that is gone is never closed", "hub_streams.py", "ops = ops + self._close_others(stream, held)", "pass", SILENT),
    Mutation("a commit that failed is forgotten", "hub_commits.py", "self.waiting = ops + self.waiting", "pass", ARRIVES),
    Mutation(
        "what is granted exceeds the pool", "credit.py", "n = max(0, min(wanted, self.total - self.granted))", "n = max(0, wanted)", BOUNDED
    ),
    Mutation("splinters of credit are granted", "credit.py", "        if n < least:\n            n = 0\n", "", REST),
    Mutation("credit leaks", "credit.py", "self._pool.give(self.size)\n        self.size = 0", "self.size = 0", ARRIVES),
    Mutation(
        "idle credit is never given back",
        "hub_streams.py",
        "(short and not receiver.pending)):\n                    receiver.window.close()",
        "(short and not receiver.pending)):\n                    pass",
        ARRIVES,
    ),
    Mutation("data without credit is taken", "credit.py", "return n <= self.size", "return True", BOUNDED),
    # What it says of itself
    Mutation("what is lost counts as delivered", "report.py", "acked - sum(state.lost.values())", "acked", LEDGER),
    Mutation(
        "what a lost disk owed is not in the ledger",
        "report.py",
        "unconfirmed[STORAGE] = produced - max(acked, log.ends_at)",
        "pass",
        LEDGER,
    ),
)
