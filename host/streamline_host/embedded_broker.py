"""An MQTT broker inside this process (amqtt), for a demo, a laptop, or devices behind one edge.

Rule: on anything but loopback it demands a password file, and with one it confines each user to the topics of the node
of that name. It prints nothing. amqtt is an optional dependency: only `start` imports it. It is a convenience, not
fast; a client may see retained messages twice, and ones it did not subscribe to (amqtt 0.12 replays them to every
newcomer).
Must not know: frames, nodes, who uses it.
"""

import asyncio
import errno
import ipaddress
import logging
import os
import secrets
from typing import Any

from streamline_core.errors import UsageError

from .broker_url import BrokerUrl

OWN_USER = "streamline-own"
"""The user as which the process that owns the broker connects to it."""
PASSWORD_FILE_BYTES_MAX = 1 << 20
STOP_SECS_MAX = 5.0


class EmbeddedBroker:
    """
    host, port: where to listen; port 0 takes a free one. password_file: lines `user:password`; `#` begins a comment. connections_max:
    beyond it, clients wait until another one leaves.
    Raises UsageError for a bind beyond loopback without a password file, or a password file that is of no use.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        password_file: "str | os.PathLike[str] | None" = None,
        connections_max: "int | None" = None,
    ) -> None:
        if password_file is None and not _is_loopback(host):
            raise UsageError(
                "an embedded broker on %s can be reached from outside this machine: give it a password file "
                "(lines user:password), or listen on 127.0.0.1" % host
            )
        self.host = host
        self.port = port
        self._accounts = None if password_file is None else read_accounts(password_file)
        self._connections_max = connections_max
        self._own_password = secrets.token_urlsafe(24)
        self._broker: Any = None

    async def start(self) -> str:
        """Listen. Returns the URL for clients on this machine, without a password; `own_url` has the owner's.

        Raises UsageError if amqtt is not installed or the address cannot be had.
        """
        try:
            from .embedded_broker_server import PatientBroker
        except ImportError:
            raise UsageError("the embedded broker needs amqtt: pip install 'streamline-edge[broker]'")
        for name in ("amqtt", "transitions"):
            logger = logging.getLogger(name)
            logger.setLevel(logging.CRITICAL)  # it reports a client that went away as an error with a traceback
            logger.propagate = False
            logger.addHandler(logging.NullHandler())
        accounts = None if self._accounts is None else {**self._accounts, OWN_USER: self._own_password}
        bind = "%s:%d" % ("[%s]" % self.host if ":" in self.host else self.host, self.port)
        config = {
            "listeners": {"default": {"type": "tcp", "bind": bind, "max_connections": self._connections_max or 0}},
            "plugins": {
                "streamline_host.embedded_broker_auth.AccountsPlugin": {"accounts": accounts},
                "streamline_host.embedded_broker_auth.ConfinePlugin": {"own_user": OWN_USER},
            },
        }
        self._broker = PatientBroker(config)
        try:
            await self._broker.start()
        except Exception as error:  # amqtt wraps whatever happened in its own BrokerError
            self._broker = None
            cause = error.__cause__ or error
            if isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE:
                raise UsageError(
                    "port %d of %s is taken by another program; choose another port" % (self.port, self.host)
                )
            raise UsageError("the embedded broker cannot listen on %s: %s" % (bind, cause))
        self.port = self._broker._servers["default"].instance.sockets[0].getsockname()[1]
        return str(self._client_url(None))

    @property
    def connections(self) -> int:
        """Clients that are connected now, the owner included."""
        return int(self._broker._servers["default"].conn_count) if self._broker is not None else 0

    @property
    def own_url(self) -> BrokerUrl:
        """How the owner connects; valid after `start`."""
        return self._client_url(None if self._accounts is None else self._own_password)

    def _client_url(self, password: str | None) -> BrokerUrl:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)
        return BrokerUrl("mqtt", host, self.port, None, None if password is None else OWN_USER, password)

    async def stop(self) -> None:
        """Close every connection and stop listening, within STOP_SECS_MAX. Does nothing if it does not run."""
        broker, self._broker = self._broker, None
        if broker is not None:
            try:
                await asyncio.wait_for(broker.shutdown(), STOP_SECS_MAX)
            except TimeoutError:
                pass  # its library now and then waits for ever for a client that it has told to go


def read_accounts(path: "str | os.PathLike[str]") -> dict[str, str]:
    """{user: password} of a file with lines `user:password`. Raises UsageError naming the file and the line."""
    try:
        with open(path, "rb") as file:
            text = file.read(PASSWORD_FILE_BYTES_MAX).decode()
    except OSError as error:
        raise UsageError("password file %s: %s" % (path, error.strerror))
    except UnicodeError:
        raise UsageError("password file %s: it is not UTF-8 text" % path)
    accounts = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        user, colon, password = line.partition(":")
        if not user or not colon or not password:
            raise UsageError("password file %s, line %d: a line must be user:password" % (path, number))
        if user in accounts or user == OWN_USER:
            raise UsageError("password file %s, line %d: user %r is there already" % (path, number, user))
        accounts[user] = password
    if not accounts:
        raise UsageError("password file %s: it names no user; write lines user:password" % path)
    return accounts


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
