# Where the unit tests run: files that they read lie in a littlefs at the end of the PSRAM.
import mps2
import vfs

vfs.mount(vfs.VfsLfs2(mps2.Flash()), "/")
