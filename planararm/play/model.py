"""The state of the window and all that can be done to it; knows neither mouse nor pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..arm import FloatArray
from ..collision import clearance
from ..dynamics import advance
from ..errors import InvalidInputError, PlanarArmError, UnknownNameError
from ..metrics import tracking_error
from ..scene import Scene
from ..validate import finite_array
from . import edits
from .records import Records, Sample
from .scenes import Scenes, free_start
from .solvers import SAYS, Answer, Solvers

MESSAGE_SECONDS = 4.0
NEW_RADIUS = 0.06
"""Radius of an added disc, as a fraction of the reach."""


class PlayModel:
    """An arm that follows a target among discs, one of many policies in charge.

    Whatever a policy does (raise, return NaN, not support the arm), the arm holds and :attr:`message` says why.

    Args:
        policy: The policy to begin with, as :func:`planararm.policies.make_policy` takes it.
        scene: The scene to begin with, as :func:`planararm.scene.make_scene` takes it.
        arm: The arm of named scenes; None: each scene's own.
        dt: Control step [s].

    Attributes:
        scene: The scene as it is now: shuttling discs are at time 0 where they have got to.
        q: ``(n,)`` where the arm is [rad].
        target: ``(2,)`` [m].
        records: Histories of the error, the end effector and the policy's speed.
        answer: The latest answer of the policy; None before the first step.
        clearance: Distance of the arm to the nearest disc [m].
        contact: Whether a disc stopped the arm in the latest step.
        paused: Whether time stands still.
        message: What the person should know now; empty if nothing.
        alert: Whether the message tells of something that went wrong.
        held: Number of the disc in hand, or None.

    Raises:
        PlanarArmError: The policy or the scene to begin with cannot be made.
    """

    def __init__(
        self, policy: Any = "closed-form", scene: Any = "clutter", *, arm: Any = None, dt: float = 1 / 30
    ) -> None:
        if not (np.isfinite(dt) and dt > 0):
            raise InvalidInputError(f"dt must be > 0, got {dt!r}.")
        self.dt, self.solvers, self.scenes = float(dt), Solvers(policy), Scenes(scene, arm)
        self.policy_index = self.solvers.names.index(self.solvers.first)
        self.records = Records(self.dt)
        self.scene: Scene
        self.held: int | None = None
        self.answer: Answer | None = None
        self.target: FloatArray = np.zeros(2)
        self._grip: FloatArray = np.zeros(2)
        self._held_speed = 0.0
        self.paused, self.message, self.alert, self._message_steps = False, "", False, 0
        self._enter(self.scenes.build())

    @property
    def policy_name(self) -> str:
        """Name of the policy in charge."""
        return self.solvers.names[self.policy_index]

    @property
    def scene_name(self) -> str:
        """Name of the present scene."""
        return self.scenes.name

    @property
    def tracking_error(self) -> float:
        """Distance of the end effector from the target [m]."""
        return float(tracking_error(self.scene.arm.end_effector(self.q), self.target))

    @property
    def status(self) -> str:
        """What the arm is doing, in a few words."""
        if self.paused:
            return "paused"
        if self.answer is None:
            return "ready"
        if self.answer.reason is None:
            return "failed, arm holds"
        return "stopped by a disc" if self.contact else SAYS[self.answer.reason]

    def tell(self, message: str, *, alert: bool = False) -> None:
        """Show a message for a few seconds."""
        self.message, self.alert, self._message_steps = message, alert, round(MESSAGE_SECONDS / self.dt)

    def set_target(self, position: Any) -> None:
        """Put the target at a point ``(2,)`` [m], reachable or not.

        Raises:
            InvalidInputError: Not two finite numbers.
        """
        target = finite_array("position", position, (2,))
        if target.shape != (2,):
            raise InvalidInputError(f"position must have shape (2,), got {target.shape}.")
        self.target = np.array(target)

    def disc_at(self, position: Any) -> int | None:
        """Number of the disc under a point ``(2,)`` [m], or None."""
        return edits.disc_at(self.scene, position)

    def grab_disc(self, position: Any) -> bool:
        """Take the disc under a point into the hand, if there is one; if it shuttles, it waits meanwhile."""
        self.drop_disc()
        self.held = self.disc_at(position)
        if self.held is None:
            return False
        discs = self.scene.obstacles
        self._grip = np.asarray(position, dtype=np.float64) - np.asarray(discs.positions())[self.held]
        self._held_speed = 0.0 if discs.shuttle is None else float(discs.shuttle[self.held, 2])
        self.scene = edits.set_speed(self.scene, self.held, 0.0)
        return True

    def drag_disc(self, position: Any) -> bool:
        """Move the disc in hand along with a point, as far as arm, base and workspace let it."""
        if self.held is None:
            return False
        return self._edit(edits.move_disc, self.q, self.held, np.asarray(position, dtype=np.float64) - self._grip)

    def drop_disc(self) -> None:
        """Let go of the disc in hand."""
        if self.held is not None:
            self.scene = edits.set_speed(self.scene, self.held, self._held_speed)
        self.held = None

    def add_disc(self, position: Any) -> bool:
        """Put a new disc at a point, unless the arm, the base or the edge of the workspace is in the way."""
        return self._edit(edits.add_disc, self.q, position, NEW_RADIUS * self.scene.arm.reach)

    def remove_disc(self, position: Any) -> bool:
        """Take away the disc under a point, if there is one."""
        index = self.disc_at(position)
        if index is None:
            self.tell("There is no disc here.")
            return False
        self.drop_disc()
        return self._edit(edits.remove_disc, index)

    def resize_disc(self, position: Any, factor: float) -> bool:
        """Multiply the radius of the disc under a point, if there is one and room for it."""
        index = self.disc_at(position)
        return index is not None and self._edit(edits.resize_disc, self.q, index, factor)

    def _edit(self, change: Callable[..., Scene], *arguments: Any) -> bool:
        try:
            self.scene = change(self.scene, *arguments)
        except edits.RefusedEdit as refused:
            self.tell(str(refused), alert=True)
            return False
        self._measure()
        return True

    def select_policy(self, which: int | str) -> None:
        """Put the policy of a number (from 0) or a name in charge; a number without a policy changes nothing.

        Raises:
            UnknownNameError: No such name.
        """
        names = self.solvers.names
        if isinstance(which, str):
            if which not in names:
                raise UnknownNameError("policy", which, names)
            which = names.index(which)
        if not 0 <= which < len(names):
            self.tell(f"There is no policy {which + 1}, there are {len(names)}.")
            return
        self.policy_index, self.answer = which, None
        self._begin_policy()

    def next_policy(self, by: int = 1) -> None:
        """Put the next policy in charge, or the one ``by`` places on."""
        self.select_policy((self.policy_index + by) % len(self.solvers.names))

    def _begin_policy(self) -> None:
        self.records.solve_seconds.clear()
        problem = self.solvers.prepare(self.policy_name)
        if problem is not None:
            self._tell_problem(problem)

    def _tell_problem(self, problem: str) -> None:
        self.tell(problem if self.policy_name in problem else f"{self.policy_name}: {problem}", alert=True)

    def next_scene(self, by: int = 1) -> None:
        """Go to the next scene, or by -1 to the previous one; one that cannot be played is passed over."""
        for _ in self.scenes.names:
            self.scenes.turn(by)
            try:
                return self._enter(self.scenes.build())
            except PlanarArmError as error:
                self.tell(f"Scene {self.scene_name!r} was passed over: {error}", alert=True)

    def reset(self) -> None:
        """Take everything back: discs, arm, target and histories are as when the scene was entered."""
        self._enter(self._entered)

    def _enter(self, scene: Scene) -> None:
        q = free_start(scene)
        self.scene, self._entered, self.q = scene, scene, q
        self.held, self.answer, self.contact = None, None, False
        self.target = np.array(scene.arm.end_effector(q))
        self.records.clear()
        self._measure()
        self._begin_policy()

    def _measure(self) -> None:
        self.clearance = float(clearance(self.q, self.scene.arm, self.scene.obstacles))

    def toggle_pause(self) -> None:
        """Let time stand still, or go on."""
        self.paused = not self.paused

    def step(self) -> None:
        """One control step: ask the policy, move the arm as the environments do, take notes."""
        self._message_steps -= 1
        if self._message_steps <= 0:
            self.message, self.alert = "", False
        if self.paused:
            return
        scene, arm = self.scene, self.scene.arm
        answer = self.answer = self.solvers.ask(self.policy_name, self.target, self.q, scene)
        if answer.problem is None:
            self.records.solve_seconds.append(answer.seconds)
        else:
            self._tell_problem(answer.problem)
        moved = advance(self.q, self.q if answer.q is None else answer.q, scene, dt=self.dt)
        self.q, self.clearance, self.contact = moved.q, float(moved.clearance), bool(moved.collision)
        if self.clearance <= 0:
            self.tell("A moving disc has run into the arm.", alert=True)
        if not scene.obstacles.is_static:
            self.scene = Scene(arm, scene.obstacles.after(self.dt), scene.safety_margin)
        self.records.trail.append(arm.end_effector(self.q))
        self.records.history.append(Sample(self.tracking_error / arm.reach, self.policy_index, self.contact))
