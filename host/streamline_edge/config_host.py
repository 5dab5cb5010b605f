"""What only an agent on a host can say of a configuration, beyond what each key may hold: that it would end at the start.

Rule: what is found here the agent refuses, too, when it gets there. Opens no secrets, runs no module: a configuration is checked before it
is installed, and by somebody else. Must not know: files and lines, which are the Reading's.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streamline_core.config_values import LINE_SCHEMES
from streamline_core.errors import UsageError
from streamline_host.broker_url import BrokerUrl

from .limited import connections_needed

if TYPE_CHECKING:
    from .config_reading import Reading


def check(reading: Reading) -> None:
    """Adds to the problems of a configuration that is well by itself."""
    _brokers(reading)
    _connections(reading)
    _ingest(reading)
    _merges(reading)


def _brokers(reading: Reading) -> None:
    config = reading.config
    if config.cloud_endpoint is not None and config.cloud_endpoint.split("://")[0] not in LINE_SCHEMES:  # of a board
        try:
            BrokerUrl.parse(config.cloud_endpoint, ca_file=config.ca_file, cert_file=config.cert_file, key_file=config.key_file)
        except UsageError as e:
            reading.problem(("cloud_endpoint",), str(e))
    if config.broker is None:
        return
    if config.broker != "embedded":
        try:
            BrokerUrl.parse(config.broker)
        except UsageError as e:
            reading.problem(("broker",), str(e))
        return
    from streamline_host.embedded_broker import EmbeddedBroker

    from .ingest import host_and_port

    try:
        host, port = host_and_port(config.broker_listen)
        if config.broker_password_file is None:
            EmbeddedBroker(host, port)
    except UsageError as e:
        reading.problem(("broker_listen",), str(e).removeprefix("broker_listen: "))


def _connections(reading: Reading) -> None:
    most, needed = reading.config.resources.max_connections, connections_needed(reading.config)
    if most is not None and most < needed:
        reading.problem(("resources", "max_connections"), f"{most} is less than this node needs to run; use at least {needed}")


def _ingest(reading: Reading) -> None:
    if reading.config.ingest:
        from .ingest import takes_nothing

        for i, rule in enumerate(reading.config.ingest):
            why = takes_nothing(rule, reading.config.topics[rule.topic])
            if why is not None:
                reading.problem(("ingest", i), why)


def _merges(reading: Reading) -> None:
    said = set()
    for name, topic in reading.config.topics.items():
        kind, _, path = (topic.merge or "").partition(":")
        if (kind == "wasm" or path.endswith(".py")) and path not in said and not Path(path).is_file():
            said.add(path)
            at = next(
                ((section, i, "merge") for section in ("sync_topics", "local_topics") for i, entry in _entries(reading, section, name)),
                ("merge",),
            )
            reading.problem(at if reading.value(at) is not None else ("merge",), f"there is no file {path}")


def _entries(reading: Reading, section: str, name: str) -> list[tuple[int, object]]:
    """Of a list of topics, those with that name, and where each stands."""
    entries = enumerate(reading.value((section,)) or ())
    return [(i, entry) for i, entry in entries if isinstance(entry, dict) and entry.get("topic") == name]
