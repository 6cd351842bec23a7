"""The report of a study: one self-contained HTML file, the model and a machine-readable summary."""

from mixexp.report.folder import ReportError, check_folder, write_report
from mixexp.report.page import TableStudy, render

__all__ = ["ReportError", "TableStudy", "check_folder", "render", "write_report"]
