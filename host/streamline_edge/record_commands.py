"""`streamline-cli edge produce` and `consume`: records from standard input, and to standard output.

Rule: a record is a line, byte for byte; how many were stored is said on standard error, or with --json on standard output, whatever ends
the command.
"""

from __future__ import annotations

import sys

from streamline_core.errors import UsageError

from .commands import WELL, Arguments, Commands, client, connector, show


def add(commands: Commands) -> None:
    produce = commands.add("produce", _produce, "store each line of standard input as a record")
    produce.add_argument("topic", metavar="TOPIC")
    keys = produce.add_mutually_exclusive_group()
    keys.add_argument("--key", metavar="K", help="the key of all records")
    keys.add_argument("--key-field", metavar="F", help="the lines are JSON objects, this field is the key")
    produce.add_argument("--producer", metavar="NAME", help="run again with the same name and input, it stores only what is missing")
    produce.add_argument(
        "--ack", choices=("buffered", "durable", "cloud"), default="durable", help="what a line waits for"
    )
    consume = commands.add("consume", _consume, "print the records of a topic")
    consume.add_argument("topic", metavar="TOPIC")
    consume.add_argument("--partition", type=int, default=0, metavar="P")
    start = consume.add_mutually_exclusive_group()
    start.add_argument("--from", type=int, default=0, metavar="N", dest="start", help="from this offset on")
    start.add_argument("--consumer", metavar="NAME", help="from where the consumer of that name was; what is printed, it has done with")
    start.add_argument("--time", metavar="T", help="from this time on: ms since 1970, or ISO 8601")
    consume.add_argument("--follow", action="store_true", help="wait for more")
    consume.add_argument("--feed", action="store_true", help="what the cloud sent, where the topic flows both ways")


def _produce(arguments: Arguments) -> int:
    from .line_producer import LineProducer

    if sys.stdin is None:
        raise UsageError("standard input is closed; give it the records, one a line")
    connect = connector(arguments)
    key = arguments.key.encode() if arguments.key is not None else None

    def note(text: str) -> None:
        print(f"streamline-cli: {text}", file=sys.stderr, flush=True)

    whose = arguments.topic, arguments.producer, key, arguments.key_field
    producer = LineProducer(connect, *whose, note, arguments.ack)
    ended = False
    try:
        producer.run(sys.stdin.fileno())
        ended = True
    finally:
        counts = {"lines": producer.lines, "stored": producer.stored, "repeats": producer.repeats}
        text = f"{producer.lines} lines: {producer.stored} stored, {producer.repeats} repeats skipped"
        if ended or producer.lines or arguments.json:  # what is refused at once has no counts for people
            show(arguments, counts, lambda said: print(text, file=sys.stderr, flush=True))
    return WELL


def _consume(arguments: Arguments) -> int:
    from . import record_lines

    connection = client(arguments)
    if arguments.follow:
        connection.socket.settimeout(None)
    fields = {"topic": arguments.topic, "partition": arguments.partition, "from": arguments.start, "feed": arguments.feed}
    if arguments.time is not None:
        fields["time"] = record_lines.time_ms(arguments.time)
    where = {"consumer": arguments.consumer, "topic": arguments.topic, "partition": arguments.partition, "feed": arguments.feed}
    if arguments.consumer is not None:
        fields["consumer"] = arguments.consumer
        commits = client(arguments)  # another connection: what comes on the first one is pieces
    out = sys.stdout.buffer
    make = record_lines.json_lines if arguments.json else record_lines.value_lines
    for answer, body in connection.stream("consume", follow=arguments.follow, **fields):
        lines, gaps = make(answer["rows"], body)
        out.write(lines)
        out.flush()
        for gap in gaps:
            print(gap, file=sys.stderr)
        if arguments.consumer is not None:
            commits.request("commit", epoch=answer["epoch"], offset=answer["next"], **where)
    return WELL
