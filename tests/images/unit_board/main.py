# Runs the test files that /which.txt names, and says when it is done.
import sys

sys.path.append("/tests/unit")
with open("/which.txt") as file:
    sys.argv[:] = ["run"] + file.read().split()
try:
    import run_micropython  # noqa: F401 (it runs them)
except SystemExit as end:
    print("END", end.args[0])
