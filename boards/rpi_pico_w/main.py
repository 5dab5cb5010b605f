"""The board's program: the agent, which joins a WiFi as /wifi.json says."""

from streamline_board import board_main
from streamline_board.wifi import Wifi

board_main.run(network=Wifi)
