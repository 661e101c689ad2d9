"""Outputs of a frozen backbone on disk: computed once, read at every epoch."""

from .cache import CacheMismatchError, FeatureCache
from .cache_key import CacheKey, cache_key

__all__ = ['CacheKey', 'CacheMismatchError', 'FeatureCache', 'cache_key']
