"""Plugins of other people: every folder ``hospproxy_plugins`` (without an ``__init__.py``) on the path of modules.

docs/writers.md shows a whole one. In the manner of ``twisted/plugins``.
"""

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))
__all__: list[str] = []
