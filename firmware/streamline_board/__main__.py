"""`python -m`'s way in."""

import sys

from .main import main

sys.exit(main(sys.argv[1:]))
