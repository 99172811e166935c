"""What became of each tensor of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LoadReport:
    """The outcome of loading a checkpoint into a model.

    Args:
        layout: where the names came from: one of the model's layouts, or ``"imagenet"``.
        loaded: names, in the model, of what was loaded (what was resized included).
        missing: names, in the model, of what the checkpoint does not hold; they keep their values.
        unexpected: names, as in the checkpoint, of what the model has no place for.
        resized: names, in the model, of tables that were interpolated to the model's image size.
        unused: names, as in the checkpoint, of what its layout has and the model does without, such
            as a text tower.
    """

    layout: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    resized: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return one line for each outcome that occurred, with the parts or names concerned."""
        lines = [f"layout {self.layout}: {len(self.loaded)} tensors loaded"]
        kinds = ("resized", "missing", "unexpected", "unused")
        outcomes = {kind: getattr(self, kind) for kind in kinds}
        lines += [
            f"{what} {len(names)}: {abridge(names)}" for what, names in outcomes.items() if names
        ]
        return "\n".join(lines)


def abridge(names: tuple[str, ...]) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
