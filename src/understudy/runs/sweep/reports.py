"""The page that is made of a whole study when its last run is done."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from understudy.runs.sweep.reporters import REPORTS
from understudy.runs.sweep.study import Study

REPORT = "report"  # the folder of the study that holds it


def report(study: Study) -> Path | None:
    """Write the study's report, if its experiment asks for one and every run is settled. Returns the page."""
    name = study.plan.experiment.report
    settled = study.done() | study.failures().keys()
    if not name or any(run.id not in settled for run in study.plan.runs()):
        return None
    module, attribute = REPORTS[name].split(":")
    return getattr(import_module(module), attribute)(study, study.folder / REPORT)
