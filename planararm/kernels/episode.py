"""Reset and step of the environments, compiled; single and vector environment call the same functions."""

from __future__ import annotations

import math

import numpy as np

from .chain import clearance as clearance_of
from .chain import headings, joint_positions
from .launch import entry, jit
from .random import uniform
from .sampling import draw_discs, draw_free, draw_witness
from .transition import TERMINATE, load_discs, measure, move, shuttle_position

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
        if close and clearance_of(joints, link_radius, centers, radii, present) >= margin:
            return True
    return draw_free(state, limits, lengths, base, link_radius, centers, radii, present, margin, q, phi, joints)


@jit
def _observe_arm(start, stop, skip, q, velocity, goals, steps, num_preview, observation):
    """Write the first blocks of the observation vectors: q, velocity, preview."""
    n, last = q.shape[1], goals.shape[1] - 1
    for i in range(start, stop):
        if skip[i]:
            continue
        for a in range(n):
            observation[i, a] = q[i, a]
            observation[i, n + a] = velocity[i, a]
        for p in range(num_preview):
            coming = min(steps[i] + 1 + p, last)
            observation[i, 2 * (n + p)] = goals[i, coming, 0]
            observation[i, 2 * (n + p) + 1] = goals[i, coming, 1]


@jit
def _observe_discs(i, centers, radii, drift, present, dt, observation):
    """Write the last blocks of one observation vector: the discs."""
    m = radii.shape[1]
    at = observation.shape[1] - 6 * m
    for j in range(m):
        there = present[i, j]
        observation[i, at + 2 * j] = centers[i, j, 0] if there else 0.0
        observation[i, at + 2 * j + 1] = centers[i, j, 1] if there else 0.0
        observation[i, at + 2 * m + j] = radii[i, j] if there else 0.0
        observation[i, at + 3 * m + 2 * j] = drift[i, j, 0] / dt if there else 0.0
        observation[i, at + 3 * m + 2 * j + 1] = drift[i, j, 1] / dt if there else 0.0
        observation[i, at + 5 * m + j] = 1.0 if there else 0.0


@jit
def _judge(
    start, stop, skip, q, joints, goals, steps, limits, margin, success_tolerance, sparse,
    achieved, desired, reward, measures, success, constraints, clearance,
):
    """Goals, reward and measures; reward and success are functions of the two float32 goals only."""
    n, last = q.shape[1], goals.shape[1] - 1
    for i in range(start, stop):
        if skip[i]:
            continue
        now = min(steps[i], last)
        x, y, goal_x, goal_y = joints[i, n, 0], joints[i, n, 1], goals[i, now, 0], goals[i, now, 1]
        achieved[i, 0], achieved[i, 1] = x, y
        desired[i, 0], desired[i, 1] = goal_x, goal_y
        dx = np.float64(achieved[i, 0]) - np.float64(desired[i, 0])
        dy = np.float64(achieved[i, 1]) - np.float64(desired[i, 1])
        distance = math.sqrt(dx * dx + dy * dy)
        reached = distance <= success_tolerance
        success[i] = reached
        reward[i] = (0.0 if reached else -1.0) if sparse else -distance
        worst = clearance[i] - margin
        constraints[i, 0] = worst
        for a in range(n):
            below, above = q[i, a] - limits[a, 0], limits[a, 1] - q[i, a]
            constraints[i, 1 + a] = below
            constraints[i, 1 + n + a] = above
            worst = min(worst, min(below, above))
        x, y = x - goal_x, y - goal_y
        measures[0, i] = math.sqrt(x * x + y * y)
        measures[1, i] = max(0.0, -worst)
        measures[2, i] = -distance


@jit
def _set_drifts(start, stop, skip, home, shuttle, centers, present, moving, steps, dt, drift):
    """Displacements of the moving discs during the coming step."""
    for i in range(start, stop):
        if moving[i] and not skip[i]:
            for j in range(present.shape[1]):
                if present[i, j]:
                    x, y = shuttle_position(
                        home[i, j, 0], home[i, j, 1], shuttle[i, j, 0], shuttle[i, j, 1], shuttle[i, j, 2],
                        shuttle[i, j, 3], (steps[i] + 1) * dt,
                    )
                    drift[i, j, 0], drift[i, j, 1] = x - centers[i, j, 0], y - centers[i, j, 1]


