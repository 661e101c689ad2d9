"""Sharper localization maps: several views of an image, and filters that follow the edges of its pixels."""

from .edge_filters import BilateralSolver, GrabCut
from .guided_filter import GuidedFilter
from .map_refinement import MapRefinement
from .sam_prompt import SAMPrompt

__all__ = ['BilateralSolver', 'GrabCut', 'GuidedFilter', 'MapRefinement', 'SAMPrompt']
