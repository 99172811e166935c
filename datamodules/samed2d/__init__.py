"""SA-Med2D-20M: masks of 8 modalities, one file for each object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from syncsam_lightning.data.conversion import Records, WebRelease, Workbench
from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.sources import holds_archives, is_web, open_source
from syncsam_lightning.errors import DatasetNotFoundError
from syncsam_lightning.records import DatasetCard, PublishedCounts, RawSample, Skipped

from .archive import open_archive
from .names import CLASSES, FOLDER, INDEX
from .rules import Rules
from .tree import release_tree, tree_samples

__all__ = ["CLASSES", "INDEX", "SAMed2D"]


class SAMed2D(PromptableDataModule):
    """SA-Med2D-20M, as downloaded or unpacked. It has no split: the datamodule draws one.

    ``root`` is the folder of the archive's parts, one of the parts, a joined archive, the unpacked
    folder ``SAMed2Dv1`` or the folder that holds it; local, or the address of one on an object
    store. Archives are read in place, also where an unpacked folder lies beside them. Of an
    unpacked release the images that its index names are used, of an archive all that are in it;
    what the index names and is not there is listed.

    It may also be the address of the archive's folder on a web server, or a file with the addresses
    of its parts: then the directory is read, and of the rest what ``filter`` asks for.

    An object whose class is missing from the mapping keeps its mask and is labelled by its number
    (``class_0003``); a warning says so once per class.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        name="SA-Med2D-20M",
        description=(
            "3.7 million 2D images with 15.8 million masks, sliced out of 200 public data sets of "
            "CT, MR, PET, X-ray, ultrasound, endoscopy, dermoscopy and fundus photography."
        ),
        homepage="https://huggingface.co/datasets/OpenGVLab/SA-Med2D-20M",
        license="CC-BY-NC-SA-4.0 (the data's page; another page of the owners says Apache-2.0)",
        citation="Ye et al.: SA-Med2D-20M dataset: segment anything in 2D medical imaging with "
        "20 million masks, arXiv:2311.11969, 2023",
        modalities=(
            "ct",
            "mr",
            "pet",
            "x_ray",
            "ultrasound",
            "endoscopy",
            "dermoscopy",
            "fundus_photography",
        ),
        layout=(
            "SAMed2Dv1/SAMed2D_v1.json                    {image: [mask, ...]}",
            "SAMed2Dv1/SAMed2D_v1_class_mapping_id.json   {data set: {class name: id}}",
            "SAMed2Dv1/images/MODALITY_SUB--DATASET--CASE--AXIS_SLICE.png",
            "SAMed2Dv1/masks/MODALITY_SUB--DATASET--CASE--AXIS_SLICE--CLASS_INSTANCE.png",
            "or the archive as downloaded: SA-Med2D-16M.z01 ... .z10, .zip",
        ),
        published=PublishedCounts(
            "SyncSAM paper, table 1",
            {
                "ct": (1_645_894, 5_533_808),
                "mr": (1_967_254, None),
                "pet": (5_410, 6_282),
                "x_ray": (5_581, None),
                "ultrasound": (2_590, None),
                "endoscopy": (4_290, 15_469),
                "dermoscopy": (6_698, None),
                "fundus_photography": (1_445, 1_741),
            },
        ),
    )
    reads_archives: ClassVar[bool] = True
    archives: ClassVar[tuple[str, ...] | None] = ("SA-Med2D-16M",)

    def __init__(
        self,
        root: str | None = None,
        table: str | None = None,
        *,
        rules: dict[str, bool] | None = None,
        **kwargs: Any,
    ) -> None:
        """Create the datamodule.

        Args:
            root: the release; see the class.
            table: the prepared table.
            rules: rules about known defects to switch on or off against their default.
            kwargs: see :class:`~syncsam_lightning.data.datamodule.PromptableDataModule`.

        Raises:
            ValueError: there is no such rule.
        """
        super().__init__(root, table, **kwargs)
        self.rules = Rules(rules)

    def table_settings(self) -> dict[str, Any]:
        """Return what shapes the table."""
        return super().table_settings() | {"rules": self.rules.switches}

    def records(self, root: Path) -> Iterator[RawSample | Skipped]:
        """Yield every image of an unpacked release, in the order of its index.

        Args:
            root: ``SAMed2Dv1`` or the folder that holds it.

        Raises:
            DatasetNotFoundError: one of the two JSON files is not there.
            BrokenInputError: one of them cannot be read; the message names it.
        """
        release = release_tree(root)
        if release is None:
            raise DatasetNotFoundError(
                f"no SA-Med2D-20M in {root}: neither {FOLDER}/{INDEX} nor {INDEX} is there, and no "
                "archive"
            )
        yield from self._ruled(tree_samples(release))

    def open_records(self, root: Path | str, bench: Workbench) -> Records:
        """Return what reads the samples; of an archive, after its masks have been staged.

        Args:
            root: the release; see the class.
            bench: for the stages.

        Raises:
            DatasetNotFoundError: this is not the release, or a part of it is missing.
            BrokenInputError: one of the JSON files cannot be read; the message names it.
        """
        bench.chosen.check_modalities(self.card.modalities, self.card.name)
        if is_web(root):
            web = WebRelease(root, self.web_names(), bench)
            archive = open_archive(web.source, bench, web.name, web)
        elif isinstance(root, Path) and not holds_archives(root) and release_tree(root) is not None:
            return super().open_records(root, bench)
        else:
            archive = open_archive(open_source(root, self.source_options), bench, str(root))
        return lambda: self._ruled(archive())

    def _ruled(self, samples: Iterable[RawSample | Skipped]) -> Iterator[RawSample | Skipped]:
        for sample in samples:
            if isinstance(sample, Skipped):
                yield sample
            else:
                yield from self.rules.apply(sample)
