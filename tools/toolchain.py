"""What images are built with: MicroPython's sources, compilers, emulators. Found where they are, fetched where they can be.

Rule: what is missing is named with the package that brings it; nothing of the system's package sources is changed. MicroPython comes from
$MICROPYTHON_DIR (a clone of upstream, with its submodules) or else from Debian's source packages, fetched and unpacked under
build/toolchain. Must not know: boards.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from bootstrap import ROOT, apt_install, run

FOLDER = ROOT / "build" / "toolchain"
SUITE = "trixie"  # its micropython, pico-sdk and mbedtls go together
VERSION = "1.25.0"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
FETCH_SECS = 600
BUILD_SECS = 1800
LOG_LINES, LOG_LINE_CHARS = 25, 200  # of a build that failed, shown
IDF_VERSION = "v5.2.2"  # of those that MicroPython's README names
RP2_SUBMODULES = {"pico-sdk": "pico_sdk_init.cmake", "tinyusb": "src/tusb.h"}  # each with a file of it; Debian's packages: …-source
UNPACKED = "unpacked"  # a mark in a folder that was unpacked whole


class Missing(Exception):
    """Something to build with is not here. The text says what, and which package brings it."""


def say(text: str) -> None:
    print("toolchain: " + text, flush=True)


def need(program: str, *packages: str) -> str:
    """The path of a program, which `packages` of Debian bring; installs them if that needs no password. Raises Missing."""
    path = shutil.which(program)
    if path is None and all([apt_install(package) for package in packages]):
        path = shutil.which(program)
    if path is None:
        raise Missing("%s is missing: install the package%s %s" % (program, "s" if len(packages) > 1 else "", " ".join(packages)))
    return path


def need_file(path: str, package: str) -> Path:
    """A file that a package brings. Raises Missing."""
    if not Path(path).exists() and not (apt_install(package) and Path(path).exists()):
        raise Missing("%s is missing: install the package %s" % (path, package))
    return Path(path)


def need_header(compiler: str, header: str, package: str, language: str = "c") -> None:
    """See that a compiler finds a header that comes with a package of its own, as a C library does; installs that if it needs no password.
    language: in GCC's words. Raises Missing."""

    def found() -> bool:
        command = [compiler, "-x", language, "-E", "-o", os.devnull, "-"]
        probe = subprocess.run(command, input="#include <%s>\n" % header, capture_output=True, text=True, timeout=60, check=False)
        return probe.returncode == 0

    if not found() and not (apt_install(package) and found()):
        raise Missing("%s finds no <%s>: install the package %s" % (compiler, header, package))


