"""Scenes: an arm among discs; drawn at random, by name, or from a file."""

from .core import DEFAULT_SAFETY_MARGIN as DEFAULT_SAFETY_MARGIN
from .core import Scene as Scene
