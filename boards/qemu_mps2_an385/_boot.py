# The flash of this board: the first megabyte for files, the rest for logs.
import mps2

from streamline_board import boot

boot.boot(mps2.Flash(len=1 << 20), mps2.Flash(start=1 << 20))
