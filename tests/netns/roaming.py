#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A machine gets another address in the middle of a transfer, as a laptop does that goes to another network: the reader goes on, though
its connection is dead and neither side is told. Prints for how long nothing came."""
import itertools, pathlib, subprocess, sys, threading, time, unittest

sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1] / "lib")]
from lab import Lab, need, wait_for, write_pattern, pattern

SIZE = 128 << 20
AWAY = 10  # s: with what it takes to find out by pings alone (30 + 10 s) a reader's patience (20 s) is over


class Reader(threading.Thread):
    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.count, self.gap, self.failure, self.good = path, 0, 0, None, True

    def run(self):
        last = time.monotonic()
        try:
            with open(self.path, "rb", buffering=0) as f:
                while data := f.read(1 << 20):
                    self.gap = max(self.gap, time.monotonic() - last)
                    last = time.monotonic()
                    self.good = self.good and data == self.wanted[self.count:self.count + len(data)]
                    self.count += len(data)
        except OSError as e:
            self.failure = e


class Roaming(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()
        Reader.wanted = b"".join(pattern(SIZE))

    def transfer(self, break_it):
        """break_it(lab, ip) is called in the middle of it; ip(node, *args) is ip(8) there. How long nothing came, at most."""
        with Lab(2) as lab:
            a, b = lab.node(1), lab.node(2, config="download-limit = 16M\n")
            write_pattern(a.home / "file", SIZE)
            cid = a.run("add", "-q", a.home / "file").stdout.split()[0]
            wait_for("they met", lambda: any(p["connected"] for p in b.json_lines("peers")))
            reader = Reader(b.mount / "ipfs" / cid)
            reader.start()
            wait_for("the transfer is on its way", lambda: reader.count > SIZE // 8)
            break_it(lab, lambda node, *args: subprocess.run(["ip", "-n", lab.name(node), *map(str, args)], check=True))
            reader.join(120)
            print(f"nothing came for {reader.gap:.1f} s")
            self.assertIsNone(reader.failure)
            self.assertEqual(reader.count, SIZE)
            self.assertTrue(reader.good)

    def roam(self, who, away=0):
        """`who` is the index of the node that moves: 1 holds the file, 2 reads it."""

        def move(lab, ip):
            ip(who, "addr", "del", f"{lab.ip(who)}/24", "dev", "eth0")
            time.sleep(away)  # that long there is no address
            ip(who, "addr", "add", "10.77.0.99/24", "dev", "eth0")
            ip(who, "route", "replace", "default", "dev", "eth0")

        self.transfer(move)

    def test_who_holds_it_moves(self):
        self.roam(1)

    def test_who_holds_it_was_away(self):
        self.roam(1, AWAY)

    def test_who_reads_moves(self):
        self.roam(2)

    def test_the_connection_is_lost_on_the_way(self):
        """As by a router that starts anew: nothing of it passes any more, another one would."""

        def lose(lab, ip):
            tcp = subprocess.check_output(lab.enter(2) + ["ss", "-tnH", "state", "established"], text=True)
            ports = {end.rsplit(":", 1)[1] for line in tcp.splitlines() for end in line.split()[2:4]} - {"4001"}
            self.assertTrue(ports)
            for node, port, side in itertools.product((1, 2), ports, ("sport", "dport")):
                ip(node, "rule", "add", "pref", 10, "ipproto", "tcp", side, port, "blackhole")

        self.transfer(lose)


if __name__ == "__main__":
    unittest.main(verbosity=2)
