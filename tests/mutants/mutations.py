"""What breaks the core on purpose: each mutation is one slip that a developer could make, and the promise that it breaks.

Rule: data, nothing else. `old` occurs exactly once in its file, and is as short as that allows, so that it outlives changes around it. A
mutation that no run could ever tell from the core as it is does not belong here. Must not know: who is to notice.
"""

from typing import NamedTuple

# The promises, in the words of the README and docs/ARCHITECTURE.md.
DURABLE = "what was acknowledged as durable is found again after any power cut"
SILENT = "nothing is lost without its cause"
TWICE = "nothing is stored twice"
ORDER = "what one writer wrote stays in order"
UNSEEN = "nothing is shown or sent before it is durable"
CAUSE = "a loss has its true cause"
FORK = "a restored or cloned disk is recognised, and costs nothing"
CONFIRMED = "what counts as delivered is in the hub's store"
ARRIVES = "over working links everything arrives"
BOUNDED = "every limit holds"
LEDGER = "the ledger adds up, and both sides say the same"
REST = "at rest no frame leaves"
STAMPS = "a stamp is larger than all before it"
HERD = "a fleet that reconnects does not come back as one"
SESSION = "a frame of an earlier session changes nothing"
AGREE = "replicas that have heard the same show the same, by the rule that was chosen"


class Mutation(NamedTuple):
    """name: the slip, in words; file: below shared/streamline_core; old: text that is there once; new: what takes its place."""

    name: str
    file: str
    old: str
    new: str
    promise: str

    @property
    def path(self) -> str:
        return "shared/streamline_core/" + self.file


