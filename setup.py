"""Maps the top-level folders to import names; everything else stands in pyproject.toml."""

from setuptools import find_packages, setup


def under(prefix: str, folder: str) -> list[str]:
    return [prefix, *(f"{prefix}.{name}" for name in find_packages(folder))]


setup(
    packages=[
        *find_packages("src"),
        *under("syncsam_datamodules", "datamodules"),
        "syncsam_lightning.configs",
    ],
    package_dir={
        "": "src",
        "syncsam_datamodules": "datamodules",
        "syncsam_lightning.configs": "configs",
    },
)
