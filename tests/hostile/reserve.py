#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is kept for known peers (net/swarm/connlimit.h), on a node whose places strangers fill and whose rates they use up.

Node 1 has given node 2 a petname, but cannot dial it: node 2 listens to itself only, and there is no mDNS. Node 3 is somebody
whom node 1 dials. The attackers are in namespace 4, with many addresses, and then with node 2 at its own.
"""
import os, pathlib, subprocess, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import SOURCE, Lab, need, pattern, wait_for

HOSTILE = os.environ.get("HOSTILE_BIN", str(SOURCE / "build" / "release" / "tests" / "hostile" / "hostile_main"))
PLACES = 64
SOURCES = 24  # addresses of the attacker
CROWD = ("idle-crowd", "idle-crowd", "half-open", "thrash", "thrash-secured")
PATIENCE = 180  # seconds: who is refused tries again, less and less often


class Reserve(unittest.TestCase):
    def setUp(self):
        need()
        if not os.access(HOSTILE, os.X_OK):
            raise unittest.SkipTest(f"needs the built program at {HOSTILE}")
        lab = self.lab = self.enterContext(Lab(4))
        self.a = lab.node(1, config=f"mdns = no\nmax-connections = {PLACES}\n")
        self.b = lab.node(2, config="mdns = no\nlisten = /ip4/127.0.0.1/tcp/0\n")
        self.c = lab.node(3, config="mdns = no\n")
        for i in range(SOURCES):
            subprocess.run(["ip", "-n", lab.name(4), "addr", "add", f"10.77.0.{100 + i}/24", "dev", "eth0"], check=True)
        os.symlink(self.b.id, self.a.mount / "peers" / "bob")

    def attack(self, index, names, first, sources):
        address = self.a.address().split("/")
        started = [self.lab.popen(index, [HOSTILE, "run", "--seconds", 600, "--from", first, "--sources", sources, "--seed", i,
                                          f"{address[2]}:{address[4]}", name], stdout=subprocess.PIPE, text=True)
                   for i, name in enumerate(names)]
        for p in started:
            self.assertEqual(p.stdout.readline(), "begun\n")
        return started

    def connected(self):
        return {p["id"] for p in self.a.json_lines("peers") if p["connected"]}

    def comes_in(self, what):
        self.b.run("connect", self.a.address(), check=False)  # if it is refused the node tries again by itself
        wait_for(f"a known peer comes in, {what}", lambda: self.b.id in self.connected(), PATIENCE)

    def is_served(self, what):
        """Node 2 reads something, and leaves; node 1 goes to node 3 all the while."""
        data = b"".join(pattern(1 << 20, what))
        (self.a.mount / "share" / "f").write_bytes(data)
        cid = self.a.cid(self.a.mount / "share" / "f")
        self.assertEqual((self.b.mount / "ipfs" / cid).read_bytes(), data)
        self.assertEqual(self.a.run("connect", self.c.address(), timeout=PATIENCE).returncode, 0, "we get out")
        self.a.run("disconnect", self.c.id)
        self.b.run("disconnect", self.a.id)
        wait_for("it has left", lambda: self.b.id not in self.connected())

    def test_strangers_everywhere(self):
        self.attack(4, CROWD, "10.77.0.100", SOURCES)
        most = PLACES // 4 * 3
        wait_for("strangers have what they may", lambda: len(self.connected()) >= most - 1, PATIENCE)
        for what in "from a new address", "and again":
            self.comes_in(what)
            self.is_served(what)
        self.assertLess(len(self.connected()), PLACES)

    def test_at_its_own_address(self):
        """Who comes beside an attacker waits for luck, as far as anybody can tell them apart; what he has stays."""
        self.comes_in("before")
        self.attack(2, CROWD, "10.77.0.2", 1)
        wait_for("the attacker has what an address may", lambda: len(self.connected()) >= 16, PATIENCE)
        self.is_served("beside the attacker")
        self.assertLessEqual(len(self.connected()), 17, "of an address")


if __name__ == "__main__":
    unittest.main(verbosity=1)
