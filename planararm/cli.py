"""The command line: ``planararm ...``. Every subcommand imports what it needs inside its function."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .errors import InvalidInputError, MissingExtraError, PlanarArmError, UnknownNameError

DESCRIPTION = "Inverse kinematics of a planar arm among discs: score policies, watch them, play with them."

EPILOG = """\
examples:
  planararm demo                              score every bundled policy, write a report with pictures
  planararm list                              what there is: policies, suites, scenes, arms, paths ...
  planararm bench closed-form hold            score two policies on the quick suite
  planararm bench my_module:MyPolicy          score your own policy (a class, an object or a function)
  planararm check my_module:MyPolicy          does it keep the contract? with advice
  planararm render --policy closed-form --path star --out star.gif
  planararm play                              a window: the target follows the mouse
  planararm train torch-mlp --arm unit5       train a policy of your own; Ctrl-C and --resume as you like

planararm COMMAND --help tells more. Interrupted runs resume when the same command is repeated.
"""

TRAIN_EPILOG = """\
examples:
  planararm train torch-mlp                           for the arm unit3, into runs/train/torch-mlp-unit3
  planararm train torch-mlp --arm unit5 --steps 200   a short one, to see whether it works
  planararm train torch-mlp --resume                  go on with the run that was interrupted, killed, or done
  planararm train torch-mlp --init torch-mlp-unit3 --scenes hard --out runs/hard
                                                      begin with trained weights (see planararm list), not random ones
  planararm train projected-mlp --init runs/hard      go on through the projection
  planararm train numpy-mlp                           the network of Duka's paper, in NumPy

Press Ctrl-C whenever you like: a run that is resumed ends like one that was never interrupted. The weights with the
lowest validation score are kept, in DIR/model.safetensors and config.json: make_policy("torch-mlp", weights="DIR").
"""

INTERRUPTED = 130
FAILED = 2
DEFAULT_SUITE = "v1/quick"
PICTURE_SUFFIXES = (".png", ".gif", ".mp4")


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = argparse.ArgumentParser(
        prog="planararm",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"planararm {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int], about: str, epilog: str | None = None
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            help=about,
            description=f"{about[0].upper()}{about[1:]}.",
            parents=[common],
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=run)
        return sub

    bench = command("bench", _bench, "score policies on a suite of tasks: table, results.jsonl, report.html")
    bench.add_argument(
        "policies",
        nargs="*",
        metavar="POLICY",
        help="a name (see planararm list) or an import path module:attribute; default: all bundled policies",
    )
    bench.add_argument("--suite", default=DEFAULT_SUITE, help="name of the suite (default: %(default)s)")
    bench.add_argument("--out", type=Path, help="folder for the results (default: runs/ and the suite's name)")
    bench.add_argument("--seed", type=_whole, default=0, help="seed for policies that draw random numbers (default: 0)")
    bench.add_argument(
        "--policy-kwargs",
        metavar="JSON",
        help="options of the policy, e.g. '{\"damping\": 0.1}'; of several, '{\"NAME\": {...}, ...}'",
    )
    bench.add_argument("--fresh", action="store_true", help="throw away what the folder holds, start over")
    bench.add_argument("--no-report", action="store_true", help="write no report.html")

    demo = command("demo", _demo, "score every bundled policy on the quick suite and write a report with pictures")
    demo.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder (default: %(default)s)")
    demo.add_argument("--fresh", action="store_true", help="throw away what the folder holds, start over")

    command("list", _list, "list policies, trained weights, suites, scenes, arms, paths and environments")

    check = command("check", _check, "check that a policy keeps the contract, with advice; exit code 1 if not")
    check.add_argument("policy", metavar="POLICY", help="a name or an import path module:attribute")
    check.add_argument("--scene", help="name or TOML file of the scene to check in (default: a bundled one)")
    check.add_argument("--policy-kwargs", metavar="JSON", help="options of the policy, as a JSON object")

    render = command("render", _render, "draw an episode of a policy as PNG, GIF or MP4")
    render.add_argument("--policy", default="closed-form", help="default: %(default)s")
    render.add_argument("--scene", help="name or TOML file of a scene (default: random; with --path, empty)")
    render.add_argument("--path", help="name or CSV file of a target path (default: one known to be trackable)")
    render.add_argument("--arm", help="name of the arm (default: the scene's, else unit3)")
    render.add_argument("--env", help="id of the environment (default: planararm/Track-v0)")
    render.add_argument("--seed", type=_whole, default=0, help="seed of the episode (default: 0)")
    render.add_argument("--steps", type=int, default=200, help="control steps at most (default: %(default)s)")
    render.add_argument("--out", type=Path, required=True, help="file ending in .png (last frame), .gif or .mp4")

    play = command("play", _play, "a window in which the target follows the mouse")
    play.add_argument("--policy", default="closed-form", help="policy to begin with (default: %(default)s)")
    play.add_argument("--scene", help="name or TOML file of the scene to begin with (default: clutter)")
    play.add_argument("--arm", help="name of the arm (default: the scene's)")
    play.add_argument("--frames", type=int, help="end after so many frames (default: when the window is closed)")

    _add_train_arguments(
        command("train", _train, "train a learned policy; can be interrupted and resumed", TRAIN_EPILOG)
    )
    return parser


def _add_train_arguments(train: argparse.ArgumentParser) -> None:
    train.add_argument("policy", metavar="POLICY", help="torch-mlp, projected-mlp or numpy-mlp")
    train.add_argument("--arm", help="name of the arm (default: unit3; of numpy-mlp: duka)")
    train.add_argument("--scenes", help="training scenes: mixed, clutter, free or hard (default: mixed)")
    train.add_argument("--seed", type=_whole, default=0, help="of weights and training data (default: 0)")
    train.add_argument("--steps", type=int, metavar="N", help="steps of the whole run (default: the policy's own)")
    train.add_argument("--device", default="auto", help="auto, cpu or cuda (default: CUDA where there is one)")
    train.add_argument("--out", type=Path, metavar="DIR", help="folder (default: runs/train/POLICY-ARM)")
    train.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    train.add_argument("--fresh", action="store_true", help="throw away the run in the folder, start over")
    train.add_argument("--init", metavar="WEIGHTS", help="weights to begin with: a folder, or a name of planararm list")
    train.add_argument("--threads", type=int, metavar="N", help="threads of PyTorch (default: its own choice)")
    train.add_argument("--validate-every", type=int, metavar="N", help="steps between validations")
    train.add_argument(
        "--patience", type=int, metavar="N", help="stop after N validations without a lower score (default: never)"
    )


def _json_object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except ValueError as cause:
        raise InvalidInputError(f"--policy-kwargs must be JSON, got {text!r}: {cause}") from cause
    if not isinstance(value, dict):
        raise InvalidInputError(f'--policy-kwargs must be a JSON object like {{"damping": 0.1}}, got {text!r}.')
    return value


def _find_modules_here() -> None:
    """Let import paths name modules of the working folder, as ``python -m`` does."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _entrants(names: Sequence[str], options: dict[str, Any]) -> list[Any]:
    from .benchmark.runner import bundled_entrants, entrant

    if not names:
        if options:
            raise InvalidInputError("--policy-kwargs needs the POLICY that they are for.")
        entrants, missing = bundled_entrants()
        for name, reason in missing:
            print(f"planararm: {name} is left out. {reason}", file=sys.stderr)
        return entrants
    if len(names) == 1 and names[0] not in options:
        return [entrant(names[0], options)]
    for name, value in options.items():
        if name not in names:
            raise UnknownNameError("policy in --policy-kwargs", name, names)
        if not isinstance(value, dict):
            raise InvalidInputError(f"--policy-kwargs of {name!r} must be a JSON object, got {value!r}.")
    return [entrant(name, options.get(name)) for name in names]