MUTATIONS = (
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
    # Gaps, eviction
    Mutation("neighbouring gaps take one cause", "gaps.py", " and merged[-1][2] == row[2]:", ":", CAUSE),
    Mutation("an eviction leaves no note", "log.py", "self.state.gaps.add(max(base, self.state.acked), end, cause)", "pass", CAUSE),
    Mutation(
        "a segment goes before its gap is noted",
        "log.py",
        "self.segments.removals.append((self.state.save(), name, size))",
        "self.segments.removals.append((0, name, size))\n        self.state.save()",
        CAUSE,
    ),
    Mutation(
        "the head is evicted",
        "log.py",
        "if not segments.bases or (len(segments.bases) == 1 and segments.head):",
        "if not segments.bases:",
        DURABLE,
    ),
    Mutation(
        "what is not durable is evicted",
        "log.py",
        "return end <= self.durable and (self.kept_from",
        "return end >= 0 and (self.kept_from",
        DURABLE,
    ),
    Mutation(
        "what is owed is evicted before what is not",
        "eviction.py",
        "rank = (not log.can_evict, owed, self._worth",
        "rank = (not log.can_evict, not owed, self._worth",
        SILENT,
    ),
    Mutation("`reject` evicts what is owed", "eviction.py", " or self._limits.eviction_policy == REJECT):", "):", SILENT),
    Mutation("what is owed goes for what is new", "eviction.py", "(not owed_too or ", "(", SILENT),
    Mutation("what the cloud has makes no room for more", "eviction.py", "while stored + wanted > limit", "while stored > limit", ARRIVES),
    Mutation("the cap on storage is forgotten", "eviction.py", "if self._limits.max_storage:", "if False:", BOUNDED),
    Mutation("the cap on storage is looked at once a turn", "append_log.py", "self.limits.budget.left -= size", "pass", BOUNDED),
    Mutation("a topic's own priority hides what the limits say", "eviction.py", "(self._limits.topic_priorities or {})", "{}", SILENT),
    Mutation("a full queue evicts without asking", "sync_queue.py", "while policy == EVICT and fits", "while fits", SILENT),
    Mutation("a reader's position is not kept", "local_consumers.py", "self._dirty = True\n            self._hold", "self._hold", TWICE),
    Mutation("what a reader holds is given back", "local_consumers.py", "log.kept_from = min(here) if here else -1", "pass", SILENT),
    Mutation("what is held fills the disk", "eviction.py", "return self.held or self._limits", "return self._limits", BOUNDED),
    Mutation("compaction drops the newest", "compaction.py", "self.last.get(key, -1) > offset", "self.last.get(key, -1) >= offset", SILENT),
    Mutation("an unfinished segment counts", "recovery.py", "if base in bases:\n            log", "if False:\n            log", SILENT),
    Mutation("who reads on does not notice an exchange", "log_reader.py", "or self._exchanges != segments.exchanges", "", SILENT),
    Mutation("local topics fill the queue", "intake.py", 'and node.topics[topic].direction != "local"', "", BOUNDED),
    Mutation("a segment of a queue that evicts never ends", "segments.py", "not limits.segment_records or", "True or", SILENT),
    Mutation("a lane is never served", "schedule.py", "self._passes[BACKLOG] < self._passes[FRESH]", "False", ARRIVES),
    Mutation("urgent data waits", "schedule.py", "if not (allowed == ALL or sender.urgent)", "if allowed != ALL", ARRIVES),
    Mutation("the processor's time is not counted", "pacing.py", "- (used_ms - self._cpu_seen_ms) * 1000", "", BOUNDED),
    Mutation("a busy processor stops sync", "pacing.py", "            self._cpu_left_us = 0\n", "            pass\n", ARRIVES),
    Mutation("a window never closes", "sync_windows.py", "if since < window.minutes:", "if True:", BOUNDED),
    Mutation("memory is not bounded", "resources.py", "self.memory_full = self._memory > self._limits.max_memory", "pass", BOUNDED),
    Mutation("the queue's room is not counted down", "sync_queue.py", "self._room -= n", "pass", BOUNDED),
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
    # What it says of itself; the clock
    Mutation("what is lost counts as delivered", "report.py", "acked - sum(state.lost.values())", "acked", LEDGER),
    Mutation(
        "what a lost disk owed is not in the ledger",
        "report.py",
        "unconfirmed[STORAGE] = produced - max(acked, log.ends_at)",
        "pass",
        LEDGER,
    ),
    Mutation("the clock goes back", "hlc.py", "max(wall << 16, self._last + 1)", "wall << 16", STAMPS),
    Mutation("a write is earlier than what it has seen", "keyed.py", "self._clock.observe(latest_hlc(standing))", "pass", AGREE),
    Mutation("a restart forgets the last stamp", "recovery.py", "log.clock.resume(header.hlc)\n            if whole:", "if whole:", STAMPS),
    # Versions and conflicts
    Mutation(
        "a clock supersedes what was not seen",
        "version.py",
        "(other.origin, other.epoch), 0) > other.offset",
        "(other.origin, other.epoch), 0) > other.offset or one.hlc > other.hlc",
        SILENT,
    ),
    Mutation(
        "what was just seen still stands",
        "version.py",
        "context[own] = max(version.offset + 1,",
        "context[own] = max(version.offset,",
        AGREE,
    ),
    Mutation(
        "who has seen most is forgotten first",
        "version.py",
        "(latest.get(writer, -1), writer)",
        "(-latest.get(writer, -1), writer)",
        AGREE,
    ),
    Mutation(
        "a clock that was not set wins",
        "version.py",
        "return self.trusted and not self.demoted, self.hlc",
        "return not self.trusted, self.hlc",
        AGREE,
    ),
    Mutation(
        "the first write is the last one",
        "conflict.py",
        "winner = min(siblings, key=_earliness)",
        "winner = max(siblings, key=_earliness)",
        AGREE,
    ),
    Mutation(
        "a merge that fails shows one of them",
        "conflict.py",
        '_all_of(siblings, "custom_merge failed',
        '_all_of(siblings[-1:], "custom_merge failed',
        SILENT,
    ),
    # Differences and digests
    Mutation(
        "what comes of another base is taken",
        "difference.py",
        'done != size or binascii.crc32(out) != struct.unpack_from("<I", difference, end)[0]',
        "done != size",
        SILENT,
    ),
    Mutation(
        "a difference gives more than the receiver allows",
        "difference.py",
        "if size > min(bytes_max, VALUE_BYTES_MAX):",
        "if size > VALUE_BYTES_MAX:",
        BOUNDED,
    ),
    Mutation("every place that looks alike is tried", "difference.py", "in range(CANDIDATES_MAX)", "in range(VALUE_BYTES_MAX)", BOUNDED),
    Mutation(
        "a version for which there was no memory is not taken up again",
        "keyed.py",
        "self.readers[i].seek(piece.first)",
        "pass",
        AGREE,
    ),
    Mutation("a mark that was lost is not seen to be", "digest.py", "if demoted:", "if False:", AGREE),
    Mutation("dots are hashed in the order in which they come", "digest.py", "in sorted(standing)", "in list(standing)", AGREE),
    Mutation(
        "what is not here at all is not asked for",
        "digest.py",
        "if here != there:",
        "if here != there and here != nothing:",
        ARRIVES,
    ),
    Mutation(
        "a list of hashes that is full says that it is all",
        "digest.py",
        "if len(found) > hashes_max:\n        found = found[:hashes_max]\n        last = found[-1]",
        "found = found[:hashes_max]",
        ARRIVES,
    ),
    # Tables and feeds
    Mutation(
        "a sibling that was superseded is kept",
        "table.py",
        "elif other == me or seen.get(other, 0) > others_offset:",
        "elif other == me:",
        AGREE,
    ),
    Mutation(
        "what was seen already is taken again",
        "table.py",
        "elif (other == me and others_offset > offset) or _has_seen(old, context, me, offset):",
        "elif other == me and others_offset > offset:",
        AGREE,
    ),
    Mutation(
        "a feed passes over a batch that was sent in part",
        "hub_feeds.py",
        "if header is None or header.next <= self.offset:",
        "if header is None or header.base < self.offset:",
        ARRIVES,
    ),
    Mutation(
        "what a power cut has taken of a feed is not asked for again",
        "log_feed.py",
        "rows[-1][2] in (TORN, CORRUPT)",
        "rows[-1][2] in (CORRUPT,)",
        ARRIVES,
    ),
    Mutation(
        "what the hub writes has seen nothing",
        "hub_producer.py",
        "context = seen(standing)",
        "context = {}",
        AGREE,
    ),
    Mutation(
        "what a fork has moved was seen under its old name",
        "extension.py",
        "context[origin, successor] = next_ - seal",
        "context[origin, epoch] = next_",
        AGREE,
    ),
    Mutation(
        "what came down is confirmed before it is durable",
        "feed.py",
        "self._pending[0][1] <= log.durable:",
        "self._pending[0][1] <= log.next:",
        DURABLE,
    ),
    Mutation(
        "a log that was just opened is offered before all of it is durable",
        "offers.py",
        "for sender in self.due if sender.log.settled]",
        "for sender in self.due]",
        TWICE,
    ),
    Mutation(
        "after a start a table shows only what is durable again",
        "keyed.py",
        "reader.to_found = True",
        "pass",
        AGREE,
    ),
    Mutation(
        "what may still be lost counts as stored",
        "keyed.py",
        "if not all([log.settled for log in self.logs]):",
        "if False:",
        DURABLE,
    ),
    Mutation(
        "a repeated HAVE counts as a new one",
        "session.py",
        "if number <= receiver.have_number:",
        "if number < receiver.have_number - 1:",
        SESSION,
    ),
    Mutation(
        "a HAVE that was overtaken takes back what was sent after it",
        "receiver.py",
        "self._senders_end = next_ if sealed else max(self._senders_end, next_)",
        "self._senders_end = next_",
        TWICE,
    ),
    Mutation(
        "a note of what stands no longer may be larger than can be read",
        "keyed.py",
        "if part and size + takes > room:",
        "if False:",
        AGREE,
    ),
    Mutation(
        "what a restored hub is told of a restored disk is never believed",
        "keyed_feed.py",
        "if not self._parted and log.acked == log.next:",
        "if False:",
        AGREE,
    ),
    Mutation(
        "a log whose end has rotted gives a name a second time",
        "keyed.py",
        "if self._known_to > log.written and",
        "if False and",
        AGREE,
    ),
    Mutation(
        "what has rotted stands here and nowhere else",
        "keyed.py",
        "if rows is not self._gaps[i]:",
        "if False:",
        AGREE,
    ),
    Mutation(
        "what is found rotten is not asked for again",
        "downlink.py",
        "if feed.keyed.lost:  #",
        "if False:  #",
        AGREE,
    ),
    Mutation(
        "the end of a feed that has rotted is not asked for again",
        "log_feed.py",
        "self._rewind_to_damage()  # which",
        "pass  # which",
        ARRIVES,
    ),
    Mutation(
        "what comes again is shown again",
        "consumer.py",
        "if self.log.ends_at == logs[i].state.starts_at:",
        "if False:",
        TWICE,
    ),
    Mutation("by priority all is worth the same", "eviction.py", "self._node.topics[partition.topic].priority)", "0)", SILENT),
    Mutation(
        "what goes is not the oldest",
        "eviction.py",
        "if owed else 0, self._age(log), log.folder)",
        "if owed else 0, 0, log.folder)",
        SILENT,
    ),
    Mutation("what is young expires, too", "expiry.py", "0 < self._newest_ms(log) < before_ms:", "0 < self._newest_ms(log):", SILENT),
)
