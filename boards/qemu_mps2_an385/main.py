from streamline_board import board_main

board_main.run()
