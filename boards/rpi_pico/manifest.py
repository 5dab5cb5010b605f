# A board whose only link is a line: no MQTT. Its own _boot.py and main.py stand for MicroPython's.
include("../../firmware/manifest.py", mqtt=False, control=False, flash=True, board=True)
module("_boot.py", opt=2)
module("main.py", opt=2)
