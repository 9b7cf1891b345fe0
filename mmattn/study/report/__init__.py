"""The report of a study: metrics with intervals, mistakes, curves, cost, as Markdown, HTML, CSV and JSON."""

from mmattn.study.report.folder import StudyFolder, read_study_folder
from mmattn.study.report.output import write_report
from mmattn.study.report.study_report import StudyReport, make_report

__all__ = ['StudyFolder', 'StudyReport', 'make_report', 'read_study_folder', 'write_report']
