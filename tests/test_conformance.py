"""The contract over the whole registry, and policies that break it, one rule each."""

from typing import ClassVar

import numpy as np
import pytest

from planararm.errors import PolicyError, UnknownNameError
from planararm.interface import EnvInterface
from planararm.obstacles import Obstacles
from planararm.policies import (
    AgentPolicy,
    DampedLeastSquares,
    Hold,
    IKPolicy,
    IKSolution,
    Reason,
    available_policies,
    check_policy,
    make_policy,
)
from planararm.policies.conformance import example_scene
from planararm.scene import Scene
from planararm.scene.generator import sample_scene, sample_scenes

ARMS = ["unit2", "unit3", "duka", "unit5", "snake10"]
PAIRS = [(p, a) for p in available_policies() for a in ARMS if make_policy(p).supports(example_scene(a)) is None]


@pytest.mark.parametrize(("policy", "arm"), PAIRS)
def test_bundled_policies_keep_the_contract(policy, arm):
    report = check_policy(policy, example_scene(arm))
    report.raise_if_failed()
    assert report.passed
    assert report.policy == policy
    assert len(report.checks) == 17


@pytest.mark.parametrize("policy", [p for p, arm in PAIRS if arm == "unit3"])
def test_in_other_scenes(policy):
    rng = np.random.default_rng(0)
    scenes = [
        Scene(example_scene("unit3").arm, Obstacles.none()),
        sample_scene(rng, "unit3", 4, shuttling=1.0),
        sample_scenes(rng, 2, "unit3", (1, 4)),
    ]
    for scene in scenes:
        check_policy(policy, scene, seed=1).raise_if_failed()


@pytest.mark.parametrize("policy", ["damped-least-squares", "cyclic-coordinate-descent", "jacobian-transpose"])
def test_with_restarts(policy):
    check_policy(make_policy(policy, num_restarts=2, max_iterations=50)).raise_if_failed()


def follow(target_position, q, scene):
    return DampedLeastSquares().solve(target_position, q, scene).q


def test_functions_and_agents():
    check_policy(follow).raise_if_failed()
    scene = example_scene("unit3")
    interface = EnvInterface(scene.arm)

    class Agent:
        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            observed = interface.unpack(observation)
            answer = follow(observed.preview[..., 0, :], observed.q, observed.scene)
            return interface.encode_action(observed.q, answer), state

    check_policy(AgentPolicy(Agent(), interface), scene).raise_if_failed()


class Good(Hold):
    """A policy to spoil."""

    def solve(self, target_position, q, scene, *, target_orientation=None):
        solution = super().solve(target_position, q, scene)
        return self.spoil(solution, np.asarray(target_position), q, scene)

    def spoil(self, solution, target_position, q, scene):
        return solution


def answer(solution, q, reason=None):
    reason = solution.reason if reason is None else np.full(solution.reason.shape, reason, np.int8)
    return IKSolution(q, reason == Reason.SOLVED, reason)


class ReturnsNone(Good):
    def spoil(self, solution, target_position, q, scene):
        return None


class ReturnsNaN(Good):
    def spoil(self, solution, target_position, q, scene):
        return answer(solution, solution.q * np.nan)


class ReturnsNaNAtTheBase(Good):
    def spoil(self, solution, target_position, q, scene):
        distance = np.linalg.norm(target_position - scene.arm.base, axis=-1)
        with np.errstate(invalid="ignore"):
            return answer(solution, solution.q * (distance / distance)[..., None])


class ReturnsAList(Good):
    def spoil(self, solution, target_position, q, scene):
        return solution.q.tolist()


class ReturnsFloat32(Good):
    def spoil(self, solution, target_position, q, scene):
        return answer(solution, scene.arm.clip(solution.q).astype(np.float32))


class WrongShape(Good):
    def spoil(self, solution, target_position, q, scene):
        return answer(solution, solution.q[..., :-1])


class WrongSolvedShape(Good):
    def spoil(self, solution, target_position, q, scene):
        return IKSolution(solution.q, True, solution.reason)


class UnknownReason(Good):
    def spoil(self, solution, target_position, q, scene):
        return answer(solution, solution.q, 17)


class SolvedAgainstItsReason(Good):
    def spoil(self, solution, target_position, q, scene):
        return IKSolution(solution.q, ~solution.solved, solution.reason)


