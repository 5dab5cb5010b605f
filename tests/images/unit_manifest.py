# An image that runs the unit tests of the core on a board: the whole core and the shell. The tests come from its flash: some hold text that
# is no UTF-8, which cannot be frozen.
package("streamline_core", base_path="../../shared")
package("streamline_board", base_path="../../firmware")
module("_boot.py", base_path="unit_board")
module("main.py", base_path="unit_board")
