#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Clients of the control socket that ask for much and do not read it (a pager, a program that is stopped): 60 of them and a budget of 32
MiB. Private memory stays below the budget, and whoever reads on at last gets all of it."""
import http.client, json, os, pathlib, socket, sys, unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "lib"), str(pathlib.Path(__file__).resolve().parent)]
import solo
from swell import MIB, SANITIZED, Watch

EACH, NAMES, BUDGET = 20, 4000, 32 * MIB
TARGETS = "/v1/cat?path=share/big", "/v1/export?path=share/big", f"/v1/ls?path=share/names&limit={NAMES}"


class Unread(unittest.TestCase):
    def ask(self, node, target):
        s = self.enterContext(socket.socket(socket.AF_UNIX))
        s.settimeout(60)
        s.connect(str(node.home / "run" / "control"))
        s.sendall(f"GET {target} HTTP/1.1\r\nHost: p2p\r\n\r\n".encode())
        s.recv(1, socket.MSG_PEEK)  # its first piece is on its way
        return s

    def read(self, s):
        answer = http.client.HTTPResponse(s)
        answer.begin()
        return answer.read()

    def test_sixty_clients(self):
        solo.need(shim=False)
        with solo.Solo(solo.QUIET + "memory = 32M\ndns-port = 0\n") as node:
            node.start()
            big = os.urandom(9 * MIB)
            (node.share / "big").write_bytes(big)
            os.mkdir(node.share / "names")
            names = {f"{i:0200}" for i in range(NAMES)}
            for name in names:
                open(node.share / "names" / name, "w").close()
            whole = {target: node.raw("GET", target)[1] for target in TARGETS}
            watch = Watch(node, 0.02)
            clients = [(target, self.ask(node, target)) for _ in range(EACH) for target in TARGETS]
            node.status()
            private = watch.end().private
            print(f"private memory {private / 1e6:.1f} MB", file=sys.stderr)
            if not SANITIZED:
                self.assertLess(private, BUDGET)
            for target, s in clients:
                self.assertEqual(self.read(s), whole[target], target)
            self.assertEqual(whole[TARGETS[0]], big)
            self.assertEqual({json.loads(line)["name"] for line in whole[TARGETS[2]].splitlines()}, names)


if __name__ == "__main__":
    unittest.main()
