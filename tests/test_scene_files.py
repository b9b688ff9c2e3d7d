from __future__ import annotations

import os
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planararm.arm import PlanarArm, make_arm
from planararm.errors import FileFormatError, InvalidSceneError
from planararm.obstacles import Obstacles
from planararm.scene import Scene, load_scene, save_scene

ARM = '[arm]\npreset = "unit3"\n'


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    return tmp_path / "scene.toml"


def loaded(file: Path, text: str | bytes) -> Scene:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_scene(file)


@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_the_round_trip_is_exact(tmp_path_factory, seed, preset, moving):
    file = tmp_path_factory.mktemp("scenes") / "scene.toml"
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 65)), int(rng.integers(0, 6))
    arm = make_arm("duka") if preset else PlanarArm(rng.exponential(1e-3, n) + 1e-9, base=rng.normal(size=2) * 1e9)
    centers = arm.base + arm.reach * (2 + rng.exponential(size=(m, 1))) * np.array([[0.6, 0.8]])
    shuttle = rng.uniform(0, 1, (m, 4)) * [arm.reach, arm.reach, 1, 2] if moving and m else None
    scene = Scene(arm, Obstacles(centers, rng.uniform(0.1, 0.5, m) * arm.reach, shuttle), rng.uniform(0, 1e-9))
    save_scene(scene, file)
    assert load_scene(file) == scene
    assert os.listdir(file.parent) == ["scene.toml"]


def test_the_documented_example_loads(file):
    from planararm.scene import files

    assert files.__doc__ is not None
    example = files.__doc__.split("::\n", 1)[1].split("Lengths are", 1)[0]
    scene = loaded(file, "\n".join(line.removeprefix("    ") for line in example.splitlines()))
    assert scene.arm == make_arm("unit3")
    assert scene.obstacles == Obstacles([[1.5, 1.0], [-1.5, 0.0]], [0.3, 0.2], [[0, 0, 0, 0], [0.0, 1.0, 0.5, 0.25]])


def test_what_is_left_out_has_defaults_and_a_preset_can_be_changed(file):
    assert loaded(file, ARM) == Scene(make_arm("unit3"), Obstacles.none())
    arm = loaded(file, ARM + "link_radius = 0.1\n").arm
    assert arm == PlanarArm([1, 1, 1], link_radius=0.1)
    assert loaded(file, b"\xef\xbb\xbf" + ARM.encode()).arm == make_arm("unit3")
    shuttle = "[[obstacles]]\ncenter = [2, 0]\nradius = 1\nshuttle = {displacement = [1, 0], speed = 1}"
    assert loaded(file, ARM + shuttle).obstacles.shuttle.tolist() == [[1.0, 0.0, 1.0, 0.0]]


def test_empty_slots_are_not_written(file):
    discs = Obstacles([[2.0, 0.0], [0.0, 0.0]], [0.5, 1.0], mask=[True, False])
    save_scene(Scene(make_arm("unit3"), discs), file)
    assert load_scene(file).obstacles == Obstacles([[2.0, 0.0]], [0.5])


def test_a_failed_save_leaves_the_old_file_and_nothing_else(file, monkeypatch):
    file.write_text("old")
    scene = Scene(make_arm("unit3"), Obstacles.none())
    with pytest.raises(InvalidSceneError, match=r"one scene, got batch shape \(2,\); save scene\[i\]"):
        save_scene(Scene.stack([scene, scene]), file)

    def full_disc(self: Path, target: Path) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full_disc)
        with pytest.raises(OSError, match="No space left"):
            save_scene(scene, file)
    assert (file.read_text(), os.listdir(file.parent)) == ("old", ["scene.toml"])
    with pytest.raises(FileNotFoundError):
        save_scene(scene, file.parent / "nowhere" / "scene.toml")


def test_a_saved_file_is_as_readable_as_any(file):
    save_scene(Scene(make_arm("unit3"), Obstacles.none()), file)
    plain = file.with_name("plain")
    plain.touch()
    assert file.stat().st_mode == plain.stat().st_mode
    assert tomllib.loads(file.read_text())["arm"] == {"preset": "unit3"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a = \xff", "is not UTF-8 text: byte 4 is not valid"),
        ("arm = ", r"is not valid TOML: Invalid value \(at end of document\)"),
        ("#" * 1_000_001, "is larger than 1000000 bytes, the most a scene file may have"),
        (("a = 1 #" + "#" * 3000), "line 1 has more than 2000 characters"),
        (ARM + ".".join("a" * 50) + " = 1", "line 3 has a key of more than 20 parts"),
        ("a = " + "[" * 1900, "is nested too deeply for a scene"),
        ("a = " + "9" * 1_999, "line 1 has more than 2000"),
        ("\n".join("[" * 500 for _ in range(100)), "is nested too deeply|is not valid TOML"),
        (ARM + "[obstacle]\n", r"Unknown scene key 'obstacle'. Did you mean 'obstacles'\?"),
        ('[arm]\npreset = "unit33"', r"Unknown arm 'unit33'. Did you mean 'unit3'\?"),
        ("[arm]\nlink_lenghts = [1]", "Unknown arm key 'link_lenghts'. Did you mean 'link_lengths'"),
        (
            ARM + "[[obstacles]]\ncentre = [1, 2]",
            r"Unknown obstacles\[0\] key 'centre'. Did you mean 'center'\?",
        ),
        (
            ARM + "[[obstacles]]\ncenter = [2, 2]\nradius = 1\nshuttle = {velocity = 3}",
            r"Unknown obstacles\[0\].shuttle key 'velocity'. Known: displacement, phase, speed",
        ),
    ],
)
def test_what_is_no_scene_file_is_refused(file, text, message):
    with pytest.raises(FileFormatError, match=message) as caught:
        loaded(file, text)
    assert "scene.toml" in str(caught.value)


