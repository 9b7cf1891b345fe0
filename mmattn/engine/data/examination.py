"""The content of one annotation file while rules examine it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mmattn.engine.data.boxes import Boxes
from mmattn.engine.data.findings import REFUSE, REPAIR, TELL, Finding
from mmattn.engine.data.sources import Source


@dataclass
class Examination:
    """What an annotation file holds, as repaired so far, and what was found.

    Args:
        source: The file and what the config says about it.
        content: The parsed file; rules repair it in place.
        partial: Whether only the first annotations are there.
        open_images: Whether headers of images are read; else only those of images without a size.
        drop_bad_images: Whether images that cannot be used are left out instead of refused. All of them are
            decoded to find them.
        findings: What rules found, in order.
        dropped: Names of the images that are left out, each with the reason.
        turned: Names of images that EXIF turns without a change of their size.
        modes: Pillow's modes of the images that were opened, and how many have each.
        images_opened: How many were.
        has_boxes: Whether annotations are repaired so far that :attr:`boxes` can be read.
    """

    source: Source
    content: dict[str, Any]
    partial: bool = False
    open_images: bool = True
    drop_bad_images: bool = False
    findings: list[Finding] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    turned: list[str] = field(default_factory=list)
    modes: dict[str, int] = field(default_factory=dict)
    images_opened: int = 0
    has_boxes: bool = False

    @property
    def images(self) -> list[dict]:
        """The file's list of images."""
        return self.content['images']

    @property
    def categories(self) -> list[dict]:
        """The file's list of categories."""
        return self.content['categories']

    @property
    def annotations(self) -> list[dict]:
        """The file's list of annotations."""
        return self.content['annotations']

    @cached_property
    def boxes(self) -> Boxes:
        """The boxes as arrays; to be used when nothing more is repaired."""
        return Boxes.read(self.images, self.categories, self.annotations, self.source.classes)

    def of(self, severity: str) -> Iterator[Finding]:
        """Yield the findings of this severity."""
        return (finding for finding in self.findings if finding.severity == severity)

    @property
    def is_refused(self) -> bool:
        """Whether something was found that training would go wrong on."""
        return any(self.of(REFUSE))

    @property
    def is_repaired(self) -> bool:
        """Whether the content differs from the file's, so that a copy of it must be read instead."""
        return any(self.of(REPAIR))

    def told(self) -> Iterator[Finding]:
        """Yield what the user is told while training goes on."""
        return (finding for finding in self.findings if finding.severity in (REPAIR, TELL))
