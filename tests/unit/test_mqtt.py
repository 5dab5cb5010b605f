"""The small MQTT client: packets as the standard spells them, any bytes at all, and what a lost connection keeps."""

from harness import raises
from streamline_core import mqtt, mqtt_buffers
from streamline_core.errors import ProtocolError, QueueFull, UsageError
from streamline_core.mqtt import MqttClient
from streamline_core.mqtt_buffers import Inbox

CONNACK = b"\x20\x02\x00\x00"
# What a broker may say after it, and the events that it makes.
SPEECH = (
    (b"\xd0\x00", None),
    (b"\x30\x04\x00\x01tx", ("message", "t", b"x", 0, False)),
    (b"\x31\x05\x00\x03a/b", ("message", "a/b", b"", 0, True)),
    (b"\x32\x08\x00\x01t\x12\x34abc", ("message", "t", b"abc", 1, False)),
    (b"\x3a\x06\x00\x01t\x00\x07d", ("message", "t", b"d", 1, False)),
    (b"\x30\xcb\x01\x00\x01t" + b"z" * 200, ("message", "t", b"z" * 200, 0, False)),
    (b"\x90\x03\x00\x01\x01", ("subscribed", 1, b"\x01")),
    (b"\x40\x02\x00\x02", ("published", 2)),
)


def events_of(client):
    """All events, payloads copied."""
    events = []
    while True:
        event = client.next_event()
        if event is None:
            return events
        if event[0] == "message":
            assert isinstance(event[2], memoryview)
            event = (event[0], event[1], bytes(event[2]), event[3], event[4])
        events.append(event)


def written(client, most=1 << 30):
    """All bytes that the client wants written, taken ``most`` at a time."""
    out = bytearray()
    while True:
        data = client.data_to_send()
        if data is None:
            assert client.unsent_bytes == 0
            return bytes(out)
        count = min(most, len(data))
        assert count > 0
        out.extend(data[:count])
        client.sent(count)


def feed(client, data, now_ms=0):
    client.receive(data, now_ms)
    return events_of(client)


def connected(**options):
    client = MqttClient("node", 60, packet_bytes_max=1024, **options)
    client.connect(0)
    written(client)
    assert feed(client, CONNACK) == [("connected", False)]
    return client


def asked(**options):
    """A client that has asked for what SPEECH answers."""
    client = connected(**options)
    assert client.subscribe("t", 1) == 1
    assert client.publish("t", b"x", 1) == 2
    written(client)
    return client


def test_connect_bytes():
    client = MqttClient("node", 60, packet_bytes_max=128)
    assert client.data_to_send() is None
    client.connect(5)
    assert written(client) == b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04node"
    assert feed(client, CONNACK) == [("connected", False)] and client.connected
    raises(UsageError, client.connect, 6)
    client = MqttClient("n", 1, "me", "pw", ("st", b"gone", 1, True), clean_session=False, packet_bytes_max=128)
    client.connect(0)
    expected = b"\x04MQTT\x04\xec\x00\x01\x00\x01n\x00\x02st\x00\x04gone\x00\x02me\x00\x02pw"
    assert written(client, 1) == b"\x10" + bytes((len(expected) + 1,)) + b"\x00" + expected
    assert feed(client, b"\x20\x02\x01\x00") == [("connected", True)]


