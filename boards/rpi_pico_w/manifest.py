# A board with WiFi: MQTT, and a line for where there is none. Its own _boot.py and main.py stand for MicroPython's.
include("../../firmware/manifest.py", control=False, flash=True, board=True, wifi=True)
module("_boot.py", opt=2)
module("main.py", opt=2)
