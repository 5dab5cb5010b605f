"""The board's program: the agent, its link a UART."""

from streamline_board import board_main

board_main.run()
