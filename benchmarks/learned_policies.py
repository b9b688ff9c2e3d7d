"""What torch-mlp and projected-mlp reach, how safe their answers are, and how fast they come.

    python benchmarks/learned_policies.py [--targets 10000] [--paths 300] [--only reach chains speed paths]

*Reach*: targets uniform over the annulus that the arm reaches, random scenes. Those count that the ground truth calls
reachable with the same safety margin. torch-mlp: a proposal counts if it is within 1e-3 of the reach of the target and
free by a check that shares nothing with the policies; *any* of its proposals, the *most confident* one alone (of those
that do not look at where the arm is), before its correction stage (*first*) and after. projected-mlp: within 1e-6, with
where its answers come from; it never calls ``planararm.inverse``. An arm whose end effector is near its target already
is projected itself, before any proposal: *arm* is the share of those answers, *1st* and *2nd* are the network's
proposals, all of them by plain projection; *mirror* and *further* are mirror images and further starts of whichever.
The rows *no network* are the same projection of where the arm is, and show what the network adds.

*Chains*: 5 and 10 links against damped least squares with 8 restarts, over all targets that are drawn. Some of those
nobody can reach; *witnessed* counts, for both, the targets for which the ground truth has a witness.

*Speed*: targets per second at batch 4,096 and the median of single calls, all policies in the same run.

*Paths*: closed loop along witness paths (the forward kinematics of a certified motion within the velocity limits) among
four discs; followed means RMSE <= 1e-4 of the reach.

No seed here is used in training; every part draws from a seed of its own, whichever parts run. Exits with status 1
where a target figure is missed or weights are missing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import planararm
from planararm import Scene, make_arm, make_policy, reachability
from planararm.errors import WeightsError
from planararm.policies.problem import make_problem
from planararm.policies.projected import Projected
from planararm.policies.projected_mlp import ONWARD
from planararm.policies.proposer import Proposer
from planararm.policies.torch_mlp import most_confident
from planararm.projection.sequential import Source
from planararm.scene.generator import sample_scenes

ANY, SURE = 98.5, 92.0
FREE_MEDIAN, FREE_P95 = 0.02, 0.1
EXACT, HARD = 99.9, 99.0
FOLLOWED = 95.0
BATCH_SPEED, CALL_MS, FASTER = 20_000, 1.0, 5.0
RANDOM = {"num_obstacles": (0, 6)}
NARROW = {"num_obstacles": 6, "narrow_passages": 2}
PARTS = ("reach", "chains", "speed", "paths")
CONSOLE = Console(width=None if sys.stdout.isatty() else 150)


def end_and_clearance(q: np.ndarray, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """End effectors and clearances of configurations ``(N, K, n)``, from scratch."""
    arm, discs = scene.arm, scene.obstacles
    heading = np.cumsum(q, axis=-1)
    steps = arm.link_lengths[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    joints = np.concatenate([np.zeros_like(steps[..., :1, :]), np.cumsum(steps, axis=-2)], axis=-2) + arm.base
    clearance = np.full(q.shape[:-1], np.inf)
    for j in range(discs.num_obstacles):
        center, radius = discs.centers[..., j, :], discs.radii[..., j]
        away = np.broadcast_to(center, (len(q), 2))[:, None, None] - joints[..., :-1, :]
        share = np.clip((away * steps).sum(-1) / (steps**2).sum(-1), 0, 1)
        gap = np.linalg.norm(away - share[..., None] * steps, axis=-1).min(axis=-1)
        gap = gap - np.broadcast_to(radius, (len(q),))[:, None] - arm.link_radius
        there = True if discs.mask is None else np.broadcast_to(discs.mask[..., j], (len(q),))[:, None]
        clearance = np.where(there, np.minimum(clearance, gap), clearance)
    return joints[..., -1, :], clearance


def holds(q: np.ndarray, target: np.ndarray, scene: Scene, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Whether configurations ``(N, K, n)`` are on the target and safe, and whether they are safe."""
    arm = scene.arm
    end, clearance = end_and_clearance(q, scene)
    within = ((q >= arm.joint_limits[:, 0]) & (q <= arm.joint_limits[:, 1])).all(axis=-1)
    safe = within & (clearance >= scene.safety_margin)
    return safe & (np.linalg.norm(end - target[:, None], axis=-1) <= tolerance * arm.reach), safe


