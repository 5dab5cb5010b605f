"""A port that a test was given is its own while nobody listens there, too."""

import errno
import socket
import struct

import pytest

from free_ports import free_port

LOCAL_PORT_RANGE = 51  # IP_LOCAL_PORT_RANGE, Linux 6.3


def test_a_port_given_out_refuses_connections_and_a_server_may_come_and_go_on_it() -> None:
    port = free_port()
    for _ in range(2):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
        with socket.create_server(("127.0.0.1", port)), socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) == 0


def test_no_outgoing_connection_takes_a_port_that_was_given_out() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as outgoing:
        try:
            outgoing.setsockopt(socket.IPPROTO_IP, LOCAL_PORT_RANGE, struct.pack("I", port << 16 | port))
        except OSError:
            pytest.skip("this kernel cannot narrow the range of outgoing ports")
        with pytest.raises(OSError) as refused:  # the only port that the kernel might choose is the one that is kept
            outgoing.connect(server.getsockname())
        assert refused.value.errno == errno.EADDRNOTAVAIL
