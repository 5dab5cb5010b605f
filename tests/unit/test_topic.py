"""Topic definitions: the wire and back, and a mismatch by name."""

from harness import raises
from streamline_core.errors import ProtocolError, UsageError
from streamline_core.topic import DIRECTIONS, KINDS, STRATEGIES, TopicDefinition, definition_from_wire, partition_of


def test_every_definition_comes_back():
    for kind in KINDS:
        for direction in DIRECTIONS:
            for strategy in STRATEGIES:
                one = TopicDefinition(kind, direction, 3, strategy, b"12345678")
                other = definition_from_wire(list(one.to_wire()))
                assert one.difference(other) is None and one.to_wire() == other.to_wire()
    assert TopicDefinition("keyed", "local", 1024, "keep_both").to_wire() == (1, 3, 1024, 4, b"")


def test_a_difference_is_named():
    assert TopicDefinition().difference(TopicDefinition(partitions=4)) == "partitions: 1 here, 4 there"
    assert "kind" in TopicDefinition().difference(TopicDefinition("keyed"))


def test_anything_else_is_refused():
    for wire in (None, [], [0, 0, 0, 0, b""], [0, 0, 1025, 0, b""], [2, 0, 1, 0, b""], [0, 4, 1, 0, b""],
                 [0, 0, 1, 6, b""], [0, 0, 1, 0, b"x"],
                 [0, 0, True, 0, b""], [-1, 0, 1, 0, b""], [0, 0, 1, 0, ""]):  # fmt: skip
        raises(ProtocolError, definition_from_wire, wire)
    raises(UsageError, TopicDefinition, "logs")
    raises(UsageError, TopicDefinition, "log", "edge_to_cloud", 0)


def test_partitions_by_crc_32():
    assert partition_of(b"123456789", 1 << 32) == 0xCBF43926
    assert [partition_of(b"k%d" % i, 1) for i in range(3)] == [0, 0, 0]
