"""The motion certificate against dense sampling by geometry of its own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planararm.arm import PlanarArm, make_arm
from planararm.collision import certify_motion
from planararm.errors import InvalidInputError
from planararm.obstacles import Obstacles
from planararm.scene import sample_scenes

FREE, CONTACT, UNDECIDED = 1, 0, -1


def sampled_clearance(times, q_start, q_end, arm, centers, radii, drift=0.0, present=True):
    """Clearance at ``times (T,)`` of motions ``(B, n)`` among discs ``(B, m, 2)``: ``(B, T)``; plain geometry."""
    times = np.asarray(times)[..., :, None]
    q = q_start[:, None, :] + times * (q_end - q_start)[:, None, :]
    headings = np.add.accumulate(q, axis=-1)
    steps = arm.link_lengths[:, None] * np.stack([np.cos(headings), np.sin(headings)], axis=-1)
    tips = arm.base + np.add.accumulate(steps, axis=-2)
    tails = tips - steps
    discs = centers[:, None, :, :] + times[..., None] * np.broadcast_to(drift, centers.shape)[:, None]
    to_disc = discs[:, :, None, :, :] - tails[:, :, :, None, :]
    along = np.einsum("btkmx,btkx->btkm", to_disc, steps) / (arm.link_lengths**2)[:, None]
    nearest = to_disc - np.clip(along, 0.0, 1.0)[..., None] * steps[:, :, :, None, :]
    gaps = np.hypot(nearest[..., 0], nearest[..., 1]) - radii[:, None, None, :] - arm.link_radius
    return np.where(np.broadcast_to(present, radii.shape)[:, None, None, :], gaps, np.inf).min(axis=(-2, -1))


def random_motions(seed, count=60, moving=False, span=2.0):
    """One random arm, ``count`` motions, 1 to 8 discs each, some masked."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(2, 8)), int(rng.integers(1, 9))
    arm = PlanarArm(rng.uniform(0.1, 1.0, n), base=rng.normal(size=2), link_radius=rng.choice([0.0, 0.01, 0.05]))
    reach = arm.reach
    q_start = rng.uniform(-np.pi, np.pi, (count, n))
    q_end = q_start + rng.uniform(-span, span, (count, n)) * (rng.random((count, n)) < 0.8)
    polar, out = rng.uniform(0, 2 * np.pi, (count, m)), reach * rng.uniform(0.2, 1.1, (count, m))
    centers = arm.base + out[..., None] * np.stack([np.cos(polar), np.sin(polar)], axis=-1)
    radii = reach * rng.uniform(0.01, 0.12, (count, m))
    shuttle = None
    if moving:
        ways = rng.normal(size=(count, m, 2)) * 0.3 * reach
        speeds = rng.uniform(0.0, 0.5, (count, m, 1)) * reach
        shuttle = np.concatenate([ways, speeds, rng.uniform(0, 2, (count, m, 1))], axis=-1)
    return arm, q_start, q_end, Obstacles(centers, radii, shuttle, rng.random((count, m)) < 0.9)


