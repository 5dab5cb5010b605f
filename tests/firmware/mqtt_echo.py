"""Run by MicroPython: the small MQTT client sends itself messages through a broker, on a board's heap.

Usage: micropython -X heapsize=256K mqtt_echo.py PORT PAYLOAD_BYTES COUNT; prints OK and the bytes of heap in use.
"""

import gc
import select
import socket
import sys
import time

from streamline_core.mqtt import MqttClient

port, payload_bytes, count = [int(text) for text in sys.argv[1:4]]
client = MqttClient("board", 30, packet_bytes_max=payload_bytes + 64)
connection = socket.socket()
connection.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
connection.setblocking(False)
poll = select.poll()
poll.register(connection, select.POLLIN)
buffer = bytearray(1024)
payload = bytearray([n & 255 for n in range(payload_bytes)])
client.connect(0)
start = time.ticks_ms()
got = published = asked = 0
while got < count or published < count // 2:
    now_ms = time.ticks_diff(time.ticks_ms(), start)
    if now_ms > 20000:
        raise SystemExit("late: %d messages, %d acknowledged" % (got, published))
    data = client.data_to_send()
    if data is not None:
        client.sent(connection.write(data) or 0)
    poll.poll(0 if data is not None else 20)
    length = connection.readinto(buffer)
    if length is not None:
        client.receive(memoryview(buffer)[:length], now_ms)
    while True:
        event = client.next_event()
        if event is None:
            break
        if event[0] == "connected":
            client.subscribe("echo/#", 1)
        elif event[0] == "message":
            assert event[1] == "echo/t" and event[2] == payload, "wrong message"
            got += 1
        elif event[0] == "published":
            published += 1
        elif event[0] != "subscribed":
            raise SystemExit(repr(event))
        if event[0] in ("subscribed", "message") and asked < count:
            client.publish("echo/t", payload, asked % 2)  # the next one only when this one has come back
            asked += 1
client.disconnect()
client.sent(connection.write(client.data_to_send()))
connection.close()
gc.collect()
print("OK", gc.mem_alloc())
