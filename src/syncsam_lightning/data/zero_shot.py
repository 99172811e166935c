"""The base of data sets that models are tested on without having been trained on them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.sources import Source, open_source
from syncsam_lightning.records import RawSample, Skipped

Preprocessing = Literal["paper", "recommended"]

SMALLEST_SHARE = 100 / 256**2
"""Share of an image that an object has to cover: 10 x 10 pixels of 256 x 256, 0.1526 %.

The predecessor's threshold (SAM-UNet, ``datasets/zero-shot-dataset``).
"""


class ZeroShotDataModule(PromptableDataModule):
    """Everything is for testing, unless ``test_fraction`` says otherwise.

    A subclass says in :meth:`samples` what the images of its release are, under both values of
    ``preprocessing``; what the two mean for each data set stands in ``docs/zero_shot.md``.
    """

    reads_archives: ClassVar[bool] = True

    def __init__(
        self,
        root: str | None = None,
        table: str | None = None,
        *,
        preprocessing: Preprocessing = "paper",
        test_fraction: float = 1.0,
        **kwargs: Any,
    ) -> None:
        """Create the datamodule.

        Args:
            root: the release: its folder, its archive or a folder of archives, or an address.
            table: the prepared table.
            preprocessing: ``paper`` selects slices and objects by the predecessor's rules, for
                numbers to compare with the paper's; ``recommended`` does what we would do today.
                Masks are lossless under both.
            test_fraction: share held out for testing; the rest can be trained on.
            kwargs: see :class:`~syncsam_lightning.data.datamodule.PromptableDataModule`.

        Raises:
            ValueError: there is no such preprocessing.
        """
        super().__init__(root, table, test_fraction=test_fraction, **kwargs)
        if preprocessing not in ("paper", "recommended"):
            raise ValueError(f"preprocessing must be paper or recommended, got {preprocessing!r}")
        self.preprocessing = preprocessing

    @property
    def is_paper(self) -> bool:
        """Whether the predecessor's rules hold."""
        return self.preprocessing == "paper"

    def table_settings(self) -> dict[str, Any]:
        """Return what shapes the table."""
        return super().table_settings() | {"preprocessing": self.preprocessing}

    def records(self, root: Path | str) -> Iterator[RawSample | Skipped]:
        """Yield every image of the release.

        Args:
            root: see the constructor.

        Raises:
            DatasetNotFoundError: this is not the release.
            BrokenInputError: the only archive is damaged.
        """
        yield from self.samples(open_source(root, self.source_options))

    @abstractmethod
    def samples(self, source: Source) -> Iterator[RawSample | Skipped]:
        """Yield every image of the release.

        Args:
            source: the release, in folders or archives.

        Raises:
            DatasetNotFoundError: this is not the release.
        """
