"""The lecture's examples at small size: the figures that they print hold, the pictures are written."""

from __future__ import annotations

import importlib
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("lecture_*.py") if path.stem != "lecture_common")


@pytest.fixture(autouse=True)
def _examples_on_the_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(EXAMPLES)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("lecture"):
            del sys.modules[name]


def example(name: str) -> ModuleType:
    return importlib.import_module(name)


def picture(out: Path, name: str) -> np.ndarray:
    """The picture, which must show something on a light ground."""
    pixels = np.asarray(Image.open(out / f"{name}.png").convert("RGB"))
    assert np.median(pixels) > 240
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
    return pixels


def test_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = example("lecture_units").main(["--out", str(tmp_path), "--step", "0.25"])
    never = [function for function, count in figures.counts.items() if count == 0]
    assert never == [(0, 1, 1, 0), (1, 0, 0, 1)]
    assert sum(figures.counts.values()) == 17**3
    assert figures.xor == [0, 1, 1, 0]
    assert figures.xor_mistakes >= 1
    assert (np.diff(figures.descent.losses) < 0).all()
    assert figures.descent.losses[-1] < 0.1
    assert "XOR" in capsys.readouterr().out
    picture(tmp_path, "lecture-units")
    picture(tmp_path, "lecture-gradient-descent")


class TestQuadrants:
    def test_it_learns_and_plain_does_not(self, tmp_path: Path) -> None:
        runs, seeds = example("lecture_quadrants").main(
            ["--out", str(tmp_path), "--epochs", "3000", "--num-seeds", "1"]
        )
        assert runs["xavier"].accuracy >= 0.97
        assert runs["he"].accuracy >= 0.95
        assert runs["plain"].accuracy < 0.65
        assert abs(runs["plain"].losses[-1] - np.log(2)) < 0.002
        assert runs["xavier"].losses[0] == pytest.approx(0.745, abs=0.02)
        assert runs["xavier"].losses[-1] < 0.15
        assert seeds == [runs["xavier"]]
        picture(tmp_path, "lecture-quadrants")

    def test_predict_equals_a_loop(self) -> None:
        module = example("lecture_quadrants")
        rng = np.random.default_rng(0)
        x, y = module.quadrants(rng, 60)
        network = module.mlp([2, 4, 1], "sigmoid", rng=rng)
        for threshold in (0.3, 0.5):
            labels, probabilities, accuracy = module.predict(network, x, y, threshold)
            right = 0
            for i in range(60):
                probability = 1 / (1 + np.exp(-network.forward(x[i : i + 1])[0, 0]))
                assert probabilities[i, 0] == pytest.approx(probability, rel=1e-12)
                assert labels[i, 0] == (probability >= threshold)
                right += labels[i, 0] == y[i, 0]
            assert accuracy == right / 60

    def test_the_classes_are_the_quadrants(self) -> None:
        x, y = example("lecture_quadrants").quadrants(np.random.default_rng(1), 1000)
        first = (x > 0).all(axis=-1)
        third = (x < 0).all(axis=-1)
        assert np.array_equal(y[:, 0] == 1, first | third)
        assert abs(y.mean() - 0.5) < 0.05
        assert np.abs(x).max() <= 1


def test_vanishing_gradient(tmp_path: Path) -> None:
    module = example("lecture_vanishing_gradient")
    figures = module.main(["--out", str(tmp_path), "--num-seeds", "5", "--epochs", "80"])
    ratios = {str(kind): ratio for kind, ratio in figures.ratios.items()}
    assert ratios["sigmoid, plain"] < 1e-10
    assert ratios["sigmoid, xavier"] < 1e-4
    assert ratios["tanh, xavier"] > 0.1
    assert ratios["relu, he"] > 0.1
    assert ratios["tanh, plain, skips"] > 0.1
    assert ratios["sigmoid, xavier, skips"] > 100 * ratios["sigmoid, xavier"]
    norms = {str(kind): values for kind, values in figures.norms.items()}
    assert norms["tanh, plain"].max() < 1e-9
    assert norms["tanh, plain, skips"].min() > 1e-6
    assert all(values.shape == (10,) for values in norms.values())
    for kind, training in figures.trainings.items():
        assert (training.accuracy > 0.9) == kind.skips
    picture(tmp_path, "lecture-vanishing-gradient")


