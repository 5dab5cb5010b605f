"""The control socket of a real agent process: garbage is answered with an error and harms nothing, and requests under way leave no hole."""

import os
import socket
import stat
import struct

from agent_process import AgentProcess
from edge_topics import LOGS
from streamline_edge.control_client import ControlClient

CONFIG = LOGS


def test_garbage_on_the_control_socket(agent: AgentProcess) -> None:
    path = str(agent.data_dir / "control.sock")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    for garbage in (
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">II", 0xFFFFFFFF, 0),
        struct.pack(">II", 2, 0xFFFFFFFF),
        struct.pack(">II", 4, 0) + b"{{{{",
        struct.pack(">II", 2, 0) + b"[]",
        struct.pack(">II", 100, 100) + b"{}",
    ):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(path)
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    client = ControlClient(str(agent.data_dir))
    for request, body in (
        ({"op": "nope"}, b""),
        ({"op": ["status"]}, b""),
        ({"op": "produce", "topic": "t"}, b""),
        ({"op": "produce", "topic": 5, "sizes": [1]}, b"x"),
        ({"op": "produce", "topic": "t", "sizes": [1, 5]}, b"xy"),
        ({"op": "produce", "topic": "t", "sizes": [-1, 3]}, b"xy"),
        ({"op": "produce", "topic": "t", "sizes": [1], "key_sizes": [1, 1]}, b"xyz"),
        ({"op": "produce", "topic": "t", "sizes": [1] * 5000}, b"x" * 5000),
        ({"op": "consume", "topic": "t", "partition": 9}, b""),
        ({"op": "consume", "topic": "t", "from": -2}, b""),
        ({"op": "sync", "action": "dance"}, b""),
    ):
        client.send(request, body)
        answer, _ = client.receive()
        assert answer["kind"] in ("usage", "protocol") and answer["error"], (request, answer)
    assert client.request("status")["status"]["streams"][2]["produced"] == 0
    client.send({"op": "produce", "topic": "t", "producer": 9, "partition": 0, "sequence": 5, "sizes": [1]}, b"x")
    assert client.receive()[0]["stored"] == 1
    client.send({"op": "produce", "topic": "t", "producer": 9, "partition": 0, "sequence": 8, "sizes": [1]}, b"y")
    assert "leaves a hole" in client.receive()[0]["error"]
    client.send({"op": "produce", "topic": "t", "producer": 9, "partition": 0, "sequence": 6, "sizes": [1]}, b"z")
    assert "earlier request" in client.receive()[0]["error"]


def test_requests_under_way_leave_no_hole(agent: AgentProcess) -> None:
    """Many requests of one producer before the first is durable, and the same again, as after a lost connection."""
    client = ControlClient(str(agent.data_dir))
    for _ in range(2):
        for i in range(40):
            request = {"op": "produce", "topic": "t", "producer": 9, "partition": 0, "sequence": i * 10, "sizes": [1] * 10}
            client.send(request, b"%d" % (i % 10) * 10)
        answers = [client.receive()[0] for _ in range(40)]
        assert all(answer.get("ok") for answer in answers), answers
    assert sum(answer["repeats"] for answer in answers) == 400
    assert client.request("producer_last", topic="t", partition=0, producer=9)["last"] == 399
    assert agent.cli("consume", "t").stdout == b"".join(b"%d\n" % (i % 10) * 10 for i in range(40))


def test_garbage_about_keys_on_the_control_socket(keyed: AgentProcess) -> None:
    keyed.start()
    client = ControlClient(str(keyed.data_dir))
    for request, body in (
        ({"op": "get"}, b"k"),
        ({"op": "get", "topic": ["state"]}, b"k"),
        ({"op": "get", "topic": "state"}, b""),
        ({"op": "set", "topic": "state"}, b"xk"),
        ({"op": "set", "topic": "state", "key_size": 9}, b"xk"),
        ({"op": "set", "topic": "state", "key_size": -1}, b"xk"),
        ({"op": "delete", "topic": "t"}, b"k"),
        ({"op": "keys", "topic": 5}, b""),
        ({"op": "conflicts", "topic": 5}, b""),
        ({"op": "explain", "topic": "state"}, b"k" * 2000),
        ({"op": "watch"}, b""),
        ({"op": "produce", "topic": "state", "sizes": [1]}, b"x"),
        ({"op": "produce", "topic": "state", "sizes": [1], "key_sizes": [-1]}, b"x"),
        ({"op": "produce", "topic": "mine", "sizes": [1], "key_sizes": [1], "partition": 2}, b"xk"),
    ):
        client.send(request, body)
        answer, _ = client.receive()
        assert answer["kind"] in ("usage", "protocol") and answer["error"], (request, answer)
    assert client.request("status")["status"]["tables"][1]["keys"] == 0
