"""What breaks the limits: what makes room and what is noted of it, who may hold it, and what bounds queue, link, processor and memory.

Rule: data, nothing else; mutation.py says what a mutation is. Must not know: who is to notice.
"""

from mutation import ARRIVES, BOUNDED, CAUSE, DURABLE, SILENT, TWICE, Mutation

ROOM = (
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
)

WORTH = (
    # What goes first, and what expires
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
