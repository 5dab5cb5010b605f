"""Twenty sensors speak MQTT to a gateway, which sends on what is wanted, no faster than it may.

Usage: .venv/bin/python docs/examples/iot_gateway/run.py
"""

import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import paho.mqtt.client as paho
from common import Story, free_port

SENSORS, ROUNDS = 20, 150
LIMIT = 24 << 10  # bandwidth_limit
HELLO_BYTES = 8 << 10  # what a session costs at its beginning, and a second's worth that may gather


class Sensors:
    """Publishes with QoS 1: the gateway acknowledges what is durable."""

    def __init__(self, port: int) -> None:
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, "sensors")
        self._client.max_inflight_messages_set(500)
        for _ in range(100):  # the agent answers on its socket a moment before its broker listens
            try:
                self._client.connect("127.0.0.1", port)
                break
            except ConnectionRefusedError:
                time.sleep(0.05)
        self._client.loop_start()
        self._waits: list[paho.MQTTMessageInfo] = []

    def say(self, sensor: int, what: str, text: str) -> None:
        self._waits.append(self._client.publish("sensors/%d/%s" % (sensor, what), text, qos=1))

    def end(self) -> None:
        for wait in self._waits:
            wait.wait_for_publish(20)
        self._client.disconnect()
        self._client.loop_stop()


def main() -> int:
    with Story("IoT gateway: a local broker, a narrow link, and what is given back", __file__, link=False) as story:
        port = free_port()
        gateway = story.edge({"retention: 2d": "retention: 2s"}, BROKER_LISTEN="127.0.0.1:%d" % port)

        story.tell("Sensors publish to the gateway's broker. Upwards there is no link yet:")
        sensors, noise = Sensors(port), random.Random(7)
        for n in range(ROUNDS):
            for sensor in range(SENSORS):
                reading = {"n": n, "celsius": round(20 + noise.gauss(0, 3), 3), "id": noise.getrandbits(64)}
                sensors.say(sensor, "temperature", json.dumps(reading))
        for sensor in range(SENSORS):
            sensors.say(sensor, "state", "starting")
            sensors.say(sensor, "debug", "free heap %d" % noise.getrandbits(16))
            sensors.say(sensor, "state", "running")
        count = SENSORS * ROUNDS
        published = {"temperature": count, "state": 2 * SENSORS, "local.debug": SENSORS}
        story.until("all of it is durable", lambda: {topic: gateway.row(topic)["produced"] for topic in published} == published)
        sensors.end()
        gateway.cli("queue")

        story.tell("The link comes. What leaves is counted each second:")
        story.connect()
        story.until("connected", gateway.connected)
        began, sent, first = time.monotonic(), [], gateway.status()["link"]["bytes_out"]
        while gateway.row("temperature")["pending"] and time.monotonic() - began < 10:
            time.sleep(0.5)
            sent.append((time.monotonic() - began, gateway.status()["link"]["bytes_out"] - first))
            print("    %4.1f s  %6d bytes out, %d records wait" % (*sent[-1], gateway.row("temperature")["pending"]), flush=True)
        story.check("never more than 24 KB a second", all(bytes_out <= LIMIT * secs + HELLO_BYTES for secs, bytes_out in sent))
        story.check("it took a while", sent[-1][0] > 1)
        story.agree()
        story.check("the cloud has each temperature once, whatever the link did", len(set(story.arrived("temperature"))) == count)
        story.cloud("get state sensors/3/state")

        story.tell("What is local stays here, for 2 days (in this run: 2 s), and is given back by the segment:")
        story.until("nothing of it is left", lambda: sum(gateway.row("local.debug")["unconfirmed"].values()) == SENSORS)
        gateway.cli("ledger")
        story.check("the cloud has none of it", not story.arrived("local.debug"))
    return story.code


if __name__ == "__main__":
    sys.exit(main())
