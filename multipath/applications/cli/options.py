"""Options of the command line, made from the fields of settings and the words of docstrings."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, Literal, get_type_hints

import cyclopts
from docstring_parser import DocstringStyle, parse

from multipath.applications.matching.config import MatchConfig
from multipath.applications.matching.presets import preset
from multipath.applications.matching.tasks.find import find_task
from multipath.applications.runs.settings import Settings
from multipath.errors import ConfigurationError

SHORT = {"learning_rate": "--lr"}
"""Names of options that are not those of their settings."""

GROUPS = {
    name: cyclopts.Group.create_ordered(name)
    for name in ("Task", "Objective", "Encoder", "Training", "Settings")
}
"""Headings of options in the help."""

NESTED = "__"
"""Between the name of a setting that has settings, and theirs."""


def task_command(
    function: Callable[..., Any], task: str, words: Iterable[str], groups: Collection[str]
) -> Callable[..., Any]:
    """The command of a task: a function of a configuration, whose settings become options.

    Args:
        function: Called with the configuration, and with those of its own arguments that are given.
        task: Name of the task.
        words: What the command line says after it: its preset decides about the defaults.
        groups: Which settings of :class:`~multipath.applications.matching.config.MatchConfig`
            become options.

    Raises:
        ConfigurationError: If there is no such task or preset, or a setting of the task is called
            like an argument of the function.
    """
    presets = find_task(task).presets()
    config = preset(_value("--preset", words) or next(iter(presets)), task)
    settings = {option.name: option for option in _config_options(config, groups, presets)}
    of_task = {option.name: option for option in own_options(config.task.options)}

    def command(*arguments: Any, **given: Any) -> Any:
        chosen = {name: given.pop(name) for name in of_task if name in given}
        changes = {name: given.pop(name) for name in settings if name in given}
        changes |= config.task.options(*arguments, **chosen)
        return function(_changed(config, changes), **given)

    own = [option for option in own_options(function) if option.name != "config"]
    twice = {option.name for option in own} & {*settings, *of_task}
    if twice:
        raise ConfigurationError(
            f"the task {task} has settings called {', '.join(sorted(twice))}, and so has "
            f"`multipath {function.__name__}`; rename those of the task"
        )
    return _with_options(command, function, [*own, *({**settings, **of_task}).values()])


def settings_command(
    function: Callable[..., Any], settings: type[Settings], without: Collection[str] = ()
) -> Callable[..., Any]:
    """The same function, with the settings that it takes as ``**settings`` spelled out.

    Args:
        function: Called with what is given.
        settings: Where the settings come from; those named like an argument of the function are
            left to it.
        without: Settings that are no options.
    """
    own = own_options(function)
    names = {*without, *(option.name for option in own)}
    spelled = [each for each in settings_options(settings, "Settings") if each.name not in names]

    def command(*arguments: Any, **given: Any) -> Any:
        return function(*arguments, **given)

    return _with_options(command, function, [*own, *spelled])


def settings_options(
    settings: Settings | type[Settings], group: str, prefix: str = ""
) -> Iterator[Parameter]:
    """An option for each setting; its default is its value, or nothing where only a class is given.

    Args:
        settings: Where they come from; those of settings inside of it are ``--NAME.SETTING``.
        group: A name in ``GROUPS``.
        prefix: Before the names of Python.
    """
    kind = settings if isinstance(settings, type) else type(settings)
    hints, words = get_type_hints(kind), documented(kind)
    for field in fields(kind):
        value = None if settings is kind else getattr(settings, field.name)
        if isinstance(value, Settings):
            yield from settings_options(value, group, f"{prefix}{field.name}{NESTED}")
        else:
            hint = hints[field.name] | None if settings is kind else hints[field.name]
            name = prefix + field.name
            yield _option(name, hint, value, words.get(field.name, ""), group)


def own_options(function: Callable[..., Any]) -> list[Parameter]:
    """The arguments of a function, with what its docstring says of each."""
    words = documented(function)
    return [
        _option(each.name, each.annotation, each.default, words.get(each.name, ""), None, each.kind)
        for each in signature(function, eval_str=True).parameters.values()
        if each.kind is not Parameter.VAR_KEYWORD
    ]


def documented(thing: Any) -> dict[str, str]:
    """What a docstring says of each argument, without markup; classes inherit from their bases.

    Example:
        >>> from multipath.applications.matching.settings import TrainingSettings
        >>> documented(TrainingSettings)["steps"]
        'Optimizer steps.'
    """
    found = {}
    for each in reversed(getattr(thing, "__mro__", (thing,))):
        for argument in parse(each.__doc__ or "", style=DocstringStyle.GOOGLE).params:
            text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", argument.description or "")
            found[argument.arg_name] = " ".join(text.replace("``", "").split())
    return found


def _option(
    name: str, hint: Any, default: Any, words: str, group: str | None, kind: Any = None
) -> Parameter:
    long = "--" + name.replace(NESTED, ".").replace("_", "-")
    positional = kind in (Parameter.POSITIONAL_ONLY, Parameter.VAR_POSITIONAL)
    declared = cyclopts.Parameter(
        name=None if positional else [SHORT[name], long] if name in SHORT else long,
        help=words,
        negative_bool="--no-" if default is True else (),
        show_default=False if default is False else None,
    )
    if group is not None:
        declared = cyclopts.Parameter.combine(
            declared, cyclopts.Parameter(group=GROUPS[group], consume_multiple=True)
        )
    kind = Parameter.KEYWORD_ONLY if kind is None else kind
    return Parameter(name, kind, default=default, annotation=Annotated[hint, declared])


def _config_options(
    config: MatchConfig, groups: Collection[str], presets: Collection[str]
) -> Iterator[Parameter]:
    hints, words = get_type_hints(MatchConfig), documented(MatchConfig)
    choice: Any = Literal
    hints["preset"] = choice[tuple(presets)]
    for field in fields(config):
        value = getattr(config, field.name)
        if not isinstance(value, Settings):
            yield _option(field.name, hints[field.name], value, words[field.name], None)
        elif field.name in groups:
            yield from settings_options(value, field.name.capitalize())


def _changed(config: MatchConfig, given: Mapping[str, Any]) -> MatchConfig:
    plain: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        outer, separator, inner = name.partition(NESTED)
        if separator:
            nested.setdefault(outer, {})[inner] = value
        else:
            plain[name] = value
    inside = {name: replace(getattr(config.task, name), **some) for name, some in nested.items()}
    return config.changed(**plain, **inside)


def _with_options(
    command: Callable[..., Any], function: Callable[..., Any], options: Iterable[Parameter]
) -> Callable[..., Any]:
    by_kind = sorted(options, key=lambda option: option.kind)
    command.__signature__ = Signature(by_kind)  # type: ignore[attr-defined]
    command.__name__ = function.__name__
    command.__doc__ = (function.__doc__ or "").partition("\n\n")[0]
    return command


def _value(option: str, words: Iterable[str]) -> str | None:
    """What follows an option, before the command line as a whole can be understood."""
    following = iter(words)
    for word in following:
        name, separator, value = word.partition("=")
        if name == option:
            return value if separator else next(following, None)
    return None
