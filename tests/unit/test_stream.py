"""Stream names: what passes is safe in a path, a topic and SQL."""

from harness import raises
from streamline_core.errors import UsageError
from streamline_core.stream import StreamId, check_node_id, check_topic


def test_names():
    for name in ("a", "A-1_b.c", "9", "x" * 64):
        check_node_id(name)
        check_topic(name)
    check_topic("x" * 128)
    for name in ("", ".", "..", "-a", "_a", "a/b", "a b", "a+", "a#", "ä", "a\x00", "x" * 129, None, 5, b"a"):
        raises(UsageError, check_topic, name)
        raises(UsageError, check_node_id, name)
    raises(UsageError, check_node_id, "x" * 65)


def test_a_stream_is_its_four_parts():
    one, same, other = StreamId("e", "t-1", 2, 255), StreamId("e", "t-1", 2, 255), StreamId("e", "t-1", 2, 254)
    assert one == same and hash(one) == hash(same) and one != other and one.folder() == "t-1-2/e-000000ff" == repr(one)
