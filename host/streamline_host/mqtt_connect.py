"""The blocking part of an MQTT connection, done in a thread of its own, and the words for what went wrong there.

Rule: DNS, TCP, TLS and the WebSocket greeting block in paho, and may take long; they run in a daemon thread, so that
neither the loop nor the end of the process waits for a host that does not answer. Must not know: what the link is for.
"""

import asyncio
import socket
import ssl
import threading

import paho.mqtt.client as paho

from .broker_url import BrokerUrl

CONNECT_SECS_MAX = 10.0
"""Bound of each step: TCP connect, TLS handshake; and of the wait from CONNECT to SUBACK."""
KERNEL_UNSENT_BYTES = 128 * 1024
"""The kernel takes no more than about this beyond what is on its way, so that pings do not queue behind megabytes."""


class Refused(Exception):
    """A try to connect came to nothing; the text says why."""


async def connect(client: paho.Client, url: BrokerUrl, keepalive_secs: int) -> "socket.socket | ssl.SSLSocket":
    """Connect and send CONNECT. Cancelled, it leaves the socket to the thread to close.

    Raises OSError, ValueError, paho.WebsocketConnectionError, or Refused.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def report(error: Exception | None) -> None:
        if done.cancelled():
            close_socket(client)
        elif error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def work() -> None:
        error: Exception | None = None
        try:
            client.connect(url.host, url.port, keepalive_secs)
        except Exception as problem:
            error = problem
        try:
            loop.call_soon_threadsafe(report, error)
        except RuntimeError:  # the loop has ended meanwhile
            close_socket(client)

    threading.Thread(target=work, name="mqtt connect", daemon=True).start()
    await done
    sock = client.socket()
    if sock is None:
        raise Refused("the connection was closed at once")
    _tune(sock)
    return sock  # type: ignore[return-value]  # a WebSocket wrapper has the methods that we use


def _tune(sock: object) -> None:
    """Small frames at once, and no megabytes waiting in the kernel. A WebSocket wrapper hides the socket proper."""
    raw = getattr(sock, "_socket", sock)
    if not isinstance(raw, socket.socket) or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, KERNEL_UNSENT_BYTES)


def close_socket(client: paho.Client) -> None:
    """Close without a word to the broker, which then publishes the will. Does nothing where it is closed."""
    sock = client.socket()
    if sock is not None:
        sock.close()


def words(error: Exception, url: BrokerUrl) -> str:
    """What went wrong, for a person; never with a secret in it."""
    where = "%s:%d" % (url.host, url.port)
    if isinstance(error, ssl.SSLCertVerificationError):
        return "the certificate of %s is not trusted: %s" % (where, error.verify_message)
    if isinstance(error, ssl.SSLError):
        return "no TLS with %s: %s" % (where, error.reason or error)
    if isinstance(error, socket.gaierror):
        return "no address for %s: %s" % (url.host, error.strerror)
    if isinstance(error, TimeoutError):
        return "%s does not answer" % where
    if isinstance(error, OSError):
        return "cannot connect to %s: %s" % (where, error.strerror or error)
    return str(error)
