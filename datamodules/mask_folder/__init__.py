"""Images and masks of one's own: pictures, volumes, DICOM, and COCO files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from syncsam_lightning.data.components import by_component
from syncsam_lightning.data.conversion import Records, Workbench
from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.label_maps import LabelRule
from syncsam_lightning.data.label_volumes import SliceRule
from syncsam_lightning.data.mask_labels import mask_labels
from syncsam_lightning.data.slices import LabelledVolume, Slicer, surveyed
from syncsam_lightning.data.volume_files import VolumeFile
from syncsam_lightning.errors import ConversionError
from syncsam_lightning.records import DatasetCard, LazyMasks, NamedMask, RawSample, Skipped
from syncsam_lightning.volumes import parse_window

from .cases import CasePattern
from .coco import coco_images
from .coco_files import FILES, FOLDER, IMAGE_FOLDERS, NONE, CocoFile, coco_files
from .folders import ImageFile, images_with_masks
from .pictures import PictureMasks, picture_masks

__all__ = ["MaskFolder"]


class MaskFolder(PromptableDataModule):
    """A folder of images beside a folder of masks, joined by their names.

    A mask belongs to the image called ``NAME`` if it is

    - ``masks/NAME.png``: a label map, one mask for each value above 0. A value is labelled by
      ``label_names``; else 255 is ``object`` and any other value ``class_VALUE``. With
      ``instance_label`` values are the numbers of objects of that class.
    - ``masks/NAME/LABEL.png`` or ``masks/NAME/LABEL--2.png``: one object; 2 is its number.
    - ``masks/NAME--LABEL.png`` or ``masks/NAME--LABEL--2.png``: the same in one folder.

    The three may be mixed. A file for one object has one value beside 0, whichever it is. Any
    lossless format does; JPEG blurs label values and is refused, unless ``mask_threshold`` says
    where the object begins.

    Instead of masks there may be a COCO file, ``annotations.json`` or what the option
    ``annotations`` names: each annotation with polygons or run lengths is one object, of the class
    that its category is called. Crowds and boxes are listed.

    ``images`` and ``masks`` lie in ``root``, or in its folders ``train``, ``val``, ``test``, which
    then are the split. Links are followed wherever they lead, unlike those of a release: the folder
    is the user's own, and many are made of links.

    An image may be a volume: a NIfTI, NRRD or MetaImage file, a folder with one DICOM series, or a
    DICOM file. Its masks are volumes, too, in whatever of these formats; or a segmentation of 3D
    Slicer or a DICOM SEG, which name their objects themselves. A DICOM file of one image (a
    radiograph, an ultrasound) may have pictures for masks.

    Volumes are cut along their axis of lowest resolution (of equal ones the last of
    right, anterior, superior) into slices seen as radiologists do: anterior or superior is up, the
    patient's right is left. A volume of a single slice is one image. What becomes black and white
    says ``window``. Slices on which nothing is labelled are left out, counted in one line for each
    volume.
    """

    settings_before: ClassVar[Mapping[str, Any]] = {
        "annotations": None,
        "window": "percentiles",
        "components": False,
        "instance_label": None,
        "mask_threshold": None,
    }
    # Where a working folder is the root, predictions and reports lie beside them.
    reads: tuple[str, ...] = ("masks", FOLDER, *FILES, *IMAGE_FOLDERS)
    card: ClassVar[DatasetCard] = DatasetCard(
        name="MaskFolder",
        description="Images and masks of one's own.",
        license="the data owner's",
        modalities=("given by the option modality",),
        layout=(
            "images/NAME.png                 or .jpg .jpeg .jp2 .tif .tiff .bmp",
            "images/NAME.nii.gz              a volume; or .nii .nrrd .mha, a DICOM file",
            "images/NAME/                    a folder with one DICOM series",
            "masks/NAME.png                  label map: 0 is background, each other value a mask",
            "masks/NAME/LABEL.png            one object; further ones LABEL--2.png, LABEL--3.png",
            "masks/NAME--LABEL.png           the same without folders; NAME--LABEL--2.png",
            "masks/NAME.nii.gz               of a volume the same as .nii .nrrd .mha",
            "masks/NAME.seg.nrrd             segments of 3D Slicer; NAME.seg.dcm: a DICOM SEG",
            "train/images, train/masks, val/..., test/...   instead: an official split",
            "annotations.json or _annotations.coco.json     instead of masks: a COCO file",
            "annotations/instances_train.json, ..._val.json, ..._test.json   the same with a split",
            "train/_annotations.coco.json, valid/..., test/...   the same, images beside them",
        ),
    )

    def __init__(
        self,
        root: str | None = None,
        table: str | None = None,
        *,
        modality: str = "unknown",
        source: str | None = None,
        annotations: str | None = None,
        label_names: dict[int, str] | None = None,
        case_pattern: str | None = None,
        instance_label: str | None = None,
        mask_threshold: float | None = None,
        window: str = "percentiles",
        components: bool = False,
        **kwargs: Any,
    ) -> None:
        """Create the datamodule.

        Args:
            root: the folder with ``images`` and ``masks``.
            table: the prepared table.
            modality: what the images are, for example ``ct``; reports are grouped by it.
            source: name of the data set in reports; by default the name of the folder ``root``.
            annotations: a COCO file, or a folder of several, relative to ``root``, where it does
                not lie where one usually does; ``none``: COCO files are left alone.
            label_names: class names by value, for label maps; for COCO files by category, before
                those of the file.
            case_pattern: regular expression searched for in an image's name; its first group, or
                all that matches, is the patient or volume. By default each file is a case.
            instance_label: class of the objects of instance maps, for example ``cell``: each value
                above 0 of a label map then is one object, and there may be any number of them.
                By default the values of a label map are classes.
            mask_threshold: for masks with soft edges, JPEG masks and probability maps: the value
                from which on a pixel belongs to the object, such as 128 or 0.5. Each mask file
                then holds one object, ``object`` where its name says no label. By default each
                value of a label map is a class.
            window: which intensities of volumes become 0 and 255, by the names of ``syncsam
                predict``: ``percentiles`` (0.5 and 99.5 of the volume), ``minmax``,
                ``minmax_slice``; for CT ``soft_tissue``, ``lung``, ``bone``, ``brain``, ``liver``;
                or ``WIDTH,LEVEL``.
            components: make each 8-connected component of a mask an object of its own, for targets
                that are scattered over the image, around which one box says little.
            kwargs: see :class:`~syncsam_lightning.data.datamodule.PromptableDataModule`.

        Raises:
            ValueError: ``case_pattern`` is no regular expression, ``mask_threshold`` is not
                finite, a value in ``label_names`` is no whole number, or ``instance_label`` is
                given with one of the latter two.
            UnknownWindowError: there is no such window.
        """
        super().__init__(root, table, **kwargs)
        self._cases = CasePattern(case_pattern)
        self.case_pattern = case_pattern
        self.modality = modality
        self.source, self.annotations = source, annotations
        if annotations not in (None, NONE):
            self.reads = ()  # its images may lie anywhere
        self.label_names = _by_value(label_names or {})
        self.instance_label, self.mask_threshold = instance_label, mask_threshold
        self.window, self.components = window, components
        self._rule = SliceRule(parse_window(window), by_component=components)
        self._label_rule = LabelRule(self.label_names, mask_threshold, instance_label)

    def table_settings(self) -> dict[str, Any]:
        """Return what shapes the table."""
        return super().table_settings() | {
            "modality": self.modality,
            "source": self.source,
            "annotations": self.annotations,
            "label_names": {str(value): name for value, name in self.label_names.items()},
            "case_pattern": self.case_pattern,
            "instance_label": self.instance_label,
            "mask_threshold": self.mask_threshold,
            "window": self.window,
            "components": self.components,
        }

    def records(self, root: Path) -> Iterator[RawSample | Skipped]:
        """Yield the images by name; of volumes, the slices.

        Args:
            root: the folder with ``images`` and ``masks``, or with ``train``, ``val``, ``test``, or
                with a COCO file.

        Raises:
            BrokenInputError: a COCO file can't be read.
            ConversionError: an option is given that says nothing about COCO files.
            DatasetNotFoundError: there is no such folder, or what is to be read is not clear.
            MissingPackageError: a COCO file holds polygons, and pycocotools is not installed.
        """
        yield from self._samples(root, Slicer(self._rule))

    def open_records(self, root: Path | str, bench: Workbench) -> Records:
        """Read the labels of volumes in the workers, to know which slices have objects.

        Args:
            root: see :meth:`records`.
            bench: for the stage that reads them.
        """
        place = Path(root)
        if coco_files(place, self.annotations):
            return partial(self.records, place)
        source = self._source(place)
        images = (image for image in self._images(place) if isinstance(image, ImageFile))
        volumes = (self._volume(image, source) for image in images if image.is_volume)
        return partial(self._samples, place, surveyed(bench, volumes, self._rule))

    def _images(self, root: Path) -> Iterator[ImageFile | Skipped]:
        takes_lossy = self.mask_threshold is not None
        return images_with_masks(root, self._cases, takes_lossy=takes_lossy)

    def _source(self, root: Path) -> str:
        return self.source or root.resolve().name

    def _samples(self, root: Path, slicer: Slicer) -> Iterator[RawSample | Skipped]:
        source = self._source(root)
        if files := coco_files(root, self.annotations):
            yield from self._outlined(files, source)
            return
        for image in self._images(root):
            if isinstance(image, Skipped):
                yield image
            elif image.is_volume:
                yield from slicer.samples(self._volume(image, source))
            else:
                yield from self._picture(image, source)

    def _outlined(
        self, files: Sequence[CocoFile | Skipped], source: str
    ) -> Iterator[RawSample | Skipped]:
        for option in ("instance_label", "mask_threshold"):
            if getattr(self, option) is not None:
                raise ConversionError(f"{option} is of mask files, and {files[0].path} is read")
        for file in files:
            if isinstance(file, Skipped):
                yield file
                continue
            for image in coco_images(file, self.label_names):
                if isinstance(image, Skipped):
                    yield image
                elif (case := self._cases.case(image.name)) is None:
                    yield Skipped(str(image.path), self._cases.mismatch)
                else:
                    yield RawSample(
                        id=f"{file.split}/{image.name}" if file.split else image.name,
                        image=image.path,
                        masks=self._objects(image.masks, image.path),
                        modality=self.modality,
                        source=source,
                        case=case,
                        split=file.split,
                    )

    def _objects(self, masks: Sequence[NamedMask], path: Path) -> Sequence[NamedMask]:
        return by_component(masks, str(path)) if self.components and masks else masks

    def _volume(self, image: ImageFile, source: str) -> LabelledVolume:
        place, rule = VolumeFile(str(image.path)), self._label_rule
        return LabelledVolume(
            id=image.id,
            case=image.case,
            image=place,
            labels=[one for file in image.masks for one in mask_labels(file, place, rule)],
            modality=self.modality,
            source=source,
            split=image.split,
        )

    def _picture(self, image: ImageFile, source: str) -> Iterator[RawSample | Skipped]:
        masks: Sequence[NamedMask]
        if self.instance_label is not None:  # 70,000 of them are nothing to send to a worker
            load = PictureMasks(image.masks, self._label_rule)
            masks = LazyMasks(load, str(image.path), [str(file.path) for file in image.masks])
        else:
            found = [*picture_masks(image.masks, self._label_rule)]
            yield from (one for one in found if isinstance(one, Skipped))
            masks = tuple(one for one in found if isinstance(one, NamedMask))
        yield RawSample(
            id=image.id,
            image=image.path,
            masks=self._objects(masks, image.path),
            modality=self.modality,
            source=source,
            case=image.case,
            split=image.split,
        )


def _by_value(names: Mapping[Any, str]) -> dict[int, str]:
    """Return class names by value, also those of JSON, whose keys are texts."""
    try:
        return {int(value): name for value, name in names.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"label_names are names by value, such as {{1: femur, 2: tibia}}: {error}"
        ) from error
