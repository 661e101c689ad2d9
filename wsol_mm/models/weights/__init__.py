"""Weights from elsewhere: pretrained starts of any known layout, and the methods' own checkpoints."""

from .converters import OFFICIAL_METHODS, convert_state_dict
from .loading import LoadReport, load_pretrained
from .sources import fetch_state_dict

__all__ = ['OFFICIAL_METHODS', 'LoadReport', 'convert_state_dict', 'fetch_state_dict', 'load_pretrained']
