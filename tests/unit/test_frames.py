"""Frames: any bytes give a frame or a ProtocolError."""

from harness import Random, cuts, flips, raises
from streamline_core import frames as f
from streamline_core.errors import ProtocolError

S = b"sessions"
HAVE = f.encode(f.HAVE, S, (3, ((0, 1, 2, 3, "t", 0, "e1", 9, (0, 0, 1, 0, b""), ((7, 0),), (5,), False),)))
WANT = f.encode(f.WANT, S, (1, 2, ((0, 5, (("torn", 1),), 65536, True, ((7, 0),), 6),)))


def test_cut_anywhere_a_control_frame_is_refused():
    for frame in (HAVE, WANT, f.encode(f.BYE, S, ("x", 5)), f.encode(f.ERROR, S, ("c", "t", 0, None))):
        f.decode(frame)
        for cut in cuts(frame):
            raises(ProtocolError, f.decode, cut)
        raises(ProtocolError, f.decode, frame + b"\x00")


def test_any_flipped_bit_and_any_garbage_give_a_frame_or_an_error():
    random = Random(9)
    samples = [copy for good in (HAVE, WANT) for _, copy in flips(good)]
    samples += [bytes([random.below(12)]) + random.bytes(random.below(60)) for _ in range(500)]
    for sample in samples:
        try:
            frame = f.decode(sample)
        except ProtocolError:
            continue
        assert frame.type in range(1, 11) and frame.session == sample[1:9]


def test_the_wrong_shape_is_refused():
    for type_, fields in (
        (f.BYE, ("x", -1)), (f.BYE, ("x",)), (f.BYE, (b"x", 1)), (f.BYE, ("x", True)), (f.BYE, ("x" * 257, 1)),
        (f.GAP, (0, 1, 2, None, 7)), (f.GAP, (0, 1, 2, "torn")),
        (f.HAVE, (1, ((),))), (f.WANT, (1, 2, ((0, 5, (), 6, 1, ()),))),
        (f.ERROR, ("c", "t", 0, -1)), (f.STATE, ()), (f.DIFF, ()), (11, ()), (0, ()),
    ):  # fmt: skip
        raises(ProtocolError, f.decode, f.encode(type_, S, fields))


def test_data_says_its_size_within_bounds():
    buf = bytearray(f.DATA_HEADER_BYTES)
    f.pack_data_header(buf, S, 65535, 2, 1 << 20, (1 << 64) - 1)
    frame = f.decode(bytes(buf) + b"xy")
    assert tuple(frame.fields) == (65535, 2, 1 << 20, (1 << 64) - 1) and bytes(frame.payload) == b"xy"
    f.pack_data_header(buf, S, 0, 0, (1 << 20) + 1, 0)
    raises(ProtocolError, f.decode, buf)
    raises(ProtocolError, f.decode, buf[:-1])
    raises(ProtocolError, f.decode, bytes(65537))
