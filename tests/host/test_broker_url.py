"""BrokerUrl: what it reads, what it refuses, and that no password comes out of it in text."""

from pathlib import Path

import pytest

from streamline_core.errors import UsageError
from streamline_host.broker_url import PASSWORD_VARIABLE, BrokerUrl


@pytest.mark.parametrize(
    "text, port, tls, path, shown",
    [
        ("mqtt://host", 1883, False, None, "mqtt://host:1883"),
        ("mqtt://host:1999/", 1999, False, None, "mqtt://host:1999"),
        ("mqtts://me@host", 8883, True, None, "mqtts://me@host:8883"),
        ("ws://host", 80, False, "/mqtt", "ws://host:80/mqtt"),
        ("wss://host/other", 443, True, "/other", "wss://host:443/other"),
        ("https://host", 443, True, "/mqtt", "https://host:443/mqtt"),
        ("mqtt://[::1]:1883", 1883, False, None, "mqtt://[::1]:1883"),
    ],
)
def test_reads(text: str, port: int, tls: bool, path: str | None, shown: str) -> None:
    url = BrokerUrl.parse(text)
    assert (url.port, url.tls, url.websocket_path, str(url)) == (port, tls, path, shown)


@pytest.mark.parametrize(
    "text, says",
    [
        ("host:1883", "must begin with"),
        ("http://host", "scheme is 'http'"),
        ("mqtt://", "no host"),
        ("mqtt://host:0", "no host and port"),
        ("mqtt://host:99999", "port is not a number from 1 to 65535"),
        ("mqtt://user:hunter2@host:x", "port is not a number"),
        ("mqtt://host/path", "nothing may follow"),
        ("mqtt://host?x=1", "nothing may follow"),
        ("mqtt://user:hunter2@[host", "cannot be read"),
    ],
)
def test_refuses_and_says_why(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        BrokerUrl.parse(text)
    assert "hunter2" not in str(caught.value)


def test_passwords_stay_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = BrokerUrl.parse("mqtt://me:hunter%402@host")
    assert url.password == "hunter@2" and "hunter" not in str(url) + repr(url)
    file = tmp_path / "password"
    file.write_bytes(b"from-file\r\nsecond\n")
    assert BrokerUrl.parse("mqtt://me:x@host", password_file=file).password == "from-file"
    monkeypatch.setenv(PASSWORD_VARIABLE, "from-env")
    assert BrokerUrl.parse("mqtt://me@host").password == "from-env"
    assert BrokerUrl.parse("mqtt://host").password is None
    file.write_text("\n")
    with pytest.raises(UsageError, match="first line is empty"):
        BrokerUrl.parse("mqtt://me@host", password_file=file)
    with pytest.raises(UsageError, match="no user"):
        BrokerUrl.parse("mqtt://host", password_file=file)


def test_certificates(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no TLS"):
        BrokerUrl.parse("mqtt://host", ca_file="x")
    with pytest.raises(UsageError, match="key file without"):
        BrokerUrl.parse("mqtts://host", key_file="x")
    missing = str(tmp_path / "ca.pem")
    with pytest.raises(UsageError, match="there is no CA file"):
        BrokerUrl.parse("mqtts://host", ca_file=missing).ssl_context()
    Path(missing).write_text("not PEM")
    with pytest.raises(UsageError, match="not usable for TLS"):
        BrokerUrl.parse("mqtts://host", ca_file=missing).ssl_context()
    context = BrokerUrl.parse("mqtts://host").ssl_context()
    assert context is not None and context.check_hostname and BrokerUrl.parse("mqtt://host").ssl_context() is None


def test_the_password_of_a_file_is_that_of_the_user_in_the_url_or_else_of_the_node(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    file.chmod(0o600)
    assert BrokerUrl.parse("mqtt://h", user="n1", password_file=file).username == "n1"
    assert BrokerUrl.parse("mqtt://somebody@h", user="n1", password_file=file).username == "somebody"
    assert BrokerUrl.parse("mqtt://h", user="n1").username is None
