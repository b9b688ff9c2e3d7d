"""Target paths p(t), t in [0, 1]: shapes, splines through way-points, way-points from a file."""

from .base import Path as Path
from .curves import Circle as Circle
from .curves import Lemniscate as Lemniscate
from .curves import Lissajous as Lissajous
from .curves import Spline as Spline
from .factory import available_paths as available_paths
from .factory import make_path as make_path
from .files import read_waypoints as read_waypoints
from .polygons import Line as Line
from .polygons import Polygon as Polygon
from .polygons import Star as Star
