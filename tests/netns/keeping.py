#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is kept is fetched, also after a start."""
import os, pathlib, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import Loopback, need, wait_for

CONFIG = "listen = /ip4/127.0.0.1/tcp/0\nmdns = no\ndns-port = 0\ntimeout-read = 3s\n"
MIB = 1 << 20


class Keeping(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()

    def test_a_link_after_a_start(self):
        """What it keeps and nobody had goes on being fetched."""
        with Loopback(1) as lab:
            a, b = lab.node(1, config=CONFIG), lab.node(2, config=CONFIG)
            content = os.urandom(2 * MIB)
            (b.mount / "share/file").write_bytes(content)
            cid = b.cid(b.mount / "share/file")
            os.symlink(f"../ipfs/{cid}", a.mount / "share/link")
            a.stop()
            a.start()
            a.run("connect", b.address())
            wait_for("it is kept", lambda: cid in (a.mount / ".p2p/events").read_text())
            b.stop()
            self.assertEqual((a.mount / "share/link").read_bytes(), content)


if __name__ == "__main__":
    unittest.main(verbosity=2)
