#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs that follow the events and do not read them (`p2p events --follow`, stopped) hold little memory, however many come."""
import json, pathlib, socket, sys, unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "lib"), str(pathlib.Path(__file__).resolve().parent)]
import solo
from swell import SANITIZED

NOBODY = "12D3KooWLi2pXdc7vbTXKpRktzUpNmvGrsw3Gc65y1krQf3TR5C5"  # a peer that is nowhere
FOLLOWERS, EVENTS, KEPT = 20, 8000, 1000


class Followers(unittest.TestCase):
    def private(self, node):
        lines = pathlib.Path(f"/proc/{node.process.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) << 10 for line in lines if line.startswith(("Private_Dirty", "Private_Clean")))

    def follow(self, node):
        s = socket.socket(socket.AF_UNIX)
        self.addCleanup(s.close)
        s.settimeout(30)
        s.connect(str(node.home / "run" / "control"))
        s.sendall(b"GET /v1/events?follow=1 HTTP/1.1\r\nHost: p2p\r\n\r\n")
        return s

    def event(self, node):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(30)
            s.connect(str(node.home / "run" / "sock-1"))
            self.assertEqual(s.recv(1), b"")  # there is no such peer: an event

    def test_many_events(self):
        solo.need(shim=False)
        with solo.Solo(solo.QUIET + "dns-port = 0\n") as node:
            node.start()
            node.raw("POST", "/v1/services", body=f"sock {NOBODY} udp/x".encode())
            followers = [self.follow(node) for _ in range(FOLLOWERS)]
            for _ in range(10):
                self.event(node)
            before = self.private(node)
            for _ in range(EVENTS):
                self.event(node)
            if not SANITIZED:  # which keeps what was freed
                self.assertLess(self.private(node) - before, 20 << 20)
            self.reads_on(node, followers[0])

    def reads_on(self, node, s):
        """The newest are still there for who reads at last, and go on."""
        last = node.rows("/v1/events")[-1]
        with s.makefile("rb") as f:
            rows = 0
            for line in f:
                if line.startswith(b"{"):
                    rows += 1
                    if rows > KEPT and json.loads(line) == last:
                        break
        self.assertGreater(rows, KEPT)
        self.event(node)
        self.assertIn(b"stream.failed", s.recv(1000))


if __name__ == "__main__":
    unittest.main()
