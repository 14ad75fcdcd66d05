"""Fetch and unpack Debian packages without root: `apt-get download`, then `dpkg-deb -x`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from omni_model.errors import OmniError


class PackageError(OmniError):
    """A Debian package could not be fetched or unpacked. The message names the mend."""


def fetch(packages: Sequence[str], into: Path) -> dict[str, str]:
    """Download `packages` (`name` or `name=version`) and unpack all of them into `into`.

    Returns name to version as downloaded. Raises `PackageError` if this is no Debian system, if apt's lists are
    missing or stale, or if the mirror cannot be reached. Nothing outside `into` is written.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise PackageError(
                f"{tool} was not found, and {', '.join(packages)} comes as a Debian package. "
                "Run this once on Debian or Ubuntu (a container will do) and copy the folder it wrote."
            )
    archives = into / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    versions = {}
    for package in packages:
        name = package.partition("=")[0]
        archive = _archive(archives, name) or _download(package, archives)
        _run(["dpkg-deb", "-x", str(archive), str(into)], cwd=into, mend=f"Delete {archive} and run this again.")
        versions[name] = _run(["dpkg-deb", "-f", str(archive), "Version"], cwd=into, mend="").strip()
    return versions


def _download(package: str, archives: Path) -> Path:
    mend = "Run `apt-get update` as root once, check the network, and run this again."
    _run(["apt-get", "download", package], cwd=archives, mend=mend)
    archive = _archive(archives, package.partition("=")[0])
    if archive is None:
        raise PackageError(f"apt-get reported success, but no archive of {package} is in {archives}. {mend}")
    return archive


def _archive(archives: Path, name: str) -> Path | None:
    """The archive of a package, if an earlier run fetched it."""
    return next(iter(sorted(archives.glob(f"{name}_*.deb"))), None)


def _run(command: list[str], *, cwd: Path, mend: str) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise PackageError(f"`{' '.join(command)}` failed: {reason[0]}. {mend}".rstrip())
    return done.stdout
