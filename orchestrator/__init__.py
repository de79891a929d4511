"""pyorch: a declarative multi-container orchestrator for Linux.

Everything is one circle, and data moves one way round it: text → Stack → Plan → deeds → World → Plan …
docs/architecture.md draws it and says in which order to read the rooms.
"""

__version__ = "0.1.0"
