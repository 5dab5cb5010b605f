"""What the soak's image has frozen in beside edge-lite: the log on a raw flash, as boards have it, and the script. The build runs it."""

package("streamline_board", files=("flash_blocks.py", "flash_storage.py"), base_path="../firmware", opt=2)
module("soak_board.py", base_path=".", opt=2)
