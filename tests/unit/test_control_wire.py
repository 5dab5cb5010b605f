"""What a control socket's messages say: lengths, fields, records in a body, and errors by their kind."""

import json

from harness import cuts, raises
from streamline_core import control_wire, explain
from streamline_core.consumer import Gap
from streamline_core.control_records import ACKS, RECORDS_MAX, ack_of, records_of, repeats_of, row_of, split
from streamline_core.control_wire import check_path, kind_of, lengths, number, text
from streamline_core.errors import BacklogFull, CorruptRecord, ProtocolError, QueueFull, StorageFull, UsageError
from streamline_core.record import Record


def test_lengths_are_bounded_before_anything_is_read():
    assert lengths(b"\0\0\0\x02\0\0\0\0") == (2, 0)
    assert lengths(b"\0\x10\0\0\0\x80\0\0") == (control_wire.HEADER_BYTES_MAX, control_wire.BODY_BYTES_MAX)
    for prefix in (b"\0\0\0\x01\0\0\0\0", b"\0\x10\0\x01\0\0\0\0", b"\0\0\0\x02\0\x80\0\x01", b"\xff" * 8, b"GET / HT"):
        raises(ProtocolError, lengths, prefix)


def test_a_path_must_fit_a_socket_address():
    longest = "/" + "ü" * 53
    assert check_path(longest) == longest
    assert "108 bytes long and 107 are allowed" in str(raises(UsageError, check_path, longest + "x"))


def test_fields_are_what_they_are_meant_to_be():
    assert text({"a": "x"}, "a") == "x" and number({"a": 5}, "a") == 5 and number({}, "a", -1) == -1
    assert number({"a": (1 << 63) - 1}, "a") == (1 << 63) - 1
    for value in (None, 5, [], {"b": 1}):
        raises(UsageError, text, {"a": value}, "a")
    for value in (None, "5", True, 1.5, -2, 1 << 63, []):
        raises(UsageError, number, {"a": value}, "a")
    assert [ack_of({"ack": ack}) for ack in ACKS] == list(ACKS) and ack_of({}) == "durable"
    for ack in ("", "none", 1, None, ["cloud"]):
        raises(UsageError, ack_of, {"ack": ack})


def test_errors_have_a_kind():
    pairs = ((UsageError("x"), "usage"), (QueueFull("x"), "queue_full"), (BacklogFull("x", True, True), "queue_full"),
             (StorageFull("x"), "storage_full"), (ProtocolError("x"), "protocol"), (CorruptRecord("x"), "other"), (OSError(5), "internal"))
    for error, kind in pairs:
        assert kind_of(error) == kind


def test_records_lie_in_a_body_values_first():
    header, body = {"sizes": [1, 0, 3], "key_sizes": [2, -1, 0]}, b"abcdkk"
    assert records_of(header, body) == ([b"a", b"", b"bcd"], [b"kk", None, b""])
    assert records_of(header, memoryview(bytearray(body))) == ([b"a", b"", b"bcd"], [b"kk", None, b""])
    assert records_of({"sizes": [6]}, body) == ([body], None)
    assert all([type(value) is bytes for value in split(memoryview(bytearray(body)), [2, 4])])
    for cut in cuts(body):
        raises(ProtocolError, records_of, header, cut)
    raises(ProtocolError, records_of, header, body + b"x")
    for sizes in (None, [], [-1], ["1"], [True], [1.0], "1", [0] * (RECORDS_MAX + 1)):
        raises(UsageError, records_of, {"sizes": sizes}, b"")
    raises(UsageError, records_of, {"sizes": [1], "key_sizes": [1, 1]}, b"abc")
    raises(UsageError, records_of, {"sizes": [1], "key_sizes": [-2]}, b"a")
    raises(UsageError, records_of, {"sizes": [1, 1]}, b"ab", 1)


def test_a_repeat_is_told_apart_from_a_hole():
    assert repeats_of(-1, 0, -1, 0, 5) == 0  # nobody in particular
    assert repeats_of(-1, 7, 0, 3, 5) == 0  # one whom this log does not know may begin anywhere
    assert [repeats_of(9, 7, 0, sequence, 5) for sequence in (0, 5, 8, 9, 10)] == [5, 5, 2, 1, 0]
    raises(UsageError, repeats_of, 9, 7, 0, 11, 5)
    raises(UsageError, repeats_of, -1, 7, -1, 0, 5)


def test_rows_say_what_is_in_a_piece():
    record = Record(7, 5 << 16, False, None, b"key", b"value", (("a", b"\xc3\xbc"), ("b", b"x\xffy")), True)
    assert row_of(record) == [7, 5, False, 3, 5, [["a", "ü"], ["b", "x\ufffdy"]], True]
    assert row_of(Record(8, 0, True, 123, None, b"", (), False)) == [8, 123, True, -1, 0, [], False]
    assert row_of(Gap(3, 9, "evicted")) == [3, 9, "evicted"]
    assert json.loads(json.dumps(row_of(record))) == row_of(record)


def test_bytes_and_times_are_shown_as_json_can_carry_them():
    assert explain.json_value(None) is None and explain.json_value("ü".encode()) == "ü"
    assert explain.json_value(b"\xff\x00") == {"base64": "/wA="}
    times = ((0, "1970-01-01T00:00:00.000Z"), (951782400123, "2000-02-29T00:00:00.123Z"), (4107542399999, "2100-02-28T23:59:59.999Z"),
             (4107542400000, "2100-03-01T00:00:00.000Z"),
             (253402300799999, "9999-12-31T23:59:59.999Z"), (253402300800000, None), (-1, None))
    for time_ms, shown in times:
        assert explain.rfc3339(time_ms) == shown, time_ms
