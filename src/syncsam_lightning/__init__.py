"""SyncSAM Lightning: promptable medical image segmentation with PyTorch Lightning.

The package is layered (see ``docs/architecture.md``); importing it imports nothing heavy.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("syncsam-lightning")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
