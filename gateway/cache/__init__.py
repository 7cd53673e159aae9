"""Copies that may be lost at any moment: in memory, and on disk by way of diskcache.

Nothing here is the truth, so nothing here may make a request fail: what cannot be read is a miss.
"""

from gateway.cache.memory import MemoryLru
from gateway.cache.store import Cache, Stats

__all__ = ["Cache", "MemoryLru", "Stats"]
