#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Never swell: two nodes under loads that would fill the memory of a careless one, with budgets of 32 MiB and, in the long form, of 128.

A thread samples each node: resident memory without the pages of the store's files (which the kernel takes back when it likes), of it
what is private (all that is not a page of a file), descriptors, threads. Checked: private memory never exceeds the budget,
descriptors and threads are bounded, and a node at rest has less than 30 MB. Ends with a table of the peaks. The soak fits a line
to private memory, descriptors and threads over time: what it rises by is bounded.

By hand: P2P_TEST_SWELL=1 (both budgets, longer loads), or each: P2P_TEST_SWELL_CP=100000 (MB) P2P_TEST_SWELL_NAMES=1000000
P2P_TEST_SWELL_SOAK=1800 (seconds); P2P_TEST_SWELL_LOADS=names,big_cp: only these
"""
import contextlib, hashlib, os, pathlib, random, signal, socket, statistics, subprocess, sys, threading, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import P2P, Lab, need, pattern, wait_for

HOSTILE = os.environ.get("HOSTILE_BIN", "")
LONG = "P2P_TEST_SWELL" in os.environ
CP = int(os.environ.get("P2P_TEST_SWELL_CP", "4000" if LONG else "300")) * 1000000
NAMES = int(os.environ.get("P2P_TEST_SWELL_NAMES", "100000" if LONG else "20000"))
SOAK = float(os.environ.get("P2P_TEST_SWELL_SOAK", "300" if LONG else "30"))
MIB = 1 << 20
IDLE = 30 * 10**6
TURNS = 30  # of a soak at least, however busy the machine is: every tenth collects
GROWTH = 4 * MIB, 40, 2  # private memory, descriptors, threads: what a fitted line may rise by in a period, however long
PERIODS = 4  # what was needed for the first time may be kept (LMDB, malloc), so it may rise to a level; a leak rises in each
CONNECTIONS = 1000
FILES, THREADS = CONNECTIONS + 200, 32
SOURCES = 80
SANITIZED = os.access(P2P, os.R_OK) and b"__asan_init" in pathlib.Path(P2P).read_bytes()
rows = []


class Watch(threading.Thread):
    """Samples a node until end(): peaks, and (time, private memory, descriptors, threads)."""

    def __init__(self, node, every=0.05):
        super().__init__(daemon=True)
        self.node, self.every, self.stop = node, every, threading.Event()
        self.proc = pathlib.Path("/proc") / str(node.process.pid)
        self.home = str(node.home)
        self.rss = self.private = self.files = self.threads = 0
        self.series = []
        self.sample()
        self.start()

    def sample(self):
        rss = private = 0
        counts = True
        for line in (self.proc / "smaps").read_text().splitlines():
            key = line.split(" ", 1)[0]
            if not key.endswith(":"):
                counts = self.home not in line
            elif key == "Rss:" and counts:
                rss += int(line.split()[1]) << 10
            elif key == "Anonymous:" and counts:
                private += int(line.split()[1]) << 10
        files, threads = len(os.listdir(self.proc / "fd")), len(os.listdir(self.proc / "task"))
        self.rss, self.private = max(self.rss, rss), max(self.private, private)
        self.files, self.threads = max(self.files, files), max(self.threads, threads)
        self.series.append((time.monotonic(), private, files, threads))

    def run(self):
        while not self.stop.wait(self.every):
            with contextlib.suppress(OSError):
                self.sample()

    def end(self):
        self.stop.set()
        self.join()
        return self

    def slopes(self, since=0):
        """(seconds, of private memory, descriptors and threads: each a second) by least squares, of the samples from `since` on
        without the first third of them."""
        late = self.series[since + (len(self.series) - since) // 3:]
        times = [s[0] for s in late]
        return times[-1] - times[0], [statistics.linear_regression(times, [s[i] for s in late]).slope for i in (1, 2, 3)]


# ---- a bomb: a HAMT whose every shard has 256 times the same child ----

def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def cid_of(block):
    return bytes([1, 0x70, 0x12, 0x20]) + hashlib.sha256(block).digest()


def shard(child, last):
    unixfs = b"\x08\x05" + field(2, b"\xff" * 32) + b"\x28\x22\x30\x80\x02"
    links = b"".join(field(2, field(1, child) + field(2, b"%02X%s" % (i, b"name" if last else b"")) + b"\x18\x01") for i in range(256))
    return links + field(1, unixfs)


def bomb():
    """(root's bytes, a CAR of the blocks): 256^6 entries in seven blocks."""
    blocks, child = [field(1, b"\x08\x02\x12\x01x\x18\x01")], None
    for level in range(6):
        child = cid_of(blocks[-1])
        blocks.append(shard(child, level == 0))
    root = cid_of(blocks[-1])
    header = b"\xa2eroots\x81\xd8\x2a\x58\x25\x00" + root + b"gversion\x01"
    return root, varint(len(header)) + header + b"".join(varint(len(cid_of(b)) + len(b)) + cid_of(b) + b for b in blocks)


def in_threads(count, work):
    failed = []

    def one(i):
        try:
            work(i)
        except BaseException as e:
            failed.append(e)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failed:
        raise failed[0]


class Loads:
    """The loads, on nodes a (serves) and b (fetches)."""

    def __init__(self, test, lab, a, b):
        self.test, self.lab, self.a, self.b = test, lab, a, b

    def idle(self):
        time.sleep(1)  # what is measured is a second of rest

    def hostile(self, attack, seconds, root=None, work=None, until=None):
        """Attacks node a from many addresses; with `until` no longer than it takes until that is true."""
        address = self.a.address().split("/")
        command = [HOSTILE, "run", "--seconds", seconds, "--from", "10.77.0.100", "--sources", SOURCES]
        command += ["--root", root] if root else []
        command += ["--work", work] if work else []
        p = self.lab.popen(3, [*map(str, command), f"{address[2]}:{address[4]}", attack], stdout=subprocess.DEVNULL)
        if until:
            wait_for(attack, until, seconds)
            time.sleep(1)  # what is measured
            p.terminate()
        self.test.assertEqual(p.wait(seconds + 60), 0)

    def thousand_connections(self):
        self.hostile("idle-crowd", 120, work=CONNECTIONS, until=lambda: self.a.json("status")["peers_connected"] > CONNECTIONS * 0.95)

    def transfers(self):
        """200 files, fetched by 200 readers at a time."""
        folder = self.a.mount / "share/transfers"
        folder.mkdir()
        for i in range(200):
            (folder / f"f{i}").write_bytes(b"".join(pattern(2 * MIB, f"{time.time_ns()} {i}")))
        root = self.a.cid(folder)

        def read(i):
            path = self.b.mount / "ipfs" / root / f"f{i}"
            self.test.assertEqual(path.read_bytes(), (folder / f"f{i}").read_bytes())
        in_threads(200, read)
        self.remove(folder)

    def remove(self, folder):
        subprocess.run(["rm", "-rf", folder], check=True)
        for n in (self.a, self.b):
            n.run("gc", timeout=600 + NAMES // 500)

    def big_cp(self):
        """Pieces that come again after 960 MiB, so that the disk need not hold them all; each is hashed and counted."""
        pieces = list(pattern(64 * MIB, "cp"))
        with open(self.a.mount / "share/big", "wb") as f:
            for at in range(0, CP, MIB):
                piece = bytearray(pieces[at // MIB % 64])
                piece[:8] = (at // MIB % 960).to_bytes(8, "little")
                f.write(piece)
            os.fsync(f.fileno())
        (self.a.mount / "share/big").unlink()
        self.a.run("gc", timeout=600)

    def disk_image(self):
        """As mkfs leaves one: something here and there in a terabyte of holes."""
        path = self.a.mount / "share/image"
        with open(path, "wb") as f:
            f.truncate(1000 << 30)
            for gib in range(1000):
                f.seek((gib + 1 << 30) - 5000)
                f.write(b"group %d" % gib)
                f.flush()
            os.fsync(f.fileno())
        path.unlink()
        self.a.run("gc", timeout=600)

    def names(self):
        """A directory of many tiny files: made, walked, listed and walked from elsewhere, fetched whole, taken away."""
        folder = self.a.mount / "share/names"
        folder.mkdir()
        for i in range(NAMES):
            with open(folder / f"a name that is not so short {i:08}", "w") as f:
                f.write(f"tiny {i}")
        root = self.a.run("cid", folder, timeout=300 + NAMES // 500).stdout.split()[0]
        for node, path in ((self.a, folder), (self.b, self.b.mount / "ipfs" / root)):
            with os.scandir(path) as found:
                self.test.assertEqual(sum(1 for e in found if node is self.b or e.stat().st_size > 0), NAMES)
            wait_for("the kernel forgets most of what it was told", lambda: self.table_fits(node), 10 + NAMES // 20000)
        os.symlink(f"../ipfs/{root}", self.b.mount / "share/kept")
        wait_for("all are held", lambda: self.b.json("status")["store_wanted"] == 0 and
                 self.b.json("status")["store_blocks"] >= NAMES and not self.waits(), 600 + NAMES // 200)
        (self.b.mount / "share/kept").unlink()
        self.remove(folder)

    @staticmethod
    def table_fits(node):
        row = next(r for r in node.json_lines("limits") if r["name"] == "memory.table")
        return row["used"] <= int(row["value"][:-1]) << {"K": 10, "M": 20}[row["value"][-1]]

    def waits(self):
        return "not all here" in self.b.json("status")["state"]

    def hamt_bomb(self):
        """Seven blocks with 256^6 entries: found by path, listed for some seconds, kept."""
        root, car = bomb()
        path = self.a.home / "bomb.car"
        path.write_bytes(car)
        self.a.run("import", path)
        import base64
        cid = "b" + base64.b32encode(root).decode().lower().rstrip("=")
        lister = subprocess.Popen([sys.executable, "-c", f"import os\nn = 0\nfor e in os.scandir({str(self.b.mount / 'ipfs' / cid)!r}): n += 1"],
                                  stderr=subprocess.DEVNULL)
        with contextlib.suppress(OSError):
            os.stat(self.b.mount / "ipfs" / cid / "name")
        with contextlib.suppress(subprocess.TimeoutExpired):
            lister.wait(3)
        lister.kill()
        lister.wait(5)
        os.symlink(f"../ipfs/{cid}", self.b.mount / "share/bomb")
        wait_for("it is kept: each block once", lambda: not self.waits() and self.b.json("status")["store_wanted"] == 0, 30)
        (self.b.mount / "share/bomb").unlink()
        self.test.assertIn("share", os.listdir(self.b.mount), "and it answers")

    def want_list(self):
        """One peer wants a million blocks."""
        self.hostile("want-flood", 3, work=10**6)

    def want_floods(self):
        for attack in ("want-flood-deaf", "full-flood", "cancel-flood"):
            self.hostile(attack, 2)

    def slow_readers(self):
        path = self.a.mount / "share/slow"
        path.write_bytes(b"".join(pattern(64 * MIB, "slow")))
        self.hostile("slow-readers", 3, root=self.a.cid(path))
        path.unlink()


ALL_LOADS = "idle,thousand_connections,transfers,big_cp,disk_image,names,hamt_bomb,want_list,want_floods,slow_readers"
LOADS = os.environ.get("P2P_TEST_SWELL_LOADS", ALL_LOADS).split(",")


class Swell(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()
        if not os.access(HOSTILE, os.X_OK):
            raise unittest.SkipTest("needs HOSTILE_BIN")
        if SANITIZED:
            raise unittest.SkipTest("AddressSanitizer's memory says nothing")

    @classmethod
    def tearDownClass(cls):
        print(f"\n{'budget':8}{'load':24}{'node':>5}{'resident':>10}{'private':>11}{'charged':>13}{'fds':>6}{'threads':>9}",
              file=sys.stderr)
        print("\n".join(rows), file=sys.stderr)

    @contextlib.contextmanager
    def nodes(self, budget, more=""):
        with Lab(3) as lab:
            config = f"memory = {budget}M\nquota = 60G\nmax-connections = {CONNECTIONS * 3 // 2 + 50}\n{more}"
            a, b = lab.node(1, config=config), lab.node(2, config=config)
            for i in range(SOURCES):
                subprocess.run(["ip", "-n", lab.name(3), "addr", "add", f"10.77.0.{100 + i}/24", "dev", "eth0"], check=True)
            wait_for("they see each other", lambda: a.id in b.peers() and b.id in a.peers())
            yield lab, a, b
            for n in (a, b):
                self.assertEqual(n.stop(60), 0, n.tail())

    def check(self, budget, name, watches):
        for w in watches:
            status = w.node.json("status")
            rows.append(f"{budget:4} MiB  {name:22}{w.node.index:5}{w.rss / 1e6:7.1f} MB{w.private / 1e6:8.1f} MB"
                        f"{status['memory_peak'] / 1e6:10.1f} MB{w.files:6}{w.threads:9}")
            self.assertLessEqual(w.private, budget * MIB, f"{name}: the budget")
            self.assertLess(w.files, FILES, f"{name}: descriptors")
            self.assertLess(w.threads, THREADS, f"{name}: threads")
            if name == "idle":
                self.assertLess(w.rss, IDLE, "a node at rest")

    def loads(self, budget):
        with self.nodes(budget) as (lab, a, b):
            loads = Loads(self, lab, a, b)
            for name in LOADS:
                with self.subTest(budget=budget, load=name):
                    watches = [Watch(a), Watch(b)]
                    try:
                        getattr(loads, name)()
                    finally:
                        for w in watches:
                            w.end()
                    self.check(budget, name, watches)

    def test_budget_of_32(self):
        self.loads(32)

    if LONG:
        def test_budget_of_128(self):
            self.loads(128)

    def stream(self, lab, a, b, turn):
        """A service comes, is forwarded to, used by several programs at once, and goes; some leave without an end."""
        name, place = f"echo{turn % 3}", b.home / f"f{turn}"
        a.run("offer", name, "echo", "-a", "any")
        b.run("forward", "unix", place, f"{a.id}/{name}")
        data = random.Random(turn).randbytes(50000)
        for i in range(8):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                s.settimeout(60)
                s.connect(str(place))
                s.sendall(data)
                self.assertEqual(s.recv(1000, socket.MSG_WAITALL), data[:1000])
                if i % 2:
                    s.shutdown(socket.SHUT_WR)
                    while s.recv(65536):
                        pass
        b.run("forward", "-r", "unix", place)
        a.run("offer", name, "-r")

    def churn(self, lab, a, b, end):
        """Files, folders, services and collections until `end`, and TURNS at least; returns the number of turns."""
        rng, turn = random.Random(1), 0
        while turn < TURNS or time.monotonic() < end:
            turn += 1
            path = a.mount / f"share/f{turn % 20}"
            data = rng.randbytes(rng.choice((100, 70000, 3 * MIB)))
            path.write_bytes(data)
            self.assertEqual((b.mount / "ipfs" / a.cid(path)).read_bytes(), data)
            folder = a.mount / f"share/d{turn % 5}"
            if folder.exists():
                subprocess.run(["rm", "-r", folder], check=True)
            folder.mkdir()
            for i in range(200):
                (folder / f"{i}").write_bytes(b"%d %d" % (turn, i))
            os.listdir(b.mount / "ipfs" / a.cid(folder))
            self.stream(lab, a, b, turn)
            if turn % 10 == 0:
                for n in (a, b):
                    n.run("gc", timeout=120)
        return turn

    def test_soak(self):
        """Connections, transfers, streams, files and collections come and go: memory, descriptors and threads stay."""
        with self.nodes(64) as (lab, a, b):
            address = a.address().split("/")
            crowd = lab.popen(3, [HOSTILE, "run", "--seconds", 100 * SOAK, "--from", "10.77.0.100", "--sources", SOURCES,
                                  f"{address[2]}:{address[4]}", "thrash-secured"], stdout=subprocess.DEVNULL)
            watches = [Watch(a, max(0.05, SOAK / 2000)), Watch(b, max(0.05, SOAK / 2000))]
            for _ in range(PERIODS):
                grown = self.soak_once(lab, a, b, watches)
                if not grown:
                    break
            self.assertIsNone(crowd.poll(), "the crowd was there to the end")
            crowd.terminate()
            crowd.wait(30)
            for w in watches:
                w.end()
            self.assertEqual(grown, [])
            self.check(64, "soak", watches)

    def soak_once(self, lab, a, b, watches):
        """What rose by more than it may."""
        begin, since, grown = time.monotonic(), [len(w.series) for w in watches], []
        turns = self.churn(lab, a, b, begin + SOAK)
        for w, first in zip(watches, since):
            seconds, slopes = w.slopes(first)
            rows.append(f"soak of {time.monotonic() - begin:.0f} s, {turns} turns, node {w.node.index}: private memory "
                        f"{slopes[0] * 3.6 / 1000:+.2f} MB, descriptors {slopes[1] * 3600:+.1f}, threads {slopes[2] * 3600:+.1f} an hour")
            grown += [f"{what} of node {w.node.index}: {slope * seconds:.0f}"
                      for what, slope, most in zip(("private memory", "descriptors", "threads"), slopes, GROWTH) if slope * seconds >= most]
        return grown


if __name__ == "__main__":
    unittest.main(verbosity=2)
