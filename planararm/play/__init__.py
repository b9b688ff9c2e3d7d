"""The interactive window: an arm that follows the mouse among discs that can be moved.

The state (:mod:`.model`), what mouse and keys do to it (:mod:`.controller`) and what is shown of it (:mod:`.view`)
know no graphics library; pygame is loaded by the first frame.
"""

from .loop import play

__all__ = ["play"]
