"""The bundled suites: frozen, soundly labelled, independent rows; own seeds and sizes; suites from own Python."""

import os
import re
import subprocess
import sys
import textwrap
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from planararm.benchmark.suites import (
    EVALUATION_SEEDS,
    available_suites,
    drawing,
    free_scenes,
    load_suite,
    make_suite,
    names,
    tracks,
)
from planararm.benchmark.suites.drawing import drawn_ik_group, tip_clearance
from planararm.benchmark.suites.tracks import draw_safe_motions, drawn_witness_group, follow_greedily
from planararm.benchmark.suites.v1 import RECIPES
from planararm.benchmark.tasks import CHUNK, Suite
from planararm.collision import clearance
from planararm.dynamics import advance
from planararm.errors import InvalidInputError, InvalidSceneError, MissingExtraError, UnknownNameError
from planararm.inverse import reachability, self_motion
from planararm.metrics import Truth, is_valid, path_length
from planararm.obstacles import Obstacles
from planararm.scene import Scene

HASHES = {
    "v1/quick": "4aab1fb0d0cb8ba0a0db772eb64f5f20d073828c8c0b54076c3a6612323fb548",
    "v1/ik-free": "533e2bd88e2124330af92da1467040423f0311cce9cfb57010b3802e9f4fac28",
    "v1/ik-clutter": "accb7fdc57b9b3c9d4bc50923684767d292f2ced23d2e4f9bee7af425869a881",
    "v1/ik-hard": "e158ca9f8c52b908abc70dc791dc3863584bbd2339844678cf8ee701702d2b5e",
    "v1/track-free": "7077013301978c53600f5e23a106d1ab0b7e2b47565470babd8edc3cf0a0bc37",
    "v1/track-clutter": "11bafa051cd6f6164f17799a3e81083676a0ec79d8d541b2d31c24ed67405147",
    "v1/track-moving": "b5da9ca061421409e456e2b4fd0d2d6d264ad7247cf985f458948d8efc7218bb",
    "v1/duka": "608ed22194f3ded13381d1a581d87d9405ece22266f7f1fc5f0c70a7088dabdf",
    "v1/redundant": "984e667d8fc9b57d3f3aa02eb96e80dac95b4b2feaa6a0f605303a4edbc90180",
}
"""Results of different days are compared by these: a hash that changes is a new version of the suite."""

KNOWN = {"reachable", "near-singular", "tight", "passage", "witness", "crossing", "passing", "random spline"}
"""Labels whose tasks are all known to be possible."""


def groups():
    return [(suite, group) for suite in map(load_suite, HASHES) for group in suite.groups]


def rows(group, label):
    """Scene, targets and starts of the tasks with a label."""
    chosen = np.array(group.labels) == label
    return group.scene[chosen], group.targets[chosen], group.q_start[chosen]


def answers_on(target, arm, num_points=512):
    """Configurations of three links on a target, within the limits, by sampling the self-motion curve."""
    q = np.concatenate(self_motion(target, arm, num_points))
    # Every turn of the angles that could be within the limits.
    low = arm.joint_limits[:, 0]
    q = low + np.mod(q - low, 2 * np.pi)
    return q[arm.limit_violation(q) <= 1e-12]


@pytest.mark.parametrize("name", HASHES)
def test_suites_are_frozen(name):
    assert load_suite(name).content_hash == HASHES[name]
    assert load_suite(name) is load_suite(name)


def test_every_suite_has_a_seed_of_its_own():
    assert set(available_suites()) == set(HASHES) == set(EVALUATION_SEEDS) == set(RECIPES)
    assert len(set(EVALUATION_SEEDS.values())) == len(EVALUATION_SEEDS)


def test_tasks_are_well_formed():
    for suite, group in groups():
        assert suite.chunk_size == CHUNK
        assert is_valid(group.q_start, group.scene).all(), group.name
        assert np.isfinite(group.targets).all()
        assert set(group.truth.tolist()) <= {1, 0, -1}
        truth_of = {label: set() for label in group.labels}
        for label, truth in zip(group.labels, group.truth.tolist(), strict=True):
            truth_of[label].add(truth)
        for label, truths in truth_of.items():
            if label in KNOWN:
                assert truths == {Truth.REACHABLE}, (group.name, label)
            if label in ("blocked", "beyond"):
                assert truths == {Truth.UNREACHABLE}, (group.name, label)
    for suite in map(load_suite, HASHES):
        assert len({group.name for group in suite.groups}) == len(suite.groups)


