"""Wheel and sdist, built and installed offline, used from outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import planararm
from planararm.policies.pretrained import list_pretrained

ROOT = Path(__file__).resolve().parent.parent
SDIST_FOLDER = f"planararm-{planararm.__version__}/"

SMOKE = """
import sys
from pathlib import Path

import numpy as np
import gymnasium as gym
import planararm
from planararm.cli import main

assert Path(planararm.__file__).is_relative_to(sys.argv[1]), planararm.__file__
for name in planararm.__all__:
    getattr(planararm, name)
for name in ("planararm/Reach-v0", "planararm/Track-v0", "planararm/ReachSparse-v0"):
    gym.spec(name)
env = gym.make("planararm/Reach-v0", num_obstacles=1)
policy = planararm.make_policy("damped-least-squares").bind(env)
observation, info = env.reset(seed=0)
action, state = policy.predict(observation)
observation, reward, terminated, truncated, info = env.step(action)
assert np.isfinite(reward) and not terminated and not truncated
assert main(["list"]) == 0
"""


def build(folder: Path, checkout: Path = ROOT) -> tuple[Path, Path]:
    """What pip asks the build backend for; run in the checkout, as pip does."""
    code = (
        "import sys, flit_core.buildapi as backend\n"
        "print(backend.build_wheel(sys.argv[1]))\n"
        "print(backend.build_sdist(sys.argv[1]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    wheel, sdist = result.stdout.split()[-2:]
    return folder / wheel, folder / sdist


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def unpacked(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(built[1]) as archive:
        archive.extractall(folder, filter="data")
    return folder / SDIST_FOLDER


def package_files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in (root / "planararm").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def wheel_files(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_wheel_holds_the_package_and_nothing_else(built: tuple[Path, Path]) -> None:
    files = wheel_files(built[0])
    metadata = f"planararm-{planararm.__version__}.dist-info/"
    assert {name: text for name, text in files.items() if not name.startswith(metadata)} == package_files(ROOT)
    assert "planararm/py.typed" in files
    assert any(name.endswith(".html.jinja") for name in files)
    assert b"planararm=planararm.cli:main" in files[metadata + "entry_points.txt"].replace(b" ", b"")
    assert b"MIT License" in files[metadata + "licenses/LICENSE"]


def test_wheel_metadata_is_that_of_the_project(built: tuple[Path, Path]) -> None:
    metadata = wheel_files(built[0])[f"planararm-{planararm.__version__}.dist-info/METADATA"].decode()
    assert f"\nVersion: {planararm.__version__}\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    for extra in ("torch", "render", "report", "cli", "all", "dev"):
        assert f"\nProvides-Extra: {extra}\n" in metadata
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    names = {line.split()[1].split(">")[0].split("<")[0] for line in required}
    assert names == {"array-api-compat", "gymnasium", "numba", "numpy", "safetensors", "scipy", "threadpoolctl"}


def test_sdist_holds_what_is_needed_to_test_it(unpacked: Path) -> None:
    assert package_files(unpacked) == package_files(ROOT)
    for name in (
        "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "Makefile",
        "constraints.txt", "pyproject.toml", "docs/design.md", "tests/test_distribution.py",
        "benchmarks/import_time.py",
    ):  # fmt: skip
        assert (unpacked / name).read_bytes() == (ROOT / name).read_bytes(), name
    assert not list(unpacked.rglob("__pycache__"))


@pytest.mark.parametrize("name", ["envs", "policies"])
def test_sdist_holds_what_the_links_point_to(unpacked: Path, name: str) -> None:
    inside, top = unpacked / "planararm" / name, unpacked / name
    assert {path.name: path.read_bytes() for path in top.iterdir() if path.is_file()} == {
        path.name: path.read_bytes() for path in inside.iterdir() if path.is_file()
    }


def test_the_weights_are_in_the_sdist_once_and_in_the_wheel(built: tuple[Path, Path], unpacked: Path) -> None:
    held = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*.safetensors")}
    assert held == {f"planararm/policies/weights/{name}/model.safetensors" for name in list_pretrained()}
    assert held <= set(wheel_files(built[0]))


def test_wheel_from_the_sdist_is_the_same(built: tuple[Path, Path], unpacked: Path, tmp_path: Path) -> None:
    wheel, _ = build(tmp_path, unpacked)
    assert wheel_files(wheel) == wheel_files(built[0])


@pytest.mark.parametrize("kind", [0, 1], ids=["wheel", "sdist"])
def test_installed_package_works_outside_the_checkout(built: tuple[Path, Path], tmp_path: Path, kind: int) -> None:
    target, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    install = subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--no-index", "--no-build-isolation", "--no-compile", "--target", str(target), str(built[kind]),
        ],
        cwd=elsewhere, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert install.returncode == 0, install.stderr
    # Interpreted kernels: the installation is under test here, not the compiler.
    environment = os.environ | {"PYTHONPATH": str(target), "NUMBA_DISABLE_JIT": "1"}
    smoke = subprocess.run(
        [sys.executable, "-c", SMOKE, str(target)],
        cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert smoke.returncode == 0, smoke.stderr
    assert "closed-form" in smoke.stdout
    assert (target / "bin" / "planararm").exists()
