# A board without an operating system or a network: its log on a raw flash, its link a line.
include("../../firmware/manifest.py", mqtt=False, keyed=False, control=False, flash=True, board=True, asyncio=True)
module("_boot.py", opt=2)
module("main.py", opt=2)
