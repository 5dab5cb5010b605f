"""The install script does what it says: installs, upgrades, goes back, removes, and changes nothing where something is wrong."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streamline_core.config import EdgeConfig
from streamline_edge import config_file

ROOT = Path(__file__).resolve().parents[2]
INSTALL = ROOT / "boards" / "install.sh"
PACKAGES = str(Path(pytest.__file__).parents[1])  # of this environment; they stand in for a package index


def run(prefix: Path, *words: str, script: Path = INSTALL) -> "subprocess.CompletedProcess[str]":
    command = [str(script), *words, "--prefix", str(prefix)]
    environment = {**os.environ, "PYTHON": sys.executable, "STREAMLINE_INSTALL_SITE": PACKAGES}
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env=environment)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of this tree, and of one that differs by its version."""
    folder = tmp_path_factory.mktemp("wheels")
    ignored = shutil.ignore_patterns("*.egg-info", "__pycache__")
    for version in ("1.0.1", "1.0.2"):
        source = folder / version
        for name in ("shared", "host", "boards"):
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source / name)
        project = (source / "pyproject.toml").read_text()
        (source / "pyproject.toml").write_text(project.replace('\nversion = "', '\nversion = "%s"\n# was "' % version, 1))
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        if done.returncode:
            pytest.skip("no wheel can be built here (setuptools comes from a package index): " + done.stderr.strip()[-200:])
    return sorted(folder.glob("*.whl"))


class Place:
    def __init__(self, prefix: Path) -> None:
        self.opt, self.etc, self.data = prefix / "opt/streamline-edge", prefix / "etc/streamline", prefix / "var/lib/streamline"
        self.unit = prefix / "etc/systemd/system/streamline-edge.service"

    def current(self) -> str:
        return Path(os.readlink(self.opt / "current")).name

    def releases(self) -> list[str]:
        return sorted(path.name for path in (self.opt / "releases").iterdir())

    def config(self) -> EdgeConfig:
        return config_file.load(self.etc / "edge.yaml")


def test_it_installs_upgrades_goes_back_and_removes(tmp_path: Path, wheels: list[Path]) -> None:
    place = Place(tmp_path)
    first, second = (str(wheel) for wheel in wheels)
    words = ("vehicle_ecu", "--node-id", "car-7", "--cloud", "ftp://127.0.0.1:1")
    done = run(tmp_path, *words, "--wheel", first)
    assert done.returncode == 2 and "cloud_endpoint" in done.stderr and not (place.etc / "edge.yaml").exists()
    done = run(tmp_path, *words[:-1], "mqtt://a|b&c\\d@127.0.0.1:1", "--wheel", first)
    assert done.returncode == 0, done.stderr
    assert "put the node's password" in done.stdout
    config = place.config()
    assert (config.node_id, config.cloud_endpoint, config.data_dir) == ("car-7", "mqtt://a|b&c\\d@127.0.0.1:1", str(place.data))
    assert (place.etc / "password").stat().st_mode & 0o777 == 0o600 and place.data.stat().st_mode & 0o777 == 0o700
    assert (place.unit.parent / "streamline-edge.service.d/limits.conf").read_text() == (
        ROOT / "boards/vehicle_ecu/limits.conf"
    ).read_text()
    old = place.current()
    assert old.startswith("1.0.1-py")
    said = subprocess.run([str(place.opt / "current/bin/streamline-cli"), "edge", "--help"], capture_output=True, text=True, check=True)
    assert "resources" in said.stdout

    # The same again changes nothing, and does not forget what was before.
    (place.etc / "edge.yaml").write_text((place.etc / "edge.yaml").read_text() + "  fleet: mine\n")
    (place.data / "a").touch()
    (place.etc / "password").write_text("secret\n")
    assert run(tmp_path, "--wheel", first).returncode == 0 and place.releases() == [old] and not (place.opt / "previous").exists()

    place.unit.write_text("of the first release\n")
    (place.opt / "current/unit/streamline-edge.service").write_text("of the first release\n")
    done = run(tmp_path, "vehicle_ecu", "--wheel", second)
    assert done.returncode == 0, done.stderr
    new = place.current()
    assert new.startswith("1.0.2-py") and place.releases() == [old, new] and "[Service]" in place.unit.read_text()
    assert run(tmp_path, "--wheel", second).returncode == 0 and place.releases() == [old, new]

    assert run(tmp_path, "--rollback").returncode == 0 and place.current() == old
    assert place.unit.read_text() == "of the first release\n", "the service is that of the release"
    assert run(tmp_path, "--rollback").returncode == 0 and place.current() == new, "and forward again"
    assert place.config().fleet == "mine" and (place.etc / "password").read_text() == "secret\n" and (place.data / "a").exists()

    mine = place.unit.parent / "streamline-edge.service.d" / "override.conf"
    mine.write_text("[Service]\n")
    assert "removed; what stays" in run(tmp_path, "--uninstall").stdout
    assert "nothing is installed here" in run(tmp_path, "--uninstall").stdout and place.config().node_id == "car-7"
    assert not place.opt.exists() and not place.unit.exists() and mine.exists() and (place.data / "a").exists()
    assert place.config().node_id == "car-7"
    assert run(tmp_path, "--wheel", second).returncode == 0 and place.config().fleet == "mine", "it finds its profile again"
    assert run(tmp_path, "--uninstall", "--purge").returncode == 0 and not place.etc.exists() and not place.data.exists()