class TestSoundness:
    @pytest.mark.parametrize("moving", [False, True])
    @pytest.mark.parametrize("margin", [0.0, 0.02])
    def test_no_certified_motion_comes_nearer_than_its_margin(self, moving, margin):
        duration = 0.4 if moving else 0.0
        seen = np.zeros(3, int)
        undecided_though_clear = clear = 0
        for seed in range(40):
            arm, q_start, q_end, discs = random_motions(seed, moving=moving)
            got = certify_motion(q_start, q_end, arm, discs, duration=duration, margin=margin)
            start = discs.positions(0.0)
            drift = discs.positions(duration) - start
            world = (q_start, q_end, arm, start, discs.radii, drift, discs.mask)
            dense = sampled_clearance(np.linspace(0, 1, 201), *world).min(axis=-1)
            assert (dense[got.status == FREE] >= margin).all()
            assert (got.fraction[got.status == FREE] == 1.0).all()
            assert (got.fraction[got.status != FREE] < 1.0).all()
            assert np.isnan(got.contact_time[got.status != CONTACT]).all()
            # Of the other motions the certified part is free, and the contact is one.
            part = np.linspace(0, 1, 101) * got.fraction[:, None]
            certified = sampled_clearance(part, *world)
            assert (certified.min(axis=-1)[got.fraction > 0] >= margin - 1e-12).all()
            hit = got.status == CONTACT
            at_contact = sampled_clearance(np.nan_to_num(got.contact_time)[:, None], *world)[:, 0]
            assert (at_contact[hit] < margin).all()
            assert (got.contact_time[hit] - got.fraction[hit] <= 1e-6 + 1e-15).all()
            seen += [(got.status == FREE).sum(), hit.sum(), (got.status == UNDECIDED).sum()]
            clear += (dense > margin + 1e-4).sum()
            undecided_though_clear += ((dense > margin + 1e-4) & (got.status == UNDECIDED)).sum()
        assert seen[0] > 300
        assert seen[1] > 300
        assert undecided_though_clear <= 0.01 * clear

    @given(st.integers(0, 10**6), st.floats(1e-3, 6.0), st.booleans())
    def test_small_and_large_motions(self, seed, span, moving):
        duration = 0.3 if moving else 0.0
        arm, q_start, q_end, discs = random_motions(seed, 20, moving, span)
        got = certify_motion(q_start, q_end, arm, discs, duration=duration)
        start = discs.positions(0.0)
        drift = discs.positions(duration) - start
        times = np.linspace(0, 1, 101) * got.fraction[:, None]
        dense = sampled_clearance(times, q_start, q_end, arm, start, discs.radii, drift, discs.mask).min(axis=-1)
        assert (dense[got.fraction > 0] >= -1e-12).all()

    def test_among_narrow_passages(self):
        arm = make_arm("unit5")
        discs = sample_scenes(np.random.default_rng(0), 400, arm, 8, narrow_passages=4).obstacles
        rng = np.random.default_rng(1)
        q_start = rng.uniform(-np.pi, np.pi, (400, 5))
        q_end = q_start + rng.uniform(-0.1, 0.1, (400, 5))
        got = certify_motion(q_start, q_end, arm, discs)
        world = (q_start, q_end, arm, discs.centers, discs.radii, 0.0, discs.mask)
        dense = sampled_clearance(np.linspace(0, 1, 201), *world).min(axis=-1)
        assert (dense[got.status == FREE] >= 0).all()
        assert (got.status[dense > 1e-5] == FREE).all()


