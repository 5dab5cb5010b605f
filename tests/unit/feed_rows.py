"""What a store keeps for feeds, in memory: heads, chunks, versions that stand, and how far each node has come."""

from streamline_core.store_ops import (
    ChunkReceived,
    ClockMarked,
    FeedChunk,
    FeedConfirmed,
    FeedVersion,
    HubOpened,
    TombstoneDropped,
    VersionRefused,
)


class FeedRows:
    def __init__(self):
        self.term = 0
        self.heads = {}  # {(topic, partition): [next, lineage]}
        self.chunks = {}  # {(topic, partition): [FeedChunk]}
        self.versions = {}  # {(topic, partition): {dot: (cloud offset, VersionStands)}}
        self._by_key = {}  # {(topic, partition): ({dot: …} as of which it was made, {key: dots})}
        self.cursors = {}  # {(node, topic, partition): next}
        self.refused = []
        self.marks = []

    def copy(self):
        twin = FeedRows()
        twin.term = self.term
        twin.heads = {place: [self.heads[place][0], list(self.heads[place][1])] for place in self.heads}
        twin.chunks = {place: list(self.chunks[place]) for place in self.chunks}
        twin.versions = {place: dict(self.versions[place]) for place in self.versions}
        twin.cursors = dict(self.cursors)
        twin.refused = list(self.refused)
        return twin

    def load_head(self, topic, partition):
        next_, lineage = self.heads.get((topic, partition), (0, []))
        return next_, list(lineage)

    def load_chunk(self, topic, partition, offset):
        for chunk in self.chunks.get((topic, partition), ()):
            if chunk.cloud_offset <= offset < chunk.cloud_offset + chunk.count:
                return chunk
        return None

    def load_versions(self, topic, partition, offset, end, count_max):
        rows = self.versions.get((topic, partition), {})
        found = sorted([(rows[dot][0], dot) for dot in rows if offset <= rows[dot][0] < end])[:count_max]
        return [FeedVersion(at, rows[dot][1].key, dot[0], dot[1], dot[2], rows[dot][1].demoted, rows[dot][1].record) for at, dot in found]

    def _dots(self, place, key):
        """An index: whoever puts other versions in place of these gets a new one."""
        rows = self.versions.get(place, {})
        known = self._by_key.get(place)
        if known is None or known[0] is not rows:
            known = self._by_key[place] = (rows, {})
            for dot in rows:
                known[1].setdefault(rows[dot][1].key, []).append(dot)
        return sorted(known[1].get(key, ()))

    def load_siblings(self, topic, partition, key):
        rows = self.versions.get((topic, partition), {})
        return [(rows[dot][1].extension, rows[dot][1].deleted) for dot in self._dots((topic, partition), key)]

    def load_standing(self, topic, partition):
        rows = self.versions.get((topic, partition), {})
        found = {}
        for dot in sorted(rows):
            found.setdefault(rows[dot][1].key, []).append(dot + (rows[dot][1].demoted,))
        return [(key, found[key]) for key in sorted(found)]

    def load_records(self, topic, partition, key):
        rows = self.versions.get((topic, partition), {})
        return [rows[dot][1].record for dot in self._dots((topic, partition), key)]

    def load_tombstones(self, before_ms, count_max):
        found = []
        for place in sorted(self.versions):
            rows = self.versions[place]
            for dot in sorted(rows):
                if rows[dot][1].deleted and rows[dot][1].arrived_ms < before_ms and len(found) < count_max:
                    found.append((place[0], place[1], rows[dot][1].key, dot))
        return found

    def load_version(self, topic, partition, dot):
        found = self.versions.get((topic, partition), {}).get(tuple(dot))
        return FeedVersion(found[0], found[1].key, dot[0], dot[1], dot[2], found[1].demoted, found[1].record) if found else None

    def load_cursor(self, node, topic, partition):
        return self.cursors.get((node, topic, partition), 0)

    def apply(self, op):
        """Take up an op; True if nobody else has to."""
        if isinstance(op, HubOpened):
            self.term = op.term
        elif isinstance(op, FeedConfirmed):
            self.cursors[op.node, op.topic, op.partition] = op.next
        elif isinstance(op, ClockMarked):
            self.marks.append((op.stream.key(), op.first, op.next, op.later_ms))
        elif isinstance(op, VersionRefused):
            self.refused.append(op)
        elif isinstance(op, TombstoneDropped):
            place = (op.topic, op.partition)
            key = self.versions[place][op.dot][1].key
            self._dots(place, key)
            self._by_key[place][1][key].remove(op.dot)
            del self.versions[place][op.dot]
        else:
            if isinstance(op, ChunkReceived):
                self._feed_chunk(op)
            return False
        return True

    def _feed_chunk(self, op):
        place = (op.stream.topic, op.stream.partition)
        head = self.heads.setdefault(place, [0, []])
        rows = self.versions.setdefault(place, {})
        for row in op.versions:
            self._dots(place, row.key)
            dots = self._by_key[place][1].setdefault(row.key, [])
            for dot in row.superseded:
                del rows[dot]
                dots.remove(dot)
            assert row.dot not in rows
            dots.append(row.dot)
            rows[row.dot] = (head[0] + row.index, row)
        if op.count:
            if not head[1] or head[1][-1][0] != self.term:
                head[1].append((self.term, head[0]))
            chunk = FeedChunk(
                head[0], op.count, op.first, op.next, op.stream.origin, op.stream.epoch, op.codec_id, op.raw_bytes, op.data
            )
            self.chunks.setdefault(place, []).append(chunk)
            head[0] += op.count
