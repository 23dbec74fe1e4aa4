#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Never hang (MOUNT.md 4.1 to 4.8): whole nodes whose reads wait, for content that nobody has, for peers that stop, for a disk that stalls.

What is stuck lets go at once when it is told to, everything else goes on as if nothing waited, and every wait stands in .p2p/waiting.
Latencies are compared with those of the same node when nothing waits, in the same run. Ends with the table of what was measured.

By hand, more rounds: P2P_TEST_HANG=100 hang.py
"""
import base64, contextlib, hashlib, http.client, mmap, os, pathlib, shutil, signal, socket, statistics, subprocess, sys, threading, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo
from clock import Clock
from lab import P2P, Lab, child, end, need, pattern, wait_for, write_pattern

ROUNDS = int(os.environ.get("P2P_TEST_HANG", "12"))
STALL = os.environ.get("STALL_LIB")
SANITIZED = os.access(P2P, os.R_OK) and b"__asan_init" in pathlib.Path(P2P).read_bytes()
SLOWER = 5 if SANITIZED else 1
HICCUP = 0.5 * SLOWER  # of a busy machine: of many the median is judged, one alone may meet it. What is stuck would stay so for two minutes
CONFIG = "timeout-read = 120s\ntimeout-metadata = 120s\n"  # what is stuck stays so until it is told to let go
MIB = 1 << 20
rows = []


def ms(seconds):
    return f"{seconds * 1000:.2f} ms"


def note(what, figure):
    rows.append(f"{what:64}{figure}")


def absent(name, codec=0x55):
    """The CID of a block that no node holds."""
    bytes_ = bytes([1, codec, 0x12, 0x20]) + hashlib.sha256(f"absent {name}".encode()).digest()
    return "b" + base64.b32encode(bytes_).decode().lower().rstrip("=")


def waiting(node):
    """pid → line of the node's .p2p/waiting."""
    lines = (node.mount / ".p2p/waiting").read_text().splitlines()
    return {int(l.split("\t")[0]): l for l in lines if not l.startswith("#")}


def read_at(path, at):
    fd = os.open(path, os.O_RDONLY)
    os.pread(fd, 4096, at)


def listed(node, pids, what):
    wait_for(f"{what}: all stand in .p2p/waiting", lambda: set(pids) <= set(waiting(node)))


def reap(pids, timeout=10.0):
    """Waits until all have ended; their exit statuses."""
    statuses = []
    for pid in pids:
        done = wait_for(f"process {pid} ends", lambda: os.waitpid(pid, os.WNOHANG)[0] == pid and [0], timeout)
        statuses.append(done)
    return statuses


class Latency:
    """What a user does meanwhile, measured call by call."""

    def __init__(self, node):
        m = self.m = node.mount
        self.piece = b"".join(pattern(MIB, "latency"))
        self.turn = 0
        self.room = mmap.mmap(-1, MIB)
        (m / "share/held").write_bytes(self.piece)
        self.source = node.home / "source"
        self.source.write_bytes(self.piece)
        self.calls = {
            "ls": lambda: [os.listdir(m / d) for d in ("", "ipfs", "peers", "share")],
            "df": lambda: os.statvfs(m),
            "stat": self.stat,
            "cat status": lambda: (m / "status").read_text(),
            "read 1 MiB that is held": self.read,
            "cp 1 MiB into share/": self.copy,
        }

    def stat(self):
        """Of names that the kernel has not seen, so that the node has to answer."""
        self.turn += 1
        for name in ("share/none", "ipfs/none", "none"):
            with contextlib.suppress(FileNotFoundError):
                os.stat(self.m / f"{name}-{self.turn}")

    def read(self):
        """Past the kernel's cache."""
        fd = os.open(self.m / "share/held", os.O_RDONLY | os.O_DIRECT)
        try:
            os.preadv(fd, [self.room], 0)
        finally:
            os.close(fd)
        if self.room[:] != self.piece:
            raise AssertionError("what is held was read wrong")

    def copy(self):
        self.turn += 1
        shutil.copyfile(self.source, self.m / f"share/copy-{self.turn % 8}")

    def measure(self, *names):
        result = {}
        for name in names or self.calls:
            took = []
            for _ in range(max(15, ROUNDS)):
                start = time.monotonic()
                self.calls[name]()
                took.append(time.monotonic() - start)
            result[name] = took
        return result


