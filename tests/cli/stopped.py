#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A node that is stopped for longer than a reader waits for a block, as by Ctrl-Z or with its container, and goes on: what was being read
comes whole."""
import os, pathlib, signal, subprocess, sys, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo
from lab import wait_for

PATIENCE, SIZE = 3, 8 << 20


class Stopped(unittest.TestCase):
    def node(self, config):
        return self.enterContext(solo.Solo(solo.QUIET + config)).start()

    def test_reads_go_on(self):
        solo.need(shim=False)
        a, b = self.node("upload-limit = 1M\n"), self.node(f"timeout-read = {PATIENCE}s\n")
        data = os.urandom(SIZE)
        (a.share / "f").write_bytes(data)
        cid = a.run("cid", a.share / "f").stdout.split()[0]
        b.run("connect", a.status()["address"]).check_returncode()
        out = b.home / "out"
        with open(out, "wb") as f:
            cat = subprocess.Popen(["cat", str(b.mount / "ipfs" / cid)], stdout=f, stderr=subprocess.PIPE)
        wait_for("it reads", lambda: out.stat().st_size >= 2 << 20)
        b.process.send_signal(signal.SIGSTOP)
        time.sleep(2 * PATIENCE + 1)  # nothing else makes time pass for a process that is stopped
        b.process.send_signal(signal.SIGCONT)
        said = cat.communicate(timeout=60)[1]
        self.assertEqual((cat.returncode, said), (0, b""))
        self.assertTrue(out.read_bytes() == data)


if __name__ == "__main__":
    unittest.main()
