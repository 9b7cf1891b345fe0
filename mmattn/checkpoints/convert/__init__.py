"""Public checkpoints of ResNets with attention, converted for MMDetection's ResNet."""

from mmattn.checkpoints.convert.compare_stages import verify
from mmattn.checkpoints.convert.conversion import FORMS, LIBRARIES, Conversion, convert
from mmattn.checkpoints.convert.errors import NotConverted, NotMappable
from mmattn.checkpoints.convert.file import Converted, convert_file
from mmattn.checkpoints.convert.fragment import fragment
from mmattn.checkpoints.convert.models import KnownModel, known_models
from mmattn.checkpoints.convert.peers import NoPeer
from mmattn.checkpoints.convert.source_file import read_source
from mmattn.checkpoints.convert.to_timm import ForTimm, convert_file_to_timm, to_timm

__all__ = [
    'FORMS',
    'LIBRARIES',
    'Conversion',
    'Converted',
    'ForTimm',
    'KnownModel',
    'NoPeer',
    'NotConverted',
    'NotMappable',
    'convert',
    'convert_file',
    'convert_file_to_timm',
    'fragment',
    'known_models',
    'read_source',
    'to_timm',
    'verify',
]
