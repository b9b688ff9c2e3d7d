"""The report: one self-contained HTML page, and the pictures in it as files."""
