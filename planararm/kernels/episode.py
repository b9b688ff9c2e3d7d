"""Reset and step of the environments, compiled; single and vector environment call the same functions."""

from __future__ import annotations

import math

import numpy as np

from .chain import headings, joint_positions
from .launch import jit
from .random import uniform
from .sampling import draw_discs, draw_free, draw_witness
from .transition import TERMINATE, disc_position, move_element, update_clearance

GIVEN_OBSTACLES, GIVEN_Q, GIVEN_GOALS = 1, 2, 4
"""Bits: what the caller has filled in before a reset."""

SCENE_TRIES = 20
START_TRIES = 50
START_STEPS = 40


@jit
def _start_on(
    state, goal_x, goal_y, limits, lengths, base, link_radius, centers, radii, present, margin, reach,
    q, phi, joints, scratch,
):
    """Find a free configuration whose end effector is at a point; any free one where that fails.

    Damped least squares from random free configurations, each answer accepted only if it is free.
    """
    n = q.size
    for _ in range(START_TRIES):
        if not draw_free(state, limits, lengths, base, link_radius, centers, radii, present, margin, q, phi, joints):
            return False
        for _ in range(START_STEPS):
            ex, ey = goal_x - joints[n, 0], goal_y - joints[n, 1]
            a = b = d = 1e-6 * reach * reach
            b = 0.0
            for i in range(n):
                jx, jy = -(joints[n, 1] - joints[i, 1]), joints[n, 0] - joints[i, 0]
                a, b, d = a + jx * jx, b + jx * jy, d + jy * jy
            determinant = a * d - b * b
            fx, fy = (d * ex - b * ey) / determinant, (a * ey - b * ex) / determinant
            for i in range(n):
                turn = -(joints[n, 1] - joints[i, 1]) * fx + (joints[n, 0] - joints[i, 0]) * fy
                scratch[i] = min(limits[i, 1], max(limits[i, 0], q[i] + min(0.5, max(-0.5, turn))))
            q[:] = scratch
            headings(q, phi)
            joint_positions(phi, lengths, base, joints)
        close = math.hypot(goal_x - joints[n, 0], goal_y - joints[n, 1]) < 1e-6 * reach
        if close and _clear(joints, link_radius, centers, radii, present, margin):
            return True
    return draw_free(state, limits, lengths, base, link_radius, centers, radii, present, margin, q, phi, joints)


@jit
def _clear(joints, link_radius, centers, radii, present, margin):
    lower = np.full((joints.shape[0] - 1, radii.size), -np.inf)
    nearest = np.zeros(2, np.int64)
    return update_clearance(joints, link_radius, centers, radii, present, nearest, lower) >= margin


@jit
def _observe(
    q, velocity, goals, step, num_preview, discs_too, centers, radii, drift, present, dt, observation
):
    """Write one observation vector; the discs only where they changed."""
    n, m = q.size, radii.size
    for i in range(n):
        observation[i] = q[i]
        observation[n + i] = velocity[i]
    at = 2 * n
    last = goals.shape[0] - 1
    for p in range(num_preview):
        coming = min(step + 1 + p, last)
        observation[at] = goals[coming, 0]
        observation[at + 1] = goals[coming, 1]
        at += 2
    if discs_too:
        for j in range(m):
            there = present[j]
            observation[at + 2 * j] = centers[j, 0] if there else 0.0
            observation[at + 2 * j + 1] = centers[j, 1] if there else 0.0
            observation[at + 2 * m + j] = radii[j] if there else 0.0
            observation[at + 3 * m + 2 * j] = drift[j, 0] / dt if there else 0.0
            observation[at + 3 * m + 2 * j + 1] = drift[j, 1] / dt if there else 0.0
            observation[at + 5 * m + j] = 1.0 if there else 0.0


@jit
def _judge(
    i, q, joints, goals, step, limits, margin, clearance, success_tolerance, sparse,
    achieved, desired, reward, measures, success, constraints,
):
    """Goals, reward and measures of one element; reward and success are functions of the two float32 goals only."""
    n = q.size
    now = min(step, goals.shape[0] - 1)
    achieved[i, 0], achieved[i, 1] = joints[n, 0], joints[n, 1]
    desired[i, 0], desired[i, 1] = goals[now, 0], goals[now, 1]
    dx = np.float64(achieved[i, 0]) - np.float64(desired[i, 0])
    dy = np.float64(achieved[i, 1]) - np.float64(desired[i, 1])
    distance = math.sqrt(dx * dx + dy * dy)
    success[i] = distance <= success_tolerance
    if sparse:
        reward[i] = 0.0 if success[i] else -1.0
    else:
        reward[i] = -distance
    worst = clearance - margin
    constraints[i, 0] = worst
    for k in range(n):
        below, above = q[k] - limits[k, 0], limits[k, 1] - q[k]
        constraints[i, 1 + k] = below
        constraints[i, 1 + n + k] = above
        worst = min(worst, min(below, above))
    measures[i, 0] = math.hypot(joints[n, 0] - goals[now, 0], joints[n, 1] - goals[now, 1])
    measures[i, 1] = clearance
    measures[i, 2] = max(0.0, -worst)
    measures[i, 3] = -distance


@jit
def _set_drift(center, shuttle, now, step, dt, drift, next_position):
    """Displacement of a disc during the step that follows ``step``."""
    disc_position(center, shuttle, (step + 1) * dt, next_position)
    drift[0], drift[1] = next_position[0] - now[0], next_position[1] - now[1]