def test_usage():
    raises(UsageError, MqttClient, "n", 65536)
    raises(UsageError, MqttClient, "n", -1)
    raises(UsageError, MqttClient, "n", 1, None, b"pw")
    raises(UsageError, MqttClient, "n", 1, None, None, ("t", b"", 2, False))
    raises(UsageError, MqttClient, "", 1, None, None, None, False)
    raises(UsageError, MqttClient, "n\0", 1)
    client = connected()
    for topic in ("", "a/+", "#", "a\0b", "\ud800", "x" * 1024):
        raises(UsageError, client.publish, topic, b"")
    for topic in ("", "a+", "a/b#", "#/a", "a\0", "x" * 1024):
        raises(UsageError, client.subscribe, topic)
    raises(UsageError, client.publish, "t", b"", 2)
    raises(UsageError, client.subscribe, "t", 2)
    raises(UsageError, client.publish, "t", bytes(1024))
    assert client.data_to_send() is None
    raises(UsageError, MqttClient, "n", 1, None, None, None, True, 127)
    idle = MqttClient("n", 1, packet_bytes_max=128)
    raises(QueueFull, idle.publish, "t", b"")
    raises(QueueFull, idle.subscribe, "t")
    client.receive(b"\xd0\x00\xd0\x00", 0)
    raises(UsageError, client.receive, b"\xd0\x00", 0)


def test_publish_and_subscribe_bytes():
    client = connected()
    assert client.subscribe("a/+/#", 1) == 1
    assert client.publish("a/b", b"hi", retain=True) == 0
    payload = bytearray(b"p" * 300)
    assert client.publish("t", payload, 1) == 2
    assert client.publish("t", b"") == 0
    subscribe = b"\x82\x0a\x00\x01\x00\x05a/+/#\x01"
    expected = (
        subscribe + b"\x31\x07\x00\x03a/bhi" + b"\x32\xb1\x02\x00\x01t\x00\x02" + bytes(payload) + b"\x30\x03\x00\x01t"
    )
    assert client.unsent_bytes == len(expected)
    assert written(client, 7) == expected
    client.sent(0)
    client.publish("t", b"")
    raises(UsageError, client.sent, 6)


def test_payload_is_borrowed():
    client = connected()
    payload = bytearray(b"p" * 300)
    client.publish("t", payload)
    client.sent(len(client.data_to_send()))
    payload[0] = 0x41
    assert client.data_to_send()[0] == 0x41


def test_whole_and_in_pieces():
    speech = b"".join([data for data, _ in SPEECH])
    expected = [event for _, event in SPEECH if event is not None]
    acks = b"\x40\x02\x12\x34\x40\x02\x00\x07"
    for size in (1, 2, 3, 5, 7, 64, 200, len(speech)):
        client = asked()
        events = []
        for at in range(0, len(speech), size):
            events += feed(client, speech[at : at + size])
        assert events == expected, size
        assert written(client) == acks
    for cut in range(1, len(speech)):
        client = asked()
        events = feed(client, memoryview(speech)[:cut]) + feed(client, memoryview(speech)[cut:])
        assert events == expected, cut


def test_cut_short():
    speech = b"".join([data for data, _ in SPEECH])
    for cut in range(len(speech)):
        client = asked()
        for event in feed(client, speech[:cut] or b"\xd0\x00"):
            assert event in [event for _, event in SPEECH]
        assert feed(client, b"") == [("lost", "closed by the peer")]
        assert feed(client, b"more") == [] and not client.connected


def test_every_bit_flipped():
    for data in (CONNACK,) + tuple([data for data, _ in SPEECH]):
        data = bytearray(data[:24])
        for at in range(len(data)):
            for bit in range(8):
                data[at] ^= 1 << bit
                if data[:1] != b"\x20":
                    client = asked()
                else:
                    client = MqttClient("n", 1, packet_bytes_max=128)
                    client.connect(0)
                try:
                    feed(client, data)
                    feed(client, data)
                except ProtocolError:
                    assert not client.connected and client.data_to_send() is None
                    assert client.next_event() is None and feed(client, data) == []
                data[at] ^= 1 << bit


