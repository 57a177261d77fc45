"""Memory of a process that is ours alone."""

import contextlib
import ctypes
import sys

# parameters of glibc's mallopt
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
MOST = 2**30


def keep_freed_memory() -> None:
    """Keep large blocks that were freed for the next layer, instead of giving them back to the system each time.

    Otherwise, on Linux, a fifth of the time of a face goes into fetching fresh pages, and more on a busy machine. The
    setting holds for the whole process, hence not for ComfyUI's.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((MMAP_THRESHOLD, MOST), (TRIM_THRESHOLD, MOST), (TOP_PAD, MOST // 8)):
            mallopt(parameter, value)