def test_uninstall_says_that_nothing_was_installed_and_purge_takes_what_was_left(tmp_path: Path) -> None:
    for words in (("--uninstall",), ("--uninstall", "--purge")):
        done = run(tmp_path, *words)
        assert done.returncode == 0 and "nothing is installed here" in done.stdout and not list(tmp_path.iterdir())
    place = Place(tmp_path)
    place.etc.mkdir(parents=True)
    assert "nothing is installed here" in run(tmp_path, "--uninstall").stdout and place.etc.exists()
    assert "removed, with configuration and data" in run(tmp_path, "--uninstall", "--purge").stdout and not place.etc.exists()


@pytest.mark.parametrize("systemd", [False, True])
def test_without_systemd_the_data_belongs_to_the_user_who_is_to_start_it(systemd: bool, tmp_path: Path, wheels: list[Path]) -> None:
    """Without --prefix, as a device is installed: the script's folders are moved, and what only root may do is played and noted."""
    root, said, programs = tmp_path / "root", tmp_path / "said", tmp_path / "programs"
    shutil.copytree(ROOT / "boards", tmp_path / "boards")
    script = tmp_path / "boards" / "install.sh"
    text = INSTALL.read_text()
    for name in ("opt", "etc", "data", "units"):
        assert text.count("\n%s=$prefix/" % name) == 1
        text = text.replace("\n%s=$prefix/" % name, "\n%s=%s/" % (name, root))
    script.write_text(text.replace("/run/systemd/system", str(tmp_path / "run")).replace("/home/* | /root/* |", ""))
    programs.mkdir()
    if systemd:
        (tmp_path / "run").mkdir()
    played = {"id": '[ "$1" = -u ] && echo 0', "systemctl": "", "useradd": "", "chown": 'echo "$@" >>%s' % said}
    for name, what in played.items():
        (programs / name).write_text("#!/bin/sh\n%s\n" % what)
        (programs / name).chmod(0o755)
    path = {"PATH": "%s:%s" % (programs, os.environ["PATH"]), "PYTHON": sys.executable, "STREAMLINE_INSTALL_SITE": PACKAGES}
    command = [str(script), "retail_pos", "--node-id", "pos-1", "--wheel", str(wheels[0])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env=os.environ | path)
    assert done.returncode == 0, done.stderr
    place = Place(root)
    owned = ["streamline: %s" % (place.etc / "password")] + ([] if systemd else ["streamline: %s" % place.data])
    assert said.read_text().splitlines() == owned, "with systemd, StateDirectory= does it"
    assert ("by other means, as user streamline" in done.stdout) == (not systemd)


