from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planararm.arm import PlanarArm, make_arm
from planararm.errors import FileFormatError, InvalidInputError, UnknownNameError
from planararm.paths import (
    Circle,
    Lemniscate,
    Line,
    Lissajous,
    Path,
    Polygon,
    Spline,
    Star,
    available_paths,
    make_path,
    read_waypoints,
)
from planararm.paths.arc_length import ArcLength

PARAMETERS = ["arc-length", "time"]
NAMED = [(name, parameter) for name in available_paths() for parameter in PARAMETERS]
OTHERS = [
    Circle([1.0, 2.0], 0.5, 0.3, -1.0),
    Polygon([[0, 0], [1, 0], [1, 3]], closed=False),
    Lissajous([0, 0], [1.0, 0.2], (5, 4), 0.3),
    Lissajous([0, 0], [1.0, 1.0], (1, 1), 0.0),
    Spline([[0, 0], [1, 0]], times=[1.0, 5.0]),
    Spline([[0, 0], [1, 1], [0, 2]], closed=True, times=[0, 1, 3, 4], parameter="time"),
    Spline([[0, 0], [1, 1], [0, 2], [3, 3]]),
]


def all_paths() -> list[Path]:
    return [make_path({"kind": name, "parameter": parameter}) for name, parameter in NAMED] + OTHERS


def name_of(path: Path) -> str:
    return f"{path.kind}-{path.parameter}"


every_path = pytest.mark.parametrize("path", all_paths(), ids=name_of)


def is_smooth(path: Path, t: np.ndarray, step: float) -> np.ndarray:
    """Where the velocity turns by little within the step: away from corners and cusps."""
    ahead, behind = path.velocity(t + step), path.velocity(t - step)
    return np.hypot(*(ahead - behind).T) <= 0.01 * path.length


@every_path
def test_velocity_is_the_derivative_of_position(path):
    rng = np.random.default_rng(0)
    t, step = rng.uniform(0.001, 0.999, 500), 2e-7
    difference = (path.position(t + step) - path.position(t - step)) / (2 * step)
    smooth = is_smooth(path, t, step)
    assert smooth.mean() > 0.99
    np.testing.assert_allclose(path.velocity(t)[smooth], difference[smooth], atol=1e-6 * path.length)


@every_path
def test_arc_length_means_constant_speed(path):
    if path.parameter == "time":
        return
    t = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(np.hypot(*path.velocity(t).T), path.length, rtol=1e-12)


@every_path
def test_length_agrees_with_a_dense_polyline(path):
    polyline = np.hypot(*np.diff(path.sample(10_001), axis=0).T).sum()
    # A chord cuts a corner by less than its own length.
    assert path.length * (1 - 1e-3) <= polyline <= path.length * (1 + 1e-11)


@every_path
def test_both_parameters_run_through_the_same_curve(path):
    other = make_path({**path.to_dict(), "parameter": "time" if path.parameter == "arc-length" else "arc-length"})
    np.testing.assert_allclose(other.length, path.length, rtol=1e-13)
    np.testing.assert_allclose(other.position([0.0, 1.0]), path.position([0.0, 1.0]), atol=1e-12)
    dense = other.sample(5001)
    for point in path.sample(30):
        assert np.hypot(*(dense - point).T).min() <= 1e-3 * path.length


@every_path
def test_closed_paths_go_round_and_open_ones_rest_at_their_ends(path):
    first, last = path.position([0.0, 1.0])
    t = np.array([0.1, 0.7])
    if path.is_closed:
        np.testing.assert_allclose(first, last, atol=1e-12)
        np.testing.assert_allclose(path.position(t + 3), path.position(t), atol=1e-9)
        np.testing.assert_allclose(path.velocity(1.0), path.velocity(0.0), atol=1e-9)
    else:
        assert np.hypot(*(first - last)) > 0
        np.testing.assert_array_equal(path.position([-0.5, 1.5]), [first, last])
        np.testing.assert_array_equal(path.velocity([-0.5, 1.5]), np.zeros((2, 2)))
        assert np.hypot(*path.velocity(1.0)) > 0