class _Apt:
    """apt with a state of its own in which SUITE is known, too: what it fetches lies under FOLDER, and the system is left as it is."""

    def __init__(self) -> None:
        if not shutil.which("apt-get") or not Path(KEYRING).exists():
            raise Missing("there is no apt-get here to fetch MicroPython with: set MICROPYTHON_DIR to a clone of it (v%s)" % VERSION)
        self.folder = FOLDER / "apt"
        for name in ("state/lists/partial", "cache/archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._config = self.folder / "apt.conf"
        sources = self.folder / "sources.sources"
        entry = "Types: deb deb-src\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n"
        sources.write_text(entry % (self._mirror(), SUITE, KEYRING))
        lines = [
            'Dir::State "%s";' % (self.folder / "state"),
            'Dir::State::status "/var/lib/dpkg/status";',
            'Dir::Cache "%s";' % (self.folder / "cache"),
            'Dir::Etc::sourcelist "%s";' % sources,
            'Dir::Etc::sourceparts "-";',
            'APT::Sandbox::User "root";',
        ]
        self._config.write_text("\n".join(lines) + "\n")
        self._updated = False

    def _mirror(self) -> str:
        """Where this machine's own packages come from."""
        command = ["apt-get", "indextargets", "--format", "$(SITE) $(CODENAME) $(ORIGIN)", "Created-By: Packages"]
        rows = [line.split(" ", 2) for line in run(command, 60).stdout.splitlines()]
        found = [row[0] for row in rows if len(row) == 3 and row[2] == "Debian" and "security" not in row[1] and "security" not in row[0]]
        if not found:
            raise Missing("apt-get knows no mirror of Debian: set MICROPYTHON_DIR to a clone of MicroPython (v%s)" % VERSION)
        return found[0]

    def __call__(self, *words: str) -> None:
        """Raises Missing where it fails."""
        if not self._updated:
            self._updated = True
            self("update")
        say("fetching " + words[-1] if words[0] != "update" else "looking up what there is in " + SUITE)
        environment = os.environ | {"APT_CONFIG": str(self._config)}
        result = subprocess.run(
            ["apt-get", *words], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=FETCH_SECS, check=False,
        )  # fmt: skip
        if result.returncode:
            why = [line for line in result.stdout.splitlines() if line.startswith("E:")] or ["no reason was given"]
            raise Missing("apt-get %s failed: %s" % (" ".join(words), why[0]))

    def source(self, package: str) -> Path:
        """The upstream sources of a package, unpacked once; Debian's own patches are not applied. Raises Missing."""
        into = FOLDER / "sources" / package
        if not (into / UNPACKED).exists():
            self("source", "--download-only", package)
            archives = sorted(self.folder.glob("%s_*.orig.tar.*" % package))
            shutil.rmtree(into, ignore_errors=True)
            into.mkdir(parents=True)
            with tarfile.open(archives[-1]) as archive:
                archive.extractall(into, filter="data") if sys.version_info >= (3, 12) else archive.extractall(into)
            (into / UNPACKED).touch()
        return next(path for path in into.iterdir() if path.is_dir())

    def package(self, name: str) -> Path:
        """What a binary package holds, unpacked once, not installed. Raises Missing."""
        into = FOLDER / "packages" / name
        if not (into / UNPACKED).exists():
            self("download", name)
            shutil.rmtree(into, ignore_errors=True)
            into.mkdir(parents=True)
            archive = sorted(self.folder.glob(name + "_*.deb"))[-1]
            result = run(["dpkg-deb", "--extract", str(archive), str(into)], FETCH_SECS)
            if result.returncode:
                raise Missing("%s could not be unpacked: %s" % (archive.name, result.stdout.strip()))
            (into / UNPACKED).touch()
        return into


_apt: _Apt | None = None


def apt() -> _Apt:
    global _apt
    if _apt is None:
        _apt = _Apt()
    return _apt


def micropython() -> Path:
    """The folder of MicroPython's sources, with mbedTLS in its lib. Raises Missing."""
    given = os.environ.get("MICROPYTHON_DIR")
    if given:
        folder = Path(given).resolve()
        if not (folder / "py" / "mpconfig.h").exists():
            raise Missing("MICROPYTHON_DIR %s: that is no clone of MicroPython" % folder)
        if not (folder / "lib" / "mbedtls" / "library").exists():
            raise Missing("MICROPYTHON_DIR %s: run git submodule update --init lib/mbedtls lib/micropython-lib there" % folder)
        return folder
    # micropython-<upstream version>: a newer suite is another folder, and nothing of an older build is left in it.
    folder = apt().source("micropython") if not _ready().exists() else Path(_ready().read_text().strip())
    if not _ready().exists():
        mbedtls = apt().source("mbedtls")
        shutil.rmtree(folder / "lib" / "mbedtls", ignore_errors=True)
        (folder / "lib" / "mbedtls").symlink_to(mbedtls)
        # Debian ships no micropython-lib; nothing of ours needs it, but the build looks for this file.
        (folder / "lib" / "micropython-lib").mkdir(exist_ok=True)
        (folder / "lib" / "micropython-lib" / "README.md").touch()
        _ready().write_text("%s\n" % folder)
    return folder


def _ready() -> Path:
    return FOLDER / "micropython.path"


def rp2_sources(sources: Path, upstream_board: str, submodules: list[str]) -> None:
    """See that what the rp2 port needs beyond MicroPython is in the `lib` of these sources: the SDK, USB, and the given others, which
    Debian has no sources of. Raises Missing."""
    lacking = [name for name in submodules if not any((sources / "lib" / name).glob("*"))]
    if os.environ.get("MICROPYTHON_DIR"):
        lacking += [name for name, file in RP2_SUBMODULES.items() if not (sources / "lib" / name / file).exists()]
        if lacking:
            command = "make -C ports/rp2 BOARD=%s submodules" % upstream_board
            raise Missing("%s lacks %s: run %s there" % (sources, " and ".join(["lib/" + name for name in lacking]), command))
        return
    if lacking:
        raise Missing(
            "Debian has no MicroPython with %s: clone it (git clone -b v%s https://github.com/micropython/micropython), run there "
            "make -C ports/rp2 BOARD=%s submodules, and set MICROPYTHON_DIR to the clone" % (" and ".join(lacking), VERSION, upstream_board)
        )
    for name, file in RP2_SUBMODULES.items():
        link = sources / "lib" / name
        if not (link / file).exists():
            folder = apt().package(name + "-source") / "usr" / "src" / name
            (folder / "README.md").touch()  # the port's Makefile looks for it
            link.unlink() if link.is_symlink() else shutil.rmtree(link, ignore_errors=True)
            link.symlink_to(folder)


def idf() -> None:
    """See that Espressif's SDK is here, and entered. Raises Missing."""
    entered = os.environ.get("IDF_PATH")
    if not entered or not Path(entered).is_dir() or shutil.which("idf.py") is None:
        what = "IDF_PATH is not set" if not entered else "IDF_PATH is %s, and there is no idf.py on PATH" % entered
        raise Missing(
            "ESP-IDF is missing (%s): git clone -b %s --recursive https://github.com/espressif/esp-idf, run ./install.sh and . ./export.sh "
            "there" % (what, IDF_VERSION)
        )
    if not os.environ.get("MICROPYTHON_DIR"):
        raise Missing(
            "MICROPYTHON_DIR is not set: what Debian has of MicroPython is not all that its esp32 port needs; clone v%s" % VERSION
        )


def mpy_cross(sources: Path) -> Path:
    """The compiler to bytecode that belongs to these sources, built if it is not there. Raises Missing, subprocess.CalledProcessError."""
    program = sources / "mpy-cross" / "build" / "mpy-cross"
    if not program.exists():
        need("gcc", "gcc", "libc6-dev")
        need_header("gcc", "stdio.h", "libc6-dev")
        need("make", "make")
        say("building mpy-cross")
        make(sources / "mpy-cross", FOLDER / "mpy-cross.log")
    return program


def make(folder: Path, log: Path, *words: str, environment: dict[str, str] | None = None) -> None:
    """`make` in `folder`; what it prints goes to `log`. Raises RuntimeError with the end of that where it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    # Sources without a repository would ask git, and find this project's.
    version = {} if os.environ.get("MICROPYTHON_DIR") else {"MICROPY_GIT_TAG": "v" + VERSION, "MICROPY_GIT_HASH": "release"}
    inherited = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
    with log.open("w") as output:
        result = subprocess.run(
            ["make", "-C", str(folder), "-j%d" % (os.cpu_count() or 1), *words], stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, timeout=BUILD_SECS, env=inherited | version | (environment or {}), check=False,
        )  # fmt: skip
    if result.returncode:
        end = "\n".join([line[:LOG_LINE_CHARS] for line in log.read_text(errors="replace").splitlines()[-LOG_LINES:]])
        raise RuntimeError("make -C %s failed (all of it is in %s):\n%s" % (folder, log, end))