def _score(
    entrants: list[Any], suite: str, out: Path, *, seed: int = 0, fresh: bool = False, report: bool = True
) -> int:
    """Run, print the table, write the report."""
    from .benchmark.leaderboard import build_leaderboard
    from .benchmark.runner import run
    from .benchmark.table import ProgressBars, make_console, print_leaderboard

    console, notes = make_console(), make_console(stderr=True)
    try:
        with ProgressBars(notes) as progress:
            rows = run(entrants, suite, out, seed=seed, fresh=fresh, progress=progress)
    except KeyboardInterrupt:
        print(
            f"\nplanararm: interrupted. {out} keeps what was done; repeat the command to go on.",
            file=sys.stderr,
        )
        return INTERRUPTED
    if progress.num_done:
        print(
            f"planararm: {progress.num_done} of {progress.num_rows} rows were there already, from an earlier run; "
            "where a policy has changed since, --fresh starts over, --out takes another folder.",
            file=sys.stderr,
        )
    print_leaderboard(build_leaderboard(rows), console)
    for line in _crashes(rows):
        print(f"planararm: {line}", file=sys.stderr)
    if not report:
        return 0
    try:
        from .benchmark.report import write_report

        with notes.status("Drawing the report"):
            page = write_report(out)
    except MissingExtraError as error:
        print(f"planararm: no report.html was written. {error}", file=sys.stderr)
        return 0
    console.print(f"\nReport: {page}", soft_wrap=True, highlight=False)
    return 0


