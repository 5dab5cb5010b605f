"""Records over a board's control socket: produce, and consume.

Rule: a producer's records are taken without holes: after one request of a producer was refused, the connection takes no more of it. What is
read is a piece at a time, however many records a batch has. Must not know: sockets.
"""

from streamline_core.control_records import ack_of, records_of, repeats_of, row_of
from streamline_core.control_wire import number, text
from streamline_core.errors import BacklogFull, QueueFull, StorageFull, UsageError

from .control_ops import RECORDS_AT_ONCE

ROWS_MAX = 32  # of a piece
PIECE_BYTES = 2048
MEMORY_MS_MAX = 20000  # how long somebody waits for memory


def produce(connection, header, body):
    whose = number(header, "producer"), text(header, "topic"), number(header, "partition", -1)
    if whose in connection.refused:
        raise UsageError("an earlier request of this producer was refused; connect again and go on from there")
    return _produce(connection, header, body, whose)


def _produce(connection, header, body, whose):
    try:
        node, (producer, topic, partition) = connection.node, whose
        sequence, ack = number(header, "sequence"), ack_of(header)
        values, keys = records_of(header, body, RECORDS_AT_ONCE)
        last = node.log(topic, max(0, partition)).producers.last(producer) if producer else -1  # accepted ones too: many may be under way
        repeats = at = repeats_of(last, producer, partition, sequence, len(values))
        if ack == "cloud" and at < len(values) and (connection.control.link is None or node.log(topic).local):
            raise UsageError("ack 'cloud' would wait for ever: %s never goes to a cloud from here; use durable" % topic)
        rows = []  # [log, first offset, next offset]
        if at == len(values):
            log = node.log(topic, max(0, partition))
            rows.append([log, log.next, log.next])
        size, give_up_ms = len(values), node.clock.monotonic_ms() + MEMORY_MS_MAX
        while at < len(values):
            try:
                if keys is None:
                    log, first, end = _handed(node, node.produce_many, topic, values[at : at + size], partition, producer, sequence + at)
                    at += min(size, len(values) - at)
                else:
                    one = values[at], keys[at], None, None, producer, sequence + at, partition
                    log, first = _handed(node, node.produce, topic, *one)
                    end = first + 1
                    at += 1
            except QueueFull as full:
                size = min(size, len(values) - at)
                if keys is None and size > 1 and not _fits(node, full):
                    size = max(1, size // 2)
                elif not _waits(node, full, give_up_ms):
                    raise
                else:
                    yield None
                continue
            if rows and rows[-1][0] is log:
                rows[-1][2] = end
            else:
                rows.append([log, first, end])
        connection.wait(header, rows, ack, {"stored": len(values) - repeats, "repeats": repeats}, whose if producer else None)
    except Exception:
        if whose[0]:
            connection.refused.add(whose)
        raise


def _handed(node, hand_over, topic, *what):
    """What hand_over gives. Without memory it may stop half-way: then the log is opened anew, from what is on the disk. Raises MemoryError,
    and as `node.produce`."""
    try:
        return hand_over(topic, *what)
    except MemoryError as error:
        for log in node.logs():
            if log.stream.topic == topic and not log.sealed:
                log.failure = error
        raise


def _buffered(node):
    return max([log.buffered_bytes for log in node.logs()] or [0])


def _on_its_way(node):
    """Whether the storage has something to do, after which there may be room."""
    return _buffered(node) > 0 or node.evictor.catching_up


def _memory_full(node):
    return node._resources is not None and node._resources.memory_full


def _fits(node, full):
    """Whether what was refused would fit if there were room: not where it alone is more than the buffer, or the queue, holds."""
    return full.fits if isinstance(full, BacklogFull) else _on_its_way(node) or _memory_full(node)


def _waits(node, full, give_up_ms):
    """Whether it is of use, and wanted, to wait for room."""
    if isinstance(full, BacklogFull):
        return full.waits
    if _memory_full(node):
        return node.clock.monotonic_ms() < give_up_ms
    return _on_its_way(node)


def write(connection, header, hand_over, topic, *what):
    """A version of a key: hand_over gives (log, offset). Answered when they are durable."""
    give_up_ms = connection.node.clock.monotonic_ms() + MEMORY_MS_MAX
    while True:
        try:
            log, offset = _handed(connection.node, hand_over, topic, *what)
            break
        except QueueFull as full:
            if not _waits(connection.node, full, give_up_ms):
                raise
            yield None
    connection.wait(header, [[log, offset, offset + 1]], "durable", {})


def producer_last(connection, header, body):
    return _producer_last(connection.node, text(header, "topic"), number(header, "partition"), number(header, "producer"))


def _producer_last(node, topic, partition, producer):
    """What is accepted becomes durable first: a producer skips what it is told here."""
    log = node.log(topic, partition)
    end, term = log.next, log.term
    while log.durable < end and log.successor is None:
        if log.failure is not None or log.term != term:
            raise StorageFull("%s: not stored: %s; produce it again" % (log.folder, log.failure or "it was reopened"))
        yield None
    yield {"last": node.producer_last(topic, partition, producer)}, b""


def consume(connection, header, body):
    """Answered in pieces, beside other requests, until the durable end, or (follow) until the connection ends."""
    node, topic, partition = connection.node, text(header, "topic"), number(header, "partition")
    follow, feed, start = header.get("follow") is True, header.get("feed") is True, number(header, "from")
    if header.get("time") is not None:
        start = node.offset_at(topic, partition, number(header, "time"), feed)
    if header.get("consumer") is not None:
        reader = node.consumers.open(text(header, "consumer"), topic, partition, feed)
    else:
        reader = node.consumer(topic, partition, start, feed)
    connection.begin(header, _consume(reader, follow, node.config.log.batch_bytes))


def _consume(reader, follow, batch_bytes):
    while True:
        rows, parts, size, found = [], [], 0, False
        for item in reader.each(batch_bytes):
            rows.append(row_of(item))
            found = True
            if hasattr(item, "cause"):
                end = item.next
            else:
                end = item.offset + 1
                if item.key is not None:
                    parts.append(item.key)
                parts.append(item.value)
                size += len(item.value) + len(item.key or b"")
            if len(rows) == ROWS_MAX or size >= PIECE_BYTES:
                yield {"more": True, "rows": rows, "epoch": reader.epoch, "next": end}, b"".join(parts)
                rows, parts, size = [], [], 0
        if rows:
            yield {"more": True, "rows": rows, "epoch": reader.epoch, "next": reader.offset}, b"".join(parts)
        elif not found:
            if not follow:
                break
            yield None
    yield {}, b""


def commit(connection, header, body):
    """A named consumer has done with all below `offset` of `epoch`, as a piece of `consume` gave them."""
    where = text(header, "consumer"), text(header, "topic"), number(header, "partition"), header.get("feed") is True
    connection.node.consumers.commit(where[0], where[1], where[2], where[3], number(header, "epoch"), number(header, "offset"))
    return {}


OPS = {"produce": produce, "producer_last": producer_last, "consume": consume, "commit": commit}
