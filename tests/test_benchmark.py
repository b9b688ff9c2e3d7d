"""Tasks, rollouts and scores: answers are checked, failures cost their own rows and stay in the averages."""

import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import small_suite as ours
from small_suite import small_suite

from planararm.benchmark.calls import describe_failure, solve_rows
from planararm.benchmark.entrants import Entrant, entrant
from planararm.benchmark.frame import Results
from planararm.benchmark.leaderboard import build_leaderboard, score
from planararm.benchmark.rollout import rollout_ik, warm_up
from planararm.benchmark.runner import run
from planararm.benchmark.scoring import COLUMNS, TIMING_COLUMNS
from planararm.benchmark.suites import EVALUATION_SEEDS, available_suites, free_configurations, load_suite
from planararm.benchmark.tasks import Suite, TaskGroup
from planararm.benchmark.tracking import rollout_tracking
from planararm.collision import clearance
from planararm.errors import (
    FileFormatError,
    InvalidInputError,
    InvalidSceneError,
    PolicyCrashed,
    PolicyError,
    UnknownNameError,
)
from planararm.metrics import Outcome, Truth, is_valid
from planararm.obstacles import Obstacles
from planararm.paths import Circle
from planararm.policies import make_policy
from planararm.scene import Scene, sample_scenes


def without_timings(rows):
    return [{name: value for name, value in row.items() if name not in TIMING_COLUMNS} for row in rows]


