"""TLS to the broker, with what is compiled into the interpreter: no Python wrapper has to be frozen in, or be found.

Rule: the broker is who `ca_file` says it is, and bears the name it was called by, or there is no connection; neither the handshake nor
anything else waits for it. Files are PEM, as everywhere, and become DER here: most builds of MicroPython read nothing else. Must not know:
MQTT, frames.
"""

import binascii
import select

try:
    import tls
except ImportError:
    import ssl as tls  # MicroPython before 1.23: the same by its old name

LINE_CHARS_MAX = 256  # of a PEM file; base64 comes in lines of 64
DER_BYTES_MAX = 8192  # of one certificate or key
HANDSHAKE_WAIT_MS = 5  # a turn waits that long for the broker's part of it, or it would turn without pause
_POLLIN = 1


def blocks(path, kind):
    """Yield the DER bytes of each block of a PEM file whose title ends with `kind`, one at a time: a file may have a hundred. Raises
    ValueError for what is none, OSError."""
    found = False
    try:
        opened = open(path)
    except OSError as error:
        raise OSError("%s: cannot be read: %s" % (path, error))
    with opened as file:
        text = title = None
        while True:
            line = file.readline(LINE_CHARS_MAX)
            if not line:
                break
            line = line.strip()
            if line.startswith("-----BEGIN "):
                title, text = line[11:-5], []
            elif line.startswith("-----END ") and text is not None:
                if title.endswith(kind):
                    if title.startswith("ENCRYPTED"):
                        raise ValueError("%s: it is encrypted, and a board has nobody to ask for the password" % path)
                    found = True
                    yield _decoded(path, "".join(text))
                text = None
            elif text is not None and title.endswith(kind):
                if ":" in line:  # Proc-Type: 4,ENCRYPTED
                    raise ValueError("%s: it is encrypted, and a board has nobody to ask for the password" % path)
                text.append(line)
                if len(text) * 48 > DER_BYTES_MAX:
                    raise ValueError("%s: a block of more than %d bytes" % (path, DER_BYTES_MAX))
    if text is not None or not found:
        raise ValueError("%s: no %s in it, as PEM" % (path, kind))


def _decoded(path, text):
    try:
        return binascii.a2b_base64(text)
    except ValueError:
        raise ValueError("%s: not base64" % path)


def context(config):
    """What to begin connections with: whom to believe, and the node's own certificate if it has one. Raises OSError, ValueError."""
    made = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    made.verify_mode = tls.CERT_REQUIRED
    for der in blocks(config.ca_file, "CERTIFICATE"):
        try:
            made.load_verify_locations(der)
        except ValueError as error:
            raise ValueError("%s: %s" % (config.ca_file, error))
    if config.cert_file is not None:
        chain, keys = list(blocks(config.cert_file, "CERTIFICATE")), list(blocks(config.key_file, "PRIVATE KEY"))
        if len(chain) != 1:
            raise ValueError("%s: %d certificates; a board sends one, whose issuer the broker knows" % (config.cert_file, len(chain)))
        made.load_cert_chain(chain[0], keys[0])
    return made


class SecureSocket:
    """A connection whose other end is verified before a byte of ours is in it. sock: without waiting, connected or about to be.

    Read and write it as a socket, which raises OSError where the broker is not whom it should be. polled: what stands for it in a poll:
    the socket below where that has a number, or the poll of a host would have to ask every millisecond. TLS takes no more from it than what
    is read.
    """

    def __init__(self, sock, host, config):
        self._sock = sock
        self._tls = context(config).wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
        self._started = False  # the handshake is over: something was written
        self.polled = sock if hasattr(sock, "fileno") else self._tls
        self._inner = select.poll()
        self._inner.register(self.polled, _POLLIN)

    def readinto(self, buf):
        """As that of a socket: None where there is nothing yet."""
        try:
            return self._tls.readinto(buf)
        except (OSError, ValueError) as error:
            raise _plain(error)

    def write(self, data):
        """As that of a socket: None where it takes nothing yet."""
        try:
            n = self._tls.write(data)
        except (OSError, ValueError) as error:
            raise _plain(error)
        if n:
            self._started = True
        elif not self._started:
            # The socket below would take bytes, but there are none before the broker has said its part.
            for _ in self._inner.ipoll(HANDSHAKE_WAIT_MS):
                pass
        return n

    def close(self):
        """Both: a connection that was refused has let go of the socket below without closing it."""
        self._tls.close()
        self._sock.close()


def _plain(error):
    """An OSError with text that a person can read, where it came as a number of mbedTLS or as a ValueError."""
    if isinstance(error, ValueError):  # the certificate: one reason a line
        return OSError("TLS: " + "; ".join(str(error).strip().split("\n")))
    if len(error.args) > 1:
        return OSError("TLS: %s" % error.args[1])
    return error
