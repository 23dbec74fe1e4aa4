#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Who gets how much of a service: limits, counts, slow readers, and turns by address and by service."""
import os, pathlib, socket, subprocess, sys, threading, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import P2P, Lab, need, wait_for, write_pattern

NODE = "mdns = off\n"
SHIM = os.environ.get("SLOW_SHIM_LIB", "")


class Reader:
    """`count` dials of a service that read all they can, or nothing. bytes() so far."""

    def __init__(self, lab, node, service, count=1, read=True):
        self.got = 0
        self.processes = [lab.popen(node.index, [P2P, "dial", service], env=node.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    stderr=subprocess.DEVNULL) for _ in range(count)]
        self.threads = [threading.Thread(target=self.read, args=(p,), daemon=True) for p in self.processes if read]
        for t in self.threads:
            t.start()

    def read(self, p):
        while data := os.read(p.stdout.fileno(), 1 << 16):
            self.got += len(data)

    def stop(self):
        for p in self.processes:
            p.kill()
            p.wait()
        for t in self.threads:
            t.join()


class ThreeNodes(unittest.TestCase):
    """b and c use what a offers; c comes over a network that is not local where `far`."""
    far = False
    env = None  # of the node that offers

    @classmethod
    def setUpClass(cls):
        need()
        cls.lab = Lab(3).__enter__()
        cls.addClassCleanup(cls.lab.__exit__, None, None, None)
        for i in (1, 3) if cls.far else ():
            cls.lab._ip("-n", cls.lab.name(i), "addr", "add", f"11.77.0.{i}/24", "dev", "eth0")
        cls.a, cls.b, cls.c = (cls.lab.node(i, config=NODE, env=cls.env if i == 1 else None) for i in (1, 2, 3))
        cls.b.run("connect", cls.a.address())
        cls.c.run("connect", cls.a.address("11.77.0.1" if cls.far else None))
        cls.a.run("offer", "zeros", "file", "/dev/zero", "-a", "any")
        cls.a.run("offer", "echo", "echo", "-a", "any")

    def offer(self, name):
        return next(r for r in self.a.json_lines("offer") if r["name"] == name)

    def service(self, name):
        return f"{self.a.id}/{name}"

    def shares(self, service, seconds=2.0, **readers):
        """Bytes that each got in a while that begins when all have begun."""
        running = {name: Reader(self.lab, node, self.service(service), count) for name, (node, count) in readers.items()}
        wait_for("all have begun", lambda: self.offer(service)["open"] == sum(count for _, count in readers.values()))
        wait_for("bytes come", lambda: all(r.got for r in running.values()), 10)
        before, begin = {name: r.got for name, r in running.items()}, time.monotonic()
        time.sleep(seconds)
        got = {name: r.got - before[name] for name, r in running.items()}
        self.took = time.monotonic() - begin  # longer on a busy machine
        self.end(service, *running.values())
        return got

    def end(self, service, *readers):
        """At once: by itself the node lets a stream whose program is gone finish what it has."""
        for r in readers:
            r.stop()
        for row in self.a.json_lines("streams"):
            if row["service"] == service:
                self.a.run("streams", "--hangup", row["stream"], check=False)
        wait_for("all have gone", lambda: self.offer(service)["open"] == 0, 40)


class SlowPath(unittest.TestCase):
    def test_services_share_a_path(self):
        """16 streams of one service and one of another on one connection, which is what limits them: a half each, not a seventeenth."""
        need()
        with Lab(2, bridge=False) as lab:
            way = lab.path(1, 2, delay=5, rate=25e6)
            a, b = (lab.node(i, options=("--no-mount",), config=NODE) for i in (1, 2))
            b.run("connect", a.address(way.a_ip))
            for name in ("bulk", "small"):
                a.run("offer", name, "file", "/dev/zero", "-a", "any")
            readers = {name: Reader(lab, b, f"{a.id}/{name}", count) for name, count in (("bulk", 16), ("small", 1))}
            wait_for("the path is full", lambda: sum(r.got for r in readers.values()) > 25e6 and readers["small"].got, 20)
            before = {name: r.got for name, r in readers.items()}
            wait_for("much has come", lambda: sum(r.got for r in readers.values()) - sum(before.values()) > 60e6)
            got = {name: r.got - before[name] for name, r in readers.items()}
            for r in readers.values():
                r.stop()
            share = got["small"] / sum(got.values())
            print(f"the small one has {100 * share:.0f}%")
            self.assertGreater(share, 0.25, got)


