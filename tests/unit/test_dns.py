"""Names that a board looks up: what is asked, which answers count, and what whoever answers can do to it: nothing."""

import struct

from harness import Random, raises
from streamline_board.dns import query, read_answer

ASKED = query("broker.example", 0x1234)


def name(text):
    return b"".join([bytes([len(label)]) + label.encode() for label in text.split(".")]) + b"\0"


def row(owner, kind, data, ttl_secs=300, class_=1):
    return owner + struct.pack(">HHIH", kind, class_, ttl_secs, len(data)) + data


def answer(*rows, number=0x1234, flags=0x8180, asked=ASKED, count=None):
    return struct.pack(">HHHHHH", number, flags, 1, len(rows) if count is None else count, 0, 0) + asked[12:] + b"".join(rows)


A = row(b"\xc0\x0c", 1, bytes((10, 0, 0, 7)))
ALIAS = row(b"\xc0\x0c", 5, name("other.example"))


def test_a_question_is_one_name_and_nothing_else():
    assert ASKED == bytes((0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)) + b"\x06broker\x07example\0" + bytes((0, 1, 0, 1))
    assert query("broker.example.", 0x1234) == ASKED
    for wrong in ("", ".", "a..b", "x" * 64, ".".join(["x" * 60] * 6)):
        raises(ValueError, query, wrong, 1)


def test_the_first_address_counts_whatever_stands_before_it():
    assert read_answer(answer(A), ASKED) == ("10.0.0.7", 300)
    assert read_answer(answer(ALIAS, row(name("other.example"), 1, bytes((192, 168, 1, 255)), 7)), ASKED) == ("192.168.1.255", 7)
    assert read_answer(answer(row(b"\xc0\x0c", 28, bytes(16)), A), ASKED) == ("10.0.0.7", 300)
    assert read_answer(answer(row(b"\xc0\x0c", 1, bytes((10, 0, 0, 7)), class_=0x8001)), ASKED) == ("10.0.0.7", 300)  # of multicast DNS


def test_that_there_is_none_is_an_answer_too():
    for said in (answer(flags=0x8183), answer(), answer(ALIAS), answer(A, flags=0x8182), answer(row(b"\xc0\x0c", 1, b"\x0a\0\0"))):
        assert read_answer(said, ASKED) == ("", 0)


def test_what_answers_something_else_is_none():
    other = query("broker.example", 0x1235)
    for said in (answer(A, number=0x1235), answer(A, flags=0x0100), answer(A, asked=query("broker.exampel", 1)), b"", ASKED[:11], other):
        assert read_answer(said, ASKED) is None


def test_hostile_answers_end_nothing():
    random = Random()
    whole = answer(ALIAS, row(name("other.example"), 1, bytes((192, 168, 1, 255))), A)
    for end in range(len(whole)):
        read_answer(whole[:end], ASKED)
    for _ in range(2000):
        said = bytearray(whole)
        for _ in range(1 + random.below(4)):
            at = len(ASKED) + random.below(len(said) - len(ASKED)) if random.below(2) else 2 + random.below(10)
            said[at] = random.below(256)
        found = read_answer(bytes(said[: 12 + random.below(len(said))]), ASKED)
        assert found is None or found == ("", 0) or len(found[0].split(".")) == 4