def test_verdicts_are_those_of_the_ground_truth_and_witnesses_prove_them():
    for suite, group in groups():
        if group.kind != "ik":
            continue
        found = reachability(group.targets, group.scene)
        exact = group.scene.arm.num_joints <= 3
        if exact:
            np.testing.assert_array_equal(found.verdict, group.truth)
        # What is reachable by construction is never called unreachable.
        assert ((found.verdict == group.truth) | (found.verdict == Truth.UNKNOWN)).all(), (suite.name, group.name)
        proven = found.verdict == Truth.REACHABLE
        q, scene = found.q[proven], group.scene[proven]
        assert is_valid(q, scene).all()
        np.testing.assert_allclose(scene.arm.end_effector(q), group.targets[proven], rtol=0, atol=1e-9)


def test_tasks_are_independent():
    for suite, group in groups():
        if suite.name == "v1/quick" or (group.kind == "track" and group.scene.obstacles.num_obstacles == 0):
            continue
        assert len(np.unique(group.q_start, axis=0)) == len(group), group.name
        assert len(np.unique(group.targets.reshape(len(group), -1), axis=0)) == len(group), group.name
        discs, mask = group.scene.obstacles, np.asarray(group.scene.obstacles.mask)
        placed = np.asarray(discs.centers)[mask]
        assert len(np.unique(placed, axis=0)) == len(placed), group.name


def test_blocked_targets_are_free_of_answers_for_a_search_that_shares_no_code():
    scene, targets, _ = rows(load_suite("v1/ik-hard").group("ik-hard"), "blocked")
    assert (tip_clearance(targets, scene) > scene.safety_margin).all()
    assert (reachability(targets, Scene(scene.arm, Obstacles.none())).verdict == Truth.REACHABLE).all()
    for i in range(0, len(scene), 10):
        q = answers_on(targets[i], scene.arm)
        assert len(q) > 50
        assert clearance(q, scene.arm, scene[i].obstacles).max() < scene.safety_margin


def test_tight_targets_have_no_comfortable_answer():
    scene, targets, _ = rows(load_suite("v1/ik-hard").group("ik-hard"), "tight")
    best = reachability(targets, scene).clearance
    most = scene.safety_margin + 0.01 * scene.arm.reach
    assert (best < most).all()
    for i in range(0, len(scene), 10):
        q = answers_on(targets[i], scene.arm)
        assert clearance(q, scene.arm, scene[i].obstacles).max() < most + 1e-3


def test_near_singular_and_passage():
    hard = load_suite("v1/ik-hard")
    scene, targets, _ = rows(hard.group("ik-hard"), "near-singular")
    distance = np.linalg.norm(targets, axis=1)
    assert (distance >= 0.98 * scene.arm.reach).all()
    assert (distance <= scene.arm.reach).all()
    scene, targets, _ = rows(hard.group("ik-passage"), "passage")
    centers, radii = np.asarray(scene.obstacles.centers)[:, :2], np.asarray(scene.obstacles.radii)[:, :2]
    apart = np.linalg.norm(centers[:, 1] - centers[:, 0], axis=1)
    gap = apart - radii.sum(axis=1)
    arm = scene.arm
    assert (gap > 2 * (arm.link_radius + scene.safety_margin)).all()
    assert (gap < 2 * (arm.link_radius + scene.safety_margin) + 0.0301 * arm.reach).all()
    along = (centers[:, 1] - centers[:, 0]) / apart[:, None]
    middle = centers[:, 0] + (radii[:, :1] + 0.5 * gap[:, None]) * along
    assert (np.linalg.norm(targets - middle, axis=1) <= 0.1 * arm.reach + 1e-8).all()


def test_paths_start_where_the_arm_is_and_lead_somewhere():
    for _, group in groups():
        if group.kind == "track":
            start = group.scene.arm.end_effector(group.q_start)
            np.testing.assert_allclose(start, group.targets[:, 0], atol=1e-8)
            if group.scene.obstacles.num_obstacles and len(group) > 6:
                assert (path_length(group.targets) >= 0.2 * group.scene.arm.reach - 1e-6).all(), group.name


@pytest.mark.parametrize("name", ["track-fast", "track-spline"])
def test_paths_in_free_space_are_labelled_by_a_motion_that_follows_them(name):
    group = load_suite("v1/track-free").group(name)
    followed = follow_greedily(group.targets, group.q_start, group.scene)
    np.testing.assert_array_equal(followed, group.truth == Truth.REACHABLE)
    assert followed.sum() >= 6
    assert (reachability(group.targets[followed], group.scene[0]).verdict == Truth.REACHABLE).all()


