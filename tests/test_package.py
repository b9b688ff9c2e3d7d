from __future__ import annotations

import importlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium as gym
import pytest

import planararm
from planararm.registration import ENVIRONMENTS, register_environments

ROOT = Path(__file__).resolve().parent.parent
HEAVY = (
    "torch",
    "numba",
    "llvmlite",
    "pygame",
    "cvxpy",
    "scipy",
    "matplotlib",
    "rich",
    "jinja2",
    "moviepy",
    "PIL",
)


def run_python(code: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", planararm.__all__)
def test_public_name_resolves_to_what_its_module_defines(name: str) -> None:
    value = getattr(planararm, name)
    assert value is getattr(planararm, name)
    if name != "__version__":
        assert value.__name__ == name
        assert value.__module__.startswith("planararm.")
        assert value.__doc__


def test_public_names_are_listed_once_and_sorted() -> None:
    assert sorted(set(planararm.__all__)) == sorted(planararm.__all__)
    assert {*planararm._WHERE, "__version__"} == set(planararm.__all__)
    assert set(planararm.__all__) <= set(dir(planararm))


def test_type_checkers_see_the_same_names() -> None:
    import ast

    tree = ast.parse((ROOT / "planararm" / "__init__.py").read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        (node.module, alias.name) for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == {(module, name) for name, module in planararm._WHERE.items()}


def test_no_public_name_hides_a_module() -> None:
    modules = {path.stem for path in (ROOT / "planararm").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert not modules & set(planararm.__all__)


def test_every_error_is_public() -> None:
    from planararm import errors

    kinds = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert kinds <= set(planararm.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    misspelt = "PlanerArm"
    with pytest.raises(AttributeError, match="module 'planararm' has no attribute 'PlanerArm'"):
        getattr(planararm, misspelt)


def test_import_is_light() -> None:
    result = run_python(
        "import sys, planararm\n"
        f"heavy = {HEAVY!r}\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & set(heavy)))\n"
        "print(sorted(name for name in sys.modules if name.startswith('planararm')))"
    )
    assert result.returncode == 0, result.stderr
    heavy, own = result.stdout.splitlines()
    assert heavy == "[]"
    assert own == "['planararm', 'planararm.registration']"


def test_numerics_need_neither_compiler_nor_extras() -> None:
    result = run_python(
        "import sys, planararm\n"
        "arm = planararm.make_arm('unit3')\n"
        "discs = planararm.Obstacles([[1.0, 1.0]], [0.2])\n"
        "planararm.clearance(arm.joint_limits[:, 0], arm, discs)\n"
        f"print(sorted({{name.partition('.')[0] for name in sys.modules}} & set({HEAVY!r})))"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_environment_is_registered_by_import_strings(name: str) -> None:
    spec = gym.registry[name]
    assert isinstance(spec.entry_point, str)
    assert isinstance(spec.vector_entry_point, str)
    assert (spec.max_episode_steps, spec.kwargs) == ENVIRONMENTS[name]
    for entry_point in (spec.entry_point, spec.vector_entry_point):
        module, attribute = entry_point.split(":")
        assert isinstance(getattr(importlib.import_module(module), attribute), type)


def test_registering_again_changes_nothing_and_is_silent() -> None:
    before = dict(gym.registry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_environments()
        importlib.reload(importlib.import_module("planararm.registration")).register_environments()
    assert dict(gym.registry) == before


def test_registering_leaves_what_the_user_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    own = gym.envs.registration.EnvSpec("planararm/Reach-v0", entry_point="mine:Env")
    monkeypatch.setitem(gym.registry, "planararm/Reach-v0", own)
    register_environments()
    assert gym.registry["planararm/Reach-v0"] is own


def test_gymnasium_imports_the_module_that_an_id_names() -> None:
    result = run_python("import gymnasium\nprint(gymnasium.make('planararm:planararm/Track-v0').spec.id)")
    assert result.stdout.strip() == "planararm/Track-v0", result.stderr


def test_spec_survives_json() -> None:
    spec = gym.spec("planararm/ReachSparse-v0")
    assert gym.envs.registration.EnvSpec.from_json(spec.to_json()).kwargs == spec.kwargs


@pytest.mark.parametrize("name", ["envs", "policies"])
def test_the_links_at_the_top_refuse_to_be_packages(name: str) -> None:
    assert (ROOT / name / "__init__.py").is_file()
    result = run_python(f"import {name}")
    assert result.returncode != 0
    assert result.stderr.strip().splitlines()[-1] == f"ImportError: import planararm.{name}"


def test_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert version("planararm") == planararm.__version__
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {planararm.__version__}\n" in citation
