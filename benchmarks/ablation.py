"""What each part of projected-mlp adds: the penalty, the projection, the projection in training, the task term.

    python benchmarks/ablation.py [--steps 3000] [--targets 5000] [--seed 0]

Small networks, trained from the same weights on the same scenes (0-6 discs, 3 links) for the same number of steps in
all, about five minutes on one core. The most confident proposal alone is asked, with no second try of any kind:

* *network*: the loss is the distance to the target, nothing else;
* *+ penalty*: and the penetration of the discs;
* *+ projection after training*: the same network, its proposal projected onto the free configurations;
* *the same schedule*: the last third of the steps begun anew with a smaller learning rate, as in the next row but
  without the projection in the loss, then projected: what that row is to be compared with;
* *+ projection in training*: the last third of the steps with the loss behind the projection, then projected;
* *+ task term*: that network, projected onto the free configurations on the target.

Reached, free and within the limits are judged by a check that shares nothing with the projection. Where it finds
nothing free, the projection says so: *called safe* counts the answers of which it wrongly says that they are. One seed
is one draw: compare several (``--seed``) before believing a difference of less than a percent.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
import torch
from learned_policies import holds
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from planararm import make_arm, project, reachability
from planararm.learning.projected_torch import LEARNING_RATE, ProjectedTrainee
from planararm.learning.proposal_loss_torch import ProposalLoss
from planararm.learning.proposals_torch import ProposalTrainee
from planararm.learning.scenes import draw_batch
from planararm.policies.canonical import canonical_batch, joint_angles_from_directions

FRESH_SEED = 880_001
SIZES = {"width": 96, "depth": 2, "disc_width": 48, "correction_width": 48, "num_proposals": 6}
SHARE_IN_LOOP = 1 / 3
REACHED, EXACT = 1e-3, 1e-6


def confident(trainee: ProposalTrainee, batch, q: np.ndarray) -> np.ndarray:
    """The joint angles of the most confident proposal for each target."""
    arm = trainee.arm
    frame = canonical_batch(
        batch.target_position, q, arm, batch.scene.obstacles, link_radius=arm.link_radius / arm.reach
    )
    with torch.no_grad():
        answered = trainee.network(
            *(torch.from_numpy(part) for part in (frame.distance, frame.discs, frame.mask, frame.present)),
        )
    chosen = answered.logits[:, :-1].argmax(dim=1)
    directions = answered.directions[torch.arange(len(q)), chosen][:, None].numpy()
    return joint_angles_from_directions(directions, frame.bearing, arm, q)[:, 0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--targets", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    arm, steps = make_arm("unit3"), options.steps
    in_loop = round(SHARE_IN_LOOP * steps)

    def trainee(kind, num_steps: int, **more) -> ProposalTrainee:
        return kind(arm, "clutter", options.seed, num_steps, network=SIZES, **more)

    blind = trainee(ProposalTrainee, steps, loss=ProposalLoss(clearance_weight=0.0))
    careful, begun = trainee(ProposalTrainee, steps), trainee(ProposalTrainee, steps - in_loop)
    console = Console(width=None if sys.stdout.isatty() else 120)
    with Progress(console=Console(stderr=True)) as progress:

        def train(what: ProposalTrainee, label: str) -> None:
            for _ in progress.track(range(what.num_steps), description=label):
                what.step()

        train(blind, "network")
        train(careful, "+ penalty")
        train(begun, "before the loop")
        onward = {"init": begun.weights(), "learning_rate": LEARNING_RATE}
        same, looped = trainee(ProposalTrainee, in_loop, **onward), trainee(ProjectedTrainee, in_loop, **onward)
        train(same, "the same schedule")
        train(looped, "in the loop")

    batch = draw_batch([FRESH_SEED, options.seed], options.targets, arm, "clutter")
    chosen = np.flatnonzero(reachability(batch.target_position, batch.scene).verdict == 1)
    target, scene = batch.target_position[chosen], batch.scene[chosen]
    q_start = np.random.default_rng(FRESH_SEED).uniform(-np.pi, np.pi, (len(chosen), 3))
    batch = type(batch)(target, scene)
    table = Table(
        title=f"Ablation: {steps} steps each, {len(chosen):,} reachable targets, most confident proposal alone"
    )
    for column in ("", "reached to 1e-3, free [%]", "to 1e-6 [%]", "unsafe [%]", "called safe", "moved, rad (mean)"):
        table.add_column(column, justify="right")

    lies = 0

    def row(name: str, network: ProposalTrainee, projected: bool = True, **task) -> None:
        nonlocal lies
        proposal = confident(network, batch, q_start)
        found = project(proposal, scene, num_restarts=0, **task) if projected else None
        q = proposal if found is None else found.q
        reached, safe = (part[:, 0] for part in holds(q[:, None], target, scene, REACHED))
        exact = holds(q[:, None], target, scene, EXACT)[0][:, 0]
        cells = (100 * reached.mean(), 100 * exact.mean(), 100 * (~safe).mean())
        wrong = 0 if found is None else int((found.safe & ~safe).sum())
        lies += wrong
        moved = np.linalg.norm(q - proposal, axis=-1).mean()
        called = "" if found is None else str(wrong)
        table.add_row(name, *(f"{cell:.2f}" for cell in cells), called, f"{moved:.4f}")

    row("network", blind, projected=False)
    row("+ penalty", careful, projected=False)
    row("+ projection after training", careful)
    row("the same schedule", same)
    row("+ projection in training", looped)
    row("+ task term", looped, target_position=target)
    console.print(table)
    print("target: no answer that is called safe and is not")
    return 0 if lies == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