def draw(rng: np.random.Generator, count: int, arm, dials: dict) -> tuple[np.ndarray, np.ndarray, Scene]:
    """Targets over the annulus, where the arms are, and scenes."""
    built = make_arm(arm)
    scene = sample_scenes(rng, count, built, **dials) if dials else Scene(built, planararm.Obstacles.none())
    distance = np.sqrt(rng.uniform(built.inner_reach**2, built.reach**2, count))
    angle = rng.uniform(-np.pi, np.pi, count)
    target = built.base + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return target, rng.uniform(built.joint_limits[:, 0], built.joint_limits[:, 1], (count, built.num_joints)), scene


def percent(share: float) -> str:
    return f"{100 * share:.2f}"


def has_weights(name: str, arm: str) -> bool:
    """Whether a policy can be used with an arm; says so if not."""
    try:
        reason = make_policy(name).supports(Scene(make_arm(arm), planararm.Obstacles.none()))
    except WeightsError as error:
        reason = str(error)
    if reason is not None:
        print(f"{name} is left out for {arm}: {reason}")
    return reason is None


def free_space(rng: np.random.Generator, count: int) -> bool:
    """torch-mlp without discs, the seam included."""
    if not has_weights("torch-mlp", "unit3"):
        return False
    policy, fine = make_policy("torch-mlp"), True
    table = Table(title=f"torch-mlp, 3 links, free space, error in % of the reach (targets: {FREE_MEDIAN}, {FREE_P95})")
    for column in ("targets", "median", "p95", "largest"):
        table.add_column(column, justify="right")
    target, q, scene = draw(rng, count, "unit3", {})
    distance = np.linalg.norm(target, axis=-1)
    turned = np.pi + rng.uniform(-1e-3, 1e-3, count)
    seam = distance[:, None] * np.stack([np.cos(turned), np.sin(turned)], axis=-1)
    for name, points in (("annulus", target), ("bearing pi +- 0.001", seam)):
        end, _ = end_and_clearance(policy.solve(points, q, scene).q[:, None], scene)
        error = 100 * np.linalg.norm(end[:, 0] - points, axis=-1) / scene.arm.reach
        median, p95 = np.quantile(error, [0.5, 0.95])
        table.add_row(name, f"{median:.4f}", f"{p95:.4f}", f"{error.max():.3f}")
        fine &= bool(median <= FREE_MEDIAN and p95 <= FREE_P95)
    CONSOLE.print(table)
    return fine


def proposals(rng: np.random.Generator, count: int) -> bool:
    """torch-mlp among discs."""
    if not has_weights("torch-mlp", "unit3"):
        return False
    policy, fine = make_policy("torch-mlp"), True
    table = Table(title=f"torch-mlp, 3 links, % of reachable targets reached to 1e-3 and free (targets: {ANY}, {SURE})")
    for column in ("scenes", "targets", "any", "most confident", "answer", "any, first", "most confident, first"):
        table.add_column(column, justify="right")
    for name, dials, counts in (("0-6 discs", RANDOM, True), ("narrow", NARROW, False)):
        target, q, scene = draw(rng, count, "unit3", dials)
        chosen = np.flatnonzero(reachability(target, scene).verdict == 1)
        target, q, scene = target[chosen], q[chosen], scene[chosen]
        problem, rows = make_problem(target, q, scene), np.arange(len(chosen))
        proposer = policy.proposers.require(scene.arm)
        uncorrected = {**proposer.config, "network": {**proposer.config["network"], "num_corrections": 0}}
        cells = []
        for one in (proposer, Proposer(proposer.tensors, uncorrected)):
            offer = one(problem, 1e-3 * scene.arm.reach)
            good, _ = holds(offer.q[:, :-1], target, scene, 1e-3)
            cells.append((good.any(axis=1).mean(), good[rows, most_confident(offer)].mean()))
        answer, _ = holds(policy.solve(target, q, scene).q[:, None], target, scene, 1e-3)
        (any_, sure), (any_first, sure_first) = cells
        table.add_row(name, f"{len(chosen):,}", *map(percent, (any_, sure, answer.mean(), any_first, sure_first)))
        fine &= not counts or bool(100 * any_ >= ANY and 100 * sure >= SURE)
    CONSOLE.print(table)
    return fine


