"""Sources: activities that give the items of a fan-out page by page."""

from temporal_fanout.source import Page, PageRequest

__all__ = ["Page", "PageRequest"]
