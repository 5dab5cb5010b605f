"""What breaks a log: its buffer and its syncs, the slots beside it, recovery, and those who read it.

Rule: data, nothing else; mutation.py says what a mutation is. Must not know: who is to notice.
"""

from mutation import ARRIVES, BOUNDED, CAUSE, DURABLE, FORK, ORDER, SILENT, TWICE, UNSEEN, Mutation

LOG = (
    # The log and its syncs
    Mutation(
        "a sync is skipped",
        "append_log.py",
        "self.mark.asked_for(self.storage.sync(self.segments.head), self.written)",
        "self.mark.asked_for(0, self.written)\n            self.advance()",
        DURABLE,
    ),
    Mutation(
        "a full segment is left without a sync",
        "append_log.py",
        "if self.segments.head:\n            self._sync()",
        "if False:\n            pass",
        DURABLE,
    ),
    Mutation(
        "a failed sync counts as a good one",
        "log.py",
        "if error is not None:\n            self.failure = error\n            return",
        "",
        DURABLE,
    ),
    Mutation(
        "the mark passes a hole of syncs", "durable_mark.py", "while self._syncs and not self._syncs[0][0]:", "while self._syncs:", DURABLE
    ),
    Mutation("a producer is told before the mark has passed", "durable_mark.py", " and self._stored[n][2] < self.offset", "", DURABLE),
    Mutation("a batch says that all before it is durable", "append_log.py", "return self.written - self.mark.offset", "return 0", CAUSE),
    Mutation(
        "what a failed disk refused is written later",
        "append_log.py",
        "        self._builder.count = 0\n        self.mark",
        "        self.mark",
        TWICE,
    ),
    Mutation("the buffer has no bound", "append_log.py", "self.mark.unsynced_bytes + more > self.limits.buffer_bytes", "False", BOUNDED),
    Mutation(
        "many are stored in part on a full disk",
        "append_log.py",
        "if total > room and total + HEADER_BYTES",
        "if False and total + HEADER_BYTES",
        SILENT,
    ),
    Mutation("the checkpoint runs ahead of the syncs", "log.py", "< segments.bases[-1] <= self.durable:", "< segments.bases[-1]:", CAUSE),
    Mutation("a failed disk is never tried again", "partitions.py", "elif now_ms >= at_ms:", "elif False:", ARRIVES),
    Mutation("a close leaves the buffer behind", "node.py", "                    log.commit()\n", "                    pass\n", DURABLE),
    # Slots
    Mutation(
        "the good slot is overwritten", "slots.py", 'name = "%s.%d" % (self._name, generation % 2)', 'name = "%s.0" % self._name', DURABLE
    ),
    Mutation("the older slot is believed", "slots.py", "if self._generation <= generation < GENERATION_MAX:", "if best is None:", DURABLE),
    Mutation("a slot that was only loaded counts as durable", "slots.py", "self._loaded = name", "pass", DURABLE),
    Mutation("a torn slot is believed", "slots.py", " or binascii.crc32(memoryview(buf)[4:]) != crc", "", DURABLE),
    Mutation("after a failed save the good slot is next", "slots.py", "self._generation -= 1", "pass", DURABLE),
    Mutation(
        "a save counts as durable when asked for",
        "slots.py",
        "self.durable_version = self._in_flight",
        "self.durable_version = self.version",
        DURABLE,
    ),
    # Recovery
    Mutation("what follows a torn hole still counts", "recovery.py", "header.term == self._torn_term", "False", ORDER),
    Mutation(
        "recovery believes a header and not its body",
        "segments.py",
        "(headers_only or body_checks(storage, name, at, header, buf))",
        "True",
        CAUSE,
    ),
    Mutation(
        "what was found counts without a sync",
        "log.py",
        "durable = bases[walked] if bases else written",
        "durable = written",
        DURABLE,
    ),
    Mutation("a segment that is torn whole keeps its name", "recovery.py", "if bases and bases[-1] == offset:", "if False:", SILENT),
    Mutation("an offset is given away again", "recovery.py", "end = max(walked, state.checkpoint)", "return walked", TWICE),
    Mutation("what batches say of those before them is not heard", "recovery.py", "walk_.listen(i)", "pass", DURABLE),
    Mutation(
        "the term of the last opening is taken again",
        "recovery.py",
        "log.term = random_u32(entropy)",
        "log.term = (state.lineage or [(random_u32(entropy), 0)])[-1][0]",
        FORK,
    ),
    Mutation("a hole between segments is not noted", "recovery.py", "self._miss(offset, base, self._term_from(i))", "pass", CAUSE),
    Mutation(
        "a walk forgets who stored what",
        "recovery.py",
        "log.note_stored(header.producer, header.sequence, header.base, header.span)",
        "pass",
        TWICE,
    ),
    # Reading
    Mutation(
        "damage is stepped over",
        "log_reader.py",
        "log.note_gap(self.offset, found[1].base, CORRUPT)",
        "self.offset = found[1].base",
        SILENT,
    ),
    Mutation(
        "a rotten body is handed on", "log_reader.py", "body_is_whole(header, view[:n], filled)", "filled + header.length <= n", SILENT
    ),
    Mutation(
        "what is not durable is read", "log_reader.py", "if self.to_found else log.durable", "if self.to_found else log.written", UNSEEN
    ),
    Mutation(
        "a consumer steps over a gap",
        "consumer.py",
        "yield Gap(piece.first, min(piece.next, self._until), piece.cause)",
        "return",
        SILENT,
    ),
    Mutation(
        "a consumer begins the next epoch anew",
        "consumer.py",
        "self._follow(moved[0], moved[1])",
        "self._follow(moved[0], moved[1] + 1)",
        SILENT,
    ),
)