@every_path
def test_a_batch_is_a_loop_of_any_shape(path):
    t = np.linspace(0, 0.99, 12).reshape(3, 4)
    for function in (path.position, path.velocity):
        batch = function(t)
        assert batch.shape == (3, 4, 2)
        for i in np.ndindex(3, 4):
            np.testing.assert_allclose(batch[i], function(t[i]), atol=1e-9 * path.length)
    assert path.position(0.5).shape == (2,)
    assert path.position([]).shape == (0, 2)
    assert path.sample(1).shape == (1, 2)


@every_path
def test_paths_survive_json_copies_and_pickle(path):
    for again in (
        make_path(json.loads(json.dumps(path.to_dict()))),
        make_path(path.to_dict()),
        make_path(path),
        copy.deepcopy(path),
        pickle.loads(pickle.dumps(path)),
    ):
        assert again == path
        np.testing.assert_array_equal(again.sample(7), path.sample(7))
    assert path != make_path("line", {"link_lengths": [0.1, 0.1]})
    assert path != "path"


@pytest.mark.parametrize("name", available_paths())
@pytest.mark.parametrize(
    "arm", ["unit2", "duka", PlanarArm([3.0, 1.0, 1.0]), PlanarArm([1.0, 2.0], base=[5.0, -7.0])], ids=str
)
def test_default_paths_lie_inside_the_workspace_annulus(name, arm):
    arm = make_arm(arm)
    distance = np.hypot(*(make_path(name, arm).sample(500) - arm.base).T)
    width = arm.reach - arm.inner_reach
    assert distance.min() >= arm.inner_reach + 0.2 * width
    assert distance.max() <= arm.reach - 0.05 * width


def test_the_default_circle_is_as_documented():
    circle = make_path("circle", "unit3")
    center = np.full(2, 1.8 * np.sqrt(0.5))
    np.testing.assert_allclose(circle.sample(9), Circle(center, 0.45).sample(9), atol=1e-12)
    # A one-link arm reaches no such path, but has one to miss.
    np.testing.assert_allclose(make_path("circle", {"link_lengths": [3.0]}).sample(9), circle.sample(9))


def test_lengths_that_are_known():
    np.testing.assert_allclose(Line([0, 0], [3, 4]).length, 5.0)
    np.testing.assert_allclose(Circle([0, 0], 2.0).length, 4 * np.pi)
    np.testing.assert_allclose(Polygon([[0, 0], [2, 0], [2, 1], [0, 1]]).length, 6.0)
    # Lemniscate constant: the length of Bernoulli's lemniscate of half-width 1 is 2 * 2.62205755...
    np.testing.assert_allclose(Lemniscate([0, 0], 1.0).length, 2 * 2.622057554292119, rtol=1e-13)
    there_and_back = Lissajous([0, 0], [3.0, 4.0], (1, 1), 0.0)
    np.testing.assert_allclose(there_and_back.length, 20.0, rtol=1e-12)


def test_arc_length_is_inverted_where_the_speed_vanishes():
    arc = ArcLength(lambda u: np.abs(np.sin(2 * np.pi * u)), np.linspace(0, 1, 8))
    np.testing.assert_allclose(arc.total, 2 / np.pi, rtol=1e-13)
    fraction = np.linspace(0, 1, 1001)
    folded = np.where(fraction <= 0.5, np.arccos(np.clip(1 - 4 * fraction, -1, 1)) / (2 * np.pi), 0)
    u = arc.parameter_at(fraction)
    half = fraction <= 0.5
    length_there = np.where(half, (1 - np.cos(2 * np.pi * u)) / 4, 0.5 + (1 - np.cos(2 * np.pi * (u - 0.5))) / 4)
    np.testing.assert_allclose(length_there, fraction, atol=1e-12)
    np.testing.assert_allclose(u[half], folded[half], atol=1e-6)


def test_at_a_corner_the_velocity_is_the_one_from_the_right():
    square = Polygon([[0, 0], [1, 0], [1, 1], [0, 1]])
    np.testing.assert_allclose(square.velocity([0, 0.25, 0.5, 0.75, 1.0]), [[4, 0], [0, 4], [-4, 0], [0, -4], [4, 0]])
    np.testing.assert_allclose(Polygon([[0, 0], [1, 0], [1, 1]], closed=False).velocity(1.0), [0, 2])
    for num in (3, 7, 49):
        angles = 2 * np.pi * np.arange(num) / num
        regular = Polygon(np.stack([np.cos(angles), np.sin(angles)], axis=-1), parameter="time")
        for corner in range(num):
            ahead = regular.position((corner + 0.5) / num) - regular.position(corner / num)
            np.testing.assert_allclose(regular.velocity(corner / num), 2 * num * ahead, atol=1e-9)


