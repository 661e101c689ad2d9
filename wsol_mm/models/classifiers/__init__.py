"""Trained classifiers of several libraries, to localize with as they are."""

from .library_classifiers import MMPretrainClassifier, TimmClassifier, TorchvisionClassifier
from .token_classifier import TokenClassifier
from .trained_classifier import TrainedClassifier

__all__ = [
    'MMPretrainClassifier',
    'TimmClassifier',
    'TokenClassifier',
    'TorchvisionClassifier',
    'TrainedClassifier',
]
