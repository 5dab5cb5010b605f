"""The board's program: the agent, whose link is a UART."""

from streamline_board import board_main

board_main.run()