def rows_of(rows, policy):
    return [row for row in rows if row["policy"] == policy]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Every misbehaving policy in one run, beside well-behaved ones."""
    names = [
        "Base",
        "RaisesSometimes",
        "NaNSometimes",
        "ExitsSometimes",
        "NoneSometimes",
        "WrongShapeSometimes",
        "Scribbles",
        "Boasts",
        "BeyondLimits",
        "OnlyThreeJoints",
        "CannotSay",
    ]
    entrants = [Entrant(name, getattr(ours, name)) for name in names]
    out = tmp_path_factory.mktemp("results")
    return list(run([*entrants, "hold", Entrant("east", ours.point_east)], small_suite(), out))


def test_the_bundled_suite_is_what_its_seed_says():
    suite = load_suite("v1/quick")
    assert suite is load_suite("v1/quick")
    assert available_suites() == list(EVALUATION_SEEDS)
    assert len(suite) == sum(len(group) for group in suite.groups) > 500
    assert len({name for group in suite.groups for name in group.task_names()}) == len(suite)
    for group in suite.groups:
        assert is_valid(group.q_start, group.scene).all(), group.name
        assert set(group.truth.tolist()) <= {1, 0, -1}
        if group.kind == "track":
            start = group.scene.arm.end_effector(group.q_start)
            np.testing.assert_allclose(start, group.targets[:, 0], atol=1e-8)
            assert (group.truth == Truth.REACHABLE).all()
    assert sum(int((group.truth == Truth.UNREACHABLE).sum()) for group in suite.groups) > 0


def test_unknown_suite():
    with pytest.raises(UnknownNameError, match=r"Unknown suite 'v1/quik'. Did you mean 'v1/quick'\?"):
        load_suite("v1/quik")


def test_the_hash_tells_every_change():
    group = small_suite().groups[0]

    def changed(**parts):
        values = {name: getattr(group, name) for name in TaskGroup.__dataclass_fields__}
        return Suite("a", "", (TaskGroup(**{**values, **parts}),)).content_hash

    nudged = group.targets.copy()
    nudged[3, 1] += 1e-6
    truth = group.truth.copy()
    truth[1] = -1
    discs = group.scene.obstacles
    far = Obstacles(np.asarray(discs.centers) + 1e-6, discs.radii, None, discs.mask)
    hashes = [
        changed(),
        changed(targets=nudged),
        changed(truth=truth),
        changed(dt=0.1),
        changed(labels=("x",) * len(group)),
        changed(scene=Scene(group.scene.arm, far, group.scene.safety_margin)),
        changed(scene=Scene(group.scene.arm, discs, 2e-3)),
        Suite("b", "", (group,)).content_hash,
        Suite("a", "", (group,), tolerance=0.02).content_hash,
    ]
    assert len(set(hashes)) == len(hashes)
    assert changed() == Suite("a", "another description", (group,)).content_hash
    last_bit = group.targets + 1e-15
    assert changed(targets=last_bit) == changed()


def test_tasks_of_the_same_discs_have_the_same_scene_number():
    group = small_suite().groups[0]
    assert group.scene_number.tolist() == list(range(len(group)))
    discs = np.asarray(group.scene.obstacles.mask).sum(axis=1)
    full, empty = np.flatnonzero(discs > 0), np.flatnonzero(discs == 0)
    numbers = [*full[[2, 1, 0, 0, 1, 2]], empty[0], empty[0]]
    scenes = Scene.stack([group.scene[i] for i in numbers])
    twice = TaskGroup("twice", "unit3", scenes, group.q_start[:8], group.targets[:8], group.truth[:8], group.labels[:8])
    assert twice.scene_number.tolist() == [0, 1, 2, 2, 1, 0, 3, 4]
    assert twice[3:7].scene_number.tolist() == [2, 1, 0, 3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": small_suite().groups[:1] * 2}, "has several groups of the name 'ik'"),
        ({"groups": ()}, r"must have tasks, in groups that have names; got \[\]"),
        ({"groups": small_suite().groups[0]}, "groups must be a tuple of TaskGroup, got TaskGroup"),
        ({"groups": [*small_suite().groups]}, "groups must be a tuple of TaskGroup, got "),
        ({"groups": (small_suite().groups[0][0:0],)}, "must have tasks"),
        ({"tolerance": 0.0}, r"tolerance must be a number in \(0.0, 1.0\], got 0.0"),
        ({"chunk_size": 0}, "chunk_size must be a whole number in .*, got 0"),
    ],
    ids=str,
)
def test_suites_that_cannot_be_run(changes, message):
    with pytest.raises(InvalidInputError, match=message):
        Suite(**{"name": "test/wrong", "description": "", "groups": small_suite().groups, **changes})


@pytest.mark.parametrize("seed", [2**63, -1, 10**30, 0.5, True])
def test_seeds_that_no_row_can_hold(tmp_path, seed):
    with pytest.raises(InvalidInputError, match="seed must be a whole number in"):
        run("hold", small_suite(), tmp_path, seed=[seed])
    assert not list(tmp_path.iterdir())


def test_rows_of_an_unknown_group(results):
    other = [{**results[0], "task": "elsewhere/00001"}]
    with pytest.raises(FileFormatError, match="a task of group 'elsewhere'; the suite has ik, ik-unit5, track"):
        build_leaderboard(Results.from_rows(other), small_suite().sizes)


def test_a_process_that_always_ends_is_given_up():
    """A new one for every row of a chunk takes minutes."""
    group = small_suite().group("ik")
    scene = Scene.stack([group.scene[i % 12] for i in range(40)])
    asked = []

    class Dies(ours.Base):
        def solve(self, target_position, q, scene, *, target_orientation=None):
            asked.append(len(q))
            raise PolicyCrashed("its process ended")

    answers = solve_rows(Dies(), np.tile(group.targets, (4, 1))[:40], np.tile(group.q_start, (4, 1))[:40], scene)
    assert asked.count(1) == 10
    assert len(asked) < 25
    assert len(answers.messages) == 40
    assert not answers.timed_out
    assert answers.messages[39] == "not asked: the process ended at 10 rows before it"


def test_padding_is_not_hashed():
    group = small_suite().groups[0]
    discs = group.scene.obstacles
    moved = np.where(np.asarray(discs.mask)[..., None], discs.centers, 77.0)
    other = Scene(group.scene.arm, Obstacles(moved, discs.radii, None, discs.mask), group.scene.safety_margin)
    values = {name: getattr(group, name) for name in TaskGroup.__dataclass_fields__}
    again = TaskGroup(**{**values, "scene": other})
    assert Suite("a", "", (again,)).content_hash == Suite("a", "", (group,)).content_hash


def test_tasks_that_do_not_fit_together():
    group = small_suite().groups[0]
    with pytest.raises(InvalidInputError, match=r"Task group 'odd' does not fit together: scene \(12,\)"):
        TaskGroup("odd", "unit3", group.scene, group.q_start[:3], group.targets, group.truth, group.labels)


def test_free_configurations_are_free_and_seeded():
    scene = sample_scenes(np.random.default_rng(3), 40, "unit3", 5)
    q = free_configurations(np.random.default_rng(4), scene)
    assert is_valid(q, scene).all()
    assert np.array_equal(q, free_configurations(np.random.default_rng(4), scene))


def test_a_scene_without_room_is_refused():
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    ring = 0.6 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    scene = Scene.stack([Scene(small_suite().groups[0].scene.arm, Obstacles(ring, np.full(12, 0.2)))])
    with pytest.raises(InvalidSceneError, match=r"No free configuration found in scene 0 in 2000 draws"):
        free_configurations(np.random.default_rng(0), scene)


def test_every_row_has_every_column_once(results):
    keys = [(row["task"], row["policy"], row["seed"]) for row in results]
    assert len(set(keys)) == len(keys) == 13 * len(small_suite())
    assert all(list(row) == list(COLUMNS) for row in results)


def test_answers_are_verified_by_our_own_kinematics(results):
    suite = small_suite()
    for row in rows_of(results, "Base"):
        name, _, number = row["task"].rpartition("/")
        group, i = suite.group(name), int(number)
        arm, scene = group.scene.arm, group.scene[i]
        if row["kind"] == "ik":
            q = np.array(row["q"])
            error = float(np.linalg.norm(arm.end_effector(q) - group.targets[i]))
            room = float(clearance(q, arm, scene.obstacles))
            assert row["error"] == pytest.approx(error, abs=1e-12)
            assert row["clearance"] == (None if np.isinf(room) else pytest.approx(room, abs=1e-12))
            assert row["collision"] == (room < 0)
            assert row["valid"] == (room >= scene.safety_margin - 1e-9)
            assert row["joint_jump"] == pytest.approx(np.abs(q - group.q_start[i]).max())
            if row["outcome"] == "ok":
                assert error <= 0.01 * arm.reach
        else:
            path = np.array(row["q"])
            errors = np.linalg.norm(arm.end_effector(path[1:]) - group.targets[i, 1:], axis=-1)
            assert row["error"] == pytest.approx(np.sqrt(np.mean(errors**2)))
            assert row["error_max"] == pytest.approx(errors.max())
            assert row["error_p95"] == pytest.approx(np.percentile(errors, 95))
            assert row["followed"] == np.mean(errors <= 0.01 * arm.reach)
            assert np.array_equal(path[0], group.q_start[i])
            steps = np.abs(np.diff(path, axis=0)) / group.dt
            assert (steps <= arm.joint_velocity_limits + 1e-9).all()
            assert clearance(path, arm, scene.obstacles).min() >= 0


def test_truth_splits_failures(results):
    for row in rows_of(results, "hold"):
        if row["kind"] == "ik":
            assert row["outcome"] == ("infeasible" if row["truth"] == 0 else "missed")
            assert row["joint_jump"] == 0


def test_boasting_is_found_out(results):
    targets = [row for row in rows_of(results, "Boasts") if row["kind"] == "ik"]
    assert {row["outcome"] for row in targets} == {"claimed wrongly"}
    assert {row["claimed"] for row in rows_of(results, "Boasts") if row["kind"] == "track"} == {None}
    boaster = score("Boasts", Results.from_rows(targets))
    assert boaster.false_claims == 1.0
    assert boaster.honesty == 0.0


def test_limits_are_checked(results):
    for row in rows_of(results, "BeyondLimits"):
        if row["kind"] == "track":
            continue
        assert row["outcome"] == "unsafe"
        assert row["limit_violation"] > 8 * np.pi - 1e-9 - 2 * np.pi
        assert not row["valid"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("RaisesSometimes", "RuntimeError: no idea what to do xxx"),
        ("NaNSometimes", "must return finite joint angles"),
        ("ExitsSometimes", "SystemExit: goodbye"),
        ("NoneSometimes", "must return an IKSolution, got NoneType"),
        ("WrongShapeSometimes", "must return joint angles of shape"),
    ],
)
def test_a_failing_policy_costs_its_own_rows_only(results, name, message):
    suite = small_suite()
    for row, healthy in zip(rows_of(results, name), rows_of(results, "Base"), strict=True):
        group_name, _, number = row["task"].rpartition("/")
        group, i = suite.group(group_name), int(number)
        # A policy on a path is shown targets in float32.
        should_fail = ours.fails(group.targets[i, 1:] if row["kind"] == "track" else group.targets[i]).any()
        if not should_fail:
            for column in set(COLUMNS) - set(TIMING_COLUMNS) - {"policy"}:
                if isinstance(row[column], float | list):
                    np.testing.assert_allclose(row[column], healthy[column], atol=1e-8)
                else:
                    assert row[column] == healthy[column]
            continue
        assert row["outcome"] == "crashed"
        assert message in row["message"]
        assert len(row["message"]) <= 300
        assert "\n" not in row["message"]
        assert not row["valid"]
        assert not row["claimed"]
        if row["kind"] == "ik":
            held = group.scene.arm.end_effector(group.q_start[i])
            assert row["error"] == pytest.approx(np.linalg.norm(held - group.targets[i]))
            assert row["q"] is None
    assert any(row["outcome"] == "crashed" for row in rows_of(results, name))
    assert any(row["outcome"] != "crashed" for row in rows_of(results, name))


def test_arguments_are_copies(results):
    def measured(rows):
        return [{k: v for k, v in row.items() if k != "policy"} for row in without_timings(rows)]

    assert measured(rows_of(results, "Scribbles")) == measured(rows_of(results, "Base"))


def test_crashed_rows_stay_in_the_averages(results):
    rows = [row for row in rows_of(results, "RaisesSometimes") if row["kind"] == "ik" and row["arm"] == "unit3"]
    solvable = [row for row in rows if row["truth"] != 0]
    got = score("RaisesSometimes", Results.from_rows(rows))
    relative = [row["error"] / row["reach"] for row in solvable]
    assert got.error.rmse == pytest.approx(np.sqrt(np.mean(np.square(relative))))
    assert got.error.max == pytest.approx(max(relative))
    for rate, tolerance in zip(got.success, (1e-1, 1e-2, 1e-3, 1e-4), strict=True):
        good = [row["valid"] and row["error"] <= tolerance * row["reach"] for row in solvable]
        assert rate == pytest.approx(sum(good) / len(solvable))
    assert got.outcomes[Outcome.CRASHED] == sum(row["outcome"] == "crashed" for row in rows)
    assert sum(got.outcomes.values()) == len(rows)


def test_tasks_that_share_a_scene_count_as_one(results):
    """Whole scenes end alike here, so that a score varies as one of 12 scenes does, not as one of 96 targets."""
    (first, *_) = rows_of(results, "Base")
    rows = [
        {**first, "task": f"ik/{i:05d}", "scene": i // 8, "truth": 1, "valid": i // 8 % 2 == 0, "error_max": 0.0}
        for i in range(96)
    ]
    together, apart = (
        score("Base", Results.from_rows(part)) for part in (rows, [{**row, "scene": i} for i, row in enumerate(rows)])
    )
    assert together.success == apart.success
    assert np.ptp(together.success_interval[0]) == pytest.approx(
        np.sqrt(8) * np.ptp(apart.success_interval[0]), rel=0.2
    )
    # A second seed is no further task; one scene for all tasks is what the score is about.
    again = score("Base", Results.from_rows([*rows, *({**row, "seed": 5} for row in rows)]))
    assert again.success_interval == together.success_interval
    one = score("Base", Results.from_rows([{**row, "scene": 3} for row in rows]))
    assert one.success_interval == apart.success_interval


def test_unsupported_arms_show_as_absent(results):
    board = build_leaderboard(Results.from_rows(results))
    assert [section.arm for section in board.sections] == ["unit3", "unit3", "unit5"]
    assert board.by_group["OnlyThreeJoints"]["ik-unit5"] is None
    assert board.by_group["OnlyThreeJoints"]["ik"] == board.by_group["Base"]["ik"]
    unsupported = [row for row in rows_of(results, "OnlyThreeJoints") if row["arm"] == "unit5"]
    assert {row["outcome"] for row in unsupported} == {"unsupported"}
    assert {row["message"] for row in unsupported} == {"it was made for three joints"}
    assert {row["error"] for row in unsupported} == {None}


def test_a_broken_supports_does_not_stop_the_run(results):
    assert not any(row["outcome"] == "unsupported" for row in rows_of(results, "CannotSay"))


def test_the_ranking_puts_the_better_policy_first(results):
    board = build_leaderboard(Results.from_rows(results))
    for section in board.sections:
        order = [s.policy for s in section.scores]
        assert order.index("Base") < order.index("hold")
        assert order.index("Base") < order.index("RaisesSometimes")
        rates = [s.success[1] for s in section.scores]
        assert rates == sorted(rates, reverse=True)


def test_a_part_of_the_tasks_makes_no_score(results):
    partial = [row for row in results if row["policy"] != "hold" or not row["task"].endswith("3")]
    board = build_leaderboard(Results.from_rows(partial))
    assert ("hold", "unfinished: 11 of 12 tasks") in board.sections[0].without
    assert board.by_group["hold"]["ik"] is None


def test_an_interrupted_run_makes_no_score(results):
    first = [row for row in rows_of(results, "hold") if row["kind"] == "ik"][:7]
    assert build_leaderboard(Results.from_rows(first)).sections[0].scores
    board = build_leaderboard(Results.from_rows(first), small_suite().sizes)
    assert board.sections[0].without == (("hold", "unfinished: 7 of 12 tasks"),)
    again = [{**row, "seed": 9} for row in first[:3]]
    both = [row for row in rows_of(results, "hold") if row["kind"] == "ik" and row["arm"] == "unit3"] + again
    board = build_leaderboard(Results.from_rows(both), small_suite().sizes)
    assert board.sections[0].without == (("hold", "unfinished: 3 of 12 tasks"),)


def test_unreachable_tasks_are_not_held_against_accuracy(results):
    rows = [row for row in rows_of(results, "Base") if row["kind"] == "ik"]
    reachable = [row for row in rows if row["truth"] == 1]
    every, met = (score("Base", Results.from_rows(part)) for part in (rows, reachable))
    assert every.error == met.error
    assert every.success == met.success


@pytest.mark.parametrize("policy", ["damped-least-squares", "projected-dls"])
def test_a_path_is_an_episode_of_the_environment(policy):
    group = small_suite().group("track")
    got = rollout_tracking(make_policy(policy), group)
    steps = group.targets.shape[1] - 1
    for i in range(len(group)):

        class Recorded(Circle):
            def position(self, t, points=group.targets[i]):
                return points

        env = gym.make("planararm/Track-v0", scene=group.scene[i], path=Recorded((1.0, 0.0), 0.5), num_steps=steps)
        agent = make_policy(policy).bind(env)
        observation, _ = env.reset(options={"q": group.q_start[i]})
        for step in range(steps):
            action, _ = agent.predict(observation)
            observation, _, _, _, info = env.step(action)
            assert got.errors[i, step] == pytest.approx(info["tracking_error"], abs=1e-12)
            np.testing.assert_allclose(got.q_path[i, step + 1], env.unwrapped.state.q, rtol=0, atol=1e-12)
        env.close()
    assert not got.messages


def test_commands_into_a_disc_are_stopped_and_reported():
    group = small_suite().group("track")
    arm = group.scene.arm
    start = np.zeros((1, 3))
    disc = Scene.stack([Scene(arm, Obstacles([[2.0, 1.0]], [0.3]))])
    path = np.repeat(arm.end_effector(np.array([[np.pi / 2, 0.0, 0.0]]))[:, None], 41, axis=1)
    tasks = TaskGroup("wall", "unit3", disc, start, path, np.array([1]), ("wall",))
    policy = make_policy(lambda target, q, scene: np.array([np.pi / 2, 0.0, 0.0]))
    got = rollout_tracking(policy, tasks)
    assert got.contact.all()
    # Beside a disc that stands still there is always a command that touches nothing.
    assert got.contacts[0] > 10
    np.testing.assert_array_equal(got.avoidable, got.contacts)
    assert clearance(got.q_path, arm, disc.obstacles).min() >= 0
    assert got.jump == pytest.approx(np.pi / 2)
    assert got.errors[0, -1] > 1


@pytest.mark.parametrize(("speed", "avoidable"), [(0.4, True), (40.0, False)])
def test_contacts_that_nobody_could_avoid(speed, avoidable):
    """An arm that holds still beside a disc that runs into it: from a slow one it could have moved away."""
    arm = small_suite().group("track").scene.arm
    disc = Obstacles([[[1.5, 1.0]]], [[0.2]], [[[0.0, -1.5, speed, 0.0]]])
    path = np.repeat(arm.end_effector(np.zeros((1, 3)))[:, None], 41, axis=1)
    tasks = TaskGroup("moving", "unit3", Scene(arm, disc), np.zeros((1, 3)), path, np.array([-1]), ("moving",))
    got = rollout_tracking(make_policy("hold"), tasks)
    assert got.contacts[0] > 0
    assert (got.avoidable[0] > 0) == avoidable


def test_halving_isolates_rows_in_few_calls():
    group = small_suite().group("ik")
    policy, calls = ours.Base(), []
    inner = policy.solve

    def solve(target_position, q, scene, **rest):
        calls.append(len(q))
        if (target_position == group.targets[5]).all(axis=-1).any():
            raise ValueError("not this one")
        return inner(target_position, q, scene)

    policy.solve = solve
    answers = solve_rows(policy, group.targets, group.q_start, group.scene)
    assert list(answers.messages) == [5]
    assert np.isnan(answers.q[5]).all()
    assert np.isfinite(np.delete(answers.q, 5, axis=0)).all()
    assert np.isnan(answers.seconds[5])
    assert (np.delete(answers.seconds, 5) > 0).all()
    assert len(calls) <= 1 + 2 * 4


def test_an_exception_without_a_text():
    class Silent(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    assert describe_failure(Silent()) == "Silent, whose text cannot be shown"
    assert describe_failure(ValueError("a\nb")) == "ValueError: a b"
    commands = ValueError("\x1b[2J\x07 \u202e\ud800 ü \N{SNOWMAN}")
    assert describe_failure(commands) == "ValueError: \\x1b[2J\\x07 \\u202e\\ud800 ü \N{SNOWMAN}"
    assert describe_failure(ValueError("x" * 300)) == f"ValueError: {'x' * 285}..."
    assert len(describe_failure(ValueError("\x00" * 300))) == 300


def test_the_first_call_may_take_longer():
    limits = []

    class Limited(ours.Base):
        time_limit = 2.0

        def solve(self, target_position, q, scene, *, target_orientation=None):
            limits.append(self.time_limit)
            raise RuntimeError("cold")

    policy = Limited()
    warm_up(policy, small_suite().group("ik"))
    warm_up(policy, small_suite().group("ik"), first=False)
    warm_up(policy, small_suite().group("track"))
    assert limits == [12.0, 2.0, 12.0]
    assert policy.time_limit == 2.0


def test_keyboard_interrupt_is_not_swallowed():
    group = small_suite().group("ik")
    policy = ours.Base()

    def solve(*arguments, **rest):
        raise KeyboardInterrupt

    policy.solve = solve
    with pytest.raises(KeyboardInterrupt):
        solve_rows(policy, group.targets, group.q_start, group.scene)


def test_latency_is_sampled_and_timings_are_finite():
    group = small_suite().group("ik")
    got = rollout_ik(make_policy("hold"), group, latency_calls=3)
    assert np.isfinite(got.latency).sum() == 3
    assert (got.answers.seconds > 0).all()
    assert np.isnan(rollout_ik(make_policy("hold"), group, latency_calls=0).latency).all()


def test_latency_is_not_that_of_a_memory():
    group = small_suite().groups[0]
    latency = rollout_ik(ours.Remembers(), group, latency_calls=len(group)).latency
    # Those out of reach are one and the same target.
    assert (latency[group.truth == Truth.REACHABLE] > 0.005).all()


def test_policies_that_draw_random_numbers_get_the_seed(tmp_path):
    first = list(run([ours.Seeded], small_suite(), tmp_path / "a", seed=1))
    second = list(run([ours.Seeded], small_suite(), tmp_path / "b", seed=2))
    assert {row["seed"] for row in first} == {1}
    assert first[0]["q"] != second[0]["q"]
    fixed = list(run([Entrant("fixed", ours.Seeded, {"seed": 1})], small_suite(), tmp_path / "c", seed=2))
    assert fixed[0]["q"] == first[0]["q"]


def test_names_of_entrants():
    assert entrant("hold").name == "hold"
    assert entrant("damped-least-squares", {"damping": 0.1}).name == "damped-least-squares(damping=0.1)"
    assert entrant(ours.point_east).name == "point_east"
    assert entrant(ours.Base()).name == "Base"


def test_two_policies_of_one_name(tmp_path):
    pair = [Entrant("twin", "hold"), Entrant("twin", "closed-form")]
    with pytest.raises(InvalidInputError, match=r"Two different policies are called 'twin'"):
        run(pair, small_suite(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_policy_at_all(tmp_path):
    with pytest.raises(InvalidInputError, match="There is no policy to run"):
        run([], small_suite(), tmp_path)


def test_unknown_policy_leaves_nothing_behind(tmp_path):
    with pytest.raises(UnknownNameError, match=r"Unknown policy 'hodl'. Did you mean 'hold'\?"):
        run(["hodl"], small_suite(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_policy_that_cannot_be_built(tmp_path):
    with pytest.raises(PolicyError, match="'CannotBeBuilt' cannot be built: OSError: weights are gone"):
        run([ours.CannotBeBuilt], small_suite(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_page_documents_every_column_outcome_and_group():
    page = (Path(__file__).parent.parent / "docs" / "benchmark.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \| ([^|]*) \|$", page, flags=re.MULTILINE) == list(COLUMNS.items())
    assert all(f"| {outcome} | " in page for outcome in Outcome)
    for group in load_suite("v1/quick").groups:
        assert f"| `v1/quick` | `{group.name}` | `{group.arm}` | " in page