def test_a_release_that_does_not_take_the_configuration_changes_nothing(tmp_path: Path, wheels: list[Path]) -> None:
    place = Place(tmp_path)
    first, second = (str(wheel) for wheel in wheels)
    done = run(tmp_path, "retail_pos", "--node-id", "bad id", "--wheel", first)
    assert done.returncode == 2 and "Nothing has changed" in done.stderr
    assert not list(place.etc.iterdir()) and not place.releases(), "a second attempt begins anew"
    (tmp_path / "given").write_text("secret\n")
    done = run(tmp_path, "retail_pos", "--password-file", str(tmp_path / "given"), "--wheel", first)
    assert done.returncode == 0 and (place.etc / "password").read_text() == "secret\n", done.stderr
    assert (place.etc / "password").stat().st_mode & 0o777 == 0o600
    old = place.current()
    good = (place.etc / "edge.yaml").read_text()
    (place.etc / "edge.yaml").write_text(good + "  nonsense: 1\n")
    for words in (("--wheel", second), ("--rollback",)):
        done = run(tmp_path, *words)
        assert done.returncode == 2 and place.current() == old and place.releases() == [old], words
    (place.etc / "edge.yaml").write_text(good)
    for words, what in (
        (("vehicle_ecu", "--wheel", second), "the profile here is retail_pos"),
        (("--node-id", "x", "--wheel", second), "change node_id and cloud_endpoint in it"),
        (("--wheel", str(tmp_path / "none.whl")), "there is no wheel"),
        (("--rollback",), "there is no release before this one"),
    ):
        done = run(tmp_path, *words)
        assert done.returncode == 2 and what in done.stderr and place.current() == old, (words, done.stderr)


@pytest.mark.parametrize(
    "words, what",
    [
        ((), "say which profile; there are: industrial_edge iot_gateway"),
        (("toaster",), "there is no profile toaster"),
        (("unix",), "there is no profile unix"),
        (("retail_pos", "vehicle_ecu"), "one profile, please"),
        (("--frob",), "--frob is not understood"),
        (("--node-id", ""), "--node-id needs a value"),
        (("--purge",), "--purge goes with --uninstall"),
        (("--rollback", "--uninstall"), "one of --rollback and --uninstall"),
        (("--rollback", "retail_pos"), "--rollback takes nothing"),
        (("--rollback",), "there is no release before this one"),
        (("retail_pos", "--password-file", "/dev/null"), "there is no password in it"),
    ],
)
def test_it_says_what_is_wrong_with_a_call(words: tuple[str, ...], what: str, tmp_path: Path) -> None:
    done = run(tmp_path, *words)
    assert done.returncode == 2 and what in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.iterdir())


def test_help_is_its_first_lines(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    assert done.returncode == 0 and done.stdout.startswith("Installs, upgrades") and "unless --prefix is given.\n" in done.stdout[-60:]


def test_it_leaves_nothing_in_the_checkout(tmp_path: Path) -> None:
    """Least of all a build folder, from which setuptools would take what has since been removed."""
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "tests"))
    before = sorted(source.rglob("*"))
    done = run(tmp_path / "prefix", "retail_pos", script=source / "boards" / "install.sh")
    if done.returncode and "setuptools" in done.stderr:
        pytest.skip("setuptools comes from a package index, and there is none")
    assert done.returncode == 0, done.stderr
    assert sorted(source.rglob("*")) == before
    (package,) = (tmp_path / "prefix/opt/streamline-edge/current/").resolve().glob("lib/python*/site-packages/streamline_edge")
    assert config_file.load(package / "profiles" / "retail_pos" / "edge.yaml").node_id == "pos", "profiles are part of the package"


def test_the_shell_has_nothing_to_complain_of() -> None:
    program = shutil.which("shellcheck")
    if program is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([program, str(INSTALL)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
