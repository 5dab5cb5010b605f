"""`python -m streamline_edge`."""

import sys

from .main import main

if __name__ == "__main__":
    sys.exit(main(edge=True))
