"""`python -m`'s way in, and that of the program which has all this frozen in: it is called by that program's name then."""

import sys

from .main import main

_program = getattr(sys, "executable", "").rpartition("/")[2]
sys.exit(main(sys.argv[1:]) if _program.startswith("micropython") or not _program else main(sys.argv[1:], _program))