def test_at_a_cusp_the_velocity_is_the_one_from_the_right():
    there_and_back = Lissajous([0, 0], [3.0, 4.0], (1, 1), 0.0)
    np.testing.assert_allclose(there_and_back.velocity([0.25, 0.75]), [[-12, -16], [12, 16]], rtol=1e-5)


def test_splines_pass_their_waypoints_at_their_times():
    points = np.array([[0, 0], [1, 0], [1, 2], [3, 3]])
    times = np.array([2.0, 3.0, 7.0, 10.0])
    spline = Spline(points, times=times, parameter="time")
    np.testing.assert_allclose(spline.position((times - 2) / 8), points, atol=1e-12)
    closed = Spline(points, closed=True)
    dense = closed.sample(10_001)
    for point in points:
        assert np.hypot(*(dense - point).T).min() < 1e-4 * closed.length
    # Twice continuously differentiable, where the curve closes as well.
    around = closed.velocity([1 - 1e-7, 1e-7])
    np.testing.assert_allclose(around[0], around[1], atol=1e-4 * closed.length)


def test_a_star_has_its_tips_and_notches():
    star = Star([1.0, 1.0], 2.0, 0.5, 4, 0.0, parameter="time")
    distance = np.hypot(*(star.position(np.arange(8) / 8) - 1.0).T)
    np.testing.assert_allclose(distance, [2.0, 0.5] * 4)
    np.testing.assert_allclose(star.position(0.0), [3.0, 1.0])


POINTS = st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=3, max_size=9, unique=True)


@given(POINTS, st.booleans(), st.sampled_from(["polygon", "spline"]))
def test_any_waypoints_make_a_path(points, closed, kind):
    # Points a rounding apart are as good as equal.
    points = np.round(points, 3)
    if (np.hypot(*(points - np.roll(points, -1, axis=0)).T) < 1e-3).any():
        return
    name = "vertices" if kind == "polygon" else "waypoints"
    path = make_path({"kind": kind, name: points.tolist(), "closed": closed})
    assert path.is_closed == closed
    sampled = path.sample(400)
    assert np.isfinite(sampled).all()
    steps = np.hypot(*np.diff(sampled, axis=0).T)
    assert steps.max() <= path.length / 399 * (1 + 1e-9)
    np.testing.assert_allclose(np.hypot(*path.velocity(np.linspace(0, 1, 50)).T), path.length, rtol=1e-9)
    np.testing.assert_allclose(sampled[0], points[0], atol=1e-12)
    np.testing.assert_allclose(sampled[-1], points[0 if closed else -1], atol=1e-12)


@given(st.floats(-9, 9).filter(lambda sweep: abs(sweep) > 1e-3), st.floats(0.01, 100), st.floats(-7, 7))
def test_arcs_stay_on_their_circle(sweep, radius, start):
    arc = Circle([1.0, -1.0], radius, start, sweep)
    np.testing.assert_allclose(np.hypot(*(arc.sample(20) - [1.0, -1.0]).T), radius, rtol=1e-12)
    np.testing.assert_allclose(arc.length, abs(sweep) * radius)
    assert not arc.is_closed
    assert Circle([0, 0], radius, start, -4 * np.pi).is_closed


