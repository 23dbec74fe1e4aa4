# SPDX-License-Identifier: MIT
"""A node's clock that a test puts forward (clock_shim.c), so that minutes of waiting take a second."""
import mmap, os, struct, unittest

SHIM = os.environ.get("CLOCK_SHIM_LIB", "")


class Clock:
    """`env` is for the node. Of several nodes each may have its own, or all the same."""

    def __init__(self, path):
        if not os.path.exists(SHIM):
            raise unittest.SkipTest("needs CLOCK_SHIM_LIB")
        path.write_bytes(bytes(4096))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 4096)
        self.ahead = 0
        self.env = {"LD_PRELOAD": SHIM, "CLOCK_SHIM": str(path),
                    "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}

    def forward(self, seconds, look):
        """In steps of a second, between which look() has the nodes talk: a keep-alive is answered before it is late."""
        for _ in range(seconds):
            self.ahead += 10**9
            struct.pack_into("<q", self.map, 0, self.ahead)
            look()