class TestContact:
    def test_time_is_the_first_root(self):
        close = total = 0
        for seed in range(20):
            arm, q_start, q_end, discs = random_motions(seed + 100, 40)
            got = certify_motion(q_start, q_end, arm, discs, tolerance=1e-7)
            world = (q_start, q_end, arm, discs.centers, discs.radii, 0.0, discs.mask)
            grid = np.linspace(0, 1, 401)
            dense = sampled_clearance(grid, *world)
            hit = (dense < 0).any(axis=-1) & (dense[:, 0] > 0)
            assert (got.status[hit] == CONTACT).all()
            first = np.argmax(dense < 0, axis=-1)
            low, high = grid[np.maximum(first - 1, 0)], grid[first]
            for _ in range(40):
                middle = (low + high) / 2
                free = sampled_clearance(middle[:, None], *world)[:, 0] > 0
                low, high = np.where(free, middle, low), np.where(free, high, middle)
            # The grid may step over a short contact before the one it finds, never the other way round.
            assert (got.fraction[hit] <= high[hit] + 1e-12).all()
            close += (np.abs(got.contact_time - high)[hit] <= 1e-7 + 1e-12).sum()
            total += hit.sum()
        assert total > 200
        assert close >= 0.99 * total

    @pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-8])
    def test_tolerance(self, tolerance):
        # The tip of a unit link meets the disc at the heading where their surfaces touch.
        arm, discs = PlanarArm([1.0], link_radius=0.02), Obstacles([[0.0, 1.2]], [0.3])
        touching = np.arccos((1 + 1.2**2 - 0.32**2) / 2.4)
        got = certify_motion([0.0], [np.pi / 2], arm, discs, tolerance=tolerance)
        exact = 1 - touching / (np.pi / 2)
        assert got.status == CONTACT
        assert got.fraction <= exact <= got.contact_time
        assert got.contact_time - got.fraction <= tolerance + 1e-15

    @pytest.mark.parametrize("end", [0.0, 0.4, -2.0])
    def test_start_in_collision(self, end):
        arm, discs = PlanarArm([1.0]), Obstacles([[0.8, 0.0]], [0.2])
        got = certify_motion([0.0], [end], arm, discs)
        assert got.status == CONTACT
        assert got.fraction == 0.0
        assert got.contact_time <= 1e-6

    def test_zero_motion_that_is_clear(self):
        got = certify_motion([1.0], [1.0], PlanarArm([1.0]), Obstacles([[0.8, 0.0]], [0.2]))
        assert (got.status, got.fraction) == (FREE, 1.0)

    @pytest.mark.parametrize(
        ("gap", "status"),
        [(1e-3, FREE), (1e-6, FREE), (1e-9, FREE), (-1e-15, None), (-1e-12, None), (-1e-6, CONTACT), (-1e-3, CONTACT)],
    )
    def test_grazing(self, gap, status):
        # The tip passes a disc on the first axis at the distance ``gap``.
        arm = PlanarArm([1.0], link_radius=0.01)
        got = certify_motion([-0.4], [0.6], arm, Obstacles([[1.31 + gap, 0.0]], [0.3]))
        if status is None:
            # Nearer than numbers can tell: anything but certified.
            assert got.status != FREE
            assert got.fraction <= 0.4 + 1e-6
        else:
            assert got.status == status

    @pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-9])
    def test_a_link_that_rolls_over_a_disc(self, gap):
        # The first link turns about the base while the disc stays at its side.
        arm = PlanarArm([1.0, 1.0], link_radius=0.0)
        side = Obstacles([[0.5, 0.2 + gap]], [0.2])
        assert certify_motion([-1.0, 0.5], [0.0, -1.5], arm, side).status == FREE

    def test_a_disc_runs_into_a_resting_arm(self):
        arm = PlanarArm([1.0], link_radius=0.1)
        discs = Obstacles([[0.5, 1.0]], [0.2], [[0.0, -1.0, 2.0, 0.0]])
        got = certify_motion([0.0], [0.0], arm, discs, duration=0.5)
        assert got.status == CONTACT
        assert got.fraction <= 0.7 <= got.contact_time
        assert certify_motion([0.0], [0.0], arm, discs, duration=0.34).status == FREE

    def test_discs_go_straight_to_where_they_are_at_the_end(self):
        # After 1 s the disc is back: it does not move then, though it had been at the arm meanwhile.
        arm, discs = PlanarArm([1.0]), Obstacles([[0.5, 1.0]], [0.2], [[0.0, -1.0, 2.0, 0.0]])
        assert certify_motion([0.0], [0.0], arm, discs, duration=1.0).status == FREE


class TestBatches:
    def test_batch_is_loop(self):
        arm, q_start, q_end, discs = random_motions(5, 150, moving=True)
        got = certify_motion(q_start, q_end, arm, discs, duration=0.2, margin=1e-3)
        assert got.status.dtype == np.int8
        for i in range(150):
            one = certify_motion(q_start[i], q_end[i], arm, discs[i], duration=0.2, margin=1e-3)
            assert one.status.shape == ()
            np.testing.assert_array_equal(one, [part[i] for part in got])

    def test_threads_do_not_change_the_result(self, monkeypatch):
        arm, q_start, q_end, discs = random_motions(6, 1024)
        results = []
        for threads in ("1", "2"):
            monkeypatch.setenv("PLANARARM_NUM_THREADS", threads)
            results.append(certify_motion(q_start, q_end, arm, discs))
        np.testing.assert_array_equal(*results)

    def test_axes_broadcast(self):
        arm = make_arm("unit2")
        q = np.random.default_rng(0).uniform(-3, 3, (4, 1, 2))
        discs = sample_scenes(np.random.default_rng(1), 3, arm, 2).obstacles
        got = certify_motion(q, [0.0, 0.0], arm, discs)
        assert got.status.shape == got.fraction.shape == got.contact_time.shape == (4, 3)
        for i in range(4):
            for j in range(3):
                assert got.fraction[i, j] == certify_motion(q[i, 0], [0.0, 0.0], arm, discs[j]).fraction
        assert certify_motion(np.zeros((0, 2)), [1.0, 1.0], arm, Obstacles.none()).status.shape == (0,)

    def test_without_discs(self):
        got = certify_motion([0.0, 0.0], [3.0, -3.0], make_arm("unit2"), Obstacles.none())
        assert (got.status, got.fraction) == (FREE, 1.0)
        assert np.isnan(got.contact_time)

    def test_empty_slots_do_not_count(self):
        arm, centers, radii = make_arm("unit2"), [[1.5, 0.0], [0.0, 1.2]], [0.2, 0.3]
        move = ([0.5, 0.0], [2.0, 0.0])
        assert certify_motion(*move, arm, Obstacles(centers, radii, None, [True, True])).status == CONTACT
        assert certify_motion(*move, arm, Obstacles(centers, radii, None, [True, False])).status == FREE
        only = certify_motion(*move, arm, Obstacles(centers[1:], radii[1:]))
        masked = certify_motion(*move, arm, Obstacles(centers, radii, None, [False, True]))
        np.testing.assert_array_equal(only, masked)


