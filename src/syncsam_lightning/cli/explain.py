"""The parser's messages, said in one sentence that names what there is to choose from."""

from __future__ import annotations

import difflib
import importlib
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from jsonargparse import ArgumentParser

from syncsam_lightning.cli.catalog import datamodule_names, listed_configs
from syncsam_lightning.cli.given import GivenSettings
from syncsam_lightning.errors import SyncSAMError, UnknownPluginError

_NOT_ACCEPTED = re.compile(r"^Option '(?P<key>[^']+)' is not accepted")
_SUBCOMMAND = re.compile(r"^Subcommand '[^']+' does not accept option '(?P<key>[^']+)'")
_UNRECOGNIZED = re.compile(r"^unrecognized arguments: (?P<rest>.*)$", re.DOTALL)
_REQUIRED = re.compile(r"required: (?P<keys>.+)$")
_NO_MAPPING = re.compile(r"^Unexpected config: ?(?P<content>.*)", re.DOTALL)
_PARSER_KEY = re.compile(r'^Parser key "(?P<key>[^"]+)":\s*(?P<rest>.*)$', re.DOTALL)
_NO_SUCH_CLASS = re.compile(r"Expected a dot import path string: (?P<name>\S+)")
_CLASS_PROBLEM = re.compile(
    r"Problem with given class_path '(?P<name>[^']+)':(?P<reason>.*)$", re.DOTALL
)
_GIVEN_VALUE = re.compile(r"^Given value: (?P<value>.*)$", re.MULTILINE | re.DOTALL)


class UsageError(SyncSAMError):
    """A command line or config that can't be understood."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the command line may name.

    Args:
        groups: key of a group of options -> class that takes them (``trainer`` -> ``Trainer``).
        keys: every option that does not belong to a class chosen by the user.
        classes: key of a chosen class -> the classes known for it (``data`` -> datamodules).
        broken_plugins: one line for each datamodule plugin that could not be imported.
    """

    groups: Mapping[str, type] = field(default_factory=dict)
    keys: Sequence[str] = ()
    classes: Mapping[str, Mapping[str, type]] = field(default_factory=dict)
    broken_plugins: Sequence[str] = ()


def explain(message: str, given: GivenSettings, choices: Choices) -> SyncSAMError:
    """Turn a message of the parser into an error of one sentence.

    Args:
        message: what jsonargparse reported.
        given: what the user gave.
        choices: what could have been given.
    """
    if match := _NOT_ACCEPTED.match(message):
        return _unknown_argument(match["key"], given, choices)
    if match := _SUBCOMMAND.match(message):
        return _unknown_key(match["key"], choices)
    if match := _UNRECOGNIZED.match(message):
        options = re.findall(r"--([\w.+-]+)", match["rest"])
        if options:
            return _unknown_key(options[0], choices)
        return UsageError(f"don't know what to do with {match['rest']!r}; options start with --")
    if match := _REQUIRED.search(message):
        keys = re.split(r",\s*", match["keys"])
        return _missing([key.split(".", 1)[-1] for key in keys], choices)
    if match := _NO_MAPPING.match(message):
        found = f"the text {match['content'][:40]!r}" if match["content"] else "nothing"
        return UsageError(
            f"a config must hold keys such as model, data and trainer, but one holds {found}: "
            "look at each --config; `--print_config` shows a whole one"
        )
    if match := _PARSER_KEY.match(message):
        return _bad_value(match["key"].replace(".init_args", ""), match["rest"], choices)
    return UsageError(_one_line(message))


