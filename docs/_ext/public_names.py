"""Check that every public name is documented, and resolve references to it.

The extension walks the whole package, so a new module is covered as soon as it exists. A name is
public

- if it is in the ``__all__`` of a module, or
- if a module without ``__all__`` defines it and it does not start with an underscore, unless the
  ``__all__`` of the package around that module leaves the module out.

The methods and properties of public classes are public too, including those inherited from a
private class. An override counts as documented if a public base class, or one outside the package,
documents it.
"""

import importlib
import inspect
import pkgutil
import re
from functools import cache, cached_property
from types import FunctionType

from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
MEMBERS = (FunctionType, classmethod, staticmethod, property, cached_property)


def module_names(package):
    """List the package and every module in it of which no part begins with an underscore."""
    path = importlib.import_module(package).__path__
    found = [package, *(module.name for module in pkgutil.walk_packages(path, f"{package}."))]
    return [name for name in found if not re.search(r"\._", name)]


def names_in(module_name):
    module = importlib.import_module(module_name)
    if hasattr(module, "__all__"):
        return module.__all__
    parent, _, own = module_name.rpartition(".")
    shown = getattr(importlib.import_module(parent), "__all__", [own])
    return [
        name
        for name, item in vars(module).items()
        if own in shown and name[0] != "_" and getattr(item, "__module__", None) == module_name
    ]


@cache
def public_names(package, exceptions):
    """Map each name, as the place where it is defined, to the names under which it is public."""
    found = {}
    for module_name in module_names(package):
        if re.fullmatch(exceptions, module_name):
            continue
        for name in names_in(module_name):
            item = getattr(importlib.import_module(module_name), name)
            if not inspect.ismodule(item):  # modules are walked themselves
                home = getattr(item, "__module__", None) or module_name
                places = found.setdefault(f"{home}.{getattr(item, '__qualname__', name)}", [])
                places.append(f"{module_name}.{name}")
    return found


def members(cls, package, public):
    """Yield each public member with the classes that may document it, as (name, owners)."""
    for base in cls.__mro__:
        if base is not cls and (home(base) in public or not in_package(base, package)):
            continue  # it is checked on its own, or is not part of the package
        for name, item in vars(base).items():
            if name[0] != "_" and isinstance(item, MEMBERS):
                yield name, [owner for owner in cls.__mro__ if hasattr(owner, name)]


def home(cls):
    return f"{cls.__module__}.{cls.__qualname__}"


def in_package(cls, package):
    return cls.__module__.split(".")[0] == package


def check_all_documented(app, env):
    package = app.config.public_package
    public = public_names(package, app.config.public_package_exceptions)
    documented = set(env.get_domain("py").objects)
    n_members = 0
    for places in public.values():
        if documented.isdisjoint(places):
            logger.warning("%s is public and not in the reference (docs/reference)", places[0])
            continue
        module_name, _, name = places[0].rpartition(".")
        item = getattr(importlib.import_module(module_name), name)
        if not inspect.isclass(item):
            continue
        for member, owners in members(item, package, public):
            n_members += 1
            places_of_owners = [place for owner in owners for place in public.get(home(owner), [])]
            found = not documented.isdisjoint(f"{place}.{member}" for place in places_of_owners)
            if not found and all(in_package(owner, package) for owner in owners):
                logger.warning("%s.%s is public and not in the reference", places[0], member)
    logger.info("public names: %d, and %d methods and properties", len(public), n_members)


def resolve_where_documented(app, env, node, contnode):
    """Resolve a type hint, which names the defining module, to where the class is documented."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    public = public_names(app.config.public_package, app.config.public_package_exceptions)
    for place in public.get(target, []):
        if place in domain.objects and place != target:
            return domain.resolve_xref(
                env, node["refdoc"], app.builder, node["reftype"], place, node, contnode
            )
    return None


def setup(app: Sphinx):
    app.add_config_value("public_package", "", "env")
    app.add_config_value("public_package_exceptions", "", "env")
    app.connect("env-check-consistency", check_all_documented)
    app.connect("missing-reference", resolve_where_documented)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