def hard_targets(rng: np.random.Generator, count: int) -> dict[str, tuple[np.ndarray, np.ndarray, Scene]]:
    """Narrow passages; near the outer boundary; where the branch nearest to the arm is blocked."""
    target, q, scene = draw(rng, count, "unit3", NARROW)
    drawn = {"narrow": (target, q, scene)}
    near, q, scene = draw(rng, count, "unit3", RANDOM)
    stretched = near / np.linalg.norm(near, axis=-1, keepdims=True) * scene.arm.reach
    drawn["near-singular"] = (stretched * rng.uniform(0.98, 1.0, (count, 1)), q, scene)
    target, q, scene = draw(rng, 4 * count, "unit3", NARROW)
    start = make_policy("pseudo-inverse").solve(target, q, scene).q
    reached, _ = holds(start[:, None], target, Scene(scene.arm, planararm.Obstacles.none()), 1e-6)
    _, safe = holds(start[:, None], target, scene, 1e-6)
    blocked = np.flatnonzero(reached[:, 0] & ~safe[:, 0])[:count]
    drawn["branch blocked"] = (target[blocked], start[blocked], scene[blocked])
    return drawn


def origins(info, arm_first: np.ndarray) -> list[str]:
    """Shares of the answers by where they come from: arm, 1st, 2nd, mirror, further, others [%].

    Args:
        info: Of the solution.
        arm_first: Rows in which the arm where it is was tried before any proposal.
    """
    number = np.where(arm_first, info["proposal"] - 1, info["proposal"])
    plain = np.isin(info["source"], (Source.PROPOSAL, Source.PROJECTED))
    kinds = [plain & (number == k) for k in (-1, 0, 1)]
    kinds += [info["source"] == Source.BRANCH, info["source"] == Source.RESTART]
    return [percent(kind.mean()) for kind in (*kinds, ~np.logical_or.reduce(kinds))]


def projected(rng: np.random.Generator, count: int) -> bool:
    """projected-mlp among discs, and the same projection without a network."""
    if not has_weights("projected-mlp", "unit3"):
        return False
    policy, fine = make_policy("projected-mlp"), True
    alone = Projected("hold", nearest=False, max_iterations=policy.max_iterations, num_restarts=policy.num_restarts)
    wanted = f"(targets of projected-mlp: {EXACT}; hard {HARD})"
    table = Table(title=f"3 links, % of reachable targets reached to 1e-6 and free {wanted}")
    for column in ("scenes", "policy", "targets", "reached", "unsafe", "unsafe, unreachable", "claimed wrongly"):
        table.add_column(column, justify="right")
    for column in ("arm", "1st", "2nd", "mirror", "further", "other"):
        table.add_column(column, justify="right")
    drawn = {"0-6 discs": draw(rng, count, "unit3", RANDOM), **hard_targets(rng, count)}
    for name, (target, q, scene) in drawn.items():
        reachable = reachability(target, scene).verdict == 1
        end, _ = end_and_clearance(q[:, None], scene)
        near = np.linalg.norm(end[:, 0] - target, axis=-1) <= ONWARD * scene.arm.reach
        for label, asked in (("projected-mlp", policy), ("no network", alone)):
            solution = asked.solve(target, q, scene)
            good, safe = (part[:, 0] for part in holds(solution.q[:, None], target, scene, 1e-6))
            unsafe, elsewhere = int((~safe & reachable).sum()), int((~safe & ~reachable).sum())
            wrong = int((solution.solved & ~good).sum())
            seen = {key: value[reachable] for key, value in solution.info.items()}
            arm_first = near[reachable] | (label == "no network")
            table.add_row(
                name, label, f"{reachable.sum():,}", percent(good[reachable].mean()), str(unsafe), str(elsewhere),
                str(wrong), *origins(seen, arm_first),
            )  # fmt: skip
            if label == "projected-mlp":
                least = EXACT if name == "0-6 discs" else HARD
                fine &= bool(100 * good[reachable].mean() >= least and unsafe == elsewhere == wrong == 0)
    CONSOLE.print(table)
    return fine


