"""Settings of a process that is ours alone."""

import contextlib
import ctypes
import os
import sys

# parameters of glibc's mallopt
TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3
MOST = 2**30
SPINS = 1000  # some microseconds


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


def share_cores() -> None:
    """Let threads that wait for one another sleep soon, instead of holding cores that other programs want.

    Otherwise, with GNU OpenMP, beside two programs that keep two cores busy a picture takes four times as long as
    alone, and more. The library reads the variable when torch loads it, so this is to be called before.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