class Raises(Good):
    def spoil(self, solution, target_position, q, scene):
        raise RuntimeError("out of luck")


class RaisesFarAway(Good):
    def spoil(self, solution, target_position, q, scene):
        if np.linalg.norm(target_position, axis=-1).max() > 2 * scene.arm.reach:
            raise ArithmeticError("too far")
        return solution


class OnlyBatches(Good):
    def spoil(self, solution, target_position, q, scene):
        return answer(solution, np.atleast_2d(solution.q))


class OutsideLimits(Good):
    def spoil(self, solution, target_position, q, scene):
        return answer(solution, solution.q + 20.0)


class TrustsTheStart(Good):
    def spoil(self, solution, target_position, q, scene):
        return answer(solution, np.array(q))


class Mutates(Good):
    def spoil(self, solution, target_position, q, scene):
        q *= 0.5
        return solution


class MutatesTarget(Good):
    def spoil(self, solution, target_position, q, scene):
        target_position += 0.5
        return solution


class Random(Good):
    def __init__(self):
        self.rng = np.random.default_rng(0)

    def spoil(self, solution, target_position, q, scene):
        return answer(solution, scene.arm.clip(solution.q + self.rng.normal(size=solution.q.shape)))


class ReusesItsArray(Good):
    buffers: ClassVar[dict] = {}
    calls = 0

    def spoil(self, solution, target_position, q, scene):
        self.calls += 1
        out = self.buffers.setdefault(solution.q.shape, np.empty_like(solution.q))
        out[...] = solution.q if self.calls % 2 else scene.arm.clip(0 * solution.q)
        return answer(solution, out)


class MixesRows(Good):
    def spoil(self, solution, target_position, q, scene):
        mean = solution.q.reshape(-1, solution.q.shape[-1]).mean(axis=0)
        return answer(solution, np.broadcast_to(mean, solution.q.shape).copy())


class OneBatchAxis(Good):
    def spoil(self, solution, target_position, q, scene):
        return answer(solution, solution.q[..., 0, :] if solution.q.ndim > 2 else solution.q)


class FirstSceneOnly(Good):
    def spoil(self, solution, target_position, q, scene):
        centers = scene.obstacles.centers.reshape(-1, 2)
        return answer(solution, scene.arm.clip(solution.q * 0 + 0.1 * centers[0, 0]))


class ClaimsEverything(Good):
    def spoil(self, solution, target_position, q, scene):
        return answer(solution, solution.q, Reason.SOLVED)


class ClaimsCollisions(IKPolicy):
    def solve(self, target_position, q, scene, *, target_orientation=None):
        free = Scene(scene.arm, Obstacles.none())
        return DampedLeastSquares().solve(target_position, q, free)


class Warns(Good):
    def spoil(self, solution, target_position, q, scene):
        return answer(solution, np.where(np.log(np.zeros(1)) > 0, 0.0, solution.q))


class PredictsNothing(Good):
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return np.zeros(7), state


class PredictsOutside(Good):
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        action, state = super().predict(observation)
        return action + np.float32(99), state


class PredictsNoState(Good):
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        return super().predict(observation)[0]


class PredictsForBatches(Good):
    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        action, state = super().predict(observation)
        return (action if episode_start is None else np.atleast_2d(action)), state


class CountsEpisodes(Good):
    episodes = 0

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        self.episodes += episode_start is not None and bool(np.all(episode_start))
        action, state = super().predict(observation)
        return np.float32(0.1) * self.episodes + 0 * action, state


class Remembers(Good):
    """Begins where its last answer was."""

    last = None

    def spoil(self, solution, target_position, q, scene):
        q = solution.q if self.last is None or self.last.shape != solution.q.shape else self.last
        self.last = scene.arm.clip(0.5 * q + 0.1 * target_position[..., :1])
        return answer(solution, self.last)


class ResetsAllOnly(Good):
    def reset(self):
        pass


