"""The configuration space as numbers, its picture at known places, the example that writes it."""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from planararm.arm import PlanarArm
from planararm.collision import clearance
from planararm.errors import InvalidInputError, MissingExtraError
from planararm.obstacles import Obstacles
from planararm.rendering import plots
from planararm.rendering.palette import PALETTE
from planararm.rendering.plots import configuration_space, pi_label, plot_configuration_space
from planararm.scene import Scene, make_scene
from planararm.scene.generator import sample_scenes

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "configuration_space.py"
Q = np.array([0.4, 0.6, -0.5])


def example_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("configuration_space_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestNumbers:
    @pytest.mark.parametrize("joints", [(1, 2), (2, 1), (0, 2)])
    def test_every_cell_is_the_clearance_there(self, joints: tuple[int, int]) -> None:
        scene = make_scene("clutter")
        angles, values = configuration_space(scene, Q, joints, 12)
        assert angles.shape == (2, 12)
        assert values.shape == (12, 12)
        for i in range(12):
            for j in range(12):
                q = Q.copy()
                q[joints[0]], q[joints[1]] = angles[0, i], angles[1, j]
                assert values[i, j] == pytest.approx(clearance(q, scene.arm, scene.obstacles), abs=1e-12)

    def test_the_angles_run_from_limit_to_limit(self) -> None:
        arm = PlanarArm([1.0, 1.0], joint_limits=[[-1.0, 0.5], [0.0, 2.0]])
        angles, _ = configuration_space(Scene(arm, Obstacles.none()), [0.0, 0.0], (0, 1), 4)
        assert np.allclose(angles, [[-1.0, -0.5, 0.0, 0.5], [0.0, 2 / 3, 4 / 3, 2.0]])

    def test_pieces_do_not_show(self, monkeypatch: pytest.MonkeyPatch) -> None:
        scene = make_scene("pillars")
        _, whole = configuration_space(scene, Q, resolution=9)
        monkeypatch.setattr(plots, "CHUNK", 7 * 3 * scene.obstacles.num_obstacles)
        assert np.array_equal(configuration_space(scene, Q, resolution=9)[1], whole)
        monkeypatch.setattr(plots, "CHUNK", 1)
        assert np.array_equal(configuration_space(scene, Q, resolution=9)[1], whole)

    def test_nothing_is_near_without_discs(self) -> None:
        arm = make_scene("empty").arm
        for discs in (Obstacles.none(), Obstacles([[1.0, 0.0]], [0.2], mask=[False])):
            assert np.isposinf(configuration_space(Scene(arm, discs), Q, resolution=3)[1]).all()

    def test_shuttles_stand_where_they_start_or_are_frozen(self) -> None:
        scene = make_scene("shuttle")
        later = Scene(scene.arm, scene.obstacles.frozen_at(3.0))
        (_, first), (_, second) = (configuration_space(s, Q, resolution=8) for s in (scene, later))
        still = Scene(scene.arm, Obstacles(scene.obstacles.positions(0.0), scene.obstacles.radii))
        assert np.array_equal(first, configuration_space(still, Q, resolution=8)[1])
        assert not np.array_equal(first, second)

    def test_the_arguments_are_left_alone(self) -> None:
        q = Q.copy()
        configuration_space(make_scene("single"), q, resolution=3)
        assert np.array_equal(q, Q)


class TestRefusals:
    @pytest.mark.parametrize(
        "joints", [(1, 1), (0, 3), (-1, 0), (1.0, 2), (1,), (0, 1, 2), "12", 1, (True, 2), ("1", "2"), None]
    )
    def test_joints(self, joints: Any) -> None:
        with pytest.raises(InvalidInputError, match="joints must be two different whole numbers from 0 to 2, got"):
            configuration_space(make_scene("single"), Q, joints)

    @pytest.mark.parametrize("resolution", [1, 0, 2001, 2.5, "3", True, None])
    def test_resolution(self, resolution: Any) -> None:
        with pytest.raises(InvalidInputError, match="resolution must be a whole number from 2 to 2000, got"):
            configuration_space(make_scene("single"), Q, resolution=resolution)

    def test_scenes_and_configurations(self) -> None:
        batch = sample_scenes(np.random.default_rng(0), 2)
        with pytest.raises(InvalidInputError, match=r"one scene, got a batch \(2,\); index it first, e.g. scene\[0\]"):
            configuration_space(batch, Q)
        with pytest.raises(InvalidInputError, match="needs a Scene, got str"):
            configuration_space("clutter", Q)  # type: ignore[arg-type]
        with pytest.raises(InvalidInputError, match=r"q must have shape \(3,\), got \(2, 3\)"):
            plot_configuration_space(make_scene("single"), np.zeros((2, 3)))
        with pytest.raises(InvalidInputError, match="q must be finite, got nan"):
            plot_configuration_space(make_scene("single"), [0.0, np.nan, 0.0])

    def test_arms_without_two_joints_that_move(self) -> None:
        with pytest.raises(InvalidInputError, match="needs an arm of at least two"):
            configuration_space(Scene(PlanarArm([1.0]), Obstacles.none()), [0.0], (0, 1))
        fixed = PlanarArm([1.0, 1.0], joint_limits=[[-1.0, 1.0], [0.5, 0.5]])
        with pytest.raises(InvalidInputError, match=r"Joint 1 is fixed at 0.5 rad by its limits"):
            configuration_space(Scene(fixed, Obstacles.none()), [0.0, 0.5], (0, 1))

    def test_missing_matplotlib_names_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(MissingExtraError, match=r'Plotting .* pip install "planararm\[report\]"'):
            plot_configuration_space(make_scene("single"), Q)


def pixels(figure: Any) -> np.ndarray:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("RGB"), dtype=int)


