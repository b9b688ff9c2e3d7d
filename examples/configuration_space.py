"""Write a picture of a scene's configuration space: where the arm is free, over two of its joints.

python examples/configuration_space.py clutter
python examples/configuration_space.py my_scene.toml --joints 0 1 --q 0 0.5 -0.3 --out space.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from planararm.errors import InvalidInputError, PlanarArmError
from planararm.rendering.plots import plot_configuration_space
from planararm.rendering.recording import replacing
from planararm.scene import available_scenes, make_scene


def write_picture(scene_name: str, q: Sequence[float] | None, joints: tuple[int, int], out: Path) -> None:
    """Draw the picture and write it; the file appears when it is complete.

    Args:
        scene_name: A scene's name, or the path of a scene file.
        q: Joint angles [rad]; None: the straight arm.
        joints: The two joints, counted from 0.
        out: A ``.png``, ``.svg`` or ``.pdf`` file.
    """
    if out.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InvalidInputError(f"--out must end in .png, .svg or .pdf, got {out.name!r}.")
    if not out.parent.is_dir():
        raise InvalidInputError(f"Cannot write {out.name!r}: there is no folder {str(out.parent)!r}.")
    scene = make_scene(scene_name)
    angles = [0.0] * scene.arm.num_joints if q is None else q
    figure = plot_configuration_space(scene, angles, joints)
    with replacing(out) as temporary:
        figure.savefig(temporary)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and write the picture.

    Args:
        arguments: The command line; None: that of the program.
    """
    parser = argparse.ArgumentParser(description="Write a picture of where an arm is free, over two of its joints.")
    parser.add_argument("scene", help=f"a .toml file, or one of {', '.join(available_scenes())}")
    parser.add_argument("--joints", type=int, nargs=2, default=(1, 2), metavar="J", help="counted from 0; default 1 2")
    parser.add_argument("--q", type=float, nargs="+", metavar="Q", help="joint angles [rad]; default the straight arm")
    parser.add_argument("--out", type=Path, default=Path("configuration-space.png"), help="default %(default)s")
    given = parser.parse_args(arguments)
    try:
        write_picture(given.scene, given.q, (given.joints[0], given.joints[1]), given.out)
    except (PlanarArmError, OSError) as error:
        parser.error(str(error))
    print(given.out)


if __name__ == "__main__":
    main()
