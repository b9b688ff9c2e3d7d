"""The report: one self-contained HTML page, and the pictures in it as files."""

from .page import write_report as write_report