@pytest.mark.parametrize(
    ("policy", "check", "message"),
    [
        (ReturnsNone, "form of the answer", "ReturnsNone.solve must return an IKSolution, got NoneType"),
        (
            ReturnsNaN,
            "form of the answer",
            "must return finite joint angles, got [nan, nan, nan] in row (0,)",
        ),
        (ReturnsNaNAtTheBase, "target at the base", "must return finite joint angles, got [nan, nan, nan]"),
        (ReturnsAList, "form of the answer", "must return an IKSolution, got list"),
        (
            ReturnsFloat32,
            "form of the answer",
            "q is a ndarray of float32, it must be a NumPy array of float64",
        ),
        (WrongShape, "form of the answer", "must return joint angles of shape (8, 3), got shape (8, 2)"),
        (WrongSolvedShape, "form of the answer", "must return solved of shape (8,), got ()"),
        (UnknownReason, "form of the answer", "it must hold members of Reason"),
        (SolvedAgainstItsReason, "form of the answer", "SOLVED must go with solved only"),
        (Raises, "form of the answer", "raised RuntimeError: out of luck"),
        (RaisesFarAway, "target out of reach", "raised ArithmeticError: too far"),
        (OnlyBatches, "single target", "must return joint angles of shape (3,), got shape (1, 3)"),
        (OutsideLimits, "within the joint limits", "rad outside the joint limits [["),
        (TrustsTheStart, "start outside the joint limits", "1 rad outside the joint limits"),
        (Mutates, "arguments not changed", "q was changed"),
        (MutatesTarget, "arguments not changed", "target_position was changed"),
        (Random, "deterministic", "two calls with the same arguments: answers differ by"),
        (ReusesItsArray, "deterministic", "the second call changed the array that the first had returned"),
        (MixesRows, "batch equals loop", "row 0 in the batch and alone: answers differ by"),
        (OneBatchAxis, "several batch axes", "must return joint angles of shape (2, 4, 3), got shape (2, 3)"),
        (FirstSceneOnly, "one scene per row", "row 1 of a batch of scenes and alone: answers differ by"),
        (ClaimsEverything, "claims are true", "but its end effector misses the target by"),
        (
            ClaimsEverything,
            "target out of reach",
            "targets at three times the reach were claimed to be solved",
        ),
        (ClaimsCollisions, "claims are true", "but its clearance is -"),
        (Warns, "no warnings", "warned: RuntimeWarning: divide by zero encountered in log"),
        (PredictsNothing, "predict", "position control: action of shape (7,), it must be (8, 3)"),
        (PredictsOutside, "predict", "is not in the action space"),
        (
            PredictsNoState,
            "in environments",
            "position control: predict returned ndarray, it must return the action and",
        ),
        (PredictsForBatches, "in environments", "the environment refuses the action: The action must have shape (3,)"),
        (CountsEpisodes, "in environments", "the same episode twice, each begun with episode_start True"),
        (Remembers, "reset forgets", "before other targets, and after them and reset(): answers differ by"),
        (
            ResetsAllOnly,
            "reset forgets",
            "raised TypeError: ResetsAllOnly.reset() takes 1 positional argument but 2 were",
        ),
    ],
)
def test_broken_policies_are_caught(policy, check, message):
    report = check_policy(policy)
    found = {entry.name: entry for entry in report.failed}
    assert check in found, str(report)
    assert message in found[check].message
    assert found[check].advice
    assert not report.passed
    with pytest.raises(PolicyError, match=f"{policy.__name__}: .* of 17 checks passed"):
        report.raise_if_failed()


def test_one_fault_fails_few_checks():
    for policy, names in (
        (Mutates, ["arguments not changed"]),
        (Warns, ["no warnings"]),
        (PredictsOutside, ["predict"]),
    ):
        assert [check.name for check in check_policy(policy).failed] == names


def test_report_reads_well():
    text = str(check_policy(Mutates))
    assert text.startswith("Mutates: 16 of 17 checks passed\n")
    assert "  FAIL  arguments not changed\n        q was changed.\n        Work on a copy: q = np.array(q).\n" in text
    assert "  ok    deterministic\n" in text
    assert "note: one target takes" in text


def test_scene_is_chosen_among_those_that_the_policy_supports():
    class OnlyFive(Hold):
        def supports(self, scene):
            return None if scene.arm.num_joints == 5 else "five joints only."

    assert check_policy(OnlyFive).passed
    report = check_policy(OnlyFive, example_scene("unit3"))
    assert [(check.name, check.message) for check in report.checks] == [
        ("supports", "the policy does not support the scene: five joints only.")
    ]


