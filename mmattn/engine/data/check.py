"""Check the data sets and evaluators of a config before training starts."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence

from mmengine.config import Config
from mmengine.logging import print_log

from mmattn.engine.data.box_rules import none_is_usable
from mmattn.engine.data.classes import check_heads
from mmattn.engine.data.copies import use_copies
from mmattn.engine.data.examination import Examination
from mmattn.engine.data.examine import WHOLE, examine
from mmattn.engine.data.findings import REFUSE, REPAIR, DataRefused, Finding
from mmattn.engine.data.overlap import evaluator_knows_the_images, leave_out_dropped, parts_are_apart
from mmattn.engine.data.sources import Source, find_sources

Checked = list[tuple[Source, Examination]]


def check_data(
    cfg: Config,
    parts: Sequence[str] = ('train', 'val'),
    open_images: bool = True,
    drop_bad_images: bool = False,
) -> Checked:
    """Check the data sets and evaluators of a config, and say how to mend what is wrong.

    MMDetection finds some faults only after the model is built or an epoch is over, and others never: its
    labels are positions in the annotation file's list of categories, boxes are read as they are, and what
    does not fit is dropped without a word. ``docs/data.md`` lists what is refused, what is read right all the
    same and what is told. Data that is not in COCO format, or not on a local disk, is left to its own loader.

    Args:
        cfg: A whole config.
        parts: Those of ``train``, ``val`` and ``test`` to check.
        open_images: Whether the headers of images are read (of all of them, or of 5000 evenly spread).
        drop_bad_images: Whether images that are missing, cannot be decoded or have another size are left out
            instead of refused; then all images are decoded.

    Returns:
        Each data set and evaluator with what its annotation file holds and what was found in it.

    Raises:
        FileNotFoundError: If an annotation file or an image folder is missing.
        DataRefused: If training or evaluation on the data would go wrong; a ``ValueError``.
        TypeError: If the config's classes are a string.
    """
    checked, refused = find_faults(cfg, parts, open_images, drop_bad_images)
    if refused:
        raise DataRefused(refusal(refused))
    return checked


def find_faults(
    cfg: Config, parts: Sequence[str], open_images: bool = True, drop_bad_images: bool = False
) -> tuple[Checked, list[str]]:
    """Check as :func:`check_data` does, but return what is refused beside what was examined.

    Raises:
        FileNotFoundError: If an annotation file or an image folder is missing, and nothing is refused before.
        TypeError: If the config's classes are a string.
    """
    checked: Checked = []
    refused: list[str] = []
    for part in parts:
        try:
            refused += _check_part(cfg, part, checked, open_images, drop_bad_images)
        except DataRefused as error:
            refused.append(str(error))
        except OSError as error:
            if not refused:
                raise
            refused.append(str(error))
            break
    if not refused:
        try:
            for source, _ in checked:
                if source.folder is not None:
                    check_heads(cfg.get('model'), len(source.classes), source.where)
        except DataRefused as error:
            refused.append(str(error))
    return checked, refused


def refusal(refused: Sequence[str]) -> str:
    """Return one message for all that is refused."""
    many = len(refused) > 1
    return 'the data cannot be used:\n- ' + '\n- '.join(refused) if many else refused[0]


def _check_part(
    cfg: Config, part: str, checked: Checked, open_images: bool, drop_bad_images: bool
) -> list[str]:
    """Add the data sets and evaluators of a part to ``checked``; return what is refused of them."""
    refused: list[str] = []
    datasets: list[Examination] = []
    for source in find_sources(cfg, part):
        data = _examined_before(source, checked)
        if data is None:
            data = examine(source, cfg.get(WHOLE, False), open_images, drop_bad_images)
            refused += [f"the annotation file '{source.path}' ({source.where}): {f}" for f in data.of(REFUSE)]
        checked.append((source, data))
        if source.folder is not None:
            datasets.append(data)
        elif not data.is_refused:
            leave_out_dropped(data, datasets)
            refused += _texts(evaluator_knows_the_images(data, datasets))
    if not any(data.is_refused for data in datasets):
        refused += _texts(none_is_usable(datasets))
    return refused


def prepare_data(
    cfg: Config, parts: Sequence[str] = ('train', 'val'), first: bool = True, drop_bad_images: bool = False
) -> None:
    """Check the data of a config, tell what was found, and make the config read normalised copies.

    Args:
        cfg: A whole config with its work directory; its ``ann_file`` may be changed.
        parts: Those of ``train``, ``val`` and ``test`` to check.
        first: Whether this is the process of its machine that opens images, writes copies and tells.
        drop_bad_images: See :func:`check_data`.
    """
    checked = check_data(cfg, parts, first, drop_bad_images)
    if first:
        for text in findings_to_tell(checked):
            print_log(text, logger='current', level=logging.WARNING)
    use_copies(cfg, checked, write=first)


def findings_to_tell(checked: Checked) -> list[str]:
    """Return what a user is told of data that is not refused: a text for each data set with something odd."""
    texts = []
    for source, data in checked:
        if source == data.source and (found := [_told(finding) for finding in data.told()]):
            listed = ' ' + found[0] if len(found) == 1 else ''.join(f'\n- {text}' for text in found)
            texts.append(f"{source.where} '{source.path}':{listed}")
    return texts + [str(finding) for finding in overlaps(checked)]


def _told(finding: Finding) -> str:
    return f'({REPAIR}) {finding}' if finding.severity == REPAIR else str(finding)


def overlaps(checked: Checked) -> list[Finding]:
    """Return which images are trained on and evaluated on."""
    data = {source.where: data for source, data in checked if source.folder is not None}
    trained = [each for where, each in data.items() if where.startswith('train')]
    evaluated = [each for where, each in data.items() if not where.startswith('train')]
    return list(parts_are_apart(trained, evaluated))


def image_paths(cfg: Config, part: str) -> list[str]:
    """Return the image files of a part's data sets in COCO format, with names put right where certain.

    Raises:
        DataRefused: If an annotation file is not in COCO's detection format.
        FileNotFoundError: If an annotation file or an image folder is missing.
    """
    sources = [source for source in find_sources(cfg, part) if source.folder is not None]
    return [
        os.path.join(source.folder, str(image['file_name']))
        for source in sources
        for image in examine(source, open_images=False).images
    ]


def _examined_before(source: Source, checked: Checked) -> Examination | None:
    """Return the examination of a file that another place of the config names too, with the same meaning."""
    for other, data in checked:
        same_file = os.path.realpath(other.path) == os.path.realpath(source.path)
        same_part = source.folder is None and other.part == source.part
        if same_file and other.classes == source.classes and (same_part or source.folder == other.folder):
            if source.wants_boxes <= other.wants_boxes and source.wants_masks <= other.wants_masks:
                if source.folder is None or source.loader == other.loader:
                    return data
    return None


def _texts(finding: Finding | None) -> Iterable[str]:
    return [] if finding is None else [str(finding)]
