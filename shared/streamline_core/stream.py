"""What a stream is called: what one origin wrote to one (topic, partition) in one epoch.

Rule: names are checked here and nowhere else, so that a name that got past this file is safe in a path, an MQTT
topic and a SQL row. Knows nothing of logs or sessions.
"""

from .errors import UsageError

NODE_ID_CHARS_MAX = 64
TOPIC_CHARS_MAX = 128
EPOCH_MAX = (1 << 32) - 1
_ALLOWED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"


def _check(what: str, name: object, chars_max: int) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= chars_max:
        given = repr(name[: chars_max + 1]) if isinstance(name, str) else type(name).__name__
        raise UsageError("%s must be text of 1 to %d characters, not %s" % (what, chars_max, given))
    for c in name:
        if c not in _ALLOWED:
            raise UsageError("%s %r may hold letters, digits, '.', '_' and '-', not %r" % (what, name, c))
    if name[0] in "._-":
        raise UsageError("%s %r must begin with a letter or a digit" % (what, name))


def check_node_id(name: object) -> None:
    """Raises UsageError unless `name` is 1 to 64 of [A-Za-z0-9._-], beginning with a letter or digit."""
    _check("node id", name, NODE_ID_CHARS_MAX)


def check_topic(name: object) -> None:
    """Raises UsageError unless `name` is 1 to 128 of [A-Za-z0-9._-], beginning with a letter or digit."""
    _check("topic", name, TOPIC_CHARS_MAX)


class StreamId:
    """(origin node, topic, partition, epoch). Immutable; equal by value; `epoch` is a random 32-bit number."""

    def __init__(self, origin: str, topic: str, partition: int, epoch: int) -> None:
        self.origin = origin
        self.topic = topic
        self.partition = partition
        self.epoch = epoch

    def key(self) -> "tuple[str, str, int, int]":
        return (self.origin, self.topic, self.partition, self.epoch)

    def folder(self) -> str:
        """Where its log lies: `<topic>-<partition>/<origin>-<epoch in hex>`."""
        return "%s-%d/%s-%08x" % (self.topic, self.partition, self.origin, self.epoch)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StreamId) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.key())

    def __repr__(self) -> str:
        return self.folder()
