"""Weights from elsewhere: pretrained starts of any known layout, and the methods' own checkpoints."""

from .converters import convert_state_dict, known_layouts, official_methods
from .loading import LoadReport, load_pretrained
from .official import OfficialCheckpoints
from .sources import fetch_state_dict

__all__ = [
    'LoadReport',
    'OfficialCheckpoints',
    'convert_state_dict',
    'fetch_state_dict',
    'known_layouts',
    'load_pretrained',
    'official_methods',
]
