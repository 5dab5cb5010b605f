"""An agent with all its doors: control socket, local broker, ingest. What `streamline --edge` runs.

Rule: things start after what they need and stop before it: the doors close first, then the agent makes durable what
came in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .agent import Agent
from .control_server import ControlServer
from .limited import CONNECTIONS_NEEDED, connections_needed

if TYPE_CHECKING:
    from streamline_core.config import EdgeConfig
    from streamline_host.embedded_broker import EmbeddedBroker

    from .ingest import Ingest


class Service:
    """Raises (start): UsageError where the configuration cannot be honoured on this machine."""

    def __init__(self, config: EdgeConfig) -> None:
        self.config = config
        self.agent = Agent(config)
        self.control = ControlServer(self.agent)
        self.broker: EmbeddedBroker | None = None
        self.ingest: Ingest | None = None

    async def start(self) -> None:
        await self.agent.start()
        try:
            await self._start_broker()
            await self.control.start()  # last: who is answered there may rely on the others
        except BaseException:
            await self.stop()
            raise

    async def _start_broker(self) -> None:
        config = self.config
        if config.broker is None:
            return
        # Imported here: an agent without a local broker does not pay for them.
        from streamline_host.broker_url import BrokerUrl

        from .ingest import Ingest, host_and_port

        if config.broker == "embedded":
            from streamline_host.embedded_broker import EmbeddedBroker

            host, port = host_and_port(config.broker_listen)
            connections_max = self._broker_share()
            self.broker = EmbeddedBroker(host, port, config.broker_password_file, connections_max)
            await self.broker.start()
            self.agent.node.resources.elsewhere = lambda: self.broker.connections if self.broker is not None else 0
            url = self.broker.own_url
        else:
            url = BrokerUrl.parse(config.broker, password_file=config.broker_password_file)
        if config.ingest:
            self.ingest = Ingest(self.agent, url)
            self.ingest.start()

    def _broker_share(self) -> int | None:
        """How many clients the embedded broker may have: what is left by the way out and by those who ask or steer, ingest included; the
        limits see to it that there is something."""
        most = self.config.resources.max_connections
        return None if most is None else most - connections_needed(self.config) + CONNECTIONS_NEEDED

    async def stop(self) -> None:
        if self.ingest is not None:
            await self.ingest.stop()
        await self.control.stop()
        if self.broker is not None:
            await self.broker.stop()
        await self.agent.stop()