def test_what_the_peer_may_not_say():
    for data in (
        b"\x20\x02\x00\x00",  # CONNACK again
        b"\x36\x06\x00\x01t\x00\x01x",  # QoS 2, QoS 3
        b"\x34\x06\x00\x01t\x00\x01x",
        b"\x38\x04\x00\x01tx",  # DUP with QoS 0
        b"\x50\x02\x00\x01",  # packets of QoS 2
        b"\x62\x02\x00\x01",
        b"\x70\x02\x00\x01",
        b"\x10\x00",  # what clients say
        b"\x82\x00",
        b"\xc0\x00",
        b"\xe0\x00",
        b"\x00\x00",  # types that do not exist
        b"\xf0\x00",
        b"\x41\x02\x00\x01",  # reserved flags
        b"\xd1\x00",
        b"\xd0\x01\x00",  # wrong lengths
        b"\x40\x03\x00\x01\x00",
        b"\x90\x02\x00\x01",
        b"\x90\x03\x00\x01\x02",  # a code not asked for
        b"\x30\x02\x00\x00",  # topics: none, empty, beyond the packet, not UTF-8, wildcard, U+0000
        b"\x30\x03\x00\x00x",
        b"\x30\x04\x00\x09tx",
        b"\x30\x04\x00\x02\xc0\x80",
        b"\x30\x03\x00\x01+",
        b"\x30\x03\x00\x01\x00",
        b"\x32\x04\x00\x01t\x00",  # packet id cut short, zero
        b"\x32\x05\x00\x01t\x00\x00",
        b"\x30\xff\xff\xff\xff\x01",  # lengths: five bytes, more than the buffer
        b"\x32\x80\x08",
        b"\x90\xff\xff\xff\x7f",
    ):
        for size in (1, len(data)):
            client = asked()
            error = None
            for at in range(0, len(data), size):
                client.receive(data[at : at + size], 0)
                try:
                    assert client.next_event() is None
                except ProtocolError as caught:
                    error = caught
            assert error is not None, data
    for data in (
        b"\x20\x02\x01\x00",
        b"\x20\x02\x00\x06",
        b"\x20\x02\x02\x00",
        b"\x30\x03\x00\x01t",
        b"\x20\x03\x00\x00\x00",
    ):
        client = MqttClient("n", 1, packet_bytes_max=128)
        client.connect(0)
        client.receive(data, 0)
        raises(ProtocolError, client.next_event)


def test_refused():
    for code in range(1, 6):
        client = MqttClient("n", 1, packet_bytes_max=128)
        client.connect(0)
        assert feed(client, b"\x20\x02\x00" + bytes((code,))) == [("refused", code)]
        assert not client.connected and client.deadline_ms(0) is None
        client.connect(1)


def test_largest_packet():
    client = connected()
    body = b"\x00\x01t" + bytes(1021 - 3)
    packet = b"\x30\xfd\x07" + body
    assert len(packet) == 1024
    for size in (1, 1000, 1024):
        events = []
        for at in range(0, 1024, size):
            events += feed(client, packet[at : at + size])
        assert events == [("message", "t", body[3:], 0, False)]


def test_whole_packets_are_not_copied():
    client = connected()
    data = bytearray(b"\x30\x04\x00\x01tx")
    client.receive(data, 0)
    event = client.next_event()
    data[5] = 0x79
    assert event[2] == b"y"


def test_resend():
    client = asked()
    client.publish("t", b"two", 1)
    client.publish("t", b"not kept")
    first = client.data_to_send()
    client.sent(1)
    assert feed(client, b"") == [("lost", "closed by the peer")]
    client.sent(len(first) - 1)  # what a shell may say late
    assert client.unsent_bytes == 0
    assert client.publish("u", b"three", 1) == 4
    raises(QueueFull, client.publish, "u", b"")
    client.connect(10)
    written(client)
    assert feed(client, CONNACK, 11) == [("connected", False)]
    resent = b"\x3a\x06\x00\x01t\x00\x02x" + b"\x3a\x08\x00\x01t\x00\x03two" + b"\x32\x0a\x00\x01u\x00\x04three"
    assert written(client) == resent
    assert feed(client, b"\x40\x02\x00\x03\x40\x02\x00\x03\x40\x02\x00\x02", 12) == [("published", 3), ("published", 2)]
    client.disconnect()
    assert written(client) == b"\xe0\x00"
    assert feed(client, CONNACK, 13) == []
    assert feed(client, b"", 13) == []
    client.connect(20)
    written(client)
    feed(client, CONNACK, 21)
    assert written(client) == b"\x3a\x0a\x00\x01u\x00\x04three"


