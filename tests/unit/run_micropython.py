"""Runs unit tests on MicroPython.

Usage: MICROPYPATH=.frozen:shared:firmware:tests/unit:tests/sim:tests/crash micropython tests/unit/run_micropython.py test_batch test_log …

Prints the interpreter's version, then PASS, FAIL or SKIP and the name of each test, with the traceback of a failure;
exits with 1 if one failed. On CPython, pytest collects the same files instead.
"""

import sys


def run(name, test):
    try:
        test()
    except Exception as error:
        print("FAIL", name)
        sys.print_exception(error)
        return False
    print("PASS", name)
    return True


def run_module(module_name):
    """Run the tests of a module in the order of their names. Returns how many failed."""
    try:
        module = __import__(module_name)
    except Exception as error:
        print("FAIL", module_name)
        sys.print_exception(error)
        return 1
    failed = 0
    for name in sorted(name for name in dir(module) if name.startswith("test_")):
        if name in getattr(module, "CPYTHON_ONLY", ()):
            print("SKIP", module_name + "." + name)
        elif not run(module_name + "." + name, getattr(module, name)):
            failed += 1
    return failed


print("MicroPython", ".".join(str(part) for part in sys.implementation[1][:3]))
sys.exit(1 if sum([run_module(name) for name in sys.argv[1:]]) else 0)
