"""Following a moving target step by step: on it exactly, and away from where the arm would get stuck.

An arm with more joints than the target needs can move without moving its end effector. Three links plan that motion
over the coming targets (:mod:`planararm.kernels.following`); more links go, as fast as their joints allow, to where
limits and discs are far, by a quadratic program.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..arm import FloatArray
from ..collision import clearance_gradient
from ..interface import EnvInterface, Observed
from ..kernels.following import follow_targets
from ..kernels.launch import launch, writable
from ..projection.constraints import constraint_rows
from ..projection.qp import solve_qp
from ..scene import Scene

NUM_AHEAD = 20
"""Steps that three links look ahead."""

SHARE = 0.985
"""Of the largest step, so that the command's rounding to float32 does not scale it."""

ROOM = 1.2
"""Clearance that steps keep, in safety margins."""

ITERATIONS, PRICE = 3, 1e3
"""Quadratic programs of a step, and the price of what cannot be held."""

REST = 0.1
"""Angles to a joint limit [rad], and 50 times the clearance as a share of the reach, at which a barrier is half way."""


def follow(observed: Observed, layout: EnvInterface) -> tuple[FloatArray, FloatArray]:
    """The next configuration of every arm, within one step of where it is, on the coming target if possible.

    Args:
        observed: N arms, in scenes of batch shape ``(N,)`` or ``()``.
        layout: Of the environment.

    Returns:
        ``(N, n)`` [rad], and ``(N,)`` how far beside the target it is [m].
    """
    arm, scene = layout.arm, observed.scene
    q, step = arm.clip(observed.q), SHARE * layout.max_step
    goal, met = q.copy(), np.zeros(len(q), dtype=bool)
    if arm.num_joints == 3:
        goal, met = _planned(observed, layout, q, step)
    left = np.flatnonzero(~met)
    if left.size:
        part = scene[left] if scene.batch_shape else scene
        goal[left] = _stepped(q[left], observed.preview[left, 0], part, step)
    miss = np.asarray(arm.end_effector(goal)) - observed.preview[:, 0]
    return goal, np.hypot(miss[:, 0], miss[:, 1])


def _planned(
    observed: Observed, layout: EnvInterface, q: FloatArray, step: FloatArray
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    arm, discs = layout.arm, observed.scene.obstacles
    count, m = len(q), discs.num_obstacles
    before = np.asarray(arm.end_effector(q - layout.dt * observed.joint_velocity))
    goal, met = q.copy(), np.zeros(count, dtype=bool)
    mask = True if discs.mask is None else discs.mask
    launch(
        follow_targets, count, np.array(q), np.asarray(arm.end_effector(q)) - before,
        np.array(observed.preview, order="C"), NUM_AHEAD, np.array(step), *writable(arm.link_lengths, arm.base),
        arm.reach, arm.link_radius, *writable(arm.joint_limits),
        np.array(np.broadcast_to(discs.positions(), (count, m, 2))), np.array(np.broadcast_to(discs.radii, (count, m))),
        np.array(np.broadcast_to(mask, (count, m))), ROOM * observed.scene.safety_margin, goal, met, grain=2,
    )  # fmt: skip
    return goal, met


def _stepped(q: FloatArray, target: FloatArray, scene: Scene, step: FloatArray) -> FloatArray:
    """One step onto the target with the self-motion that makes most room; iterated, since kinematics is curved."""
    arm = scene.arm
    wish = -_barrier_gradient(q, scene)
    wish /= np.maximum(np.abs(wish / step).max(axis=-1, keepdims=True), 1.0)
    low, high = np.maximum(arm.joint_limits[:, 0], q - step), np.minimum(arm.joint_limits[:, 1], q + step)
    x = q
    for _ in range(ITERATIONS):
        rows = constraint_rows(x, scene, margin=ROOM * scene.safety_margin)
        J = np.asarray(arm.jacobian(x))
        ahead = (J * x[:, None]).sum(-1) + target - np.asarray(arm.end_effector(x))
        G, h = np.concatenate([J, -J, rows.G], axis=-2), np.concatenate([ahead, -ahead, rows.h], axis=-1)
        x = solve_qp(q + wish, G, h, low, high, elastic=PRICE).x
    return np.asarray(x)


def _barrier_gradient(q: FloatArray, scene: Scene) -> FloatArray:
    """Of ``sum_i 1 / (room_i + a) + b / (clearance + c)``, with the room of joint i to its nearer limit."""
    arm = scene.arm
    below, above = q - arm.joint_limits[:, 0], arm.joint_limits[:, 1] - q
    gradient = np.where(below < above, -1.0, 1.0) / (np.maximum(np.minimum(below, above), 0.0) + REST) ** 2
    if scene.obstacles.num_obstacles:
        clearance, slope = (np.asarray(part) for part in clearance_gradient(q, arm, scene.obstacles))
        share = np.maximum(np.where(np.isfinite(clearance), clearance, np.inf) / arm.reach, 0.0)
        gradient = gradient - (REST / 20 / (share + REST / 5) ** 2)[:, None] * np.nan_to_num(slope) / arm.reach
    return np.asarray(gradient)