def test_bounds():
    client = connected()
    for number in range(mqtt.INFLIGHT_MAX):
        assert client.publish("t", b"x", 1) == number + 1
        written(client)
    raises(QueueFull, client.publish, "t", b"x", 1)
    assert feed(client, b"\x40\x02\x00\x03") == [("published", 3)]
    assert client.publish("t", b"x", 1) == mqtt.INFLIGHT_MAX + 1
    client = connected()
    for _ in range(mqtt.OUT_CHUNKS_MAX // 2):
        client.publish("t", b"x")
    raises(QueueFull, client.publish, "t", b"x")
    client = connected()
    for _ in range(mqtt.SUBSCRIBES_MAX):
        client.subscribe("t")
        written(client)
    raises(QueueFull, client.subscribe, "t")
    client = connected()
    for _ in range(mqtt_buffers.ACK_BYTES_MAX // 4):
        feed(client, b"\x32\x05\x00\x01t\x00\x01")
    client.receive(b"\x32\x05\x00\x01t\x00\x01", 0)
    raises(ProtocolError, client.next_event)


def test_acks_go_between_packets():
    client = connected()
    client.publish("t", b"payload")
    client.sent(len(client.data_to_send()))
    feed(client, b"\x32\x05\x00\x01t\x00\x09")
    client.publish("t", b"z")
    assert written(client) == b"payload" + b"\x40\x02\x00\x09" + b"\x30\x04\x00\x01tz"


def test_packet_ids_wrap():
    client = connected()
    held = client.publish("t", b"x", 1)
    written(client)
    client._last_id = 65534
    assert client.publish("t", b"x", 1) == 65535
    assert client.publish("t", b"x", 1) == held + 1


def test_keepalive():
    client = connected()
    assert client.deadline_ms(0) == 30000
    client.tick(29999)
    assert client.data_to_send() is None
    client.tick(30000)
    assert written(client) == b"\xc0\x00"
    assert client.deadline_ms(30000) == 60000
    assert feed(client, b"\x30\x04\x00\x01tx", 40000)[0][0] == "message"  # alive, if slow
    assert client.deadline_ms(40000) == 70000
    assert feed(client, b"\xd0\x00", 50000) == []
    assert client.deadline_ms(50000) == 60000
    client.tick(60000)
    client.tick(89999)
    assert client.connected
    client.tick(90000)
    assert events_of(client) == [("lost", "no answer to a ping")]
    assert client.deadline_ms(90000) is None
    client = MqttClient("n", 0, packet_bytes_max=128)
    client.connect(100)
    assert client.deadline_ms(100) == 100 + mqtt.CONNECT_TIMEOUT_MS
    client.tick(100 + mqtt.CONNECT_TIMEOUT_MS)
    assert events_of(client) == [("lost", "no answer to CONNECT")]
    client.connect(200)
    assert feed(client, CONNACK, 200) == [("connected", False)]
    assert client.deadline_ms(10**9) is None


def test_a_message_too_long_for_the_buffer_is_passed_over_and_what_follows_arrives():
    short, long_ = b"\x30\x05\x00\x01thi", b"\x30" + bytes((0xE8, 0x07)) + b"\x00\x01t" + bytes(997)
    stream = short + long_ + short + long_ + long_ + short
    for size in (1, 2, 3, 7, 64, 500, 5000):
        inbox, found = Inbox(64), []
        for at in range(0, len(stream), size):
            inbox.put(stream[at : at + size])
            while True:
                packet = inbox.take()
                if packet is None:
                    break
                found.append(bytes(packet))
        assert found == [short] * 3, (size, found)
    inbox = Inbox(64)
    inbox.put(b"\x32" + long_[1:])  # one that has to be acknowledged
    raises(ProtocolError, inbox.take)