class TestSymmetry:
    @given(st.integers(0, 10**6))
    def test_backwards(self, seed):
        arm, q_start, q_end, discs = random_motions(seed, 30)
        there, back = certify_motion(q_start, q_end, arm, discs), certify_motion(q_end, q_start, arm, discs)
        decided = (there.status != UNDECIDED) & (back.status != UNDECIDED)
        assert (there.status == back.status)[decided].all()
        assert decided.mean() > 0.9

    @given(st.integers(0, 10**6), st.floats(-3.0, 3.0))
    def test_turned_and_mirrored_world(self, seed, angle):
        arm, q_start, q_end, discs = random_motions(seed, 30)
        plain = certify_motion(q_start, q_end, arm, discs)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        turned = Obstacles(arm.base + (discs.centers - arm.base) @ turn, discs.radii, None, discs.mask)
        first = np.eye(arm.num_joints)[0] * angle
        rotated = certify_motion(q_start + first, q_end + first, arm, turned)
        mirrored_discs = Obstacles(arm.base + (discs.centers - arm.base) * [1.0, -1.0], discs.radii, None, discs.mask)
        mirrored = certify_motion(-q_start, -q_end, arm, mirrored_discs)
        for other in (rotated, mirrored):
            decided = (plain.status != UNDECIDED) & (other.status != UNDECIDED)
            assert (plain.status == other.status)[decided].all()
            np.testing.assert_allclose(plain.fraction[decided], other.fraction[decided], atol=2e-6)


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "options", "message"),
        [
            (([0.0], [0.0, 0.0]), {}, r"q_start must have shape \(\*batch, 2\), got \(1,\)"),
            (([0.0, 0.0], 1.0), {}, r"q_end must have shape \(\*batch, 2\), got \(\)"),
            (([0.0, np.nan], [0.0, 0.0]), {}, "q_start must be finite, got nan among its numbers"),
            (([0.0, 0.0], [np.inf, 0.0]), {}, "q_end must be finite, got inf"),
            (("home", [0.0, 0.0]), {}, "q_start must be numbers, got 'home'"),
            (([0.0, 0.0], [0.0, 0.0]), {"duration": -1.0}, r"duration must be finite and >= 0, got -1\.0"),
            (([0.0, 0.0], [0.0, 0.0]), {"duration": np.inf}, "duration must be finite and >= 0, got inf"),
            (([0.0, 0.0], [0.0, 0.0]), {"margin": np.nan}, "margin must be finite and >= 0, got nan"),
            (([0.0, 0.0], [0.0, 0.0]), {"tolerance": 0.0}, r"tolerance must be in \(0, 1\), got 0\.0"),
            (([0.0, 0.0], [0.0, 0.0]), {"tolerance": 1.0}, r"tolerance must be in \(0, 1\), got 1\.0"),
        ],
    )
    def test_message(self, arguments, options, message):
        with pytest.raises(InvalidInputError, match=message):
            certify_motion(*arguments, make_arm("unit2"), Obstacles([[1.0, 1.0]], [0.1]), **options)

    def test_batches_that_do_not_broadcast(self):
        discs = Obstacles(np.ones((3, 1, 2)), np.full((3, 1), 0.1))
        with pytest.raises(InvalidInputError, match=r"q_start \(2,\), q_end \(\), obstacles \(3,\)"):
            certify_motion(np.zeros((2, 2)), np.zeros(2), make_arm("unit2"), discs)
