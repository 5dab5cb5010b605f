"""`python -m streamline_cloud` is `streamline-cloud`."""

import sys

from .main import main

sys.exit(main())