class TestPicture:
    def test_colours_at_known_places(self) -> None:
        scene = make_scene("clutter")
        figure = plot_configuration_space(scene, Q)
        picture = pixels(figure)
        axes = figure.axes[0]

        def color(first: float, second: float) -> np.ndarray:
            x, y = axes.transData.transform((first, second))
            return picture[picture.shape[0] - 1 - round(y), round(x)]

        angles, values = configuration_space(scene, Q, resolution=40)
        inner = slice(2, -2)
        seen = {True: 0, False: 0}
        for i in range(40)[inner]:
            for j in range(40)[inner]:
                away_from_mark = np.hypot(angles[0, i] - Q[1], angles[1, j] - Q[2]) > 0.4
                if abs(values[i, j] - scene.safety_margin) > 0.05 and away_from_mark:
                    is_free = bool(values[i, j] > scene.safety_margin)
                    is_dark = np.abs(color(angles[0, i], angles[1, j]) - PALETTE["obstacle"]).max() <= 3
                    assert is_dark != is_free
                    seen[is_free] += 1
        assert min(seen.values()) > 50
        assert np.abs(color(Q[1], Q[2]) - PALETTE["link"]).max() <= 3

    @pytest.mark.parametrize(
        ("scene", "role"),
        [
            (make_scene("empty"), "link"),
            (Scene(make_scene("empty").arm, Obstacles([[0.9, 0.4]], [0.2])), "link_danger"),
            (Scene(make_scene("empty").arm, Obstacles([[1e6, 0.0]], [1.0])), "link"),
        ],
        ids=["all free", "all blocked", "far"],
    )
    def test_scenes_without_a_border(self, scene: Scene, role: str) -> None:
        figure = plot_configuration_space(scene, Q)
        picture = pixels(figure)
        x, y = figure.axes[0].transData.transform(Q[1:])
        assert np.abs(picture[picture.shape[0] - 1 - round(y), round(x)] - PALETTE[role]).max() <= 3
        assert figure.axes[0].get_xlabel() == "joint 1 [rad]"
        assert figure.axes[0].get_ylabel() == "joint 2 [rad]"

    def test_first_joint_across_second_joint_up(self) -> None:
        arm = PlanarArm([1.0, 1.0], joint_limits=[[-1.0, 1.0], [0.0, 500.0]])
        axes = plot_configuration_space(Scene(arm, Obstacles.none()), [0.0, 1.0], (0, 1)).axes[0]
        assert axes.get_xlim() == (-1.0, 1.0)
        assert axes.get_ylim() == (0.0, 500.0)
        assert 2 < len(axes.get_yticks()) < 12
        assert axes.get_title() == "Where the arm is free: joints 0 and 1"

    def test_ticks_are_parts_of_pi(self) -> None:
        axes = plot_configuration_space(make_scene("single"), Q, (0, 1)).axes[0]
        across = [label.get_text() for label in axes.get_xticklabels()]
        assert across == ["-2π", "-3π/2", "-π", "-π/2", "0", "π/2", "π", "3π/2", "2π"]
        assert np.allclose(axes.get_yticks(), np.pi * np.array([-1, -0.5, 0, 0.5, 1]))

    @pytest.mark.parametrize(("quarters", "text"), [(0, "0"), (1, "π/2"), (-1, "-π/2"), (2, "π"), (-6, "-3π")])
    def test_parts_of_pi(self, quarters: int, text: str) -> None:
        assert pi_label(quarters) == text

    def test_no_global_state_of_matplotlib_is_touched(self) -> None:
        program = (
            "import sys\n"
            "from planararm.rendering.plots import plot_configuration_space\n"
            "from planararm.scene import make_scene\n"
            "print('matplotlib' in sys.modules)\n"
            "plot_configuration_space(make_scene('single'), [0.1, 0.2, 0.3])\n"
            "print('matplotlib' in sys.modules, 'matplotlib.pyplot' in sys.modules)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["False", "True", "False"]


class TestExample:
    @pytest.mark.parametrize("suffix", ["png", "svg"])
    def test_it_writes_the_picture(self, suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / f"space.{suffix}"
        example_script().main(["pillars", "--joints", "0", "2", "--q", "0", "-0.5", "1e-3", "--out", str(out)])
        assert capsys.readouterr().out.strip() == str(out)
        assert out.stat().st_size > 10_000
        assert list(tmp_path.iterdir()) == [out]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["cluter"], "Did you mean 'clutter'?"),
            (["clutter", "--joints", "1", "5"], "joints must be two different whole numbers from 0 to 2, got (1, 5)"),
            (["clutter", "--q", "1"], "3), got (1,)."),
            (["clutter", "--out", "a.txt"], "--out must end in .png, .svg or .pdf, got 'a.txt'"),
            (["clutter", "--out", "nowhere/a.png"], "there is no folder 'nowhere'"),
        ],
    )
    def test_it_says_what_is_wrong(
        self,
        arguments: list[str],
        message: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit, match="2"):
            example_script().main(arguments)
        assert message in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    def test_it_explains_itself(self) -> None:
        done = subprocess.run([sys.executable, EXAMPLE, "--help"], capture_output=True, text=True, check=True)
        assert "Write a picture of where an arm is free" in done.stdout