@pytest.mark.parametrize(
    ("error", "spec", "message"),
    [
        (
            UnknownNameError,
            "cirle",
            r"Unknown path 'cirle'. Did you mean 'circle'\? Known: circle, lemniscate",
        ),
        (UnknownNameError, {"kind": "cirle"}, "Unknown path 'cirle'"),
        (
            UnknownNameError,
            {"kind": "circle", "radus": 1},
            r"argument of path 'circle' 'radus'. Did you mean 'radius'",
        ),
        (UnknownNameError, {"kind": "circle", "parameter": "length"}, "Unknown path parameter 'length'"),
        (InvalidInputError, {}, r"mapping needs 'kind', e.g. \{'kind': 'circle'\}, got the keys \[\]"),
        (InvalidInputError, 3, "by a name, a mapping, a .csv file or a Path, got 3"),
        (InvalidInputError, {"kind": "circle", "radius": 0}, "radius must be > 0, got 0.0"),
        (InvalidInputError, {"kind": "circle", "radius": "big"}, "radius must be numbers, got 'big'"),
        (InvalidInputError, {"kind": "circle", "sweep": 0}, "sweep of a circle must not be 0"),
        (InvalidInputError, {"kind": "circle", "center": [1]}, r"center must have shape \(2,\), got \(1,\)"),
        (InvalidInputError, {"kind": "circle", "center": 1}, r"center must have shape \(2,\), got \(\)"),
        (InvalidInputError, {"kind": "circle", "center": [1, np.inf]}, "center must be finite, got inf"),
        (
            InvalidInputError,
            {"kind": "line", "start": [1, 1], "end": [1, 1]},
            "start and end of a line must differ",
        ),
        (
            InvalidInputError,
            {"kind": "polygon", "vertices": 3},
            r"vertices must be a list of points \[x, y\], got 3",
        ),
        (
            InvalidInputError,
            {"kind": "polygon", "vertices": [[0, 0], [1, 1]]},
            "of a closed path must be 3 to 10000 points, got 2",
        ),
        (
            InvalidInputError,
            {"kind": "polygon", "vertices": [[0, 0]], "closed": False},
            "of an open path must be 2 to 10000",
        ),
        (
            InvalidInputError,
            {"kind": "polygon", "vertices": [[0], [1], [2]]},
            r"vertices must have shape \(3, 2\), got \(3, 1\)",
        ),
        (
            InvalidInputError,
            {"kind": "polygon", "vertices": [[0, 0], [1, 1], [0, 0]]},
            r"vertices 2 and 0 are the same point \[0.0, 0.0\]",
        ),
        (
            InvalidInputError,
            {"kind": "polygon", "vertices": [[0, 0]] * 3, "num_sides": 3},
            "vertices or num_sides, not both",
        ),
        (
            InvalidInputError,
            {"kind": "polygon", "num_sides": 2},
            "num_sides must be a whole number from 3 to 10000, got 2",
        ),
        (
            InvalidInputError,
            {"kind": "star", "num_tips": 2.5},
            "num_tips must be a whole number from 2 to 10000, got 2.5",
        ),
        (
            InvalidInputError,
            {"kind": "star", "radius": 1, "inner_radius": 1},
            "inner_radius 1.0 must be below radius 1.0",
        ),
        (
            InvalidInputError,
            {"kind": "lissajous", "amplitudes": [1, 0]},
            r"amplitudes must be > 0, got \[1.0, 0.0\]",
        ),
        (
            InvalidInputError,
            {"kind": "lissajous", "frequencies": [1, 0]},
            "frequencies must be a whole number from 1 to 100",
        ),
        (
            InvalidInputError,
            {"kind": "spline", "waypoints": [[0, 0], [1, 1]], "times": [1, 1]},
            r"times must increase, got \[1.0, 1.0\]",
        ),
        (
            InvalidInputError,
            {"kind": "spline", "waypoints": [[0, 0], [1, 1]], "times": [1]},
            r"times must have shape \(2,\), got \(1,\)",
        ),
        (
            InvalidInputError,
            {"kind": "spline", "waypoints": [[0, 0], [1, 1], [1, 1]]},
            "waypoints 1 and 2 are the same point",
        ),
        (InvalidInputError, {"kind": "csv"}, "needs 'file', the path of a .csv file, got None"),
        (
            UnknownNameError,
            {"kind": "csv", "file": "a.csv", "interpolation": "liner"},
            "Unknown interpolation 'liner'. Did you mean 'linear'",
        ),
    ],
)
def test_what_is_no_path_is_refused(error, spec, message):
    with pytest.raises(error, match=message):
        make_path(spec)


def test_what_is_no_t_or_num_is_refused():
    circle = make_path("circle")
    for function in (circle.position, circle.velocity):
        with pytest.raises(InvalidInputError, match="t must be finite, got nan"):
            function([0.0, np.nan])
        with pytest.raises(InvalidInputError, match="t must be numbers, got 'soon'"):
            function("soon")
    with pytest.raises(InvalidInputError, match="num must be >= 1, got 0"):
        circle.sample(0)