def test_a_path_that_is_too_fast_is_not_called_possible():
    fast = load_suite("v1/track-free").group("track-fast")
    every_tenth = fast.targets[:, ::10]
    assert not follow_greedily(every_tenth, fast.q_start, fast.scene).any()


def replayed(scene, q_path, targets, dt):
    """Walk a motion through the environments' own step, and look between the steps as well."""
    q, arm = q_path[:, 0], scene.arm
    np.testing.assert_allclose(arm.end_effector(q), targets[:, 0], atol=1e-8)
    assert (arm.limit_violation(q_path) <= 1e-9).all()
    for step in range(q_path.shape[1] - 1):
        moved = advance(q, q_path[:, step + 1], scene, dt=dt, time=step * dt)
        assert not moved.collision.any()
        assert (moved.fraction == 1).all()
        np.testing.assert_allclose(moved.q, q_path[:, step + 1], rtol=0, atol=1e-9)
        np.testing.assert_allclose(arm.end_effector(moved.q), targets[:, step + 1], atol=1e-8)
        for part in (0.25, 0.5, 0.75, 1.0):
            now = scene.obstacles.frozen_at((step + part) * dt)
            room = clearance(q + part * (moved.q - q), arm, now)
            # A disc that turns round within a step is a little off its straight way.
            assert (room >= scene.safety_margin - (1e-9 if scene.obstacles.is_static else 8e-3)).all()
        q = moved.q


def test_the_motions_among_moving_discs_are_safe(monkeypatch):
    drawn = []

    def recording(*args):
        drawn.append(draw_safe_motions(*args))
        return drawn[-1]

    monkeypatch.setattr(tracks, "draw_safe_motions", recording)
    suite = load_suite.__wrapped__("v1/track-moving")
    group = suite.group("track-moving")
    assert suite.content_hash == HASHES["v1/track-moving"]
    starts = {motion[0].tobytes(): motion for motions in drawn for motion in motions.q_path}
    q_path = np.stack([starts[q.tobytes()] for q in group.q_start])
    assert not any(group.scene[i].obstacles.is_static for i in range(len(group)))
    replayed(group.scene, q_path, group.targets, group.dt)

    scene, targets, q_start = rows(group, "crossing")
    frozen = Scene(scene.arm, scene.obstacles.frozen_at(0.0), scene.safety_margin)
    q, met = q_start, np.zeros(len(scene), dtype=bool)
    for step in range(targets.shape[1] - 1):
        moved = advance(q, np.stack([starts[x.tobytes()][step + 1] for x in q_start]), frozen, dt=group.dt)
        q, met = moved.q, met | moved.collision
    assert met.all()


def test_witness_paths_among_discs_can_be_replayed(monkeypatch):
    drawn = []

    def recording(*args):
        drawn.append(witness(*args))
        return drawn[-1]

    witness = tracks.witness_path
    monkeypatch.setattr(tracks, "witness_path", recording)
    group = drawn_witness_group(np.random.default_rng(3), "paths", "duka", 30, 60, (1, 4))
    motions = np.concatenate([each.q_path for each in drawn])
    starts = {np.round(motion[0], 9).tobytes(): motion for motion in motions}
    replayed(group.scene, np.stack([starts[q.tobytes()] for q in group.q_start]), group.targets, group.dt)
    assert group.labels == ("witness",) * 30


def test_the_page_documents_every_suite():
    page = (Path(__file__).parent.parent / "docs" / "benchmark.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| `(v1/[\w-]+)` \| `([\w-]+)` \| `(\w+)` \| ([^|]*) \|$", page, flags=re.MULTILINE)
    assert [line[:3] for line in lines] == [(suite.name, group.name, group.arm) for suite, group in groups()]
    described = re.findall(r"^\| ([\w-]+) \| ", page[page.index("## Suites") :], flags=re.MULTILINE)
    for (_, group), (*_, tasks) in zip(groups(), lines, strict=True):
        counts = Counter(group.labels)
        if group.kind == "track" and len(counts) == len(group):
            assert tasks.startswith(f"{len(group)}: ")
        else:
            assert tasks == ", ".join(f"{count} {label}" for label, count in counts.items())
            assert set(counts) <= {*described, "random spline"}