def chains(rng: np.random.Generator, count: int) -> dict[str, bool]:
    """Longer arms against damped least squares."""
    count = min(count, 4096)
    verdicts = {"success": True, "speed": True}
    table = Table(
        title=f"% of targets reached to 1e-6 and free, batch {count:,} (target: more of all, and {FASTER:.0f}x faster)"
    )
    for column in (
        "arm", "scenes", "policy", "all", "witnessed", "unsafe", "per second", "ratio", "one call, ms", "ratio",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for arm in ("unit5", "snake10"):
        if not has_weights("projected-mlp", arm):
            verdicts = dict.fromkeys(verdicts, False)
            continue
        for name, dials in (("0-6 discs", RANDOM), ("narrow", NARROW)):
            target, q, scene = draw(rng, count, arm, dials)
            witnessed = reachability(target, scene).verdict == 1
            seen = {}
            for label, options in (("damped-least-squares", {"num_restarts": 8}), ("projected-mlp", {})):
                policy = make_policy(label, **options)
                solution, seconds = timed(lambda p=policy, t=target, q=q, s=scene: p.solve(t, q, s))
                good, safe = (part[:, 0] for part in holds(solution.q[:, None], target, scene, 1e-6))
                call = single_call(policy, target, q, scene)
                seen[label] = (good.mean(), len(target) / seconds, call, int((~safe).sum()))
                reference = seen["damped-least-squares"]
                table.add_row(
                    arm, name, label, percent(good.mean()), percent(good[witnessed].mean()), str(seen[label][3]),
                    f"{len(target) / seconds:,.0f}", f"{len(target) / seconds / reference[1]:.1f}", f"{call:.2f}",
                    f"{reference[2] / call:.1f}",
                )  # fmt: skip
            ours, theirs = seen["projected-mlp"], seen["damped-least-squares"]
            verdicts["success"] &= bool(ours[0] > theirs[0] and ours[3] == 0)
            verdicts["speed"] &= bool(ours[1] >= FASTER * theirs[1])
    CONSOLE.print(table)
    return verdicts


def timed(call, rounds: int = 5):
    """The answer, and the median time of several calls after one that warms up."""
    answer, seconds = call(), []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return answer, statistics.median(seconds)


def single_call(policy, target, q, scene: Scene, calls: int = 200) -> float:
    """Median time of calls with one target [ms]."""
    seconds = []
    for i in range(min(calls, len(target))):
        one = scene[i] if scene.batch_shape else scene
        start = time.perf_counter()
        policy.solve(target[i], q[i], one)
        seconds.append(time.perf_counter() - start)
    return 1e3 * statistics.median(seconds[5:])


def speed(rng: np.random.Generator) -> bool:
    """All policies on the same targets; numpy-mlp on others, of the arm that it knows."""
    table = Table(title=f"Speed, 3 links, 0-6 discs (targets of projected-mlp: {BATCH_SPEED:,}/s; {CALL_MS} ms)")
    for column in ("policy", "per second, batch 4,096", "one call, ms"):
        table.add_column(column, justify="right")
    fine = True
    target, q, scene = draw(rng, 4096, "unit3", RANDOM)
    duka = draw(rng, 4096, "duka", RANDOM)
    names = [name for name in planararm.available_policies() if name not in ("convex-ik", "hold")]
    for name in track(names, description="speed", console=Console(stderr=True)):
        arm, args = ("duka", duka) if name == "numpy-mlp" else ("unit3", (target, q, scene))
        if not has_weights(name, arm):
            fine &= name != "projected-mlp"
            continue
        policy = make_policy(name)
        _, seconds = timed(lambda p=policy, a=args: p.solve(*a), rounds=5)
        call = single_call(policy, *args)
        table.add_row(name, f"{4096 / seconds:,.0f}", f"{call:.2f}")
        if name == "projected-mlp":
            fine = bool(4096 / seconds >= BATCH_SPEED and call <= CALL_MS)
    CONSOLE.print(table)
    print("numpy-mlp: the arm 'duka'; left out: hold, which does nothing, and convex-ik, which takes milliseconds each")
    return fine


def paths(seed: int, count: int) -> bool:
    """Closed loop along witness paths."""
    fine = True
    table = Table(title=f"Witness paths among 4 discs (target: {FOLLOWED:.0f} % of those of projected-mlp, 3 links)")
    for column in ("arm", "policy", "preview", "followed [%]", "median RMSE", "p95", "contacts"):
        table.add_column(column, justify="right")
    cases = [("unit3", name, 1) for name in ("damped-least-squares", "projected-dls", "projected-mlp")]
    cases += [("unit3", "projected-mlp", 21), ("unit5", "projected-mlp", 1), ("snake10", "projected-mlp", 1)]
    for arm, name, preview in track(cases, description="paths", console=Console(stderr=True)):
        if not has_weights(name, arm):
            fine &= arm != "unit3"
            continue
        envs = gym.make_vec(
            "planararm/Track-v0", num_envs=count, vectorization_mode="vector_entry_point", arm=arm, num_obstacles=4,
            num_preview=preview,
        )  # fmt: skip
        observation, _ = envs.reset(seed=seed)
        policy = make_policy(name).bind(envs)
        errors, contacts = [], 0
        for _ in range(200):
            observation, _, _, _, info = envs.step(policy.predict(observation)[0])
            errors.append(info["tracking_error"])
            contacts += int(info["collision"].sum())
        envs.close()
        rmse = np.sqrt(np.mean(np.square(errors), axis=0)) / make_arm(arm).reach
        followed = 100 * (rmse <= 1e-4).mean()
        table.add_row(
            arm, name, str(preview), f"{followed:.1f}", f"{np.median(rmse):.0e}", f"{np.quantile(rmse, 0.95):.0e}",
            str(contacts),
        )  # fmt: skip
        if (arm, name, preview) == ("unit3", "projected-mlp", 1):
            fine = bool(followed >= FOLLOWED and contacts == 0)
    CONSOLE.print(table)
    return fine


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, default=10_000)
    parser.add_argument("--paths", type=int, default=300)
    parser.add_argument("--seed", type=int, default=31_337)
    parser.add_argument("--only", nargs="+", choices=PARTS, help="parts to run")
    options = parser.parse_args()
    parts, fine = options.only or PARTS, {}

    def own(part: str, which: int = 0) -> np.random.Generator:
        return np.random.default_rng([options.seed, PARTS.index(part), which])

    if "reach" in parts:
        fine["torch-mlp in free space"] = free_space(own("reach", 0), options.targets)
        fine["torch-mlp among discs"] = proposals(own("reach", 1), options.targets)
        fine["projected-mlp among discs"] = projected(own("reach", 2), options.targets)
    if "chains" in parts:
        for name, met in chains(own("chains"), options.targets).items():
            fine[f"5 and 10 links, {name}"] = met
    if "speed" in parts:
        fine["speed"] = speed(own("speed"))
    if "paths" in parts:
        fine["paths"] = paths(options.seed, options.paths)
    for name, met in fine.items():
        print(f"{name}: {'met' if met else 'MISSED'}")
    return 0 if all(fine.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
