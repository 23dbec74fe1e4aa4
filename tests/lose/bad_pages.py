#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Pages of the store's files cannot be read, at random, while the node reads and writes: the node lives and answers EIO, gives no wrong
bytes, and makes nothing of what it did not get. When they can be read again everything is there. `P2P_BAD_ROUNDS` (4), `P2P_BAD_SEED`.

What LMDB reads by itself inside a commit (its list of free pages, neighbours that it merges) it would write on as zeros: there the node
ends, in one round of some hundred, and starts again with all that was acknowledged.
"""
import http.client, mmap, os, pathlib, random, signal, struct, subprocess, sys, tempfile, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo

BAD_DISK = os.environ.get("BAD_DISK", "")
ROUNDS = int(os.environ.get("P2P_BAD_ROUNDS", "4"))
SEED = int(os.environ.get("P2P_BAD_SEED", random.SystemRandom().randrange(1 << 32)))
CONFIG = solo.QUIET + "dns-port = 0\ntimeout-read = 1s\ntimeout-metadata = 1s\n"
FILES, OPERATIONS = 200, 300
SIZES = [10, 300, 3000, 5000, 70000, 300000]
LIST, EACH = 8192, 511  # bytes of the list; numbers for a file (tests/lib/bad_disk.c)
PAGE = 4096


def content(version):
    number, size = version
    return random.Random(number).randbytes(size)


class BadPages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        solo.need(shim=False)
        if not os.access(BAD_DISK, os.X_OK) or os.geteuid() != 0:
            raise unittest.SkipTest("needs BAD_DISK, and root")

    def setUp(self):
        print(f"P2P_BAD_SEED={SEED}", file=sys.stderr)
        self.rng, self.number, self.held, self.unsure = random.Random(SEED), 0, {}, {}
        self.refused = self.ends = 0
        self.node = self.enterContext(solo.Solo(CONFIG))
        self.disk = self.node.home / "disk-folder"
        state = self.node.home / "state"
        for folder in self.disk, state:
            folder.mkdir()
        with open(self.node.home / "list", "w+b") as f:
            f.truncate(LIST)
            self.list = mmap.mmap(f.fileno(), LIST)
        self.addCleanup(self.list.close)
        server = subprocess.Popen([BAD_DISK, self.disk, self.node.home / "list", state])
        self.addCleanup(server.wait)
        self.addCleanup(subprocess.run, ["umount", "-l", state])
        self.addCleanup(self.node.kill)
        while not os.path.ismount(state):
            self.assertIsNone(server.poll())
            time.sleep(0.01)

    def set_bad(self, first, name, count):
        """They cannot be read from now on: the kernel has none of them, but what it maps since the start"""
        file = self.disk / "blocks" / name
        pages = file.stat().st_size // PAGE if file.exists() else 0
        for i in range(count if pages > 2 else 0):
            struct.pack_into("<Q", self.list, (first + i) * 8, self.rng.randrange(2, pages) + 1)

    def forget_pages(self):
        for file in (self.node.home / "state" / "blocks").iterdir():
            with open(file, "rb") as f:
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def write(self, name):
        self.number += 1
        version = (self.number, self.rng.choice(SIZES))
        self.unsure.setdefault(name, {self.held[name]} if name in self.held else set()).add(version)
        with open(self.node.share / name, "wb", buffering=0) as f:
            f.write(content(version))
            os.fsync(f.fileno())
        self.held[name] = version
        del self.unsure[name]

    def read(self, name):
        if name not in self.unsure:
            self.assertEqual((self.node.share / name).read_bytes(), content(self.held[name]), name)

    def work(self):
        for _ in range(OPERATIONS):
            name = self.rng.choice(sorted(self.held))
            try:
                self.rng.choice([self.read, self.read, self.write, lambda _: os.listdir(self.node.share)])(name)
                if self.rng.random() < 0.1:
                    self.node.request("POST", "/v1/gc")
            except (OSError, solo.Refused, http.client.HTTPException, ValueError):  # the last: an answer that breaks off
                self.refused += 1
            if self.node.process.poll() is not None:
                return

    def go_on(self):
        try:
            self.node.status()
        except (OSError, http.client.HTTPException):
            self.node.process.wait(30)
        if self.node.process.poll() is None:
            return
        bus = self.node.process.returncode == -signal.SIGBUS or "AddressSanitizer: BUS" in (self.node.home / "log").read_text(errors="replace")
        self.assertTrue(bus, self.node.tail())
        self.ends += 1
        self.assertLessEqual(self.ends, 1 + ROUNDS // 50, self.node.tail())
        self.node.start()

    def works(self, what, name):
        """At once or after the moment that a retry takes"""
        end = time.monotonic() + 20
        while True:
            try:
                return what(name)
            except OSError:
                self.assertLess(time.monotonic(), end, f"{name}: does not work again\n{self.node.tail()}")
                time.sleep(0.05)

    def be_sure(self, name):
        with open(self.node.share / name, "r+b") as f:
            os.fsync(f.fileno())
        got = (self.node.share / name).read_bytes()
        self.assertTrue(any(content(v)[:len(got)] == got for v in self.unsure[name]), f"{name}: {len(got)} bytes of none")

    def test_pages_that_cannot_be_read(self):
        self.node.start()
        for i in range(FILES):
            self.write(f"f{i}")
        for _ in range(ROUNDS):
            self.node.stop()
            self.forget_pages()
            self.node.start()
            self.set_bad(0, "data.mdb", self.rng.choice([1, 3, 30]))
            self.set_bad(EACH + 1, "segment-00000000", self.rng.choice([0, 3]))
            self.work()
            self.list[:LIST - 8] = bytes(LIST - 8)
            self.go_on()
            for name in sorted(self.unsure):
                self.works(self.be_sure, name)
                self.works(self.write, name)
            for name in self.held:
                self.works(self.read, name)
            self.node.verify()
        failed = struct.unpack_from("<Q", self.list, LIST - 8)[0]
        print(f"{failed} reads failed, {self.refused} operations were refused, the node ended {self.ends} times", file=sys.stderr)
        self.assertGreater(failed, 0)
        self.node.stop()


if __name__ == "__main__":
    unittest.main()
