"""IMed-361M: data sets with sparse labels and machine-made pseudo-instances."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from syncsam_lightning.data.conversion import Records, WebRelease, Workbench
from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.filter import RowFilter
from syncsam_lightning.data.keys import holds
from syncsam_lightning.data.source_files import ImageFile
from syncsam_lightning.data.sources import EntryIndex, Source, is_web, open_source
from syncsam_lightning.records import (
    DatasetCard,
    LazyMasks,
    PublishedCounts,
    RawSample,
    Skipped,
    Split,
)
from syncsam_lightning.seeding import stable_key

from .files import MaskFiles, find_listed
from .index import INDEX, DataSet
from .names import case_and_slice
from .release import Part, find_data_sets, is_index, wanted_keys
from .rules import ChannelNames, Rules, Turned

__all__ = ["INDEX", "IMed361M"]


class IMed361M(PromptableDataModule):
    """IMed-361M as downloaded or unpacked: official training and test parts, validation drawn.

    ``root`` is a folder of data sets, each an archive (which is read in place) or a folder with
    ``dataset.json``; or one of them; local, or the address of such on an object store. Each channel
    of a label is one class; a channel without foreground is a class absent from the slice.

    On a web server ``root`` is the address of one archive, or that of a folder, of which
    ``filter.source`` names the archives; or a file with the addresses of several. Of these the
    directory is read, and of the rest what ``filter`` asks for.

    With ``pseudo_masks`` the release's pseudo-instances are added to training images, labelled
    ``pseudo``, cleaned as the release's own loader does: regions below 0.05 % of the image are
    dropped, the others opened and closed, and pieces below the same share removed. That loader
    cleans after resizing to the model's input, here the original is cleaned.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        name="IMed-361M",
        description=(
            "6.4 million 2D images of 110 data sets and 14 modalities with masks of 204 targets, "
            "and 273 million machine-made pseudo-instances."
        ),
        homepage="https://huggingface.co/datasets/General-Medical-AI/IMed-361M",
        license="Apache-2.0 for the collection; each source data set keeps its own licence",
        citation="Cheng et al.: Interactive medical image segmentation: a benchmark dataset and "
        "baseline, CVPR 2025",
        modalities=("ct", "mr", "pet", "x_ray", "ultrasound", "endoscopy", "dermoscopy", "fundus"),
        layout=(
            "DATASET/dataset.json        modality, labels, training and test entries",
            "DATASET/image/NAME.png",
            "DATASET/label/x___NAME.(CHANNELS, HEIGHT, WIDTH, 1).npz   scipy CSR, channel c is "
            "labels[c + 1]",
            "DATASET/imask/x___NAME.npy  label map of pseudo-instances, -1 is none (optional)",
            "or the archives as downloaded: DATASET.zip",
        ),
        published=PublishedCounts(
            "SyncSAM paper, table 1",
            {
                "ct": (1_726_089, 61_190_317),
                "endoscopy": (52_568, 52_568),
                "fundus": (1_275, 2_348),
            },
        ),
    )
    reads_archives: ClassVar[bool] = True
    archives: ClassVar[tuple[str, ...] | None] = ()

    def __init__(
        self,
        root: str | None = None,
        table: str | None = None,
        *,
        pseudo_masks: bool = False,
        rules: dict[str, bool] | None = None,
        **kwargs: Any,
    ) -> None:
        """Create the datamodule.

        Args:
            root: folder of data sets or archives, or one of them.
            table: the prepared table.
            pseudo_masks: add the release's pseudo-instances to training images.
            rules: rules about known defects to switch on or off against their default:
                ``orientation`` turns images and masks of 24 data sets upright, ``channel_order``
                names the channels of Totalsegmentator_dataset by sorted names. Both are reports
                that the public sample does not confirm, and off.
            kwargs: see :class:`~syncsam_lightning.data.datamodule.PromptableDataModule`.

        Raises:
            ValueError: there is no such rule.
        """
        super().__init__(root, table, **kwargs)
        self.pseudo_masks = pseudo_masks
        self.rules = Rules(rules)

    def table_settings(self) -> dict[str, Any]:
        """Return what shapes the table."""
        own = {"pseudo_masks": self.pseudo_masks, "rules": self.rules.switches}
        return super().table_settings() | own

    def records(self, root: Path | str) -> Iterator[RawSample | Skipped]:
        """Yield the images of every data set, training before test; no image or mask is read.

        Takes about 60 bytes for each file of the largest archive, or of the largest folder at the
        top of an unpacked release.

        Args:
            root: folder of data sets or archives, one of them, or an address.

        Raises:
            DatasetNotFoundError: no ``dataset.json`` in ``root`` or anywhere in it.
            BrokenInputError: a ``dataset.json`` cannot be read; found before the first image.
        """
        yield from self._records(open_source(root, self.source_options), root, RowFilter())

    def open_records(self, root: Path | str, bench: Workbench) -> Records:
        """Return what reads the samples; on a web server, after the files were fetched.

        The split is drawn over the data sets that the filter doesn't exclude by their names.

        Args:
            root: see :meth:`records`.
            bench: knows what is asked for.

        Raises:
            DatasetNotFoundError: see :meth:`records`.
            BrokenInputError: see :meth:`records`.
        """
        if not is_web(root):
            source = open_source(root, self.source_options)
            return partial(self._records, source, root, bench.chosen)
        web = WebRelease(root, self.web_names(), bench)
        web.keep(is_index, f"{INDEX} of each data set")
        wanted = wanted_keys(web.source, web.name, bench.chosen, pseudo_masks=self.pseudo_masks)
        source = web.fetch(lambda name: holds(wanted, stable_key(name)))
        return partial(self._records, source, web.name, bench.chosen)

    def _records(
        self, source: Source, root: Path | str, chosen: RowFilter
    ) -> Iterator[RawSample | Skipped]:
        for item in find_data_sets(source, root):
            if isinstance(item, Part):
                item.data_sets = [one for one in item.data_sets if chosen.keeps_source(one.name)]
                yield from self._part_records(item)
            else:
                yield item

    def _part_records(self, part: Part) -> Iterator[RawSample | Skipped]:
        files = EntryIndex(part.files())
        yield from part.skipped
        for data_set in part.data_sets:
            # One object for all images of a data set, so that it is sent to a worker once.
            names = self.rules.channel_names(data_set.name, data_set.labels)
            for split, listed in data_set.listed():
                yield from self._image_records(data_set, names, files, listed, split)
        yield from part.leftovers(files)

    def _image_records(
        self, data_set: DataSet, names: ChannelNames, files: EntryIndex, listed: Any, split: Split
    ) -> Iterator[RawSample | Skipped]:
        image = find_listed(data_set, files, listed, "image")
        if isinstance(image, Skipped):
            yield image
            return
        kinds = ["label"]
        if self.pseudo_masks and split == "train" and listed.get("imask"):
            kinds.append("imask")
        found = {kind: find_listed(data_set, files, listed, kind) for kind in kinds}
        yield from (item for item in found.values() if isinstance(item, Skipped))
        entries = {kind: e for kind, e in found.items() if not isinstance(e, Skipped)}
        turns = self.rules.quarter_turns(data_set.name)
        pixels = ImageFile(data_set.source, image)
        masks = MaskFiles(data_set.source, names, turns, entries.get("label"), entries.get("imask"))
        stem = PurePosixPath(image.name).stem
        case, position = case_and_slice(stem, data_set.name)
        yield RawSample(
            id=f"{data_set.name}/{stem}",
            image=Turned(pixels, turns) if turns else pixels,
            masks=LazyMasks(masks, " and ".join(masks.files), masks.files) if entries else (),
            modality=data_set.modality,
            source=data_set.name,
            case=case,
            slice=position,
            split=split,
            path=data_set.source.where(image.name),
        )
