"""Pictures: what is drawn (:mod:`.shapes`), by pygame or matplotlib, and how it is written to files.

Importing this package loads neither pygame nor matplotlib.
"""

from .recording import write_frames
from .shapes import Snapshot, scene_shapes

__all__ = ["Snapshot", "scene_shapes", "write_frames"]
