#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""An exec offer whose program lies on the node's own mount, with a node that is stopped: until it is given up, everything else of the
network goes on."""
import os, pathlib, signal, subprocess, sys, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo
from lab import wait_for


class FarProgram(unittest.TestCase):
    def node(self):
        return self.enterContext(solo.Solo(solo.QUIET + "timeout-read = 20s\n")).start()

    def dial(self, node, to):
        return subprocess.Popen([solo.P2P, "dial", f"{to.status()['id']}/prog"], env={**os.environ, "P2P_HOME": str(node.home)},
                                stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def test_others_go_on(self):
        solo.need(shim=False)
        far, a, b = self.node(), self.node(), self.node()
        prog, link = far.share / "prog", a.home / "prog"
        prog.write_bytes(b"#!/bin/sh\necho here\n")
        cid = far.run("cid", prog).stdout.split()[0]
        link.symlink_to("/bin/true")
        a.run("offer", "prog", "-a", "any", "exec", str(link)).check_returncode()
        for n in (far, b):
            n.run("connect", a.status()["address"]).check_returncode()
        link.unlink()
        link.symlink_to(a.mount / "ipfs" / cid)
        far.process.send_signal(signal.SIGSTOP)
        first = self.dial(b, a)
        wait_for("the program is waited for", lambda: cid in (a.mount / ".p2p" / "waiting").read_text())
        began = time.monotonic()
        b.run("ping", a.status()["id"]).check_returncode()
        self.assertLess(time.monotonic() - began, 8, "before the dial is given up, which is after 10 s")
        self.assertIsNone(first.poll())
        far.process.send_signal(signal.SIGCONT)
        self.assertEqual(first.wait(60), 4, "what has a CID only cannot be executed")


if __name__ == "__main__":
    unittest.main()
