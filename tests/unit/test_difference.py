"""Differences: what comes out is the target or CorruptRecord, and what changed little costs little."""

import binascii
import struct

from harness import Random, cuts, flips, raises
from streamline_core import difference as module
from streamline_core.difference import BLOCK_BYTES, CANDIDATES_MAX, SEARCH_BYTES_MIN, VALUE_BYTES_MAX, apply, make
from streamline_core.errors import CorruptRecord


def document(random, fields=48):
    """A JSON object of about 4 KB, as a list of its fields."""
    row = b'"field_%03d": {"value": %d.%06d, "unit": "C", "ok": true, "name": "sensor %d"}'
    return [row % (i, random.below(100), random.below(1000000), i) for i in range(fields)]


def text(fields):
    return b"{" + b", ".join(fields) + b"}"


def cost(base, target):
    """Bytes of the difference, which is seen to give the target again."""
    difference = make(base, target, len(target))
    if difference is None:
        return None
    assert len(difference) < len(target)
    assert apply(base, difference, len(target)) == target
    assert make(base, target, len(difference)) == difference and make(base, target, len(difference) - 1) is None
    return len(difference)


def packed(target, *instructions):
    """A difference written by hand: bytes that are inserted, (place, count) that is copied; all numbers below 64, places rise."""
    out, end = bytearray([len(target)]), 0
    for instruction in instructions:
        if isinstance(instruction, bytes):
            out += bytes([len(instruction) * 2]) + instruction
        else:
            place, count = instruction
            out += bytes([count * 2 + 1, (place - end) * 2 if place >= end else (end - place) * 2 - 1])
            end = place + count
    return bytes(out) + struct.pack("<I", binascii.crc32(target))


def test_one_changed_field_of_a_document_costs_less_than_40_bytes():
    random = Random(3)
    for i in (0, 20, 47):
        fields = document(random)
        base = text(fields)
        assert len(base) > 3500
        fields[i] = fields[i].replace(b'"value": ', b'"value": 7')
        assert cost(base, text(fields)) < 20
        fields[i] = fields[i].replace(b'"C"', b'"degrees"').replace(b"true", b"false")
        assert cost(base, text(fields)) < 56 and cost(text(fields), base) < 56  # all of a field but its name
        fields[i] = b'"another": {"value": 9}'
        assert cost(base, text(fields)) < 40


def test_several_changes_cost_each_a_little():
    random = Random(4)
    fields = document(random)
    base = text(fields)
    for count, i in enumerate((3, 11, 24, 40)):
        fields[i] = fields[i].replace(b"true", b"null")
        assert cost(base, text(fields)) < 16 + 14 * (count + 1)
    fields = document(random)
    base = text(fields)
    assert cost(base, text(fields[:10] + fields[11:30] + [b'"new": 1'] + fields[30:])) < 48
    assert cost(base, text(fields[40:] + fields[:40])) < 48
    assert cost(base, text(fields[::2])) < 48 // 2 * 9
    fields.append(fields[7].replace(b"field_007", b"field_099"))
    assert cost(base, text(fields)) < 48


def test_a_shuffled_document_is_copied_field_by_field():
    random = Random(5)
    fields = document(random)
    base, shuffled = text(fields), []
    while fields:
        shuffled.append(fields.pop(random.below(len(fields))))
    assert cost(base, text(shuffled)) < 48 * 9


def test_the_bytes_are_those_of_the_layout():
    base = b"0123456789abcdefghijklmnopqrstuvwxyz"
    target = b"0123456789XYdefghijklmnopqrstuvwxyz"
    assert make(base, target, 100) == packed(target, (0, 10), b"XY", (13, 23))
    assert make(base, base, 100) == packed(base, (0, 36))
    assert make(base, base[:30], 100) == packed(base[:30], (0, 30))
    assert make(base, base[7:], 100) == packed(base[7:], (7, 29))
    swapped = base[18:] + base[:18]
    assert apply(base, packed(swapped, (18, 18), (0, 18)), 36) == swapped
    long = base * 4
    assert make(long, long, 200) == b"\x90\x01\xa1\x02\x00" + struct.pack("<I", binascii.crc32(long))


def test_no_difference_where_it_is_not_worth_it():
    random = Random(6)
    for base, target in ((b"", b""), (b"abc", b""), (b"", b"abc" * 9), (b"abcdefg", b"abcdefg"), (random.bytes(3000), random.bytes(3000))):
        assert make(base, target, 5000) is None
    base = random.bytes(400)
    assert make(base, base[:390] + b"0123456789", 400) is not None
    assert make(base, base, 8) is None and make(base, base, 0) is None and make(base, base, -1) is None


def test_values_that_are_too_large_are_left_alone():
    large = bytes(VALUE_BYTES_MAX + 1)
    assert make(large, b"x" * 100, 100) is None and make(b"x", large, 100000) is None
    assert len(make(large[1:], large[2:], 100)) < 14
    difference = b"\x81\x80\x04" + b"\x03\x00" + bytes(4)  # of 65537 bytes
    assert "65536" in str(raises(CorruptRecord, apply, large, difference, 1 << 20))


def changed(random, base):
    """The base with some pieces removed, repeated, moved, or written anew."""
    value = bytearray(base)
    for _ in range(random.below(6)):
        at, size = random.below(len(value) + 1), random.below(60)
        piece = bytes(value[at : at + size])
        kind = random.below(4)
        if kind == 0:
            value = value[:at] + value[at + size :]
        elif kind == 1:
            value = value[:at] + piece + value[at:]
        elif kind == 2:
            value = value[:at] + random.bytes(random.below(20)) + value[at:]
        else:
            to = random.below(len(value) + 1)
            value = value[:to] + piece + value[to:]
    return bytes(value)