class Local(ThreeNodes):
    def test_one_stream_of_an_address_beside_many_of_another(self):
        self.a.run("offer", "shared", "file", "/dev/zero", "-a", "any", "--rate", "1M")
        got = self.shares("shared", 3, many=(self.c, 8), one=(self.b, 1))
        self.assertTrue(0.35 < got["one"] / sum(got.values()) < 0.65, got)
        self.assertLess(sum(got.values()), 1.5 * self.took * (1 << 20), "the rate is of all together")


class Processor(ThreeNodes):
    """Nothing has a limit, and what there is too little of is the time of the node that offers."""
    far = True
    env = {"LD_PRELOAD": SHIM, "SLOW_SHIM": "30", "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(SHIM):
            raise unittest.SkipTest("needs SLOW_SHIM_LIB")
        super().setUpClass()

    def test_local_addresses_yield(self):
        got = self.shares("zeros", 3, local=(self.b, 8), remote=(self.c, 4))
        print({k: f"{v / 2**20:.1f} MiB" for k, v in got.items()})
        self.assertGreater(got["remote"], got["local"], got)  # by streams alone it would be half of it
        self.assertGreater(got["local"], 0, "it yields, it does not starve")


class Fairness(ThreeNodes):
    far = True

    # ---- limits of a service ----

    def test_connections(self):
        ctl = self.a.mount / "streams/offer/few/ctl"
        self.a.run("offer", "few", "file", "/dev/zero", "-a", "any")
        ctl.write_text("limit connections 2\n")
        self.assertEqual(self.offer("few")["connections_max"], 2)
        holders = Reader(self.lab, self.b, self.service("few"), 2, read=False)
        wait_for("both are there", lambda: self.offer("few")["open"] == 2)
        third = subprocess.run(self.lab.enter(3) + [P2P, "dial", self.service("few")], env=self.c.env, capture_output=True, timeout=30)
        self.assertEqual((third.returncode, third.stdout), (4, b""), third.stderr)
        self.assertEqual(self.offer("few")["refused"], 1)
        holders.stop()
        ctl.write_text("limit connections 0\n")
        many = Reader(self.lab, self.b, self.service("few"), 4)
        wait_for("no limit is none", lambda: self.offer("few")["open"] >= 4)
        many.stop()
        self.a.run("offer", "few", "-r")

    def test_rate(self):
        self.a.run("offer", "slow", "file", "/dev/zero", "-a", "any")
        (self.a.mount / "streams/offer/slow/ctl").write_text("limit rate 400000\n")
        got = self.shares("slow", one=(self.b, 1))
        self.assertTrue(500_000 < got["one"] < 1_100_000, got)
        got = self.shares("slow", one=(self.b, 2))
        self.assertTrue(500_000 < got["one"] < 1_100_000, f"two streams have one rate: {got}")
        self.a.run("offer", "slow", "-r")

    # ---- turns ----

    def test_local_addresses_yield(self):
        self.a.run("offer", "yield", "file", "/dev/zero", "-a", "any", "--rate", "1M")
        got = self.shares("yield", 3, local=(self.b, 8), remote=(self.c, 4))
        self.assertGreater(got["remote"], got["local"], got)  # by streams alone it would be half of it
        self.assertGreater(got["local"], 0, "it yields, it does not starve")
        self.a.run("offer", "yield", "-r")

    def test_a_service_beside_a_bulky_one(self):
        """16 streams of one service at full speed; a round trip of another waits for one turn, not for 16."""
        bulk = Reader(self.lab, self.b, self.service("zeros"), 16)
        p = self.lab.popen(2, [P2P, "dial", self.service("echo")], env=self.b.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        trips = []
        for _ in range(100):
            begin = time.monotonic()
            os.write(p.stdin.fileno(), b"x")
            os.read(p.stdout.fileno(), 1)
            trips.append(time.monotonic() - begin)
        self.end("zeros", bulk)
        p.kill()
        print(f"median {1000 * sorted(trips)[50]:.1f} ms, worst {1000 * max(trips):.1f} ms")
        self.assertLess(sorted(trips)[50], 0.1)

    # ---- slow readers ----

    def test_a_slow_reader_stops_nobody_else(self):
        """Neither other streams of its peer, nor the mount, nor blocks."""
        write_pattern(self.a.mount / "share/file", 20 << 20, 5)
        cid = self.a.cid(self.a.mount / "share/file")
        slow = Reader(self.lab, self.b, self.service("zeros"), 4, read=False)
        wait_for("they are full", lambda: self.stands_still())
        begin = time.monotonic()
        p = subprocess.run(self.lab.enter(2) + [P2P, "dial", self.service("echo")], env=self.b.env, input=bytes(4 << 20), capture_output=True, timeout=30)
        self.assertEqual(len(p.stdout), 4 << 20)
        self.assertEqual((self.b.mount / "ipfs" / cid).read_bytes(), (self.a.mount / "share/file").read_bytes())
        for node in (self.a, self.b):
            self.assertIn("working", (node.mount / "status").read_text())
        self.assertLess(time.monotonic() - begin, 10)
        self.assertEqual(self.offer("zeros")["open"], 4, "the slow ones are still there")
        self.end("zeros", slow)

    def stands_still(self):
        count = lambda: self.offer("zeros")["bytes_out"]
        before = count()
        time.sleep(0.2)
        return before and count() == before

    # ---- counts ----

    def test_counts_of_service_peer_and_address(self):
        self.a.run("offer", "counted", "echo", "-a", "any")
        of_peer = lambda: next(p for p in self.a.json_lines("peers") if p["id"] == self.c.id)
        of_ip = lambda: next((r for r in self.a.json_lines("streams", "--by-address") if "11.77.0.3" in r["address"]),
                             {"total": 0, "bytes_in": 0, "bytes_out": 0, "seconds": 0})
        peer, ip = of_peer(), of_ip()
        p = self.lab.popen(3, [P2P, "dial", self.service("counted")], env=self.c.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        os.write(p.stdin.fileno(), bytes(10_000))
        left = 10_000
        while left:
            left -= len(os.read(p.stdout.fileno(), left))
        time.sleep(0.3)
        p.stdin.close()
        self.assertEqual(p.wait(10), 0)
        wait_for("it is over", lambda: self.offer("counted")["open"] == 0)
        o, peer2, ip2 = self.offer("counted"), of_peer(), of_ip()
        self.assertEqual((o["total"], o["bytes_in"], o["bytes_out"]), (1, 10_000, 10_000))
        self.assertEqual([peer2[k] - peer[k] for k in ("service_streams", "service_bytes_in", "service_bytes_out")], [1, 10_000, 10_000])
        self.assertEqual([ip2[k] - ip[k] for k in ("total", "bytes_in", "bytes_out")], [1, 10_000, 10_000])
        for seconds in (o["seconds"], peer2["service_seconds"] - peer["service_seconds"], ip2["seconds"] - ip["seconds"]):
            self.assertTrue(0.25 < seconds < 5, seconds)
        self.assertIn("10000", (self.a.mount / "streams/offer/counted/status").read_text())
        self.assertRegex((self.a.mount / "peers" / self.c.id / "ledger").read_text(), r"service")
        self.a.run("offer", "counted", "-r")


if __name__ == "__main__":
    unittest.main(verbosity=2)
