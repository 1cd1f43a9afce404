"""Namespace for third-party plugins: every folder ``hospproxy_plugins`` (without an ``__init__.py``) on the module
path.

It works like ``twisted/plugins``. docs/writers.md shows a complete plugin.
"""

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))
__all__: list[str] = []
