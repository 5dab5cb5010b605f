"""Where a broker is and how to prove who we are to it.

Rule: a password never leaves this object in text: not in `str`, not in `repr`, not in an error. Certificates are always
verified where the scheme has TLS. Must not know: paho, sessions, configuration files.
"""

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from streamline_core.errors import UsageError

PASSWORD_VARIABLE = "STREAMLINE_BROKER_PASSWORD"
"""The environment variable that is asked when neither a file nor the URL gives a password."""
PASSWORD_FILE_BYTES_MAX = 4096
# scheme -> (port, TLS, WebSocket); https is how firewalls and managed services name MQTT over WebSocket.
_SCHEMES = {
    "mqtt": (1883, False, False),
    "mqtts": (8883, True, False),
    "ws": (80, False, True),
    "wss": (443, True, True),
    "https": (443, True, True),
}


@dataclass(frozen=True)
class BrokerUrl:
    """One broker. `websocket_path` is None for plain TCP. Files are paths to PEM; no `ca_file` means the system's."""

    scheme: str
    host: str
    port: int
    websocket_path: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @property
    def tls(self) -> bool:
        return _SCHEMES[self.scheme][1]

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        user: str | None = None,
        password_file: "str | os.PathLike[str] | None" = None,
        ca_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
    ) -> "BrokerUrl":
        """Read `scheme://[user[:password]@]host[:port][/path]`. user: whose the password file is, where the URL names nobody.

        The password comes from `password_file` (its first line), else the URL, else STREAMLINE_BROKER_PASSWORD, and
        only where the URL names a user. Raises UsageError, without the password in it.
        """
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            # urlsplit's own message may quote what stands behind a colon, and that may be the password.
            port_is_bad = "ort" in str(error)
            reason = "its port is not a number from 1 to 65535" if port_is_bad else "it cannot be read"
            raise UsageError("broker URL: %s; write it as mqtt://host:1883" % reason)
        if parts.scheme not in _SCHEMES:
            known = ", ".join(name + "://" for name in _SCHEMES)
            raise UsageError("broker URL: its scheme is %r; it must begin with one of %s" % (parts.scheme, known))
        if not host or port == 0:
            raise UsageError(
                "broker URL: no host and port to connect to in it; write it as %s://host:port" % parts.scheme
            )
        default_port, tls, websocket = _SCHEMES[parts.scheme]
        if parts.query or parts.fragment or (parts.path not in ("", "/") and not websocket):
            raise UsageError("broker URL: nothing may follow the port of %s://%s" % (parts.scheme, host))
        if not tls and (ca_file or cert_file or key_file):
            raise UsageError("broker URL: certificates are given, but %s:// has no TLS; use mqtts://" % parts.scheme)
        if key_file and not cert_file:
            raise UsageError("broker URL: a key file without a certificate file proves nothing; give both")
        username = unquote(parts.username) if parts.username else None
        password = None
        if password_file is not None:
            username = username or user
            if username is None:
                raise UsageError(
                    "broker URL: a password file is given, but no user; write %s://USER@host" % parts.scheme
                )
            password = read_password(password_file)
        elif parts.password:
            password = unquote(parts.password)
        elif username is not None:
            password = os.environ.get(PASSWORD_VARIABLE)
        path = (parts.path if parts.path not in ("", "/") else "/mqtt") if websocket else None
        return cls(parts.scheme, host, port or default_port, path, username, password, ca_file, cert_file, key_file)

    def ssl_context(self) -> "ssl.SSLContext | None":
        """A context that verifies the broker; None without TLS. Raises UsageError naming a file that is of no use."""
        if not self.tls:
            return None
        for what, path in (("CA", self.ca_file), ("certificate", self.cert_file), ("key", self.key_file)):
            if path and not Path(path).is_file():
                raise UsageError("%s: there is no %s file for %s; check the path" % (path, what, self))
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(path for path in (self.ca_file, self.cert_file, self.key_file) if path)
            raise UsageError("%s: not usable for TLS (%s); PEM files are wanted" % (files, error))
        return context

    def __str__(self) -> str:
        user = self.username + "@" if self.username else ""
        host = "[%s]" % self.host if ":" in self.host else self.host
        return "%s://%s%s:%d%s" % (self.scheme, user, host, self.port, self.websocket_path or "")


def read_password(path: "str | os.PathLike[str]") -> str:
    """The first line of a file, without its line end. Raises UsageError where that is nothing."""
    try:
        with open(path, "rb") as file:
            line = file.read(PASSWORD_FILE_BYTES_MAX).split(b"\n", 1)[0].rstrip(b"\r").decode()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError("password file %s: %s" % (path, reason))
    if not line:
        raise UsageError("password file %s: its first line is empty; put the password there" % path)
    return line