@pytest.mark.parametrize(
    ("answer", "message"), [(True, "returned True"), (RuntimeError("no"), "raised RuntimeError: no")]
)
def test_bad_supports(answer, message):
    class Bad(Hold):
        def supports(self, scene):
            if isinstance(answer, Exception):
                raise answer
            return answer

    assert message in check_policy(Bad).checks[0].message


def test_does_not_bind_the_callers_policy():
    policy = Hold()
    check_policy(policy)
    assert policy.interface is None


def test_unknown_policy():
    with pytest.raises(UnknownNameError, match=r"Unknown policy 'hol'. Did you mean 'hold'"):
        check_policy("hol")


class TestEchoes:
    def test_the_same_exception_is_told_once(self):
        def ik(target_position, q, scene):
            raise KeyError("joint\n4" + "x" * 400)

        report = check_policy(ik)
        told = [check for check in report.checks if check.message and not check.see]
        assert len(told) == 1
        assert told[0].message.startswith("ik raised KeyError: 'joint")
        assert "\n" not in told[0].message
        assert "test_conformance.py, line " in told[0].message
        assert len(told[0].message) < 400
        echoes = [check for check in report.checks if check.see]
        assert {check.see for check in echoes} == {told[0].name}
        assert not any(check.passed for check in echoes)
        assert f"not checked, see {told[0].name!r}" in str(report)

    def test_so_is_an_answer_that_is_none(self):
        report = check_policy(ReturnsNone)
        told = [check for check in report.checks if check.message and not check.see]
        assert [check.name for check in told] == ["form of the answer"]
        assert told[0].message == "ReturnsNone.solve must return an IKSolution, got NoneType."
        # What can be seen without an answer still is: the policy supports the scene, and leaves its arguments alone.
        assert [check.name for check in report.checks if check.passed] == ["supports", "arguments not changed"]
        assert str(report).startswith("ReturnsNone: 2 of 17 checks passed, 14 could not be made\n")

    def test_rules_that_were_broken_speak_for_themselves(self):
        report = check_policy(OutsideLimits)
        assert len(report.failed) > 1
        assert not any(check.see for check in report.checks)

    def test_where_in_ones_own_code_it_was(self, tmp_path, monkeypatch):
        (tmp_path / "mine_alone.py").write_text(
            "import numpy as np\n"
            "def inverse(matrix):\n"
            "    return np.linalg.inv(matrix)\n"
            "def ik(target_position, q, scene):\n"
            "    return inverse(np.zeros((3, 3)))[0]\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        report = check_policy("mine_alone:ik")
        assert report.policy == "mine_alone:ik"
        assert report.failed[0].message == "ik raised LinAlgError: Singular matrix (mine_alone.py, line 3)"

    def test_an_exit_is_no_end(self):
        class Exits(Good):
            def spoil(self, solution, target_position, q, scene):
                raise SystemExit(3)

        assert check_policy(Exits).failed[0].message.startswith("raised SystemExit: 3 (test_conformance.py, line ")


def test_names():
    assert check_policy(follow).policy == "follow"
    assert check_policy(make_policy(follow)).policy == "follow"
    assert check_policy(Good()).policy == "Good"


def test_agents_are_compared_step_by_step():
    """Rounding that grows along an episode is no mixing of rows."""
    arm = example_scene("unit3").arm

    class Chaotic:
        calls = 0

        def predict(self, observation, state=None, episode_start=None, deterministic=False):
            vector = observation["observation"].astype(float)
            # As a network whose last bits depend on the size of the batch.
            rounding = 1e-7 * len(vector) if vector.ndim > 1 else 0.0
            return np.sin(40.0 * vector[..., :3] + vector[..., 6:7] + rounding).astype(np.float32), state

    def apart(policy):
        trial = np.random.default_rng(0).uniform(-1, 1, (8, 3))
        targets = arm.end_effector(trial + 0.5)
        whole = policy.solve(targets, trial, example_scene("unit3")).q
        return max(
            np.abs(policy.solve(targets[i], trial[i], example_scene("unit3")).q - whole[i]).max() for i in range(8)
        )

    policy = AgentPolicy(Chaotic(), EnvInterface(arm), episode_steps=20)
    assert apart(policy) > 1e-3
    report = check_policy(policy)
    report.raise_if_failed()
    assert report.policy == "AgentPolicy(Chaotic)"
    assert policy.episode_steps == 20