@jit
def reset_batch(
    start, stop, elements, keys, given, fewest, most, min_radius, max_radius, base_clearance, narrow_passages,
    shuttling, max_speed, track, reach, limits, velocity_limits, lengths, base, link_radius, margin, dt,
    success_tolerance, sparse, num_preview,
    home, shuttle, radii, present, centers, drift, moving, q, velocity, joints, goals, steps, lower, nearest,
    observation, achieved, desired, reward, measures, success, constraints, failed,
):
    """Start a new episode in the ``elements[start:stop]`` of a batch, each a pure function of its key."""
    n, m, horizon = lengths.size, radii.shape[1], goals.shape[1] - 1
    state, phi, scratch, place = np.empty(1, np.uint64), np.empty(n), np.empty(n), np.empty(2)
    path = np.empty((horizon + 1, n))
    for e in range(start, stop):
        i = elements[e]
        state[0] = keys[e]
        own_scene = given[e] & GIVEN_OBSTACLES == 0
        ready = False
        for _ in range(SCENE_TRIES if own_scene else 1):
            if own_scene:
                count = fewest + np.int64(uniform(state, 0.0, 1.0) * (most - fewest + 1))
                draw_discs(
                    state, count, reach, base, link_radius, margin, min_radius, max_radius, base_clearance,
                    narrow_passages, shuttling, max_speed, home[i], radii[i], shuttle[i], present[i],
                )
            moving[i] = False
            for j in range(m):
                moving[i] = moving[i] or (present[i, j] and shuttle[i, j, 2] > 0.0)
                disc_position(home[i, j], shuttle[i, j], 0.0, centers[i, j])
            ready = True
            if given[e] & GIVEN_GOALS == 0:
                if track:
                    ready = draw_witness(
                        state, limits, velocity_limits, dt, lengths, base, link_radius, centers[i], radii[i],
                        present[i], margin, path, phi, joints[i],
                    )
                else:
                    ready = draw_free(
                        state, limits, lengths, base, link_radius, centers[i], radii[i], present[i], margin,
                        path[0], phi, joints[i],
                    )
                if ready:
                    for t in range(horizon + 1):
                        headings(path[t], phi)
                        joint_positions(phi, lengths, base, joints[i])
                        goals[i, t, 0], goals[i, t, 1] = joints[i, n, 0], joints[i, n, 1]
            if ready and given[e] & GIVEN_Q == 0:
                if track and given[e] & GIVEN_GOALS == 0:
                    q[i] = path[0]
                elif track:
                    ready = _start_on(
                        state, goals[i, 0, 0], goals[i, 0, 1], limits, lengths, base, link_radius, centers[i],
                        radii[i], present[i], margin, reach, q[i], phi, joints[i], scratch,
                    )
                else:
                    ready = draw_free(
                        state, limits, lengths, base, link_radius, centers[i], radii[i], present[i], margin,
                        q[i], phi, joints[i],
                    )
            if ready:
                break
        failed[e] = not ready
        steps[i] = 0
        velocity[i] = 0.0
        headings(q[i], phi)
        joint_positions(phi, lengths, base, joints[i])
        nearest[i] = 0
        lower[i] = -np.inf
        clearance = update_clearance(joints[i], link_radius, centers[i], radii[i], present[i], nearest[i], lower[i])
        for j in range(m):
            drift[i, j] = 0.0
            if moving[i] and present[i, j]:
                _set_drift(home[i, j], shuttle[i, j], centers[i, j], 0, dt, drift[i, j], place)
        _observe(
            q[i], velocity[i], goals[i], 0, num_preview, True, centers[i], radii[i], drift[i], present[i], dt,
            observation[i],
        )
        _judge(
            i, q[i], joints[i], goals[i], 0, limits, margin, clearance, success_tolerance, sparse,
            achieved, desired, reward, measures, success, constraints,
        )
        reward[i] = 0.0


@jit
def step_batch(
    start, stop, action, skip, delta_control, limits, max_step, lengths, base, link_radius, margin, dt,
    on_collision, success_tolerance, sparse, num_preview,
    home, shuttle, radii, present, centers, drift, moving, q, velocity, joints, goals, steps, lower, nearest,
    observation, achieved, desired, reward, measures, success, constraints, collided, terminated,
):
    """One control step of the elements ``[start, stop)`` of a batch, except those to ``skip``."""
    n, m = lengths.size, radii.shape[1]
    phi, delta, rates, bounds = np.empty(n), np.empty(n), np.empty(n), np.empty((2, n + 1))
    margins, free_until = np.empty((n, m)), np.empty((n, m))
    pose, speeds = np.empty((n + 1, 2)), np.empty((n + 1, 2))
    command, before, place = np.empty(n), np.empty(n), np.empty(2)
    for i in range(start, stop):
        if skip[i]:
            continue
        for k in range(n):
            before[k] = q[i, k]
            command[k] = action[i, k]
            if delta_control:
                command[k] = q[i, k] + min(1.0, max(-1.0, command[k])) * max_step[k]
        _, collided[i], clearance = move_element(
            q[i], command, limits, max_step, lengths, base, link_radius, centers[i], drift[i], radii[i], present[i],
            on_collision, joints[i], lower[i], nearest[i], phi, delta, rates, bounds, margins, free_until, pose, speeds,
        )
        terminated[i] = collided[i] and on_collision == TERMINATE
        for k in range(n):
            velocity[i, k] = (q[i, k] - before[k]) / dt
        steps[i] += 1
        if moving[i]:
            for j in range(m):
                if present[i, j]:
                    _set_drift(home[i, j], shuttle[i, j], centers[i, j], steps[i], dt, drift[i, j], place)
        _observe(
            q[i], velocity[i], goals[i], steps[i], num_preview, moving[i], centers[i], radii[i], drift[i],
            present[i], dt, observation[i],
        )
        _judge(
            i, q[i], joints[i], goals[i], steps[i], limits, margin, clearance, success_tolerance, sparse,
            achieved, desired, reward, measures, success, constraints,
        )