def _crashes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One line per policy that crashed: how often, and what it said the first time."""
    lines = []
    for policy in dict.fromkeys(row["policy"] for row in rows):
        own = [row for row in rows if row["policy"] == policy]
        crashed = [row for row in own if row["outcome"] == "crashed"]
        if crashed:
            lines.append(
                f"{policy} crashed on {len(crashed)} of {len(own)} tasks; the first time: {crashed[0]['message']}"
            )
    return lines


def _bench(arguments: argparse.Namespace) -> int:
    _find_modules_here()
    options = _json_object(arguments.policy_kwargs)
    out = arguments.out or Path("runs") / arguments.suite.replace("/", "-")
    entrants = _entrants(arguments.policies, options)
    report = not arguments.no_report
    return _score(entrants, arguments.suite, out, seed=arguments.seed, fresh=arguments.fresh, report=report)


def _demo(arguments: argparse.Namespace) -> int:
    code = _score(_entrants([], {}), DEFAULT_SUITE, arguments.out, fresh=arguments.fresh)
    if code == 0:
        print("Next: planararm play, or score a policy of your own: planararm bench my_module:MyPolicy")
    return code


def _list(arguments: argparse.Namespace) -> int:
    import gymnasium as gym

    from .arm import PRESETS
    from .benchmark.suites import available_suites
    from .paths import available_paths
    from .policies import available_policies
    from .policies.pretrained import list_pretrained
    from .scene import available_scenes

    environments = sorted(name for name in gym.registry if name.startswith("planararm/"))
    for title, names in (
        ("policies", available_policies()),
        ("weights", list_pretrained()),
        ("suites", available_suites()),
        ("scenes", available_scenes()),
        ("arms", sorted(PRESETS)),
        ("paths", available_paths()),
        ("environments", environments),
    ):
        print(f"{title}:")
        for name in names:
            print(f"  {name}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from .policies import check_policy, make_policy
    from .scene import make_scene

    _find_modules_here()
    policy = make_policy(arguments.policy, **_json_object(arguments.policy_kwargs))
    scene = None if arguments.scene is None else make_scene(arguments.scene)
    report = check_policy(policy, scene)
    print(report)
    return 0 if report.passed else 1


def _render(arguments: argparse.Namespace) -> int:
    import gymnasium as gym

    from .policies import make_policy
    from .rendering.recording import write_frames

    _find_modules_here()
    if arguments.steps < 1:
        raise InvalidInputError(f"--steps must be at least 1, got {arguments.steps}.")
    # Before the episode is run, not after it.
    if arguments.out.suffix.lower() not in PICTURE_SUFFIXES:
        raise InvalidInputError(f"--out must end in {', '.join(PICTURE_SUFFIXES)}, got {str(arguments.out)!r}.")
    if not arguments.out.parent.is_dir():
        raise InvalidInputError(f"--out names the folder {str(arguments.out.parent)!r}, which does not exist.")
    policy = make_policy(arguments.policy)
    # A bundled path knows nothing of random discs: without a scene of its own it gets free space.
    scene = arguments.scene or ("empty" if arguments.path else None)
    given = {"arm": arguments.arm, "scene": scene, "path": arguments.path}
    options = {name: value for name, value in given.items() if value is not None}
    environment = arguments.env or "planararm/Track-v0"
    known = [name for name in gym.registry if name.startswith("planararm/")]
    if environment not in known:
        raise UnknownNameError("environment", environment, known)
    env = gym.make(environment, render_mode="rgb_array", max_episode_steps=arguments.steps, **options)
    with env:
        policy.bind(env)
        policy.reset()
        observation, info = env.reset(seed=arguments.seed)
        frames, over = [env.render()], False
        errors, contacts = [], 0
        while not over:
            action, _ = policy.predict(observation)
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
            frames.append(env.render())
            errors.append(info["tracking_error"])
            contacts += info["collision"]
        fps = env.metadata["render_fps"]
    last_only = arguments.out.suffix.lower() == ".png"
    write_frames(frames[-1:] if last_only else frames, arguments.out, fps=fps)
    mean = sum(errors) / len(errors)
    print(f"{arguments.out}: {len(errors)} steps, mean tracking error {mean:.2g} m, stopped by a disc {contacts} times")
    return 0


def _play(arguments: argparse.Namespace) -> int:
    from .play import play

    _find_modules_here()
    options = {name: getattr(arguments, name) for name in ("policy", "scene", "arm", "frames")}
    play(**{name: value for name, value in options.items() if value is not None})
    return 0


def _train(arguments: argparse.Namespace) -> int:
    from .learning.command import train_command

    return train_command(arguments)


def _whole(text: str) -> int:
    """A whole number >= 0 from the command line."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number >= 0, got {text!r}")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments; default: those of the process.

    Returns:
        Exit code: 0 all went well, 1 a checked policy failed, 2 an error, 130 interrupted.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if not hasattr(arguments, "run"):
        parser.print_help()
        return 0
    try:
        return int(arguments.run(arguments))
    except PlanarArmError as error:
        if arguments.debug:
            raise
        print(f"planararm: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        if arguments.debug:
            raise
        print(f"planararm: cannot read or write: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("\nplanararm: interrupted.", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
