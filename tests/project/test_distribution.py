"""What is released: the same bytes from the same sources, nothing missing, nothing more."""

import hashlib
import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest

import multipath
from tests import ROOT

SOURCES = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]


def build(source, folder, *targets):
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    for target in targets:
        command += ["-t", target]
    subprocess.run(command, cwd=source, env=environment, check=True, capture_output=True)
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    return folder, build(ROOT, folder)


def test_builds_are_reproducible_also_from_the_source_distribution(built, tmp_path):
    folder, hashes = built
    assert len(hashes) == 2
    assert build(ROOT, tmp_path / "again") == hashes
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        sources.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("multipath_loss-*")
    for name, digest in build(unpacked, tmp_path / "wheel", "wheel").items():
        assert hashes[name] == digest


def test_the_wheel_holds_the_package_and_nothing_else(built):
    (wheel,) = built[0].glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packed = {name for name in names if not name.startswith("multipath_loss-")}
    package = Path(multipath.__file__).parent
    sources = {
        f"multipath/{file.relative_to(package).as_posix()}"
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert packed == sources
    assert "multipath/py.typed" in packed
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_source_distribution_holds_all_sources_and_nothing_that_is_ignored(built):
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout")
    listed = subprocess.run(SOURCES, cwd=ROOT, check=True, capture_output=True)
    tracked = set(listed.stdout.decode().splitlines())
    (archive,) = built[0].glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        packed = {name.partition("/")[2] for name in sources.getnames()}
    assert packed == tracked - {".ci/run"} | {"PKG-INFO"}


def test_every_extra_says_why_it_is_needed():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    content = tomllib.loads(text)
    project, groups = content["project"], content["dependency-groups"].values()
    extras = project["optional-dependencies"].values()
    needed = [*project["dependencies"], *chain.from_iterable(chain(extras, groups))]
    lines = text.splitlines()
    for requirement in needed:
        (reason, *_) = [line.partition(" # ")[2] for line in lines if f'"{requirement}"' in line]
        assert reason, requirement