DISC = "[[obstacles]]\ncenter = [2, 2]\nradius = 1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("safety_margin = 0.1", r"scene needs 'arm', got only \['safety_margin'\]"),
        ("arm = 3", "arm must be a table with preset or link_lengths, got 3"),
        ("[arm]", "An arm needs link_lengths"),
        ("[arm]\npreset = 3", "preset must be an arm's name, got 3"),
        ("[arm]\nlink_lengths = [1, 'a']", "link_lengths must be a number, got 'a'"),
        ("[arm]\nlink_lengths = [1, nan]", "link_lengths must be finite, got nan"),
        ("[arm]\nlink_lengths = [0]", r"link_lengths must be > 0, got \[0.0\]"),
        ("[arm]\nlink_lengths = [1]\njoint_limits = [[1, -1]]", "reversed: lower 1.0 > upper -1.0"),
        ("[arm]\nlink_lengths = [true]", "link_lengths must be a number, got True"),
        (f"safety_margin = {'9' * 500}\n" + ARM, "safety_margin is too large a number"),
        ("safety_margin = -1\n" + ARM, "safety_margin must be finite and >= 0, got -1.0"),
        ("safety_margin = inf\n" + ARM, "safety_margin must be finite, got inf"),
        ("safety_margin = 1979-05-27\n" + ARM, r"safety_margin must be a number, got datetime.date\(1979"),
        (
            "safety_margin = 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'\n" + ARM,
            r"xxx\.\.\.",
        ),
        ("obstacles = 3\n" + ARM, "obstacles must be a list of tables with center and radius, got 3"),
        ("obstacles = [3]\n" + ARM, r"obstacles\[0\] must be a table with center and radius, got 3"),
        (
            ARM + "[[obstacles]]\nradius = 1",
            r"obstacles\[0\] needs 'center'",
        ),
        (
            ARM + DISC + "[[obstacles]]\ncenter = [2, 2]",
            r"obstacles\[1\].* needs 'radius', got only \['center'\]",
        ),
        (
            ARM + "[[obstacles]]\nradius = 1\ncenter = [1]",
            r"obstacles\[0\].center must be two numbers \[x, y\], got \[1\]",
        ),
        (ARM + "[[obstacles]]\nradius = 1\ncenter = 'ab'", r"obstacles\[0\].center must be two numbers"),
        (
            ARM + "[[obstacles]]\nradius = nan\ncenter = [2, 2]",
            r"obstacles\[0\].radius must be finite, got nan",
        ),
        (ARM + "[[obstacles]]\nradius = 0\ncenter = [2, 2]", "radii must be > 0"),
        (ARM + "[[obstacles]]\nradius = 1\ncenter = [0, 0]", "covers the base"),
        (ARM + DISC + "shuttle = 1", r"shuttle must be a table with displacement and speed, got 1"),
        (ARM + DISC + "shuttle = {speed = 1}", r"obstacles\[0\].shuttle.* needs 'displacement'"),
        (ARM + DISC + "shuttle = {displacement = [1, 0], speed = -1}", "speeds must be >= 0"),
        (
            ARM + DISC + "shuttle = {displacement = [1, 0], speed = 1, phase = 2}",
            r"phases must be in \[0, 2\)",
        ),
        ("[obstacles]\ncenters = [[2, 2]]\n" + ARM, "obstacles.* needs 'radii'"),
    ],
)
def test_what_describes_no_scene_is_refused(file, text, message):
    with pytest.raises(InvalidSceneError, match=message) as caught:
        loaded(file, text)
    assert "scene.toml" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileFormatError, match=r"No scene file '.*missing.toml'"):
        load_scene(tmp_path / "missing.toml")
    with pytest.raises(FileFormatError, match="is not a file; a scene file was expected"):
        load_scene(tmp_path)
    with pytest.raises(FileFormatError, match="'/dev/zero' is not a file"):
        load_scene("/dev/zero")
