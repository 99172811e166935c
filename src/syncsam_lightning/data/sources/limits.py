"""How much a single file of a release may claim to be."""

MAX_READ = 1 << 30
"""Bytes of the largest file that is read at once; larger ones are read as streams."""

MAX_INFLATION = 1032
"""No deflated byte stands for more bytes than this; what declares more is a lie."""

MAX_PADDING = 1 << 16
"""What can't be deflated grows by less than an eighth and this; what takes more is a lie."""
