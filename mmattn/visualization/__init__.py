"""Show what attention does: recorded gates, sheets and pages of images, Grad-CAM."""

from mmattn.visualization.gate_stats import gate_stats
from mmattn.visualization.gates import Gates, Source, gate_sources, record_gates, sources_at
from mmattn.visualization.grad_cam import grad_cam
from mmattn.visualization.inspection import Look, SiteLook, look
from mmattn.visualization.page import write_attention_page
from mmattn.visualization.sheet import contact_sheet
from mmattn.visualization.show_attention import Viewer, show_attention

__all__ = [
    'Gates',
    'Look',
    'SiteLook',
    'Source',
    'Viewer',
    'contact_sheet',
    'gate_sources',
    'gate_stats',
    'grad_cam',
    'look',
    'record_gates',
    'show_attention',
    'sources_at',
    'write_attention_page',
]
