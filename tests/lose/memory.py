#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A peer fetches a file of several MB, and bytes go through a stream, while every n-th big allocation of one of the nodes fails: of
the one that has them, or of the one that fetches. Neither ends, what arrives is right, what does not is told as an error, the next try
after the fault has all of it, and what was charged to the budget is given back.

P2P_MEMORY_ROUNDS: files for each n."""
import base64, contextlib, errno, hashlib, os, pathlib, subprocess, sys, threading, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo
from solo import FAIL, FOREVER, MEMORY

ROUNDS = int(os.environ.get("P2P_MEMORY_ROUNDS", "2"))
SIZE = 5 << 20
QUIET_BYTES = 1 << 20
EVERY = (1, 2, 3, 7, 20)
CONFIG = solo.QUIET + "timeout-read = 2s\ntimeout-metadata = 2s\n"
MAY_SAY = {errno.ENOMEM, errno.EIO, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EAGAIN, errno.EBUSY}


def content(number, size=SIZE):
    return hashlib.shake_128(f"memory {number}".encode()).digest(size)


def peers_file(count, addresses=20):
    """As peerstore.c saves them."""
    now = time.time_ns().to_bytes(8, "big")
    out = b"p2ppeers\x01" + bytes([count & 127 | 128, count >> 7])
    for i in range(count):
        out += b"\x26\x00\x24\x08\x01\x12\x20" + i.to_bytes(32, "big") + b"\x00" + now + b"\x04test" + bytes([addresses])
        for k in range(addresses):
            out += b"\x02" + b"\xff" * 8 + now + b"\x08\x04\x0a\x09" + bytes([i % 256, k]) + b"\x06\x0f\xa1"
    return out


class Memory(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        solo.need()
        program = pathlib.Path(solo.P2P).read_bytes()
        if b"__asan_init" in program or b"__tsan_init" in program:
            raise unittest.SkipTest("sanitizers have a malloc of their own, which does not fail")

    def setUp(self):
        self.number = 0
        self.has, self.fetches = (self.enterContext(solo.Solo(CONFIG)).start(True) for _ in range(2))
        self.connect()

    def address(self, node):
        status = node.status()
        at = next(a for a in status["addresses"] if "/ip4/127.0.0.1/tcp/" in a)
        return at if "/p2p/" in at else f"{at}/p2p/{status['id']}"

    def connect(self):
        end = time.monotonic() + 10
        while True:
            p = self.fetches.run("connect", self.address(self.has))
            if p.returncode == 0:
                return
            self.assertLess(time.monotonic(), end, p.stderr)

    def made(self):
        """The CID of a file that nobody else has, and its bytes"""
        self.number += 1
        data = content(self.number)
        path = self.has.share / "file"
        path.write_bytes(data)
        return self.has.request("GET", "/v1/cid?path=share/file")["cid"], data

    def alive(self, where):
        for node in self.has, self.fetches:
            self.assertIsNone(node.process.poll(), f"{where}: a node ended with {node.process.returncode}\n{node.tail()}")

    def given_back(self):
        """Without the other one the connection's memory is given back, whatever became of its streams."""
        self.fetches.run("disconnect", self.has.status()["id"])
        for node in self.has, self.fetches:
            used = lambda: next(row["used"] for row in node.rows("/v1/limits") if row["name"] == "memory.net")
            end = time.monotonic() + 10
            while used() > QUIET_BYTES:
                self.assertLess(time.monotonic(), end, f"{used()} bytes are charged to an idle network")
                time.sleep(0.05)

    def fetched(self, node, every, where):
        """How often it struck while a file was fetched, and whether that was told"""
        failed, (cid, data) = 0, self.made()
        at = self.fetches.mount / "ipfs" / cid
        node.disk.arm(1, FAIL, MEMORY, errno.ENOMEM, FOREVER, every)
        try:
            self.assertEqual(at.read_bytes(), data, where)
        except OSError as e:
            self.assertIn(e.errno, MAY_SAY, f"{where}: {e}")
            failed = 1
        struck = node.disk.struck
        node.disk.disarm()
        self.alive(where)
        self.again(at, data, where)
        return struck, failed

    def test_a_file(self):
        struck = failed = 0
        for node, who in (self.fetches, "who fetches"), (self.has, "who has it"):  # who has fetched nothing so far has no memory to use again
            for every in EVERY:
                for _ in range(ROUNDS):
                    s, f = self.fetched(node, every, f"each {every} of {who}")
                    struck, failed = struck + s, failed + f
        self.assertGreater(struck, 0)
        self.given_back()
        print(f"{struck} allocations failed, {failed} reads told so", file=sys.stderr)

    def again(self, at, data, where):
        end = time.monotonic() + 15
        while True:
            try:
                self.assertEqual(at.read_bytes(), data, where)
                return
            except OSError as e:
                self.assertIn(e.errno, MAY_SAY, where)
                self.assertLess(time.monotonic(), end, f"{where}: {e}")
            self.connect()

    def dial(self, service, **kw):
        return subprocess.Popen([solo.P2P, "dial", f"{self.has.status()['id']}/{service}"], env=self.fetches.env, stdout=subprocess.PIPE, bufsize=0,
                                stderr=subprocess.PIPE, **kw)

    def offer(self, *args):
        p = self.has.run("offer", "-a", "any", *args)
        self.assertEqual(p.returncode, 0, p.stderr)

    def test_the_peers_that_it_knows(self):
        """Their list is as long as all who were here make it, and is saved in the end, too: without memory what was saved before stays."""
        node, peers = self.fetches, self.fetches.home / "state" / "peers"
        node.stop()
        peers.write_bytes(peers_file(1500))
        node.start(True)
        before = peers.read_bytes()
        node.disk.arm(1, FAIL, MEMORY, errno.ENOMEM, FOREVER, 1)
        node.stop()
        self.assertTrue(peers.read_bytes() == before)

    def test_a_stream(self):
        """A reader that begins late: what came waits in memory that is not there."""
        (self.has.home / "bytes").write_bytes(content(0))
        self.offer("bytes", "exec", "/bin/cat", str(self.has.home / "bytes"))
        struck = ended = 0
        for node, who in (self.has, "who offers"), (self.fetches, "who dials"):
            for every in EVERY:
                where = f"each {every} of {who}"
                node.disk.arm(1, FAIL, MEMORY, errno.ENOMEM, FOREVER, every)
                p = self.dial("bytes", stdin=subprocess.DEVNULL)
                got = p.stdout.read(1)
                end = time.monotonic() + 1
                while not node.disk.struck and time.monotonic() < end:
                    time.sleep(0.01)
                got += p.communicate(timeout=60)[0]
                struck += node.disk.struck
                node.disk.disarm()
                self.alive(where)
                self.assertEqual(got, content(0)[:len(got)], where)
                ended += got != content(0)
                self.assertEqual(p.returncode == 0, got == content(0), f"{where}: {len(got)} bytes")
                self.connect()
                self.assertEqual(self.dial("bytes", stdin=subprocess.DEVNULL).communicate(timeout=60)[0], content(0), where)
        self.given_back()
        print(f"{struck} allocations failed, {ended} streams were cut and told so", file=sys.stderr)

    def test_a_live_stream(self):
        """What listeners did not take is skipped; who feeds is never held up."""
        self.offer("radio", "live")
        p = self.dial("radio", stdin=subprocess.DEVNULL)
        struck = 0
        for every in EVERY:
            self.has.disk.arm(1, FAIL, MEMORY, errno.ENOMEM, FOREVER, every)
            fed = subprocess.run([solo.P2P, "offer", "radio", "--feed"], env=self.has.env, input=content(0), capture_output=True, timeout=60)
            struck += self.has.disk.struck
            self.has.disk.disarm()
            self.alive(f"each {every}")
            self.assertEqual(fed.returncode, 0, fed.stderr)
        p.kill()
        p.communicate()
        print(f"{struck} allocations failed", file=sys.stderr)

    def test_commands(self):
        """Big things through the control socket, and texts of the mount"""
        node, struck, told = self.fetches, 0, 0
        place = node.home / "given"
        place.mkdir()
        (place / "big").write_bytes(content(0))
        for i in range(3000):
            (place / f"a name that is long enough for a long listing {i}").touch()
        cid, held = (node.run("add", path).stdout.split()[0] for path in (place, self.held(node)))
        car, got = node.home / "car", node.home / "got"
        for path in node.home / "names", node.share / "names":
            path.mkdir()
            for i in range(3000):
                (path / f"a name that is long enough for a long listing {i}").touch()
        waits = (["add", node.home / "names"], ["cat", f"{held}/big"], ["export", "-o", car, held], ["get", "-o", got, held], ["ls", held])
        commands = waits + (["cid", node.share / "names"], ["add", place], ["import", car], ["pin", cid], ["unpin", cid], ["verify"], ["gc"], ["limits"], ["peers"], ["status"])
        for every, until in [(n, 1.0) for n in EVERY] + [(1, None)]:
            for command in commands:
                where = f"each {every}{'' if until else ' until it ended'}: p2p {command[0]}"
                subprocess.run(["rm", "-rf", got], check=True)
                (node.share / "names" / f"to be told {struck}").touch()
                node.disk.arm(1, FAIL, MEMORY, errno.ENOMEM, FOREVER, every)
                timer = threading.Timer(until or 600, node.disk.disarm)
                timer.start()
                p = subprocess.run([solo.P2P, *map(str, command)], env=node.env, capture_output=True, timeout=60)
                for text in "log", "status", "waiting", "peers":
                    with contextlib.suppress(OSError):
                        (node.mount / ".p2p" / text).read_bytes()
                timer.cancel()
                timer.join()
                struck += node.disk.struck
                node.disk.disarm()
                self.alive(where)
                if p.returncode:
                    told += 1
                    self.assertTrue(p.stderr, where)
                if until and command in waits:
                    self.assertEqual(p.returncode, 0, f"{where}: memory was back before it gives up: {p.stderr}")
                if command[0] == "cat":
                    self.assertEqual(p.stdout, content(0)[:len(p.stdout)], where)
                    self.assertTrue(p.returncode or len(p.stdout) == SIZE, where)
                if command[0] == "get" and p.returncode == 0:
                    self.assertEqual((got / "big").read_bytes(), content(0), where)
        for command in commands:
            subprocess.run(["rm", "-rf", got], check=True)
            p = node.run(*command) if command[0] != "cat" else subprocess.run([solo.P2P, *command], env=node.env, capture_output=True)
            self.assertEqual(p.returncode, 0, f"after: p2p {command[0]}: {p.stderr}")
        print(f"{struck} allocations failed, {told} commands told so", file=sys.stderr)

    def test_the_mount(self):
        """Names, inodes, links, holds and parts of files in such numbers that their tables are big: what needs one more says ENOMEM, or waits
        until there is memory, and works then."""
        node, struck, told = self.fetches, 0, 0
        many = node.share / "many"
        many.mkdir()
        for i in range(9000):
            os.symlink(f"target {i}", many / f"{i}")
        for i in range(1300):
            cid = "b" + base64.b32encode(b"\x01\x55\x12\x20" + hashlib.sha256(b"%d" % i).digest()).decode().lower().rstrip("=")
            os.symlink(f"../ipfs/{cid}", node.share / f"kept {i}")
        with open(node.share / "zeros", "wb") as f:
            f.truncate(700 << 20)

        def lengthen():
            with open(node.share / "sparse", "wb") as f:
                f.truncate(2 << 40)
                os.pwrite(f.fileno(), b"x", 1 << 40)

        def change():
            with open(node.share / "zeros", "r+b") as f:
                os.pwrite(f.fileno(), b"x", 350 << 20)
                os.fsync(f.fileno())

        def publish():
            (many / f"new {struck}").touch()
            self.assertEqual(node.request("GET", "/v1/cid?path=share/many")["cid"][0], "b")

        for work in lambda: [e.stat(follow_symlinks=False) for e in os.scandir(many)], lambda: os.listdir(node.mount / "ipfs"), lengthen, change, publish:
            node.disk.arm(1, FAIL, MEMORY, errno.ENOMEM, FOREVER, 1)
            timer = threading.Timer(1.0, node.disk.disarm)
            timer.start()
            try:
                work()
            except OSError as e:
                self.assertIn(e.errno, MAY_SAY, e)
                told += 1
            except solo.Refused:
                told += 1
            timer.cancel()
            timer.join()
            struck += node.disk.struck
            node.disk.disarm()
            self.alive(work.__name__)
            self.works_again(work)
        print(f"{struck} allocations failed, {told} calls told so", file=sys.stderr)

    def works_again(self, work):
        end = time.monotonic() + 15
        while True:
            try:
                return work()
            except (OSError, solo.Refused) as e:  # the store tries again after a second
                self.assertIn(e.errno if isinstance(e, OSError) else e.args[0], MAY_SAY | {"ERR_NO_MEMORY"}, e)
                self.assertLess(time.monotonic(), end, e)
                time.sleep(0.05)

    def held(self, node):
        """A folder that no collection takes away"""
        place = node.home / "held"
        place.mkdir()
        (place / "big").write_bytes(content(0))
        return place

    def test_what_is_fetched_while_the_disk_is_full(self):
        """It is not kept, and little memory holds few blocks: they are not fetched without end."""
        self.fetches.stop()
        (self.fetches.home / "config").write_text(CONFIG + "memory = 16M\n")
        self.fetches.start(True)
        self.connect()
        data = content(0, 12 << 20)
        (self.has.share / "file").write_bytes(data)
        cid = self.has.request("GET", "/v1/cid?path=share/file")["cid"]
        self.fetches.disk.arm(1, FAIL, solo.WRITE, errno.ENOSPC, FOREVER)
        p = subprocess.run([solo.P2P, "cat", cid], env=self.fetches.env, stdout=subprocess.PIPE, timeout=60)
        self.assertEqual(p.stdout, data)
        for name, least in (cid, len(data)), (f"{cid}.car", len(data) + 1):
            self.assertGreaterEqual(len((self.fetches.mount / "ipfs" / name).read_bytes()), least)
        self.assertIsNone(self.fetches.process.poll())


class Settle(unittest.TestCase):
    setUpClass = classmethod(Memory.setUpClass.__func__)

    def test_a_file_whose_blocks_are_all_stored(self):
        """Only its root is to be made, and there is no memory for it: nothing else happens that would have it tried again."""
        with solo.Solo(CONFIG) as node:
            node.start(shim=True)
            node.disk.big(50 << 10, 52 << 10)  # of a node above 1024 chunks, and nothing else
            fd = os.open(node.share / "holes", os.O_RDWR | os.O_CREAT)
            os.ftruncate(fd, 3 << 20)
            os.fsync(fd)
            os.ftruncate(fd, 1 << 30)
            node.disk.arm(1, FAIL, MEMORY, errno.ENOMEM)
            os.close(fd)
            waiting, end = node.mount / ".p2p/waiting", time.monotonic() + 20
            while not node.disk.struck or len(waiting.read_text().splitlines()) > 1:
                self.assertLess(time.monotonic(), end, waiting.read_text())
                time.sleep(0.02)
            node.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
