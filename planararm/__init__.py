"""planararm: inverse kinematics of a planar arm among discs."""

__version__ = "0.1.0"
