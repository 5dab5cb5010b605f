"""The demo's CPython edge: this machine's own telemetry, produced through the Python API.

Rule: the agent runs inside this process, as in an application; `produce_nowait` hands a reading over and goes on. Ends
when its standard input does: it stops producing on a line `drain`, and prints what the node says of itself, a JSON object
a line. Must not know: the rest of the demo.

Usage: python tools/demo_telemetry.py CONFIG
"""

import asyncio
import json
import logging
import platform
import sys
import time
from collections.abc import Iterator

import psutil

from streamline_core.errors import QueueFull, StorageFull
from streamline_edge import config_file
from streamline_edge.service import Service

SAMPLE_SECS = 0.05
SLOW_EVERY = 4  # memory and network change less: every fourth sample
STATUS_SECS = 0.5

Reading = tuple[str, str, dict[str, float]]


def readings(slow: bool) -> Iterator[Reading]:
    """(topic, key, values) of now."""
    for number, busy in enumerate(psutil.cpu_percent(percpu=True)):
        yield "cpu", "core-%d" % number, {"busy_percent": busy}
    if not slow:
        return
    memory = psutil.virtual_memory()
    yield "memory", "ram", {"used_bytes": memory.used, "available_bytes": memory.available, "used_percent": memory.percent}
    for name, counted in sorted(psutil.net_io_counters(pernic=True).items()):
        yield "network", name, {"bytes_out": counted.bytes_sent, "bytes_in": counted.bytes_recv}


class Telemetry:
    def __init__(self, service: Service) -> None:
        self._agent = service.agent
        self._draining = False
        self._ended = asyncio.Event()
        self.refused = 0  # readings for which there was no room

    async def run(self) -> None:
        listening = asyncio.create_task(self._listen())
        producing = asyncio.create_task(self._produce())
        reporting = asyncio.create_task(self._report())
        try:
            await self._ended.wait()
        finally:
            for task in (listening, producing, reporting):
                task.cancel()

    async def _listen(self) -> None:
        """Standard input tells what to do; its end means that the demo is over, however it ended."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            if line.strip() == b"drain":
                self._draining = True
        self._ended.set()

    async def _produce(self) -> None:
        sample = 0
        while not self._draining:
            for topic, key, values in readings(sample % SLOW_EVERY == 0):
                try:
                    self._agent.produce_nowait(topic, json.dumps(values), key=key, timestamp=time.time_ns() // 1_000_000)
                except (QueueFull, StorageFull):
                    self.refused += 1
            sample += 1
            await asyncio.sleep(SAMPLE_SECS)

    async def _report(self) -> None:
        while True:
            status = self._agent.status()
            status["interpreter"] = "CPython " + platform.python_version()
            status["link_bytes"] = status["link"]["bytes_out"] + status["link"]["bytes_in"]
            status["refused"] = self.refused
            print(json.dumps(status), flush=True)
            await asyncio.sleep(STATUS_SECS)


async def main(path: str) -> None:
    service = Service(config_file.load(path))
    await service.start()
    try:
        await Telemetry(service).run()
    finally:
        await service.stop()


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(main(sys.argv[1]))
