"""What a model was built with, as plain values that build it again."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from syncsam_lightning.errors import ModelSettingsError
from syncsam_lightning.models.promptable import PromptableModel
from syncsam_lightning.models.size_limit import SizeLimit

_OURS = "syncsam_lightning."
_MODELS = f"{_OURS}models"
_PLAIN_TYPES = {"int": (int,), "float": (float, int), "bool": (bool,), "str": (str,)}
"""What may be given for an argument that is declared so."""


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """A model's class and the arguments that it was built with.

    Args:
        class_path: dotted name of the class.
        init_args: keyword arguments, as JSON has them.
    """

    class_path: str
    init_args: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: PromptableModel) -> ModelSettings:
        """Return what a model was built with, defaults included.

        Raises:
            ModelSettingsError: an argument is something that JSON can't hold.
        """
        kind = type(model)
        name = f"{kind.__module__}.{kind.__qualname__}"
        arguments = inspect.signature(kind.__init__).bind(
            model, *model.built_with[0], **model.built_with[1]
        )
        arguments.apply_defaults()
        (_, *rest) = arguments.arguments.items()
        try:
            return cls(_public_name(kind) or name, json.loads(json.dumps(dict(rest))))
        except TypeError as error:
            raise ModelSettingsError(
                f"{name} was built with an argument that no config can hold ({error}): give it "
                "plain values (numbers, texts, lists, mappings)"
            ) from error

    @classmethod
    def from_config(cls, content: Any, origin: str) -> ModelSettings:
        """Read settings as a config or a checkpoint holds them.

        Args:
            content: a mapping with ``class_path`` and, perhaps, ``init_args``.
            origin: where it is from, for messages.

        Raises:
            ModelSettingsError: it is no such mapping.
        """
        if not isinstance(content, Mapping) or not isinstance(content.get("class_path"), str):
            raise ModelSettingsError(f"{origin} does not say which model it is of")
        arguments = content.get("init_args") or {}
        if not isinstance(arguments, Mapping):
            raise ModelSettingsError(
                f"{origin}: init_args must be a mapping, got {type(arguments).__name__}"
            )
        return cls(content["class_path"], dict(arguments))

    @property
    def is_ours(self) -> bool:
        """True for a class of this package."""
        return self.class_path.startswith(_OURS)

    def check_size(self, origin: str, limit: SizeLimit) -> None:
        """Make sure that the model is not larger than its file implies, before it is built.

        Only this package's classes are known to be buildable without memory: a user's own, which
        are never imported for a file, may compute with numbers of theirs.

        Args:
            origin: where the settings are from, for messages.
            limit: what the file that they are from holds weights for.

        Raises:
            ModelSettingsError: it is, or there is no such class, or it refuses its arguments.
        """
        if self.is_ours and (excess := limit.exceeded_by(lambda: self.build(origin))):
            raise ModelSettingsError(
                f"{origin} asks for a {self.class_path.rpartition('.')[2]} with {excess}, for "
                "which its file has no weights: its settings are damaged, or another model's"
            )

    def build(self, origin: str) -> PromptableModel:
        """Build the model, with random weights.

        Importing a module runs it, which a downloaded file must not be able to bring about: a
        class that is not of this package counts only if the program has imported it already.

        Args:
            origin: where the settings are from, for messages.

        Raises:
            ModelSettingsError: there is no such class, or it refuses its arguments.
        """
        cls = self.find_class(origin)
        if trouble := _unfit(cls, self.init_args):
            raise ModelSettingsError(f"{origin}: {trouble}")
        try:
            return cls(**self.init_args)
        except (TypeError, ValueError) as error:
            raise ModelSettingsError(
                f"{origin}: {cls.__name__} refuses its settings: {error}"
            ) from error

    def find_class(self, origin: str) -> type[PromptableModel]:
        """Return the class, under the rule of :meth:`build`.

        Args:
            origin: where the settings are from, for messages.

        Raises:
            ModelSettingsError: there is no such class.
        """
        name, _, attribute = self.class_path.rpartition(".")
        try:
            module = importlib.import_module(name) if self.is_ours else sys.modules.get(name)
        except ImportError as error:
            raise ModelSettingsError(
                f"{origin} is of a model {self.class_path}, which this version of the package "
                f"does not have ({error}): use the version that it was made with"
            ) from error
        if module is None:
            raise ModelSettingsError(
                f"{origin} is of a model {self.class_path}, which is not imported: import it first"
            )
        cls = getattr(module, attribute, None)
        if not (isinstance(cls, type) and issubclass(cls, PromptableModel)):
            raise ModelSettingsError(
                f"{origin} is of a model {self.class_path}, which is no PromptableModel"
            )
        return cls


def public_models() -> dict[str, type[PromptableModel]]:
    """Return this package's models by the names that users give them."""
    found = vars(importlib.import_module(_MODELS))
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, type)
        and issubclass(value, PromptableModel)
        and value is not PromptableModel
    }


def _unfit(cls: type[PromptableModel], arguments: Mapping[str, Any]) -> str | None:
    """Tell which argument a class has not, or takes only as another plain type; None: all fit."""
    (_, *rest) = inspect.signature(cls.__init__).parameters.values()
    taken = {one.name: one for one in rest}
    if not any(one.kind is one.VAR_KEYWORD for one in rest):
        for name in sorted(arguments.keys() - taken.keys()):
            return f"{cls.__name__} has no argument {name!r}; it takes {', '.join(taken)}"
    for name, value in arguments.items():
        # Annotations are text where a module postpones them, and types where it doesn't.
        declared = taken[name].annotation if name in taken else None
        declared = getattr(declared, "__name__", declared)
        fitting = _PLAIN_TYPES.get(declared) if isinstance(declared, str) else None
        # True is an int to Python, and a size to nobody; None may be a default of any type.
        if fitting and type(value) not in fitting and value is not taken[name].default:
            return f"{cls.__name__} takes {name} as {declared}, got {value!r}"
    return None


def _public_name(cls: type[PromptableModel]) -> str | None:
    """Return the name that users import one of this package's models by; it outlives moves."""
    found = getattr(importlib.import_module(_MODELS), cls.__name__, None)
    return f"{_MODELS}.{cls.__name__}" if found is cls else None