class Hang(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()
        cls.stack = contextlib.ExitStack()

    @classmethod
    def tearDownClass(cls):
        print("\n" + "\n".join(rows), file=sys.stderr)

    def compare(self, title, idle, now):
        """Normal speed: the median is below 10 ms, or no more than three times that of the idle node."""
        for name, took in now.items():
            a, b = statistics.median(idle[name]), statistics.median(took)
            note(f"{title}: {name}", f"median {ms(b)}, worst {ms(max(took))}; idle {ms(a)}, {ms(max(idle[name]))}")
            self.assertLess(b, max(0.010 * SLOWER, 3 * a), f"{title}: {name}")

    def half_held(self, lab):
        """A node that holds the roots of a file of 128 MiB and of a large directory, and nothing else of them; nobody else has them."""
        a, b = lab.node(1, config=CONFIG), lab.node(2, config=CONFIG)
        wait_for("they see each other", lambda: a.id in b.peers())
        write_pattern(b.mount / "share/big", 128 * MIB, "big")
        (b.mount / "share/dir").mkdir()
        for i in range(3000):  # enough for a HAMT, whose listing needs its shards
            (b.mount / f"share/dir/{'long name ' * 8}{i}").write_bytes(b"x")
        paths = [a.mount / "ipfs" / b.cid(b.mount / "share" / name) for name in ("big", "dir")]
        for path in paths:
            os.stat(path)
        b.kill()
        wait_for("the peer is gone", lambda: not any(p["connected"] for p in a.json_lines("peers")))
        return a, paths[0], paths[1]

    def test_1_signals(self):
        """SIGINT and SIGKILL on a stuck stat, open, read, readdir; beside the same on a process that waits for a pipe."""
        with Lab(2) as lab:
            a, big, folder = self.half_held(lab)
            ipfs, pipe = a.mount / "ipfs", os.pipe()
            calls = {
                "stat": lambda i: os.stat(ipfs / absent(f"stat {i}", 0x70)),
                "open": lambda i: os.open(ipfs / absent(f"open {i}", 0x70), os.O_RDONLY),
                "fstat": lambda i: os.fstat(os.open(ipfs / absent(f"fstat {i}"), os.O_RDONLY)),  # a raw block is a file, and opens
                "path": lambda i: os.stat(ipfs / absent(f"path {i}", 0x70) / "a/b"),
                "read": lambda i: read_at(big, i * 3 * MIB + 12345),
                "readdir": lambda i: os.listdir(folder),
            }
            for number in (signal.SIGINT, signal.SIGKILL):
                own = end([child(lambda: os.read(pipe[0], 1)) for _ in range(ROUNDS)], number)
                note(f"{number.name} on a process that waits for a pipe", f"median {ms(statistics.median(own))}, worst {ms(max(own))}")
                for name, call in calls.items():
                    # one directory is listed by one process at a time: the kernel's lock
                    groups = [[i] for i in range(ROUNDS)] if name == "readdir" else [range(ROUNDS)]
                    took = []
                    for group in groups:
                        pids = [child(lambda i=i: call(f"{number} {i}" if name in ("stat", "open", "fstat", "path") else i)) for i in group]
                        listed(a, pids, name)
                        took += end(pids, number)
                    note(f"{number.name} on a stuck {name}", f"median {ms(statistics.median(took))}, worst {ms(max(took))}")
                    self.assertLess(statistics.median(took), 0.050, f"{number.name} on a stuck {name}")
                    self.assertLess(max(took), max(own) + HICCUP, f"{number.name} on a stuck {name}, the worst")
            wait_for("nothing waits any more", lambda: not waiting(a), 60)

    def test_2_two_hundred(self):
        """200 reads wait, half of them in lookups; the node does everything else as when idle."""
        with Lab(2) as lab:
            a, big, _ = self.half_held(lab)
            latency = Latency(a)
            latency.measure()  # the first one has to learn
            idle = latency.measure()
            pids = [child(lambda i=i: (a.mount / "ipfs" / absent(f"200 {i}", 0x70 if i % 2 else 0x55)).read_bytes()) for i in range(100)]
            pids += [child(lambda i=i: read_at(big, i * MIB + 4096)) for i in range(100)]
            listed(a, pids, "200 reads")
            self.compare("200 stuck reads", idle, latency.measure())
            took = end(pids, signal.SIGKILL)
            note("200 stuck reads: SIGKILL on each", f"median {ms(statistics.median(took))}, worst {ms(max(took))}")
            wait_for("nothing waits any more", lambda: not waiting(a), 60)

    def test_3_unmount(self):
        """p2p down, fusermount3 -u and kill -9 while 40 reads wait: each ends them, and the next start works."""
        with Lab(1) as lab:
            a = lab.node(1, config=CONFIG)
            (a.mount / "share/kept").write_bytes(b"kept")
            stick = lambda: [child(lambda i=i: (a.mount / "ipfs" / absent(i, 0x70)).read_bytes()) for i in range(40)]

            pids = stick()
            listed(a, pids, "40 reads")
            busy = subprocess.run(["fusermount3", "-u", a.mount], capture_output=True, text=True, timeout=5)
            self.assertNotEqual(busy.returncode, 0, "the kernel says that it is busy, at once")
            self.assertEqual((a.mount / "share/kept").read_bytes(), b"kept", "and it goes on")
            self.timed_end("p2p down while 40 reads wait", a, pids, lambda: a.run("down", timeout=20))

            a.start()
            pids = stick()
            listed(a, pids, "40 reads")
            subprocess.run(["fusermount3", "-u", "-z", a.mount], check=True, timeout=5)
            self.timed_end("fusermount3 -u -z, then SIGKILL to 40 reads", a, pids, lambda: end(pids, signal.SIGKILL), reaped=True)

            a.start()
            self.timed_end("fusermount3 -u from outside", a, [], lambda: subprocess.run(["fusermount3", "-u", a.mount], check=True, timeout=5))

            a.start()
            pids = stick()
            listed(a, pids, "40 reads")
            self.timed_end("kill -9 of the node while 40 reads wait", a, pids, a.kill)
            with self.assertRaises(OSError):
                os.stat(a.mount / "share/kept")  # the mount is dead
            start = time.monotonic()
            a.start()
            note("start onto the dead mount", ms(time.monotonic() - start))
            self.assertEqual((a.mount / "share/kept").read_bytes(), b"kept")

    def timed_end(self, what, node, pids, act, reaped=False):
        start = time.monotonic()
        act()
        if not reaped:
            reap(pids)
        free = time.monotonic() - start
        node.process.wait(20)
        note(what, f"all free after {ms(free)}, the node gone after {ms(time.monotonic() - start)}")
        self.assertLess(time.monotonic() - start, 5 * SLOWER, what)

    def test_12_temporary_file(self):
        """p2p down while a program has a file open that it wrote and removed."""
        with Lab(1) as lab:
            a = lab.node(1, config=CONFIG)
            with open(a.mount / "share/temporary", "wb", buffering=0) as f:
                f.write(b"nobody will see it")
                os.unlink(f.name)
                begun = time.monotonic()
                a.run("down", timeout=60)
                self.assertLess(time.monotonic() - begun, 10)
                with contextlib.suppress(OSError):  # the mount is gone
                    f.close()

    def test_4_stopped_peer(self):
        """SIGSTOP of a peer in the middle of a transfer: it is in `waiting`, lets go, and goes on when the peer does or another has it."""
        with Lab(3) as lab:
            b = lab.node(2, config=CONFIG)
            c = lab.node(3, config=CONFIG)
            a = lab.node(1, config=CONFIG + "download-limit = 8M\n")
            wait_for("they see each other", lambda: {b.id, c.id} <= set(a.peers()))
            data = b"".join(pattern(24 * MIB, "film"))
            (b.mount / "share/film").write_bytes(data)
            path = a.mount / "ipfs" / b.cid(b.mount / "share/film")
            latency = Latency(a)
            latency.measure()
            idle = latency.measure()
            used = lambda: a.json("status")["store_used"]
            pid, begin = child(path.read_bytes), used()
            wait_for("some of it came", lambda: used() > begin + 4 * MIB)
            b.signal(signal.SIGSTOP)
            try:
                listed(a, [pid], "the read")
                self.compare("a stopped peer", idle, latency.measure("ls", "stat", "cat status", "read 1 MiB that is held"))
                took = end([pid], signal.SIGINT)
                note("a stopped peer: SIGINT on the read", ms(took[0]))
                self.assertLess(took[0], HICCUP)
                pid = child(path.read_bytes)
                listed(a, [pid], "the read")
            finally:
                b.signal(signal.SIGCONT)
            self.assertEqual(path.read_bytes(), data, "goes on when the peer does")
            reap([pid], 60)

            other = b"".join(pattern(24 * MIB, "other"))
            for n in (b, c):
                (n.mount / "share/other").write_bytes(other)
            path = a.mount / "ipfs" / b.cid(b.mount / "share/other")
            begin, start = used(), time.monotonic()
            got = []
            reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
            reader.start()
            wait_for("some of it came", lambda: used() > begin + 4 * MIB)
            b.signal(signal.SIGSTOP)
            stopped = time.monotonic()
            try:
                reader.join(60)
                note("one of two peers stopped: 24 MiB at 8 MiB/s", f"{time.monotonic() - start:.1f} s, "
                     f"{time.monotonic() - stopped:.1f} s after it stopped")
                self.assertEqual(got, [other], "the other peer brings the rest")
            finally:
                b.signal(signal.SIGCONT)

    def test_5_silent_peer(self):
        """Something that accepts and says nothing: a connect to it ends, by itself or on Ctrl-C, and nobody waits with it."""
        with Lab(2) as lab:
            a = lab.node(1, config=CONFIG)
            silent = lab.popen(2, [sys.executable, "-c", "import socket,time\ns=socket.create_server(('10.77.0.2',0))\n"
                                   "print(s.getsockname()[1],flush=True)\nk=[]\nwhile True: k.append(s.accept())"],
                               stdout=subprocess.PIPE, text=True)
            with silent.stdout as out:
                address = f"/ip4/10.77.0.2/tcp/{out.readline().strip()}"
            latency = Latency(a)
            latency.measure()
            idle = latency.measure()
            start = time.monotonic()
            connect = subprocess.Popen(lab.enter(1) + [P2P, "connect", address], env=a.env, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, text=True)
            self.compare("a silent peer", idle, latency.measure())
            said, _ = connect.communicate(timeout=60)
            note("connect to a peer that accepts and says nothing", f"fails after {time.monotonic() - start:.1f} s: {said.strip()[:90]}")
            self.assertNotEqual(connect.returncode, 0)
            connect = subprocess.Popen(lab.enter(1) + [P2P, "connect", address], env=a.env, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            wait_for("it asked", lambda: connect.poll() is None and os.listdir(f"/proc/{connect.pid}/fd"))
            took = time.monotonic()
            connect.send_signal(signal.SIGINT)
            connect.wait(5)
            note("connect to a silent peer: Ctrl-C", ms(time.monotonic() - took))

    def test_6_disk(self):
        """The disk answers no write for a while: what is held is read, writes wait and are let go, and then everything is there."""
        if not STALL or not os.path.exists(STALL):
            self.skipTest("needs the library stall (STALL_LIB)")
        with Lab(2) as lab:
            b = lab.node(2, config=CONFIG)
            stalled = lab.dir / "stalled"
            a = lab.node(1, config=CONFIG + "memory = 32M\n",
                         env={"LD_PRELOAD": STALL, "STALL_FILE": str(stalled), "ASAN_OPTIONS": "verify_asan_link_order=0"})
            wait_for("they see each other", lambda: a.id in b.peers())
            latency = Latency(a)
            latency.measure()
            idle = latency.measure()
            fresh, big = b"".join(pattern(MIB, "fresh")), b"".join(pattern(64 * MIB, "big"))
            stalled.touch()
            (a.mount / "share/fresh").write_bytes(fresh)  # held in memory only
            pids = {
                "fsync": child(lambda: os.fsync(os.open(a.mount / "share/fresh", os.O_RDONLY))),
                "write": child(lambda: (a.mount / "share/big").write_bytes(big)),
            }
            listed(a, pids.values(), "fsync, and a write beyond the budget")
            names = [n for n in latency.calls if not n.startswith("cp")]
            self.compare("a stalled disk", idle, latency.measure(*names))
            self.assertEqual((a.mount / "share/fresh").read_bytes(), fresh, "what is only in memory is read")
            path = b.mount / "ipfs" / a.cid(a.mount / "share/held")
            self.assertEqual(path.read_bytes(), latency.piece, "and given to peers")
            for what, pid in pids.items():
                took = end([pid], signal.SIGINT)
                note(f"a stalled disk: SIGINT on {what}", ms(took[0]))
                self.assertLess(took[0], HICCUP, f"SIGINT on {what}")
            pid = child(lambda: (a.mount / "share/late").write_bytes(big))
            listed(a, [pid], "a write beyond the budget")
            stalled.unlink()
            reap([pid], 60)
            self.assertEqual((a.mount / "share/late").read_bytes(), big)
            self.assertEqual((a.mount / "share/fresh").read_bytes(), fresh)
            self.assertEqual(a.run("verify", timeout=120).returncode, 0)
            wait_for("nothing waits any more", lambda: not waiting(a))

    def test_7_memory(self):
        """What was written last has all memory, and what was written before it has to be read again to finish the file."""
        with solo.Solo(solo.QUIET + "memory = 128M\n") as node:
            node.start()
            with open(node.share / "image", "wb") as f:
                f.write(b"short")
                f.flush()
                os.fsync(f.fileno())
                for i in range(1, 33):
                    f.seek(i * MIB + 1000000)
                    f.write(b"%d" % i)
                    f.flush()
                (node.home / "config").write_text(solo.QUIET + "memory = 32M\n")
                node.process.send_signal(signal.SIGHUP)
                wait_for("there is less than what waits takes", lambda: node.limit("memory")["value"] == "32M" and
                         node.limit("memory.write")["used"] > 20 * MIB)
                reap([child(lambda: os.fsync(f.fileno()))], 30)
            image = (node.share / "image").read_bytes()
            self.assertEqual(hashlib.sha256(image).hexdigest(), self.image_as_written(), "and it is what was written")

    def test_10_exports(self):
        """What one remembers of the blocks that it has sent is the memory that the other lacks."""
        with solo.Solo(solo.QUIET + "memory = 16M\n") as node:
            node.start()
            inner = node.share / "outer" / "inner"
            for i in range(34):
                (inner / str(i)).mkdir(parents=True)
                for k in range(1000):
                    (inner / str(i) / str(k)).write_text(f"{i} {k}")
            cids = [node.run("cid", path).stdout.split()[0] for path in (inner, inner.parent)]
            alone = [node.raw("GET", f"/v1/export?path={cid}")[1] for cid in cids]
            connection = http.client.HTTPConnection("p2p")
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(60)
            connection.sock.connect(str(node.home / "run" / "control"))
            connection.request("GET", f"/v1/export?path={cids[0]}")
            slow = connection.getresponse()
            begun = slow.read(1500000)  # and then nothing for a while: more than half of what one may remember is in use
            self.assertEqual(node.raw("GET", f"/v1/export?path={cids[1]}", timeout=40)[1], alone[1])
            self.assertEqual(begun + slow.read(), alone[0])
            connection.close()

    @staticmethod
    def image_as_written():
        image = bytearray(32 * MIB + 1000002)
        image[:5] = b"short"
        for i in range(1, 33):
            text = b"%d" % i
            image[i * MIB + 1000000:i * MIB + 1000000 + len(text)] = text
        return hashlib.sha256(image).hexdigest()

    def test_8_writers_without_end(self):
        """A folder's CID is asked for while programs write and sync files in it, and write small ones again and again."""
        with solo.Solo() as node:
            node.start()
            loops = [f"while :; do head -c 20000000 /dev/zero >{node.share}/{i}; sync {node.share}/{i}; done" for i in range(3)]
            loops += [f"while :; do echo $((n++)) >{node.share}/small{i}; done" for i in range(6)]
            took = []
            with contextlib.ExitStack() as ends:
                for loop in loops:
                    p = ends.enter_context(subprocess.Popen(["bash", "-c", loop]))
                    ends.callback(p.kill)
                wait_for("they write", lambda: len(os.listdir(node.share)) == len(loops))
                for _ in range(8):
                    begun = time.monotonic()
                    self.assertEqual(node.run("cid", node.share).returncode, 0)
                    took.append(time.monotonic() - begun)
            note("writers without end: the CID of their folder, median", ms(statistics.median(took)))
            note("at most", ms(max(took)))
            self.assertLess(max(took), 8, "it does not wait for those who go on")

    def test_9_image_on_a_stalled_disk(self):
        """A sparse file has more bytes of nodes above its chunks than there is memory, and the disk takes none of them for a while."""
        if not STALL or not os.path.exists(STALL):
            self.skipTest("needs the library stall (STALL_LIB)")
        with solo.Solo(solo.QUIET + "memory = 16M\n") as node:
            stalled = node.home / "stalled"
            node.env.update(LD_PRELOAD=STALL, STALL_FILE=str(stalled), ASAN_OPTIONS="verify_asan_link_order=0")
            node.start()
            with open(node.share / "image", "wb") as f:
                for gib in range(1, 401):
                    f.seek((gib << 30) - MIB)
                    f.write(b"x" * MIB)
                    f.flush()

                def stored():
                    os.pwrite(f.fileno(), b"y", (1 << 30) - MIB)  # else what is not written for 5 s is finished
                    return node.limit("memory.write")["used"] <= 2 * MIB
                wait_for("the chunks are stored", stored)
                stalled.touch()
                pid = child(lambda: os.fsync(f.fileno()))
                wait_for("it waits for memory", lambda: any("memory" in r["why"] for r in node.rows("/v1/waiting")))
                private = sum(int(line.split()[1]) << 10 for line in
                              pathlib.Path(f"/proc/{node.process.pid}/smaps_rollup").read_text().splitlines() if "Anonymous" in line)
                stalled.unlink()
                reap([pid], 60)
            note("a sparse file on a stalled disk: private memory", f"{private / MIB:.1f} MiB")
            if not SANITIZED:
                self.assertLess(private, 16 * MIB)

    def test_11_short_again(self):
        """A stat of a CAR finds no memory and is given up; the next that finds none, long after, waits as the first did."""
        if not STALL or not os.path.exists(STALL):
            self.skipTest("needs the library stall (STALL_LIB)")
        with solo.Solo(solo.QUIET + "memory = 16M\n") as node:
            stalled = node.home / "stalled"
            clock = Clock(node.home / "clock")
            node.env.update(clock.env)
            node.env.update(LD_PRELOAD=f"{STALL}:{clock.env['LD_PRELOAD']}", STALL_FILE=str(stalled))
            node.start()
            (node.share / "x").write_bytes(b"x")
            car = node.mount / "ipfs" / (node.run("cid", node.share / "x").stdout.split()[0] + ".car")
            names = [node.share / str(i) for i in range(24)]
            for name in names:
                name.touch()
            for _ in range(2):
                stalled.touch()
                writers = [child(lambda name=name: name.write_bytes(os.urandom(3 * MIB))) for name in names]
                wait_for("those who wait have all memory", lambda: node.limit("memory.table")["used"] > 16 * MIB)
                with self.assertRaises(subprocess.TimeoutExpired):
                    subprocess.run(["stat", car], timeout=1.5)
                stalled.unlink()
                reap(writers, 60)
                clock.forward(21, node.status)
            self.assertEqual(subprocess.run(["stat", car], timeout=10, stdout=subprocess.DEVNULL).returncode, 0)

    def test_13_interrupted_append(self):
        """A part of an append is taken, a signal comes: the write says so, or the program writes all of it once more, behind that part."""
        if not STALL or not os.path.exists(STALL):
            self.skipTest("needs the library stall (STALL_LIB)")
        with solo.Solo(solo.QUIET + "memory = 16M\n") as node:
            stalled, told = node.home / "stalled", node.home / "told"
            node.env.update(LD_PRELOAD=STALL, STALL_FILE=str(stalled), ASAN_OPTIONS="verify_asan_link_order=0")
            node.start()
            log = node.share / "log"

            def append():
                signal.signal(signal.SIGUSR1, lambda *_: (log.stat(), stalled.unlink()))  # the kernel knows the size again
                fd = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
                total = os.write(fd, b"x" * 100)  # chunks begin within the writes
                while stalled.exists():
                    total += os.write(fd, bytes(MIB))
                total += os.write(fd, b"end")
                told.write_text(str(total))
            stalled.touch()
            pid = child(append)
            wait_for("it waits for memory", lambda: any(r["pid"] == pid and "memory" in r["why"] for r in node.rows("/v1/waiting")))
            os.kill(pid, signal.SIGUSR1)
            reap([pid], 60)
            self.assertEqual(log.stat().st_size, int(told.read_text()))


if __name__ == "__main__":
    unittest.main(verbosity=2)
