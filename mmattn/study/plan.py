"""The runs of a study in their order, and their folders."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from mmattn.engine.data.sources import leaf_datasets
from mmattn.engine.mistakes import user_input
from mmattn.files import write_file
from mmattn.study.config import KEEP, Study
from mmattn.study.record import (
    CONFIG,
    GIVEN,
    WAITING,
    config_hash,
    config_text,
    file_hash,
    read_record,
    write_record,
)

STUDY_FILE, STUDY_LOCK = 'study.json', 'study.lock'


@dataclass(frozen=True)
class Run:
    """A variant with a seed.

    Attributes:
        variant: Name of the variant.
        seed: The seed.
        folder: Where everything of the run is.
    """

    variant: str
    seed: int
    folder: Path

    def __str__(self) -> str:
        return f'{self.variant}, seed {self.seed}'


def runs_of(study: Study, work_dir: str | os.PathLike) -> list[Run]:
    """Return the runs of a study in their order: all variants with the first seed, then with the next.

    So a study that is stopped has compared all variants with fewer seeds.
    """
    return [
        Run(variant.name, seed, Path(work_dir, variant.name, f'seed_{seed}'))
        for seed in study.seeds
        for variant in study.variants
    ]


@user_input()
def prepare_folders(study: Study, work_dir: str | os.PathLike) -> list[Run]:
    """Make the folders of all runs, each with its config; return the runs in their order.

    Raises:
        ValueError: If a run in the folder was begun with other settings or other data.
    """
    runs = runs_of(study, work_dir)
    variants = {variant.name: variant for variant in study.variants}
    configs = {run: run_config(variants[run.variant].config, run.seed) for run in runs}
    hashes = {}
    for run in runs:
        data = {
            f'{part} annotations': path
            for part, path in annotation_files(configs[run])
            if os.path.isfile(path)
        }
        for path in data.values():
            if path not in hashes:
                hashes[path] = file_hash(path)
        now = dict(config=config_hash(configs[run])) | {name: hashes[path] for name, path in data.items()}
        record = read_record(run.folder)
        if record.get('status', WAITING) != WAITING:
            _require_same(run, record['hashes'], now, configs[run], work_dir)
        elif record.get('hashes') != now or record['keep_detections'] != study.keep_detections:
            prepare_run(run, configs[run], study.name, now, study.keep_detections)
    _write_study(study, Path(work_dir))
    return runs


def prepare_run(
    run: Run, cfg: Config, study: str, hashes: dict[str, str], keep_detections: str = KEEP[0]
) -> None:
    """Write the config and the record of a run that waits into its folder.

    Args:
        run: The run.
        cfg: Its config.
        study: Name of what it is a run of.
        hashes: Those of its config and its annotation files.
        keep_detections: Which evaluations leave their detections.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    cfg.dump(run.folder / CONFIG)
    write_file(run.folder / GIVEN, config_text(cfg))
    write_record(
        run.folder,
        dict(
            study=study,
            variant=run.variant,
            seed=run.seed,
            status=WAITING,
            keep_detections=keep_detections,
            hashes=hashes,
        ),
    )


def run_config(cfg: Config, seed: int) -> Config:
    """Return the config of a run, which ``tools/train.py`` takes too, from that of its variant."""
    cfg = Config(ConfigDict(cfg.to_dict()))
    cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    return cfg


def annotation_files(cfg: Config) -> Iterator[tuple[str, str]]:
    """Yield the parts of a config's data with their annotation files: ``train``, ``val``, ``val 2`` ..."""
    for part in ('train', 'val'):
        leaves = leaf_datasets(cfg.get(f'{part}_dataloader', {}).get('dataset'), part)
        for number, (_, dataset) in enumerate(leaves, 1):
            if isinstance(dataset.get('ann_file'), str):
                name = part if number == 1 else f'{part} {number}'
                yield name, os.path.join(dataset.get('data_root') or '', dataset['ann_file'])


def _require_same(run: Run, old: dict[str, str], now: dict[str, str], cfg: Config, work_dir: Any) -> None:
    changed = [name for name in now if old.get(name) != now[name]]
    if not changed:
        return
    what = ', '.join(f'the {name}' for name in changed)
    if changed == ['config']:
        before = json.loads((run.folder / GIVEN).read_text(encoding='utf-8'))
        keys = list(differences(before, json.loads(config_text(cfg))))
        what = f'its config ({", ".join(keys[:5])}{" ..." if len(keys) > 5 else ""})'
    raise ValueError(
        f'{run}: {what} changed since this run was begun in {run.folder}, and its results would be mixed '
        f'with others. Undo the change, give another --work-dir, or remove {Path(work_dir, run.variant)} to '
        'train this variant anew. New variants and seeds can be added at any time'
    )


def differences(one: Any, other: Any, path: str = '') -> Iterator[str]:
    """Yield the dotted keys in which two configs differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            if key not in one or key not in other:
                yield f'{path}{key}'
            else:
                yield from differences(one[key], other[key], f'{path}{key}.')
    elif isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        for i, pair in enumerate(zip(one, other)):
            yield from differences(*pair, f'{path}{i}.')
    elif one != other:
        yield path.rstrip('.')


def _write_study(study: Study, folder: Path) -> None:
    """Write what the report needs beside the runs."""
    write_file(
        folder / STUDY_FILE,
        json.dumps(
            dict(
                name=study.name,
                control=study.control,
                seeds=study.seeds,
                metrics=study.metrics,
                notes=study.notes,
                variants={
                    each.name: dict(
                        role=each.role, of=each.of, parameters=each.parameters, attention=each.attention
                    )
                    for each in study.variants
                },
            ),
            indent=1,
        ),
    )


def read_study_file(work_dir: str | os.PathLike) -> dict[str, Any]:
    """Return what the folder of a study says of it: name, control, seeds, metrics, notes, variants.

    Raises:
        FileNotFoundError: If it is not the folder of a study.
    """
    path = Path(work_dir, STUDY_FILE)
    if not path.is_file():
        raise FileNotFoundError(f"'{work_dir}' is not the folder of a study: it has no {STUDY_FILE}")
    return json.loads(path.read_text(encoding='utf-8'))


def runs_in(work_dir: str | os.PathLike) -> list[Run]:
    """Return the runs of the study in a folder, in their order."""
    study = read_study_file(work_dir)
    return [
        Run(variant, seed, Path(work_dir, variant, f'seed_{seed}'))
        for seed in study['seeds']
        for variant in study['variants']
    ]
