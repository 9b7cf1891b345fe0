"""Get from a config file to MMEngine's Runner: data root, data checks, processes, models."""

from mmattn.engine.config_model import build_model
from mmattn.engine.data import DataRefused, check_data, prepare_data, read_classes
from mmattn.engine.data_root import DATA_ROOT_VARIABLE, load_config
from mmattn.engine.distributed import prepare_processes
from mmattn.engine.launch import test, train
from mmattn.engine.mistakes import user_input

__all__ = [
    'DATA_ROOT_VARIABLE',
    'DataRefused',
    'build_model',
    'check_data',
    'load_config',
    'prepare_data',
    'prepare_processes',
    'read_classes',
    'test',
    'train',
    'user_input',
]
