"""The package installs from what is written down: imports declared, dependencies pinned, files shipped."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.laws import ROOMS, ROOT, sources

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK_LINES = [
    line for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines() if line and line[0] != "#"
]
PINS = {canonicalize_name(pin.name): pin for pin in (Requirement(line.split("#")[0]) for line in LOCK_LINES)}
LISTED = [
    *PYPROJECT["project"]["dependencies"],
    *PYPROJECT["project"]["optional-dependencies"]["benchmarks"],
    *PYPROJECT["project"]["optional-dependencies"]["loop"],
    *PYPROJECT["dependency-groups"]["dev"],
]


def pinned(name: str) -> Version:
    return Version(next(iter(PINS[canonicalize_name(name)].specifier)).version)


@pytest.mark.parametrize("text", LISTED)
def test_the_lock_pins_each_listed_dependency_within_its_bounds(text: str) -> None:
    wanted = Requirement(text)
    assert canonicalize_name(wanted.name) in PINS, f"{wanted.name} is not in the lock. Run `make lock`."
    assert wanted.specifier.contains(pinned(wanted.name)), (
        f"{text} is pinned as {pinned(wanted.name)}. Run `make lock`."
    )


def test_the_lock_pins_one_exact_version_of_each_and_names_no_address() -> None:
    for line in LOCK_LINES:
        assert re.match(r"^[a-z0-9.-]+==[^\s=]+( ;.*?)?(\s+#.*)?$", line), line
        assert "://" not in line


def test_the_lock_brings_no_cuda_package() -> None:
    brought = [name for name in PINS if re.match(r"(nvidia|cuda|triton$)", name) and name != "nvidia-ml-py"]
    assert not brought, f"{brought} are torch's own business. Add them to CUDA in the Makefile and run `make lock`."


def test_everything_that_a_locked_package_needs_is_locked_too() -> None:
    missing = []
    for name in PINS:
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another platform
        for need in map(Requirement, needs):
            here = need.marker is None or need.marker.evaluate({"extra": ""})
            optional = re.match(r"(nvidia|cuda|triton$)", need.name) is not None
            if here and not optional and canonicalize_name(need.name) not in PINS:
                missing.append(f"{name} needs {need}")
    assert not missing, missing


def test_what_is_installed_is_what_the_lock_says() -> None:
    wrong = []
    for name, pin in PINS.items():
        if pin.marker is None or Marker(str(pin.marker)).evaluate():
            try:
                found = Version(metadata.version(name)).public
            except metadata.PackageNotFoundError:
                found = "missing"
            if found != str(pinned(name)):
                wrong.append(f"{name}: {found}, locked {pinned(name)}")
    assert not wrong, f"Run `make set-up`: {wrong}"


def test_each_imported_library_is_a_declared_dependency() -> None:
    of_rooms = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["project"]["optional-dependencies"]["loop"]]
    declared = {canonicalize_name(Requirement(text).name) for text in of_rooms}
    benchmarks = {canonicalize_name(Requirement(text).name) for text in LISTED}
    providers = metadata.packages_distributions()
    undeclared = []
    for source in sources((*ROOMS, "benchmarks", "scripts")):
        if source.path.startswith("benchmarks/peers/"):
            continue  # other servers, each in an environment of its own that the benchmark builds
        is_room = source.room in ROOMS
        allowed = declared if is_room else benchmarks
        ours = {*ROOMS, "benchmarks"} if is_room else {*ROOMS, "benchmarks", "tests"}
        for node in source.nodes:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module)]
            else:
                continue
            for name in {each.split(".")[0] for each in names} - sys.stdlib_module_names - ours:
                owners = {canonicalize_name(owner) for owner in providers.get(name, [])}
                if not owners & allowed and not _optional(source.path, name):
                    undeclared.append(f"{source.at(node)} imports {name}, which pyproject.toml does not list")
    assert not undeclared, "\n".join(undeclared)


def _optional(path: str, name: str) -> bool:
    """Builders of the documented benchmark sets may import what the extra `benchmarks` brings, inside a function. The
    servers that ours is compared with run in environments of their own.
    """
    return (path.startswith("omni_model/data/") and name in {"resvg_py", "easy_vqa"}) or path.startswith(
        "benchmarks/peers/"
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    script = f"import hatchling.build; hatchling.build.build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_holds_each_file_of_the_rooms_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    listing = subprocess.run(["git", "ls-files", "-z", *ROOMS], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("Needs a git checkout: run it in a clone of the repository.")
    tracked = {name for name in listing.stdout.split("\0") if name and (ROOT / name).exists()}
    shipped = set(wheel.namelist())
    assert tracked - shipped == set()
    assert {name.split("/")[0] for name in shipped} == {*ROOMS, f"omniloop-{PYPROJECT['project']['version']}.dist-info"}


def test_the_wheel_gives_the_command(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "omniloop = flows.cli:main" in wheel.read(entry_points).decode()


def _make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "-f", str(ROOT / "Makefile"), "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("version", ["3.10.9", "3.14.0", "2.7.18"])
def test_set_up_refuses_a_python_that_does_not_fit_and_says_how_to_name_another(version: str, tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text("torch==2.13.0\n")
    (tmp_path / "pyproject.toml").touch()
    fake = tmp_path / "fake-python"
    fake.write_text(f'#!/bin/sh\nif [ "$1" = -V ]; then echo "Python {version}"; else exit 1; fi\n')
    fake.chmod(0o755)
    done = _make(tmp_path, "set-up", f"PYTHON={fake}")
    assert done.returncode != 0
    assert f"Python {version}" in done.stdout
    assert "PYTHON=python3.12" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_set_up_says_so_when_there_is_no_such_python(tmp_path: Path) -> None:
    (tmp_path / "requirements.lock").write_text("torch==2.13.0\n")
    done = _make(tmp_path, "set-up", "PYTHON=python-of-nobody")
    assert done.returncode != 0
    assert "python-of-nobody was not found" in done.stdout


def test_the_python_check_takes_the_python_that_runs_this() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    (check,) = re.findall(r"-c '(import sys; sys\.exit\(not .*?\))'", recipe)
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