def test_own_seeds_and_sizes():
    suite = make_suite("v1/ik-clutter", seed=7, scale=0.1)
    assert suite.name == "v1/ik-clutter?seed=7&scale=0.1"
    assert [len(group) for group in suite.groups] == [200, 30]
    assert load_suite(suite.name).content_hash == suite.content_hash
    assert load_suite("v1/ik-clutter?scale=1e-1&seed=7").name == suite.name
    other = make_suite("v1/ik-clutter", seed=8, scale=0.1)
    bundled = load_suite("v1/ik-clutter")
    for group in suite.groups:
        for elsewhere in (other.group(group.name), bundled.group(group.name)):
            assert not set(group.targets[:, 0].tolist()) & set(elsewhere.targets[:, 0].tolist())
    assert len(make_suite("v1/ik-clutter", seed=7, scale=2)) == 2 * len(bundled)
    assert make_suite("v1/ik-clutter", seed=7, scale=2.0).name == "v1/ik-clutter?seed=7&scale=2"
    assert make_suite("v1/ik-clutter", seed=7).name == "v1/ik-clutter?seed=7"


@pytest.mark.parametrize("name", HASHES)
def test_every_recipe_can_be_made_small(name):
    suite = make_suite(name, seed=11, scale=1e-6)
    assert [group.name for group in suite.groups] == [group.name for group in load_suite(name).groups]
    for group in suite.groups:
        one_each = max(Counter(group.labels).values()) <= (5 if name == "v1/quick" else 1)
        assert one_each, group.name


def test_the_same_seed_gives_the_same_bits_in_another_process():
    asked = ["v1/ik-hard?seed=3&scale=0.1", "v1/track-moving?seed=3&scale=0.05"]
    here = [load_suite.__wrapped__(name) for name in asked]
    code = f"from planararm.benchmark.suites import load_suite\nfor x in {asked}: print(load_suite(x).content_hash)"
    environment = {**os.environ, "PLANARARM_NUM_THREADS": "1"}
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert there.stdout.split() == [suite.content_hash for suite in here]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("v1/ik-cluter", r"Unknown suite 'v1/ik-cluter'. Did you mean 'v1/ik-clutter'\? Known: v1/duka, "),
        ("v1/ik-cluter?seed=1", r"Unknown suite 'v1/ik-cluter'. Did you mean 'v1/ik-clutter'\?"),
        ("v1/duka?seeds=1", r"Unknown setting of a suite 'seeds'. Did you mean 'seed'\? Known: scale, seed\."),
        ("v1/duka?scale=2", r"Suite 'v1/duka\?scale=2' needs a seed, e\.g\. 'v1/duka\?seed=1'\."),
        ("v1/duka?", r"Suite 'v1/duka\?' needs a seed"),
        ("v1/duka?seed=x", r"Suite 'v1/duka\?seed=x': seed must be a number, got 'x'\."),
        ("v1/duka?seed=", r"seed must be a number, got ''\."),
        ("v1/duka?seed=1&seed=2", r"gives seed twice\."),
        ("v1/duka?seed=-1", r"seed must be a whole number in \[0, 9223372036854775807\], got -1\."),
        ("v1/duka?seed=1&scale=0", r"scale must be a number in \(0\.0, 1000\], got 0\.0\."),
        ("v1/duka?seed=1&scale=nan", r"scale must be a number in \(0\.0, 1000\], got nan\."),
        ("v1/duka?seed=910823641", r"seed 910823641 is reserved for evaluation; take any other\."),
        ("not a module:suite", r'must look like "my_package\.my_module:my_suite", got \'not a module:suite\'\.'),
        ("module:", r'must look like "my_package\.my_module:my_suite"'),
        ("no_such_module:suite", r"Suite 'no_such_module:suite': cannot import 'no_such_module': No module named"),
    ],
)
def test_names_that_lead_nowhere(name, message):
    kind = UnknownNameError if message.startswith("Unknown") else InvalidInputError
    with pytest.raises(kind, match=message):
        load_suite(name)


@pytest.mark.parametrize(("seed", "scale"), [(True, 1.0), (1.5, 1.0), (1, "2"), (1, 1001)])
def test_numbers_out_of_range(seed, scale):
    with pytest.raises(InvalidInputError, match=r"must be a (whole )?number in"):
        make_suite("v1/duka", seed=seed, scale=scale)


