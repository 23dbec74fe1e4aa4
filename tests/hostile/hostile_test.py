#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Hostile peers beside an honest transfer.

Node 1 has a file, node 2 reads it through its mount, and namespace 3 attacks one of them from many addresses (hostile_main.c
has the attacks). After each group of attacks: both nodes are alive and answer, their budget was kept, memory and descriptors
are bounded, and every byte arrived. What the node did is printed, and the transfer's speed relative to transfers without
attack right before and after.

By hand: P2P_TEST_HOSTILE=256 (MiB) P2P_TEST_HOSTILE_SECONDS=10 hostile_test.py [Hostile.test_GROUP with _ for -]
"""
import contextlib, json, os, pathlib, subprocess, sys, threading, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import SOURCE, Lab, need, pattern, wait_for

HOSTILE = os.environ.get("HOSTILE_BIN", str(SOURCE / "build" / "release" / "tests" / "hostile" / "hostile_main"))
SIZE = int(os.environ.get("P2P_TEST_HOSTILE", "48")) << 20
SECONDS = float(os.environ.get("P2P_TEST_HOSTILE_SECONDS", "2"))
MEMORY = int(os.environ.get("P2P_TEST_HOSTILE_MEMORY", "64")) << 20
SLACK = 48 << 20       # code, stacks, allocator, mount: what a node is beside its budget
# With AddressSanitizer freed memory is kept for a while, and each allocation has a fence: only the budget says something
SANITIZED = os.path.exists(HOSTILE) and b"__asan_init" in pathlib.Path(os.environ.get("P2P_BIN", HOSTILE)).read_bytes()
FILES = 256 + 128      # max-connections, and the node's own
SOURCES = 24           # addresses of the attacker


def groups():
    found = {}
    for line in subprocess.run([HOSTILE, "list"], capture_output=True, text=True, check=True).stdout.splitlines():
        group, name, what = line.split("\t")
        found.setdefault(group, []).append((name, what))
    return found


class Watch(threading.Thread):
    """Samples a node: peaks of memory, budget and descriptors."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.node, self.stop = node, threading.Event()
        self.proc = pathlib.Path("/proc") / str(node.process.pid)
        self.anon = self.used = self.files = 0
        self.start()

    def cpu(self):
        fields = (self.proc / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def run(self):
        while not self.stop.is_set():
            with contextlib.suppress(OSError, ValueError):
                for line in (self.proc / "status").read_text().splitlines():
                    if line.startswith("RssAnon:"):
                        self.anon = max(self.anon, int(line.split()[1]) << 10)
                self.files = max(self.files, len(os.listdir(self.proc / "fd")))
                self.used = max(self.used, int(next(l for l in (self.node.mount / "status").read_text().splitlines()
                                                    if l.startswith("memory_used\t")).split("\t")[1]))
            self.stop.wait(0.1)

    def end(self):
        self.stop.set()
        self.join()


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()
        if not os.access(HOSTILE, os.X_OK):
            raise unittest.SkipTest(f"needs the built program at {HOSTILE}")
        cls.stack = contextlib.ExitStack()
        try:
            lab = cls.lab = cls.stack.enter_context(Lab(3))
            config = f"memory = {MEMORY}\nquota = 1G\n"
            cls.nodes = [lab.node(1, config=config), lab.node(2, config=config)]
            for i in range(SOURCES):
                subprocess.run(["ip", "-n", lab.name(3), "addr", "add", f"10.77.0.{100 + i}/24", "dev", "eth0"], check=True)
            wait_for("they see each other", lambda: cls.nodes[1].id in cls.nodes[0].peers())
            cls.round = 0
            cls.rows = []
            cls.transfer()  # the first one has to learn
            cls.quiet = cls.transfer()
        except BaseException:
            cls.stack.__exit__(*sys.exc_info())
            raise

    @classmethod
    def tearDownClass(cls):
        ends = [(n.stop(60), n.tail()) for n in cls.nodes]
        cls.stack.close()
        print(f"\n{'attacks':18}{'speed':>7}{'cpu':>6}{'budget':>8}{'anon':>7}{'fds':>5}  what the node did", file=sys.stderr)
        for row in cls.rows:
            print(row, file=sys.stderr)
        for code, tail in ends:
            if code != 0:  # a sanitizer's finding too
                raise AssertionError(f"a node ended with {code}:\n{tail}")

    @classmethod
    def offer(cls):
        """A file that nobody had before in node 1's share; returns its CID and bytes."""
        cls.round += 1
        data = b"".join(pattern(SIZE, f"{os.getpid()} {cls.round}"))
        path = cls.nodes[0].mount / "share" / "f"
        path.write_bytes(data)
        return cls.nodes[0].cid(path), data

    @classmethod
    def fetch(cls, offered):
        """Node 2 reads it; MB/s."""
        cid, data = offered
        got = bytearray(len(data))
        start = time.monotonic()
        at, view = 0, memoryview(got)
        try:
            with open(cls.nodes[1].mount / "ipfs" / cid, "rb", buffering=0) as f:
                while at < len(got):
                    n = f.readinto(view[at:at + (1 << 20)])
                    if not n:
                        break
                    at += n
        except OSError as e:
            peers = "".join(f"\n{n.index}: {p}" for n in cls.nodes for p in n.json_lines("peers") if p["connected"])
            status = "".join(f"\n{n.index}: {n.json('status')}" for n in cls.nodes)
            raise AssertionError(f"{e} at byte {at}{peers}{status}") from e
        took = time.monotonic() - start
        if got != data:
            raise AssertionError("the file arrived wrong")
        for n in cls.nodes:
            with contextlib.suppress(OSError):
                (n.mount / "share" / "f").unlink()
            n.run("gc", timeout=300)
        return len(data) / took / 1e6

    @classmethod
    def transfer(cls):
        return cls.fetch(cls.offer())

    def attack(self, group, attacks):
        target = self.nodes[1] if group.startswith("liar") else self.nodes[0]
        address = target.address().split("/")
        held = b"".join(pattern(64 << 20, "held")) if group == "slow-readers" else b"held"
        (target.mount / "share" / "held").write_bytes(held)
        root = target.cid(target.mount / "share" / "held")
        before = self.quiet
        offered = self.offer()
        watches = [Watch(n) for n in self.nodes]
        used = [w.cpu() for w in watches]
        start = time.monotonic()
        seconds = max(SECONDS, 0.3 * len(attacks))
        command = ["nice", "-n", "10", HOSTILE, "run", "--seconds", 60 if len(attacks) == 1 else seconds,
                   "--from", "10.77.0.100", "--sources", SOURCES, "--root", root,
                   f"{address[2]}:{address[4]}", *[a for a, _ in attacks]]
        hostile = self.lab.popen(3, command, stdout=subprocess.PIPE, text=True)
        time.sleep(0.5)
        during = self.fetch(offered)
        if len(attacks) == 1:
            while time.monotonic() < start + seconds and hostile.poll() is None:
                time.sleep(0.02)
            hostile.terminate()
        out, _ = hostile.communicate(timeout=60)
        took = time.monotonic() - start
        cpu = max(w.cpu() - u for w, u in zip(watches, used)) / took
        for w in watches:
            w.end()
        after = type(self).quiet = self.transfer()
        done = [json.loads(line) for line in out.splitlines()]
        what = "; ".join(self.words(d, len(attacks) > 1) for d in done)
        w = watches[self.nodes.index(target)]
        ratio = 2 * during / (before + after)
        self.rows.append(f"{group:18}{ratio:7.2f}{cpu:6.2f}{w.used >> 20:6} M{w.anon >> 20:5} M{w.files:5}  {what}")
        self.assertEqual(hostile.returncode, 0)
        self.assertEqual([d["attack"] for d in done], [a for a, _ in attacks])
        for n, w in zip(self.nodes, watches):
            self.assertIsNone(n.process.poll(), f"node {n.index} lives")
            self.assertGreater(w.used, 0, "it was sampled")
            self.assertLessEqual(w.used, MEMORY, "the budget was kept")
            if not SANITIZED:
                self.assertLess(w.anon, MEMORY + SLACK, "memory is bounded")
            self.assertLess(w.files, FILES, "descriptors are bounded")
            self.assertEqual(n.json("status")["memory_limit"], MEMORY, "it answers")
        self.assertEqual([d for d in done if not d["expected"]], [], "it did what it should")

    @staticmethod
    def words(d, named):
        outcomes = ("refused", "goaway", "closed", "reset", "throttled", "answered", "ignored")
        did = ", ".join(f"{k} {d[k]}" for k in outcomes if d[k])
        rest = "".join(f", {d[k]} {k}" for k in ("units", "open") if d[k])
        return (d["attack"] + ": " if named else "") + did + rest


def make(group, attacks):
    def test(self):
        self.attack(group, attacks)
    test.__doc__ = "; ".join(what for _, what in attacks)
    return test


if os.access(HOSTILE, os.X_OK):
    for name, list_ in groups().items():
        setattr(Hostile, "test_" + name.replace("-", "_"), make(name, list_))
else:
    Hostile.test_all = lambda self: None  # skipped by setUpClass, with the reason


if __name__ == "__main__":
    unittest.main(verbosity=1)