@pytest.fixture(name="file")
def _file(tmp_path):
    return tmp_path / "way.csv"


@pytest.mark.parametrize("header", ["", "x,y\n", " X , Y \n\n", "# a comment, with commas\nx,y\r\n", "\ufeffx,y\n"])
def test_waypoints_with_and_without_header(file, header):
    file.write_text(header + "0, 0\n1,0.5\n\n2,0,\n".replace("0,\n", "0\n"), encoding="utf-8")
    points, times = read_waypoints(file)
    np.testing.assert_array_equal(points, [[0, 0], [1, 0.5], [2, 0]])
    assert times is None
    for spec in (file, str(file), {"kind": "csv", "file": str(file)}):
        assert make_path(spec) == Spline(points)
    straight = make_path({"kind": "csv", "file": file, "interpolation": "linear", "closed": True})
    assert straight == Polygon(points)


def test_waypoints_with_times(file):
    file.write_text("t,x,y\n1,0,0\n2,1,0.5\n4,2,0\n")
    expected = Spline([[0, 0], [1, 0.5], [2, 0]], times=[1, 2, 4], parameter="time")
    assert make_path(file) == expected
    assert make_path({"kind": "csv", "file": file, "parameter": "arc-length"}).parameter == "arc-length"
    with pytest.raises(FileFormatError, match="column t needs interpolation 'spline'"):
        make_path({"kind": "csv", "file": file, "interpolation": "linear"})
    with pytest.raises(FileFormatError, match="must end on its first point, to say when it returns"):
        make_path({"kind": "csv", "file": file, "closed": True})
    file.write_text("0,0,0\n1,1,0.5\n2,2,0\n3,0,0\n")
    closed = make_path({"kind": "csv", "file": file, "closed": True})
    assert closed == Spline([[0, 0], [1, 0.5], [2, 0]], closed=True, times=[0, 1, 2, 3], parameter="time")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"way.csv' has 0 way-point\(s\); a path needs at least 2"),
        ("x,y\n1,2\n", r"has 1 way-point\(s\)"),
        ("1,2\n3\n", "line 2: expected 2 values x,y, got 1: '3'"),
        ("1,2\n3,4,5\n", "line 2: expected 2 values x,y, got 3: '3,4,5'"),
        ("1,2\n3,four\n", "line 2: y must be a number, got 'four'"),
        ("1,2\nnan,4\n", "line 2: x must be finite, got 'nan'"),
        ("1,2\n3,1e999\n", "line 2: y must be finite, got '1e999'"),
        ("1,two\n", "line 1: y must be a number, got 'two'"),
        ("1;2\n3;4\n", "line 1: the header must be x,y or t,x,y .or be left out., got '1;2'"),
        ("lat,lon\n1,2\n", "line 1: the header must be x,y or t,x,y .or be left out., got 'lat,lon'"),
        ("1,2,3,4\n", "line 1: expected x,y or t,x,y separated by commas, got '1,2,3,4'"),
        ("t,x,y\n1,0,0\n1,1,1\n", "line 3: times must increase, got 1.0 after 1.0"),
        ("0,0\n" * 10_001, "line 10001: more than 10000 way-points"),
        ("0,0\n0,0\n", r"way.csv': waypoints 0 and 1 are the same point \[0.0, 0.0\]"),
        ("#" * 1_000_001, "larger than 1000000 bytes, the most a way-point file may have"),
        ("1,2\n3," + "4" * 200_000, r"line 2: (field larger than field limit|y must be)"),
        ("1,2\n3,\x00\n", "line 2: (line contains NUL|y must be a number)"),
        ("x" * 500, r"got 'x{60}\.\.\.'"),
    ],
)
def test_malformed_waypoints_are_refused_with_their_line(file, text, message):
    file.write_text(text)
    with pytest.raises(FileFormatError, match=message):
        make_path(file)


def test_waypoint_files_that_cannot_be_read(file):
    with pytest.raises(FileFormatError, match=r"No way-point file '.*way.csv'"):
        make_path(file)
    with pytest.raises(FileFormatError, match="is not a file; a way-point file was expected"):
        make_path(file.parent)
    file.write_bytes(b"1,\xff\n")
    with pytest.raises(FileFormatError, match="is not UTF-8 text: byte 2 is not valid"):
        make_path(file)
