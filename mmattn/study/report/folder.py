"""Read the folder of a study: its variants, its runs, and where their results are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmattn.study.evaluation import IOU_TYPES, RunResults
from mmattn.study.plan import Run, annotation_files, read_study_file, runs_in
from mmattn.study.record import CONFIG, FINISHED, read_record, state_of


@dataclass(frozen=True)
class StudyFolder:
    """What a study has left.

    Attributes:
        path: Its folder.
        study: What ``study.json`` says: name, control, seeds, variants, notes.
        finished: The runs that are finished, with their records.
        unfinished: The others, with what became of them.
        ann_file: The annotation file on which all were evaluated.
    """

    path: Path
    study: Mapping[str, Any]
    finished: Mapping[Run, Mapping[str, Any]]
    unfinished: Mapping[Run, str]
    ann_file: str

    def results(self) -> list[RunResults]:
        """Return the final detections of the finished runs, the control's first, others as in the study."""
        names = [self.study['control'], *self.study['variants']]
        runs = sorted(self.finished, key=lambda run: names.index(run.variant))
        return [
            RunResults(
                run.variant,
                run.seed,
                {part: str(run.folder / name) for part, name in self.finished[run]['detections'].items()},
            )
            for run in runs
        ]

    @property
    def iou_types(self) -> tuple[str, ...]:
        """Those of ``'bbox'`` and ``'segm'`` that all finished runs have."""
        records = self.finished.values()
        return tuple(part for part in IOU_TYPES if all(part in each['detections'] for each in records))

    def config(self, variant: str) -> Config:
        """Return the config of a variant's first run."""
        run = next(run for run in (*self.finished, *self.unfinished) if run.variant == variant)
        return Config.fromfile(run.folder / CONFIG)


def read_study_folder(path: str | os.PathLike) -> StudyFolder:
    """Read the folder that ``tools/study.py run`` has made.

    Raises:
        FileNotFoundError: If it is no such folder, or the annotation file is gone.
        ValueError: If no run of the control, or none of another variant, is finished.
    """
    path = Path(path)
    study, runs = read_study_file(path), runs_in(path)
    finished, unfinished = {}, {}
    for run in runs:
        state = state_of(run.folder)
        record = read_record(run.folder)
        if state == FINISHED:
            finished[run] = record
        else:
            unfinished[run] = state + (f': {record["error"]}' if record.get('error') else '')
    ready = {run.variant for run in finished}
    if study['control'] not in ready or len(ready) < 2:
        raise ValueError(
            f"the study in '{path}' has finished runs of {', '.join(sorted(ready)) or 'no variant'}; a "
            f'report compares at least one variant with the control, {study["control"]}: tools/study.py run '
            'goes on'
        )
    return StudyFolder(path, study, finished, unfinished, _annotations(next(iter(finished))))


def _annotations(run: Run) -> str:
    """Return the file that the run has read: its config names the copy, if it was read right from one."""
    path = dict(annotation_files(Config.fromfile(run.folder / CONFIG)))['val']
    if not os.path.isfile(path):
        raise FileNotFoundError(f"the annotation file of the study, '{path}', is gone: a report needs it")
    return path
