#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A node that is stopped for longer than a reader waits for a block, as by Ctrl-Z or with its container, and goes on: what was being read
comes whole, and what is kept, too."""
import os, pathlib, signal, subprocess, sys, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo
from lab import wait_for

PATIENCE, SIZE = 5, 8 << 20


class Stopped(unittest.TestCase):
    def node(self, config):
        return self.enterContext(solo.Solo(solo.QUIET + config)).start()

    def runs_for(self, node, seconds):
        since = node.status()["uptime"]
        wait_for("it runs", lambda: node.status()["uptime"] > since + seconds)

    def goes_on(self, program):
        """What program(node, cid) writes, the node being stopped meanwhile."""
        solo.need(shim=False)
        a, b = self.node("upload-limit = 1M\n"), self.node(f"timeout-read = {PATIENCE}s\n")
        data = os.urandom(SIZE)
        (a.share / "f").write_bytes(data)
        cid = a.run("cid", a.share / "f").stdout.split()[0]
        b.run("connect", a.status()["address"]).check_returncode()
        out = b.home / "out"
        with open(out, "wb") as f:
            cat = subprocess.Popen(program(b, cid), env={**os.environ, "P2P_HOME": str(b.home)}, stdout=f, stderr=subprocess.PIPE)
        wait_for("it reads", lambda: out.stat().st_size >= 2 << 20)
        a.process.send_signal(signal.SIGSTOP)  # so that nothing comes before it looks what is late
        self.runs_for(b, 0.5)
        b.process.send_signal(signal.SIGSTOP)
        time.sleep(2 * PATIENCE)  # nothing else makes time pass for a process that is stopped
        b.process.send_signal(signal.SIGCONT)
        self.runs_for(b, 1)
        a.process.send_signal(signal.SIGCONT)
        said = cat.communicate(timeout=60)[1]
        self.assertEqual((cat.returncode, said), (0, b""))
        self.assertTrue(out.read_bytes() == data)

    def test_reads_go_on(self):
        self.goes_on(lambda node, cid: ["cat", str(node.mount / "ipfs" / cid)])

    def test_cat_goes_on(self):
        self.goes_on(lambda node, cid: [solo.P2P, "cat", cid])

    def test_pin_goes_on(self):
        self.goes_on(lambda node, cid: ["sh", "-c", f"{solo.P2P} pin -q {cid} > {node.home}/pinned & cat {node.mount}/ipfs/{cid} && wait $!"])


if __name__ == "__main__":
    unittest.main()