def test_whatever_changed_comes_back():
    for seed in range(1, 150):
        random = Random(seed)
        alphabet = 1 + random.below(4)  # few letters: the same blocks are found everywhere
        size = random.below(700)
        base = bytes([97 + random.below(alphabet) for _ in range(size)]) if seed % 3 else random.bytes(size)
        target = changed(random, base)
        difference = make(base, target, len(target))
        assert difference is None or apply(base, difference, len(target)) == target, seed
        if seed % 3 == 0 and len(target) > 500:
            assert difference is not None and len(difference) < len(target) // 2 + 100, seed
        view = memoryview(bytearray(base))
        assert difference is None or (apply(view, memoryview(difference), 9999) == target and make(view, target, 9999) == difference), seed


def test_any_two_values_go_through_with_every_common_length():
    base = b"The quick brown fox jumps over the lazy dog, and the dog does not care at all about it."
    for at in range(len(base)):
        one, rest = base[:at], base[at + 1 :]
        for target in (one + b"!" + rest, one + rest, one + b"--" + base[at:], base[at:], base[: at + 1]):
            assert len(target) < 20 or cost(base, target) < 24, at


def test_a_broken_difference_is_refused_and_never_gives_something_else():
    random = Random(7)
    fields = document(random, 6)
    base = text(fields)
    fields[1], fields[4] = fields[4].replace(b"true", b"false"), fields[2]
    target = text(fields)
    difference = make(base, target, 300)
    for piece in cuts(difference):
        raises(CorruptRecord, apply, base, piece, 4096)
    for bit, copy in flips(difference):
        try:
            assert apply(base, copy, 4096) == target, bit
        except CorruptRecord:
            pass
    for longer in (difference + b"\0", difference + difference[-4:], b"\0" + difference):
        raises(CorruptRecord, apply, base, longer, 4096)


def test_a_difference_to_another_base_is_refused():
    random = Random(8)
    fields = document(random)
    base = text(fields)
    target = text(fields[:20] + fields[22:])
    difference = make(base, target, 100)
    for other in (b"", base[:-1], b" " + base, base.replace(b"sensor 7", b"sensor 8"), target):
        raises(CorruptRecord, apply, other, difference, 9999)
    assert apply(base + b" ", difference, 9999) == target  # of which nothing else comes


def test_more_bytes_than_are_allowed_never_come_out():
    base = bytes(1000)
    difference = make(base, bytes(900), 100)
    assert apply(base, difference, 900) == bytes(900)
    raises(CorruptRecord, apply, base, difference, 899)
    huge = (b"\xff" * 4 + b"\x0f", b"\xff" * 8 + b"\x7f")
    for number in huge:
        raises(CorruptRecord, apply, base, number + b"\x03\x00" + bytes(4), 1 << 40)
        raises(CorruptRecord, apply, base, b"\x05" + number + b"\x00" + bytes(4), 100)
        raises(CorruptRecord, apply, base, b"\x05\x0b" + number + bytes(4), 100)


def test_what_make_never_says_is_refused():
    base = b"0123456789"
    assert apply(base, packed(b"abcde01234", b"abcde", (0, 5)), 10) == b"abcde01234"
    for bad in (
        packed(b"abcde", b"abcde", b""),
        packed(b"abcde", b"abcde", (0, 0)),
        packed(b"abcde", b"abcdef"),
        packed(b"abcde", b"abcd"),
        packed(b"abcde"),
        packed(b"789", (7, 4)),
        packed(b"0123", (11, 4)),
        b"\x03\x07\x01" + struct.pack("<I", binascii.crc32(b"012")),  # from place -1
        b"\x05\x0aabc" + struct.pack("<I", binascii.crc32(b"abcde")),  # more to insert than there is
    ):
        raises(CorruptRecord, apply, base, bad, 100)
    for short in (b"", b"\x00", b"abc", bytes(4), b"\x05" + bytes(3)):
        raises(CorruptRecord, apply, base, short, 100)


def test_values_without_structure_take_no_more_than_linear_work():
    counted = [0]
    same = module._same

    def counting(a, i, b, j, count, back):
        counted[0] += 8 + count
        return same(a, i, b, j, count, back)

    module._same = counting
    try:
        for size in (1024, 4096):
            zeros = bytes(size)
            period = bytes(range(BLOCK_BYTES))
            for base, target in (
                (zeros, zeros[: size // 2] + b"1" + zeros[: size // 2 - 1]),
                (zeros, (zeros[:SEARCH_BYTES_MIN] + b"1") * (size // (SEARCH_BYTES_MIN + 1))),
                (zeros, (zeros[:15] + b"1") * (size // 16)),
                (period * (size // 16), (period + b"x") * (size // 17)),
                (b"ab" * (size // 2), b"ba" * (size // 2 - 1)),
                (zeros + b"1" + zeros, b"1" + zeros + b"2" + zeros + b"1"),
            ):
                counted[0] = 0
                difference = make(base, target, size * 3)
                assert difference is None or apply(base, difference, size * 3) == target
                assert counted[0] < 40 * CANDIDATES_MAX * len(target) // 4, (size, counted[0], len(target))
    finally:
        module._same = same


def test_a_search_that_cannot_pay_off_is_given_up():
    random = Random(9)
    base, target = random.bytes(2000), random.bytes(2000)

    class Script(module._Script):
        asked = 0

        def too_long(self, at):
            Script.asked += 1
            return module._Script.too_long(self, at)

    script = Script(memoryview(target), 100)
    module._search(script, memoryview(base), 2000)
    assert Script.asked < 140
