"""The report: one self-contained HTML page, and small ones that replay a single task."""

from .page import write_report as write_report
from .replay_page import write_replay as write_replay
