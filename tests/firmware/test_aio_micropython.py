"""The agent inside an asyncio application, on a real MicroPython against a real mosquitto and the real bridge."""

import os
import subprocess
from pathlib import Path

import pytest

import mpy
from board_process import Board, serve, stored
from mosquitto import Mosquitto

APPLICATION = """
import asyncio
from streamline_board.aio import AsyncLoop
from streamline_board.configuration import load
from streamline_board.loop import Loop

async def tick(beats):
    while True:
        await asyncio.sleep_ms(10)
        beats.append(1)

async def main():
    beats = []
    agent = AsyncLoop(Loop(load(%r)))
    running, ticking = asyncio.create_task(agent.run()), asyncio.create_task(tick(beats))
    for n in range(500):
        agent.produce("logs", b"%%d" %% n)
        if n %% 50 == 0:
            await asyncio.sleep_ms(20)
    log = agent._loop.node.logs()[0]
    while log.state.acked < 500:
        await asyncio.sleep_ms(20)
    agent.stop()
    await running
    ticking.cancel()
    print("others had", len(beats), "turns")

asyncio.run(main())
"""


@pytest.mark.micropython
@pytest.mark.skipif(mpy.find_micropython() is None, reason="MicroPython is not installed")
def test_an_application_with_a_loop_of_its_own_streams_and_goes_on(mosquitto: Mosquitto, tmp_path: Path) -> None:
    board, store = Board(tmp_path, mosquitto.port), tmp_path / "cloud.db"
    bridge = serve(mosquitto.port, store)
    program = mpy.find_micropython()
    assert program is not None
    (tmp_path / "application.py").write_text(APPLICATION % str(board.config))
    try:
        done = subprocess.run(
            [program, "-X", "heapsize=512k", str(tmp_path / "application.py")], env=os.environ | {"MICROPYPATH": board.path},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    finally:
        bridge.kill()
        bridge.wait()
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[2]) > 10, done.stdout
    assert stored(store) == [b"%d" % n for n in range(500)]
