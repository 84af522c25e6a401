"""Sphinx extension: every public name is documented, and references to it find it.

A name is public if it is in the ``__all__`` of one of the ``public_modules`` of conf.py, or, in a
module without ``__all__``, if it is defined there and does not start with an underscore.
"""

import importlib
import inspect

from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def public_names(module_name):
    """Yield (documented name, name where it is defined) of everything public in a module."""
    module = importlib.import_module(module_name)
    names = getattr(module, "__all__", None)
    if names is None:
        names = [
            name
            for name, item in vars(module).items()
            if not name.startswith("_") and getattr(item, "__module__", None) == module_name
        ]
    for name in names:
        item = getattr(module, name)
        if inspect.ismodule(item):
            continue  # has a page of its own
        home = getattr(item, "__module__", None) or module_name
        yield f"{module_name}.{name}", f"{home}.{getattr(item, '__qualname__', name)}"


def check_all_documented(app, env):
    documented = set(env.get_domain("py").objects)
    for module_name in app.config.public_modules:
        for name, _ in public_names(module_name):
            if name not in documented:
                logger.warning("%s is public and missing from the reference (docs/reference)", name)


def resolve_where_documented(app, env, node, contnode):
    """Type hints name the module a class is defined in: lead them to where it is documented."""
    aliases = {
        home: name for module in app.config.public_modules for name, home in public_names(module)
    }
    target = aliases.get(node.get("reftarget", ""))
    if node.get("refdomain") != "py" or target is None or target == node["reftarget"]:
        return None
    domain = env.get_domain("py")
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, node["reftype"], target, node, contnode
    )


def setup(app: Sphinx):
    app.add_config_value("public_modules", [], "env")
    app.connect("env-check-consistency", check_all_documented)
    app.connect("missing-reference", resolve_where_documented)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