def innermost(error: BaseException) -> BaseException:
    """Return what a class itself raised: around it, the parser lists all that it tried."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def class_options(cls: type) -> list[str]:
    """Return the names of the arguments that ``cls`` can be given in a config."""
    parser = ArgumentParser(exit_on_error=False)
    return [name.split(".")[0] for name in parser.add_class_arguments(cls, fail_untyped=False)]


def _bad_value(key: str, reason: str, choices: Choices) -> SyncSAMError:
    """Follow nested messages to the value that is wrong.

    Args:
        key: of the value that ``reason`` is about.
        reason: the parser's text; what a class or an alternative has against the value is indented.
        choices: what could have been given.
    """
    reason = _dedent(reason)
    if match := _PARSER_KEY.match(reason):
        return _bad_value(f"{key}.{match['key']}", match["rest"], choices)
    if match := _CLASS_PROBLEM.match(reason):
        name, problem = match["name"], _dedent(match["reason"])
        if inner := _NOT_ACCEPTED.match(problem):
            return _no_argument(f"{key}.{inner['key']}", name, choices)
        if _PARSER_KEY.match(problem) or _alternatives(problem):
            return _bad_value(key, problem, choices)
        return _unknown_class(key, name, f" ({_one_line(problem)})", choices)
    if reasons := _alternatives(reason):
        return _no_alternative(key, reasons, _GIVEN_VALUE.search(reason), choices)
    if match := _NO_SUCH_CLASS.search(reason):
        return _unknown_class(key, match["name"], "", choices)
    return UsageError(f"{key}: {_one_line(reason)}")


def _no_alternative(
    key: str, reasons: Sequence[str], given: re.Match[str] | None, choices: Choices
) -> SyncSAMError:
    """Say why a value is none of the kinds that may stand for a key."""
    for reason in reasons:
        # What a class has against its arguments is nearer to the mistake than that of other kinds.
        if any(form.search(reason) for form in (_CLASS_PROBLEM, _PARSER_KEY, _NO_SUCH_CLASS)):
            return _bad_value(key, reason, choices)
    told = dict.fromkeys(
        _one_line(reason.partition(". Got value")[0]).removeprefix("expected ")
        for reason in reasons
        if "NoneType" not in reason
    )
    got = f", got {_one_line(given['value'])}" if given else ""
    return UsageError(f"{key}: expected {' or '.join(told)}{got}")


def _alternatives(text: str) -> list[str]:
    """Return the outermost items of a list in a message, which are marked by ``- ``."""
    bullets = re.findall(r"^( *)- ", text, re.MULTILINE)
    if not bullets:
        return []
    outermost = min(bullets, key=len)
    listed = re.split(r"^Given value type: ", text, flags=re.MULTILINE)[0]
    return [_dedent(item) for item in re.split(rf"^{outermost}- ", listed, flags=re.MULTILINE)[1:]]


def _dedent(text: str) -> str:
    """Strip the first line, and the lines after it of the spaces that they have in common."""
    first, _, rest = text.strip("\n").partition("\n")
    return f"{first.strip()}\n{textwrap.dedent(rest)}".rstrip()


def _unknown_argument(name: str, given: GivenSettings, choices: Choices) -> UsageError:
    last = name.rpartition(".")[2]
    for path in sorted(given.keys()):
        owner, _, key = path.rpartition(".")
        chosen = given.class_name(owner) if key == last else None
        if chosen is not None:
            cls = _find_class(chosen, choices.classes.get(owner, {}))
            if cls is None or last not in class_options(cls):
                return _no_argument(path, chosen, choices)
    return UsageError(f"no class of this run has an argument {last!r}")


def _no_argument(path: str, class_name: str, choices: Choices) -> UsageError:
    owner, _, last = path.rpartition(".")
    cls = _find_class(class_name, choices.classes.get(owner, {}))
    near = _near(last, class_options(cls)) if cls else ""
    return UsageError(f"{path}: {class_name.rpartition('.')[2]} has no argument {last!r}{near}")


def _unknown_key(key: str, choices: Choices) -> UsageError:
    group, _, last = key.rpartition(".")
    while group and not any(known.startswith(f"{group}.") for known in choices.keys):
        group, _, last = group.rpartition(".")
    prefix = f"{group}." if group else ""
    siblings = sorted(
        {k.removeprefix(prefix).split(".")[0] for k in choices.keys if k.startswith(prefix)}
    )
    owner = choices.groups.get(group)
    where = owner.__name__ if owner else (f"{group!r}" if group else "the command")
    return UsageError(f"{prefix}{last}: {where} has no option {last!r}{_near(last, siblings)}")


def _near(name: str, options: Iterable[str]) -> str:
    options = list(options)
    close = difflib.get_close_matches(name, options, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; it has {', '.join(options)}" if options else "; it has none"


def _unknown_class(key: str, name: str, reason: str, choices: Choices) -> SyncSAMError:
    known = choices.classes.get(key, {})
    if key != "data":
        listed = f"; known: {', '.join(sorted(known))}" if known else ""
        return UsageError(f"unknown class {name!r} for {key}{reason}{listed}")
    error = UnknownPluginError(name, known, choices.broken_plugins)
    return UsageError(f"{error}{reason}") if reason else error


def _missing(keys: Sequence[str], choices: Choices) -> UsageError:
    config = f"--config FILE (packaged: {', '.join(listed_configs())})"
    named = []
    for key in keys:
        known = sorted(choices.classes.get(key, {})) or (
            datamodule_names() if key == "data" else []
        )
        named.append(f"--{key} CLASS (known: {', '.join(known)})" if known else f"--{key}")
    classes = " and ".join(named)
    missing = " and ".join(key.split(".")[-1] for key in keys)
    return UsageError(f"nothing says which {missing} to use: add {config} or {classes}")


def _find_class(name: str, known: Mapping[str, type]) -> type | None:
    if name in known:
        return known[name]
    module, _, attribute = name.rpartition(".")
    if not module:
        return None
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None
    return found if isinstance(found, type) else None


def _one_line(text: str) -> str:
    text = re.sub(r"<class '([\w.]+)'>", r"\1", text).replace("typing.", "")
    text = re.sub(r"Expected a (?=[aeiou])", "expected an ", text)
    text = text.replace("Expected a ", "expected a ").replace(". Got value:", ", got")
    return " ".join(text.split())
