"""A board's link over a serial line that hurts bytes: nothing is lost, strangers are not believed, silence and breaks are got over."""

from harness import Random
from serial_world import RECORDS, Gateway, SerialWorld, up
from streamline_core import serial_packets as packets
from world import produce


def test_records_arrive_once_and_in_order_though_the_line_hurts_bytes_both_ways():
    refused = [0, 0]
    for seed in (1, 2, 3):
        world = SerialWorld(seed)
        world.stream.hurt_up, world.stream.hurt_down = 1000, 200
        values = []
        for _ in range(6):
            values += produce(world.board, RECORDS // 6, len(values))
            world.run(300)
        world.run_until(world.drained, 600000)
        assert world.values() == [values]
        refused[0] += world.gateway.reader.refused
        refused[1] += world.link.counters()["packets_refused"]
    assert min(refused) > 2, refused


def test_a_board_greets_until_it_is_known_and_then_once_for_each_state():
    world = SerialWorld()
    world.gateway.mute = True
    world.run(5000)
    assert 4 <= len(world.gateway.greetings) <= 6 and world.state == "offline"
    said = world.gateway.greetings[0]
    assert (said.node_id, said.fleet, said.version) == ("e1", "default", 1)
    assert said.payload_bytes_max == max(4096, packets.CONTROL_BYTES_MAX)
    world.gateway.mute = False
    world.run_until(lambda: world.state == "open", 5000)
    before = len(world.gateway.greetings)
    world.run(20000)
    assert 9 <= len(world.gateway.greetings) - before <= 11


def test_a_gateway_that_starts_anew_is_greeted_at_once_and_nothing_is_lost():
    world = up()
    values = produce(world.board, 50)
    world.run_until(world.drained)
    world.gateway = Gateway(world, world.stream)
    values += produce(world.board, 50, 50)
    world.run(20)
    assert world.gateway.life == world.link._life
    world.gateway.connection = 9
    world.run_until(world.drained)
    assert world.values() == [values] and world.state == "open"


def test_a_board_that_starts_anew_is_another_life():
    world = up()
    first = world.gateway.life
    world.board.power_cut()
    world.start_link()
    world.run_until(lambda: world.state == "open", 5000)
    assert world.gateway.life not in (0, first)


def test_silence_takes_the_link_down_and_its_end_brings_it_back():
    world = up()
    world.gateway.mute = True
    world.run_until(lambda: world.state == "offline", packets.SILENT_MS + 100)
    assert "nothing was heard" in world.board.node.status()["why"]
    assert world.line.opened == 1  # a UART is not better for being opened again
    world.gateway.mute = False
    world.run_until(lambda: world.state == "open", 10000)


def test_a_line_that_can_be_reopened_is_when_nothing_is_heard():
    world = SerialWorld()
    world.line.reopens = True
    world.run_until(lambda: world.state == "open", 5000)
    world.gateway.mute = True
    world.run_until(lambda: world.state == "offline", packets.SILENT_MS + 100)
    assert world.stream.closed == 1
    world.gateway.mute = False
    world.run_until(lambda: world.state == "open", 30000)
    assert world.line.opened >= 2


def test_a_gateway_without_a_broker_says_why():
    world = SerialWorld()
    world.gateway.connection, world.gateway.reason = 0, "no broker at 10.0.0.1"
    world.run(5000)
    assert world.state == "offline" and world.board.node.status()["why"] == "the gateway: no broker at 10.0.0.1"
    world.gateway.connection = 8
    world.run_until(lambda: world.state == "open", 5000)
    world.gateway.connection = 0
    world.run_until(lambda: world.state == "offline", 5000)


def test_another_connection_of_the_gateway_is_another_link():
    world = up()
    sessions = world.board.node.status()["counters"]["sessions"]
    world.gateway.connection += 1
    world.run(4000)
    assert world.state == "open" and world.board.node.status()["counters"]["sessions"] == sessions + 1


def test_what_the_hub_says_reaches_the_node_and_is_told_once():
    world = up()
    world.gateway.online, world.gateway.boot = False, ""
    world.run_until(lambda: world.state == "connecting", 5000)
    world.gateway.online, world.gateway.boot = True, "".join(["%02x" % b for b in world.hub.boot])
    world.run_until(lambda: world.state == "open", 10000)
    sessions = world.board.node.status()["counters"]["sessions"]
    world.run(10000)
    assert world.board.node.status()["counters"]["sessions"] == sessions


def test_nothing_is_believed_of_a_gateway_that_answers_somebody_else():
    world = SerialWorld()
    world.gateway.mute = True
    world.run(100)
    world.gateway.mute = False
    for _ in range(3):
        said = packets.encode_state(packets.LineState(world.link._life + 1, 5, "", True, "ab"))
        world.gateway.say(packets.STATE, said)
        world.gateway.say(packets.FRAME, b"a frame of another board")
        world.gateway.mute = True
        world.run(50)
        world.gateway.mute = False
        assert world.state == "offline"
    assert world.board.node.status()["counters"]["frames_in"] == 0


def test_packets_that_say_nothing_we_know_are_counted_and_passed_over():
    world = up()
    said = ((packets.STATE, b""), (packets.STATE, b"\x80"), (packets.STATE, b"\xff" * 800), (99, b"later"), (packets.FRAME, b""))
    for kind, payload in said:
        world.gateway.say(kind, payload)
    world.run(20)
    assert world.link.reader.refused == 3 and world.state == "open"
    assert world.board.node.status()["counters"]["refused_frames"] == 1


def test_at_most_one_packet_waits_to_be_written():
    world = up()
    produce(world.board, RECORDS)
    world.stream.takes = 0
    for _ in range(20):
        world.link.turn()
        world.board.settle()
    sent = world.board.node.status()["counters"]["frames_out"]
    for _ in range(20):
        world.link.turn()
    assert world.board.node.status()["counters"]["frames_out"] == sent
    world.stream.takes = 100
    world.run_until(world.drained)


def test_a_line_that_is_absent_is_tried_again_with_waits():
    world = SerialWorld()
    world.line.absent = True
    world.run(1000)
    assert world.state == "offline" and "no such line" in world.board.node.status()["why"]
    world.line.absent = False
    world.run_until(lambda: world.state == "open", 120000)


def test_states_and_greetings_are_read_as_they_were_said():
    said = packets.decode_state(packets.encode_state(packets.LineState(5, 6, "x" * 300, None, "ab12")))
    assert (said.life, said.connection, said.reason, said.online, said.boot) == (5, 6, "x" * packets.TEXT_CHARS_MAX, None, "ab12")
    greeting = packets.decode_greeting(packets.encode_greeting(packets.Greeting(7, "n", "f", 4096)))
    assert (greeting.life, greeting.node_id, greeting.fleet, greeting.payload_bytes_max) == (7, "n", "f", 4096)
    assert packets.payload_bytes_of(115200) > 28000 and packets.payload_bytes_of(9600) < 2400


def test_random_bytes_on_the_line_end_nothing():
    random = Random(5)
    world = up()
    for _ in range(40):
        world.stream.down.extend(random.bytes(200) + b"\0")
        world.run(10)
    assert world.state == "open" and world.link.reader.refused > 20
