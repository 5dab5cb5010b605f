# Everything runs in .venv, which tools/bootstrap.py makes. `make` alone says what there is.

.DEFAULT_GOAL := help
.PHONY: help setup run demo-conflict demo-offline test test-firmware check soak bench sim crash fuzz mutants mpy edge-lite firmware flash emulate clean

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/ready

# The newest Python that is supported; tried by running it, since a name on PATH may be a shim for nothing.
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && echo $$p && break; done)

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 21

setup: $(READY)  ## make .venv (the other targets do it by themselves)
	@:

$(READY): pyproject.toml tools/bootstrap.py
	@test -n "$(PYTHON)" || { echo "setup: install Python 3.11 or newer (python3.11 to python3.14)"; exit 1; }
	@$(PYTHON) tools/bootstrap.py

run: $(READY)  ## the demo: a small fleet, its broker and the cloud; SECONDS=20 stops it by itself
	@$(PY) tools/demo.py $(if $(SECONDS),--seconds $(SECONDS))

demo-conflict: $(READY)  ## two edges and the cloud write the same keys while cut off, in each strategy
	@$(PY) tools/demo_conflict.py

demo-offline: $(READY)  ## an outage that fills the disk, and both ledgers afterwards; SECONDS=7 of each outage
	@$(PY) tools/demo_offline.py $(if $(SECONDS),--seconds $(SECONDS))

test: $(READY)  ## all tests, three at a time, for many of them wait; ARGS="-k log -x" goes to pytest
	@$(PY) -m pytest -q -n 3 $(ARGS)

test-firmware: $(READY)  ## the images, each built and run in its emulator; fetches what it builds with
	@$(PY) -m pytest -q -n 2 -m image $(ARGS)

check: $(READY)  ## ruff, mypy, the import rules, whether each mutation fits
	@failed=0; \
	$(PY) -m ruff check --quiet . || failed=1; \
	$(PY) -m mypy --no-error-summary || failed=1; \
	$(PY) tools/imports.py || failed=1; \
	$(PY) tests/mutants/mutants.py --check || failed=1; \
	exit $$failed

soak: $(READY)  ## a day of a board with 128 KB of heap in minutes: a million records, no growth; ARGS="--records 100000 --hours 3"
	@$(PY) tools/soak.py $(ARGS)

bench: $(READY)  ## how fast it is; ARGS go to tools/bench.py
	@$(PY) tools/bench.py $(ARGS)

sim: $(READY)  ## the fleet under faults, from seeds; SEEDS=2000, or SEED=7 WORLD=small to replay one
	@$(PY) tests/sim/simulate.py $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED),--seed $(SEED)) $(if $(WORLD),--world $(WORLD)) $(ARGS)

crash: $(READY)  ## the power is cut at every storage call, and again while recovering; ARGS=--quick
	@$(PY) tests/crash/crash.py $(ARGS)

fuzz: $(READY)  ## hostile bytes for every decoder; SECONDS=60
	@$(PY) tests/fuzz/fuzz.py $(if $(SECONDS),--seconds $(SECONDS)) $(ARGS)

mutants: $(READY)  ## the core is broken on purpose, one way at a time: which test notices?
	@$(PY) tests/mutants/mutants.py $(ARGS)

mpy: $(READY)  ## build/mpy: the core and the firmware as MicroPython bytecode, with sizes, and package.json for mip
	@$(PY) tools/mpy.py --report

edge-lite: $(READY)  ## the agent as one static file; ARCH=x86_64|i686|armv6|armhf|arm64, FEATURES=edge-lite,edge-sync
	@$(PY) tools/board_image.py edge_lite --report $(if $(ARCH),--arch $(ARCH)) $(if $(FEATURES),--features $(FEATURES))

firmware: $(READY)  ## the image of a board: BOARD=qemu_mps2_an385
	@$(PY) tools/board_image.py "$(BOARD)" --report

flash: $(READY)  ## put Streamline onto a board: BOARD=rpi_pico_w PORT=/dev/ttyACM0; ARGS=--image for a whole image
	@$(PY) tools/flash.py "$(BOARD)" $(if $(PORT),--port "$(PORT)") $(ARGS)

emulate: $(READY)  ## a board in its emulator: BOARD=qemu_mps2_an385|rpi_pico
	@$(PY) tools/emulate.py "$(BOARD)" $(ARGS)

clean:  ## remove .venv, build and caches
	rm -rf $(VENV) build dist *.egg-info shared/*.egg-info host/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