@entry
def reset_batch(
    start, stop, elements, keys, given, skip, fewest, most, min_radius, max_radius, base_clearance, narrow_passages,
    shuttling, max_speed, track, reach, limits, velocity_limits, lengths, base, link_radius, margin, dt,
    success_tolerance, sparse, num_preview,
    home, shuttle, radii, present, centers, drift, moving, extent, q, velocity, joints, goals, steps, discs, distances,
    observation, achieved, desired, reward, measures, success, constraints, clearance, collided, terminated,
    failed,
):
    """Start a new episode in the ``elements[start:stop]`` of a batch, each a pure function of its key."""
    n, m, horizon = lengths.size, radii.shape[1], goals.shape[1] - 1
    state, phi, scratch = np.empty(1, np.uint64), np.empty(n), np.empty(n)
    path = np.empty((horizon + 1, n))
    for e in range(start, stop):
        i = elements[e]
        state[0] = keys[e]
        own_scene = given & GIVEN_OBSTACLES == 0
        ready = False
        for _ in range(SCENE_TRIES if own_scene else 1):
            if own_scene:
                count = fewest + np.int64(uniform(state, 0.0, 1.0) * (most - fewest + 1))
                draw_discs(
                    state, count, reach, base, link_radius, margin, min_radius, max_radius, base_clearance,
                    narrow_passages, shuttling, max_speed, home[i], radii[i], shuttle[i], present[i],
                )
            moving[i] = False
            extent[i] = 0
            for j in range(m):
                drift[i, j, 0] = drift[i, j, 1] = 0.0
                if present[i, j]:
                    extent[i] = j + 1
                    moving[i] = moving[i] or shuttle[i, j, 2] > 0.0
                centers[i, j, 0], centers[i, j, 1] = shuttle_position(
                    home[i, j, 0], home[i, j, 1], shuttle[i, j, 0], shuttle[i, j, 1], shuttle[i, j, 2],
                    shuttle[i, j, 3], 0.0,
                )
            ready = True
            if own_scene and given & GIVEN_Q != 0:
                # The discs have to suit the start that was asked for.
                headings(q[i], phi)
                joint_positions(phi, lengths, base, joints[i])
                ready = clearance_of(joints[i], link_radius, centers[i], radii[i], present[i]) >= margin
            if ready and given & GIVEN_GOALS == 0:
                if track:
                    ready = draw_witness(
                        i, state, limits, velocity_limits, dt, lengths, base, link_radius, centers, drift, radii,
                        present, margin, path, phi, joints[i],
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
            if ready and given & GIVEN_Q == 0:
                if track and given & GIVEN_GOALS == 0:
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
        collided[i] = terminated[i] = False
        for k in range(n):
            velocity[i, k] = 0.0
        load_discs(i, i + 1, link_radius, centers, radii, present, discs)
        measure(i, i + 1, q, lengths, base, discs, extent, joints, distances, clearance)
        _set_drifts(i, i + 1, skip, home, shuttle, centers, present, moving, steps, dt, drift)
        _observe_arm(i, i + 1, skip, q, velocity, goals, steps, num_preview, observation)
        _observe_discs(i, centers, radii, drift, present, dt, observation)
        _judge(
            i, i + 1, skip, q, joints, goals, steps, limits, margin, success_tolerance, sparse,
            achieved, desired, reward, measures, success, constraints, clearance,
        )
        reward[i] = 0.0


@entry
def step_batch(
    start, stop, action, skip, command, fraction, delta_control, limits, max_step, lengths, base, link_radius, margin,
    dt, on_collision, success_tolerance, sparse, num_preview,
    home, shuttle, radii, present, centers, drift, moving, extent, q, velocity, joints, goals, steps, discs, distances,
    observation, achieved, desired, reward, measures, success, constraints, clearance, collided, terminated,
):
    """One control step of the elements ``[start, stop)`` of a batch, except those to ``skip``."""
    n = lengths.size
    for i in range(start, stop):
        if skip[i]:
            continue
        steps[i] += 1
        for a in range(n):
            # The velocity is the difference of two configurations: keep the first one here.
            velocity[i, a] = q[i, a]
            command[i, a] = action[i, a]
            if delta_control:
                command[i, a] = q[i, a] + min(1.0, max(-1.0, command[i, a])) * max_step[a]
    move(
        start, stop, skip, q, command, limits, max_step, lengths, base, link_radius, centers, drift, radii, extent,
        moving, on_collision, joints, distances, fraction, collided,
    )
    for i in range(start, stop):
        if skip[i]:
            continue
        terminated[i] = collided[i] and on_collision == TERMINATE
        for a in range(n):
            velocity[i, a] = (q[i, a] - velocity[i, a]) / dt
    for i in range(start, stop):
        if moving[i] and not skip[i]:
            load_discs(i, i + 1, link_radius, centers, radii, present, discs)
    measure(start, stop, q, lengths, base, discs, extent, joints, distances, clearance)
    _set_drifts(start, stop, skip, home, shuttle, centers, present, moving, steps, dt, drift)
    _observe_arm(start, stop, skip, q, velocity, goals, steps, num_preview, observation)
    for i in range(start, stop):
        if moving[i] and not skip[i]:
            _observe_discs(i, centers, radii, drift, present, dt, observation)
    _judge(
        start, stop, skip, q, joints, goals, steps, limits, margin, success_tolerance, sparse,
        achieved, desired, reward, measures, success, constraints, clearance,
    )
