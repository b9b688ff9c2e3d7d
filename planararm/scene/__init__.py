"""Scenes: an arm among discs; drawn at random, by name, or from a file."""

from .core import DEFAULT_SAFETY_MARGIN as DEFAULT_SAFETY_MARGIN
from .core import Scene as Scene
from .files import load_scene as load_scene
from .files import save_scene as save_scene
from .generator import sample_scene as sample_scene
from .generator import sample_scenes as sample_scenes
from .library import available_scenes as available_scenes
from .library import make_scene as make_scene