def test_large_suites_are_asked_in_larger_chunks(monkeypatch):
    small = make_suite("v1/ik-free", seed=1, scale=0.02)
    monkeypatch.setattr(names, "LARGE", 40)
    large = make_suite("v1/ik-free", seed=1, scale=0.02)
    assert (small.chunk_size, large.chunk_size) == (CHUNK, 1000)
    assert small.content_hash != large.content_hash


def peak_bytes(scale):
    tracemalloc.start()
    suite = make_suite("v1/ik-clutter", seed=5, scale=scale)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return len(suite), peak


def test_memory_grows_with_what_is_kept_only(monkeypatch):
    monkeypatch.setattr(drawing, "BLOCK", (500, 1000))
    peak_bytes(0.5)
    (few, low), (many, high) = peak_bytes(2), peak_bytes(6)
    # 222 bytes are the task itself: six discs, start, target, truth and label.
    assert (high - low) / (many - few) < 900


def test_labels_are_shared():
    labels = make_suite("v1/ik-free", seed=5, scale=0.1).group("ik-free").labels
    assert len({id(label) for label in labels}) == 2


def test_a_kind_that_does_not_exist_or_is_too_rare(monkeypatch):
    rng = np.random.default_rng(0)
    with pytest.raises(UnknownNameError, match=r"Unknown kind of target 'blockd'. Did you mean 'blocked'"):
        drawn_ik_group(rng, "g", "unit3", {"blockd": 1}, 3)
    monkeypatch.setattr(drawing, "MOST_DRAWS", 20)
    with pytest.raises(InvalidSceneError, match=r"Only 0 of 1 'blocked' tasks found in 102000 random scenes\."):
        drawn_ik_group(rng, "g", "unit3", {"uniform": 3, "blocked": 1})


def test_a_path_out_of_reach_is_refused():
    paths = tracks.named_paths(("circle",), "snake10")
    with pytest.raises(InvalidSceneError, match="Path 'circle' starts where the arm cannot be"):
        tracks.path_group(np.random.default_rng(0), "g", "unit3", paths, 20)


def test_free_scenes_are_empty():
    scene = free_scenes("duka", 4)
    assert len(scene) == 4
    assert scene.obstacles.num_obstacles == 0


MODULE = """
    from planararm.benchmark.suites import make_suite
    from planararm.errors import MissingExtraError

    ready = make_suite("v1/ik-free", seed=1, scale=0.01)
    number = 3

    class holder:
        inner = ready

    def build():
        return ready

    def needs(seed):
        return ready

    def breaks():
        raise KeyError("gone")

    def wants():
        raise MissingExtraError("this suite", "torch")
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_suites.py").write_text(textwrap.dedent(MODULE), encoding="utf-8")
    (tmp_path / "broken_suites.py").write_text("1 / 0\n", encoding="utf-8")
    (tmp_path / "wanting_suites.py").write_text("import not_installed\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("own_suites", "broken_suites", "wanting_suites"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("attribute", ["ready", "build", "holder.inner"])
def test_a_suite_from_the_users_module(own_module, attribute):
    suite = load_suite(f"own_suites:{attribute}")
    assert isinstance(suite, Suite)
    assert suite.name == f"own_suites:{attribute}"
    np.testing.assert_array_equal(
        suite.groups[0].targets, make_suite("v1/ik-free", seed=1, scale=0.01).groups[0].targets
    )
    assert load_suite(suite.name) is suite


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ("own_suites:number", InvalidInputError, "'own_suites:number' is no suite: got int. A suite is a planararm"),
        ("own_suites:needs", InvalidInputError, "calling it raised TypeError: needs\\(\\) missing 1 required"),
        ("own_suites:breaks", InvalidInputError, "Suite 'own_suites:breaks': calling it raised KeyError: 'gone'"),
        ("own_suites:wants", MissingExtraError, 'this suite needs an optional dependency: pip install "planararm'),
        ("own_suites:readyy", UnknownNameError, "Unknown attribute of 'own_suites' 'readyy'. Did you mean 'ready'"),
        ("broken_suites:a", InvalidInputError, "importing 'broken_suites' raised ZeroDivisionError: division by zero"),
        ("wanting_suites:a", InvalidInputError, "cannot import 'wanting_suites': No module named 'not_installed'"),
    ],
)
def test_a_users_module_without_a_suite(own_module, spec, kind, message):
    with pytest.raises(kind, match=message):
        load_suite(spec)


def test_a_users_suite_takes_no_seed():
    with pytest.raises(
        InvalidInputError, match=r"only the bundled suites take a seed and a scale; name it 'mine:suite'"
    ):
        load_suite("mine:suite?seed=3")
