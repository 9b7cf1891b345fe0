"""Examine an annotation file by all rules, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mmattn.engine.data import box_rules, classes, image_files, lists, masks, values
from mmattn.engine.data.box_readings import boxes_are_as_coco_has_them
from mmattn.engine.data.examination import Examination
from mmattn.engine.data.findings import TELL, Finding
from mmattn.engine.data.reading import read_annotations
from mmattn.engine.data.sources import Source

WHOLE = 'parse_large_ann_files'
"""Key of a config: whether large annotation files are parsed before they are loaded."""

Rule = Callable[[Examination], Iterator[Finding]]

# A stage relies on what the rules of earlier ones found right or repaired.
_CONTENT: tuple[tuple[Rule, ...], ...] = (
    (values.ids_are_numbers, values.names_are_text, values.sizes_are_numbers, values.boxes_are_four_numbers),
    (lists.categories_differ, lists.image_ids_differ, values.areas_and_crowds_are_there),
    (classes.classes_are_those_of_the_file, lists.references_lead_somewhere),
)
_IMAGES: tuple[tuple[Rule, ...], ...] = (
    (image_files.files_are_found,),
    (image_files.sizes_are_those_of_the_images,),
)
_BOXES: tuple[tuple[Rule, ...], ...] = (
    (lists.files_are_listed_once, values.annotation_ids_differ),
    (boxes_are_as_coco_has_them, masks.masks_are_there),
    (box_rules.unusable_boxes_are_told, lists.boxes_stand_once, classes.all_classes_have_boxes),
)


def examine(
    source: Source, whole: bool = False, open_images: bool = True, drop_bad_images: bool = False
) -> Examination:
    """Read an annotation file and apply all rules; a stage with refusals is the last.

    Of a large file the first annotations are examined; if these or the images need a repair or are refused,
    the whole file is read and examined.

    Args:
        source: The file and what the config says about it.
        whole: Whether to parse a large file at once.
        open_images: Whether the headers of images are read.
        drop_bad_images: Whether images that cannot be used are left out.

    Raises:
        DataRefused: If the file is not in COCO's detection format.
        FileNotFoundError: If there is no image folder.
    """
    file = read_annotations(source.path, whole or drop_bad_images)
    data = Examination(
        source, file.content, file.partial, open_images=open_images, drop_bad_images=drop_bad_images
    )
    data.findings.extend(file.findings())
    stages = _CONTENT + _BOXES
    # with another process leaving images out, this one cannot know which remain
    if open_images or not drop_bad_images:
        stages = _CONTENT + _IMAGES + _BOXES
    for stage in stages:
        for rule in stage:
            found = list(rule(data))
            if data.partial and stage not in _IMAGES:  # counts of a part would mislead
                found = [finding for finding in found if finding.severity != TELL]
            data.findings.extend(found)
        if data.is_refused:
            break
        data.has_boxes |= stage is _CONTENT[1]
    if data.partial and (data.is_refused or data.is_repaired):
        return examine(source, True, open_images, drop_bad_images)
    return data