def test_implicit_layers(tmp_path: Path) -> None:
    figures = example("lecture_implicit_layers").main(["--out", str(tmp_path)])
    assert figures.fixed_point_differences < 1e-8
    assert figures.fixed_point_unrolled[0] > 1e-2
    assert figures.fixed_point_unrolled[-1] < 1e-11
    assert figures.fixed_point_start < 1e-11
    assert figures.quadratic < 1e-8
    assert figures.barrier.max() < 1e-7
    assert (np.diff(figures.barrier_projection) < 0).all()
    assert figures.barrier_projection[-1] < 0.05
    assert figures.arm < 1e-7
    assert figures.arm_projection < 1e-7
    picture(tmp_path, "lecture-implicit-layers")


class TestRemovedDisc:
    def test_it_does_not_help(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        small = ["--samples", "1500", "--targets", "1000", "--epochs", "100", "--num-seeds", "2"]
        answers = example("lecture_removed_disc").main(["--out", str(tmp_path), *small])
        for signal in ("regression", "task"):
            for cut in ("all", "effector", "links"):
                found = answers[signal, cut]
                assert found.touches_projected == 0
                assert found.reached_projected > 0.99
                assert found.touches.mean() > 0.02
                assert found.touches_inside.mean() > found.touches.mean()
                assert (found.samples_inside == 0) == (cut != "all")
                assert found.interval[0] <= found.difference <= found.interval[1]
            assert abs(answers[signal, "effector"].difference) < 0.02
            assert answers[signal, "all"].difference == 0
        assert answers["task", "all"].error < answers["regression", "all"].error
        assert "difference to all" in capsys.readouterr().out
        picture(tmp_path, "lecture-removed-disc")

    def test_back_propagation_through_the_kinematics(self) -> None:
        module = example("lecture_removed_disc")
        policy = module.Policy(module.make_arm("duka"), np.random.default_rng(0))
        rng = np.random.default_rng(1)
        outputs, target = rng.uniform(-1, 1, (4, 3)), rng.uniform(-3, 3, (4, 2))
        _, grad = policy.task_loss(outputs, target)
        for i, j in np.ndindex(outputs.shape):
            step = np.zeros_like(outputs)
            step[i, j] = 1e-6
            rise = policy.task_loss(outputs + step, target)[0] - policy.task_loss(outputs - step, target)[0]
            assert grad[i, j] == pytest.approx(rise / 2e-6, abs=1e-7)

    def test_the_bootstrap_covers(self) -> None:
        module = example("lecture_removed_disc")
        rng = np.random.default_rng(2)
        inside = 0
        for _ in range(40):
            values = rng.normal(size=(6, 1)) * 0.5 + rng.normal(size=(6, 200)) + 1.0
            low, high = module.bootstrap(values, rng)
            inside += low <= 1.0 <= high
        assert inside >= 28


class TestBiasVariance:
    def test_both_regimes(self, tmp_path: Path) -> None:
        module = example("lecture_bias_variance")
        small = ["--data-sets", "60", "--widths", "1", "4", "64", "--steps", "1500", "--num-sizes", "6"]
        figures = module.main(["--out", str(tmp_path), *small])
        toy = figures.toy
        assert toy.bias[:3].min() > 100 * toy.bias[3]
        assert toy.variance[9] > 10 * toy.variance[3]
        assert (np.diff(toy.training) < 0).all()
        assert int(np.argmin(toy.validation)) == 3
        training, validation, test = figures.widths.T
        assert (np.diff(training) < 0).all()
        assert module.picked(figures.widths, (1, 4, 64)) == 4
        assert test[1] < min(test[0], test[2])
        assert validation[2] - training[2] > 3 * (validation[0] - training[0])
        narrow, wide = figures.sizes[2], figures.sizes[64]
        assert narrow[-1, 1] < 1.3 * narrow[-1, 0]
        assert narrow[-1, 0] > 3 * wide[-1, 1]
        assert wide[0, 1] > 20 * wide[0, 0]
        assert wide[-1, 1] < 3 * wide[-1, 0]
        assert [row[0] for row in figures.depths] == [1, 2, 3, 4]
        assert all(0.85 * 1000 < row[2] <= 1000 for row in figures.depths)
        assert figures.depths[-1][3] < figures.depths[0][3]
        picture(tmp_path, "lecture-bias-variance")

    def test_layer_sizes_count_parameters(self) -> None:
        module = example("lecture_bias_variance")
        for depth in (1, 2, 5):
            sizes = module.layer_sizes(depth, 700)
            wider = [3, *[sizes[1] + 1] * depth, 3]
            count = [sum(a * b + b for a, b in itertools.pairwise(s)) for s in (sizes, wider)]
            assert count[0] <= 700 < count[1]
            assert module.mlp(sizes, "tanh", rng=np.random.default_rng(0)).num_parameters == count[0]


def test_ensemble(tmp_path: Path) -> None:
    flock = example("lecture_ensemble").main(["--out", str(tmp_path)])
    assert flock.error < 0.8 * flock.member_errors.mean()
    assert flock.error < flock.member_errors.min()
    assert flock.error < flock.raw_error
    assert flock.correlation(flock.joint_error) > 0.5
    _, spread = flock.by_wrist(flock.deviation)
    assert spread[0] > 1.5 * spread[3]
    assert spread[-1] > 1.25 * spread[3]
    picture(tmp_path, "lecture-ensemble")


def test_the_same_command_gives_the_same_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for folder in ("first", "second"):
        out = tmp_path / folder
        example("lecture_ensemble").main(["--out", str(out), "--members", "2", "--samples", "50", "--steps", "50"])
        printed.append(capsys.readouterr().out.replace(str(out), ""))
    assert printed[0] == printed[1]
    first, second = ((tmp_path / folder / "lecture-ensemble.png").read_bytes() for folder in ("first", "second"))
    assert first == second


def test_all_of_them_by_one_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    module = example("lecture")
    assert sorted(f"lecture_{name}" for name in module.EXPERIMENTS) == NAMES
    outcomes = module.main(["--only", "units", "implicit_layers", "--out", str(tmp_path)])
    assert [outcome.returncode for outcome in outcomes] == [0, 0]
    assert len(list(tmp_path.glob("*.png"))) == 3
    assert "2 experiments in" in capfd.readouterr().out


def test_a_failure_is_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="1"):
        example("lecture").main(["--only", "units", "--out", str(tmp_path / "file")])
    assert "failed: ['units']" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("lecture_units", ["--step", "0"], "--step must be in (0, 2], got 0.0"),
        ("lecture_units", ["--seed", "-1"], "--seed must be >= 0, got -1"),
        ("lecture_quadrants", ["--num-seeds", "0"], "--num-seeds must be >= 1, got 0"),
        ("lecture_vanishing_gradient", ["--depth", "1"], "--depth must be >= 2, got 1"),
        ("lecture_implicit_layers", ["--spectral-norm", "1.5"], "must be a number in (0.0, 0.999], got 1.5"),
        ("lecture_implicit_layers", ["--depth", "0"], "--depth must be >= 1, got 0"),
        ("lecture_removed_disc", ["--targets", "3"], "--targets must be >= 4, got 3"),
        ("lecture_removed_disc", ["--center", "0", "0"], "covers the base"),
        ("lecture_removed_disc", ["--center", "2", "2", "--radius", "2.7"], "give a smaller disc"),
        ("lecture_bias_variance", ["--widths", "0"], "--widths must be >= 1"),
        ("lecture_bias_variance", ["--parameters", "9"], "--parameters must be >= 100, got 9"),
        ("lecture_ensemble", ["--members", "1"], "--members must be >= 2, got 1"),
        ("lecture", ["--jobs", "0"], "--jobs must be >= 1, got 0"),
    ],
)
def test_they_say_what_is_wrong(
    name: str, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        example(name).main([*arguments, "--out", str(tmp_path)])
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [*NAMES, "lecture"])
def test_they_explain_themselves(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        example(name).main(["--help"])
    printed = capsys.readouterr().out
    assert "runs/lecture" in printed
    assert len(printed.splitlines()) > 15


def test_a_program_runs_from_anywhere(tmp_path: Path) -> None:
    command: list[Any] = [sys.executable, EXAMPLES / "lecture_units.py", "--step", "0.5"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "runs" / "lecture" / "lecture-units.png").exists()


def test_the_page_shows_every_picture() -> None:
    root = EXAMPLES.parent
    page = (root / "docs" / "lecture.md").read_text(encoding="utf-8")
    saved = set()
    for path in EXAMPLES.glob("lecture_*.py"):
        saved |= set(re.findall(r'save\(\w+, [\w.]+, "([\w-]+)"\)', path.read_text(encoding="utf-8")))
    assert len(saved) == 8
    assert {path.stem for path in (root / "docs" / "images").glob("lecture-*.png")} == saved
    for name in saved:
        assert f"(images/{name}.png)" in page
        assert (root / "docs" / "images" / f"{name}.png").stat().st_size <= 60_000
    assert all(f"`examples/{name}.py`" in page for name in NAMES)
