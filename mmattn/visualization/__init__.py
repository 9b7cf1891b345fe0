"""Show what attention does: recorded gates, contact sheets, HTML pages, Grad-CAM.

Recording needs PyTorch only. What draws, runs a detector or reads files is imported on first use, so that
hooks, which MMEngine imports by itself, stay light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mmattn.visualization.gate_statistics import gate_stats
from mmattn.visualization.gate_views import channel_views, spatial_view
from mmattn.visualization.recording import RecordedGates, record_gates
from mmattn.visualization.sources import GateSource, gate_sources, sources_at, why_no_gates

if TYPE_CHECKING:
    from mmattn.visualization.from_files import show_detectors
    from mmattn.visualization.gradcam import grad_cam
    from mmattn.visualization.image_files import evenly_spread, images_at
    from mmattn.visualization.inspection import ImageInspection, SiteInspection, inspect_image
    from mmattn.visualization.inspector import Inspector
    from mmattn.visualization.output import model_name, show_attention
    from mmattn.visualization.page import write_attention_page
    from mmattn.visualization.sheet import contact_sheet

_LAZY = {
    'ImageInspection': 'inspection',
    'Inspector': 'inspector',
    'SiteInspection': 'inspection',
    'contact_sheet': 'sheet',
    'evenly_spread': 'image_files',
    'grad_cam': 'gradcam',
    'images_at': 'image_files',
    'inspect_image': 'inspection',
    'model_name': 'output',
    'show_attention': 'output',
    'show_detectors': 'from_files',
    'write_attention_page': 'page',
}

__all__ = [
    'GateSource',
    'ImageInspection',
    'Inspector',
    'RecordedGates',
    'SiteInspection',
    'channel_views',
    'contact_sheet',
    'evenly_spread',
    'gate_sources',
    'gate_stats',
    'grad_cam',
    'images_at',
    'inspect_image',
    'model_name',
    'record_gates',
    'show_attention',
    'show_detectors',
    'sources_at',
    'spatial_view',
    'why_no_gates',
    'write_attention_page',
]


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_LAZY[name]}'), name)
