"""First at every start: the flash of this board cut in two, the first megabyte for files, the rest for logs.

Rule: nothing is mounted or formatted here. Must not know: what lies in the flash.
"""

import mps2

from streamline_board import boot

boot.boot(mps2.Flash(len=1 << 20), mps2.Flash(start=1 << 20))
