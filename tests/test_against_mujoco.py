"""Kinematics and distances against MuJoCo: capsules and spheres in the plane, 1,000 random arms."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from planararm import collision
from planararm.arm import PlanarArm
from planararm.obstacles import Obstacles

ARMS_PER_SIZE = 167
DISCS = 3
FAR = 1e3


def mjcf(arm: PlanarArm, obstacles: Obstacles) -> str:
    """The arm as nested bodies with hinges about z, every link a capsule, every disc a sphere."""
    lengths, places = arm.link_lengths.tolist(), [arm.base.tolist()]
    places += [[length, 0.0] for length in lengths]
    links = "".join(
        f'<body pos="{x!r} {y!r} 0"><joint type="hinge" axis="0 0 1"/>'
        f'<geom name="link{k}" type="capsule" fromto="0 0 0 {length!r} 0 0" size="{arm.link_radius!r}"/>'
        for k, (length, (x, y)) in enumerate(zip(lengths, places[:-1], strict=True))
    )
    tip = f'<site name="tip" pos="{lengths[-1]!r} 0 0"/>' + "</body>" * arm.num_joints
    discs = "".join(
        f'<geom name="disc{j}" type="sphere" pos="{x!r} {y!r} 0" size="{radius!r}"/>'
        for j, ((x, y), radius) in enumerate(zip(obstacles.centers.tolist(), obstacles.radii.tolist(), strict=True))
    )
    return f"<mujoco><worldbody>{links}{tip}{discs}</worldbody></mujoco>"


@pytest.mark.parametrize("num_joints", range(2, 8))
def test_forward_kinematics_jacobian_and_distances(num_joints):
    rng = np.random.default_rng(num_joints)
    fromto = np.zeros(6)
    for _ in range(ARMS_PER_SIZE):
        arm = PlanarArm(
            rng.uniform(0.2, 1.0, num_joints),
            base=rng.uniform(-1, 1, 2),
            link_radius=rng.uniform(0.005, 0.05),
        )
        centers = arm.base + rng.uniform(-1, 1, (DISCS, 2)) * arm.reach
        obstacles = Obstacles(centers, rng.uniform(0.05, 0.3, DISCS))
        q = rng.uniform(-np.pi, np.pi, num_joints)
        model = mujoco.MjModel.from_xml_string(mjcf(arm, obstacles))
        data = mujoco.MjData(model)
        data.qpos[:] = q
        mujoco.mj_forward(model, data)
        np.testing.assert_allclose(arm.forward_kinematics(q)[:-1], data.xpos[1:, :2], atol=1e-12)
        np.testing.assert_allclose(arm.end_effector(q), data.site_xpos[0, :2], atol=1e-12)
        by_mujoco = np.zeros((3, num_joints))
        mujoco.mj_jacSite(model, data, by_mujoco, None, 0)
        np.testing.assert_allclose(arm.jacobian(q), by_mujoco[:2], atol=1e-12)
        distance = collision.signed_distance(q, arm, obstacles)
        witness = collision.witness_points(q, arm, obstacles)
        for k in range(num_joints):
            for j in range(DISCS):
                link, disc = model.geom(f"link{k}").id, model.geom(f"disc{j}").id
                theirs = mujoco.mj_geomDistance(model, data, link, disc, FAR, fromto)
                assert abs(theirs - distance[k, j]) < 1e-9
                np.testing.assert_allclose(witness[k, j], fromto.reshape(2, 3)[:, :2], atol=1e-7)
