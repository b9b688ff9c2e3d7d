from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from planararm import collision
from planararm.arm import PlanarArm, make_arm
from planararm.errors import InvalidSceneError
from planararm.obstacles import Obstacles
from planararm.scene import Scene, make_scene

ARM = make_arm("unit3")
DISC = Obstacles([[1.0, 1.0]], [0.3])


def test_scenes_survive_copies_and_compare_by_value():
    scene = Scene(ARM, DISC, 0.01)
    for again in (copy.deepcopy(scene), pickle.loads(pickle.dumps(scene)), make_scene(scene.to_dict())):
        assert again == scene
    assert scene != Scene(ARM, DISC)
    assert scene != "scene"


def test_stacking_pads_and_indexing_gives_the_scenes_back():
    moving = Obstacles([[1.0, -1.0], [-1.5, 0.0]], [0.2, 0.1], [[0.0, 1.0, 0.5, 0.25], [0.0] * 4])
    scenes = [Scene(ARM, DISC), Scene(ARM, moving), Scene(ARM, Obstacles.none())]
    batch = Scene.stack(scenes)
    assert (batch.batch_shape, len(batch), batch.obstacles.num_obstacles) == ((3,), 3, 2)
    rng = np.random.default_rng(0)
    for time in (0.0, 0.7):
        q = rng.uniform(-3, 3, (3, 3))
        together = collision.clearance(q, ARM, batch.obstacles.frozen_at(time))
        for i, scene in enumerate(scenes):
            assert together[i] == collision.clearance(q[i], ARM, scene.obstacles.frozen_at(time))
            assert collision.clearance(q[i], ARM, batch[i].obstacles) == collision.clearance(q[i], ARM, scene.obstacles)


def test_empty_slots_stand_far_away():
    batch = Scene.stack([Scene(ARM, DISC), Scene(ARM, Obstacles.none())])
    assert np.hypot(*batch.obstacles.centers[1, 0]) >= 10 * ARM.reach
    assert np.isinf(batch.base_clearance()).sum() == 0


def test_the_length_of_an_unbatched_scene_is_an_error():
    with pytest.raises(TypeError, match="no batch axis"):
        len(Scene(ARM, DISC))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("unit3", DISC), "needs a PlanarArm, got str; see make_arm"),
        ((ARM, [[1.0, 1.0]]), "needs Obstacles, got list"),
        ((ARM, DISC, "wide"), "safety_margin must be a number, got 'wide'"),
        ((ARM, DISC, 10**400), "safety_margin must be a number"),
        ((ARM, DISC, -0.1), "safety_margin must be finite and >= 0, got -0.1"),
        ((ARM, DISC, np.nan), "safety_margin must be finite and >= 0, got nan"),
        (
            (ARM, Obstacles([[1.0, 1.0], [0.3, 0.0]], [0.3, 0.29])),
            r"Disc 1 \(center \[0.3, 0.0\], radius 0.29\) covers the base .* is -0.02 m, below .* 0.001",
        ),
        ((ARM, Obstacles([[-1.0, 0.0]], [0.3], [[2.0, 0.0, 1.0, 0.0]])), "covers the base"),
    ],
)
def test_what_is_no_scene_is_refused(arguments, message):
    with pytest.raises(InvalidSceneError, match=message):
        Scene(*arguments)


def test_a_masked_disc_may_cover_the_base():
    assert Scene(ARM, Obstacles([[0.0, 0.0]], [1.0], mask=[False])).batch_shape == ()


def test_stack_refuses_what_does_not_fit_together():
    with pytest.raises(InvalidSceneError, match="at least one scene"):
        Scene.stack([])
    for other in (
        Scene(make_arm("unit2"), DISC),
        Scene(ARM, DISC, 0.5),
        Scene(PlanarArm([1, 1, 1], base=[0, 1]), DISC),
    ):
        with pytest.raises(InvalidSceneError, match="one arm and one safety margin"):
            Scene.stack([Scene(ARM, DISC), other])
    with pytest.raises(InvalidSceneError, match=r"unbatched scenes, got batch shape \(1,\)"):
        Scene.stack([Scene.stack([Scene(ARM, DISC)])])
