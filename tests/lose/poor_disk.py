#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""File systems that cannot write past the page cache, or only say that they can, or have no holes: files are written, read, killed over,
removed and collected on them as on any other. And a quota that is used up: the status says so, and what to do about it."""
import contextlib, errno, fcntl, os, pathlib, subprocess, sys, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo
from solo import Disk

SIZES = [1, 200_000, 5 << 20, (3 << 20) + 4097]  # big blocks have files of their own; tails are no whole pages
POOR = {
    "no direct writing": Disk.NO_DIRECT,
    "direct writing only said": Disk.NO_DIRECT_WRITE,
    "no holes": Disk.NO_HOLES,
    "neither": Disk.NO_DIRECT | Disk.NO_HOLES,
}


class PoorDisk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        solo.need()

    def write(self, content):
        for name, data in content.items():
            with open(self.node.share / name, "wb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())

    def check(self, content):
        self.assertEqual(set(os.listdir(self.node.share)), set(content))
        for name, data in content.items():
            self.assertEqual((self.node.share / name).read_bytes(), data, name)

    def collect(self):
        self.node.request("POST", "/v1/gc")
        (self.node.share / "x").write_bytes(b"")
        self.write({"x": b"synced, so that room is given back"})
        (self.node.share / "x").unlink()

    def segments(self):
        return sum(f.stat().st_blocks * 512 for f in (self.node.home / "state").rglob("segment-*"))

    def live(self, lacks):
        node = self.node
        node.disk.lack(lacks)
        node.start(shim=True)
        content = {f"f{i}": os.urandom(size) for i, size in enumerate(SIZES)}
        self.write(content)
        self.check(content)
        node.kill()
        node.start(shim=True)
        self.check(content)
        node.verify()
        held = self.segments()
        (node.share / "f2").unlink()
        del content["f2"]
        asked, end = node.disk.lacked, time.monotonic() + 10  # what was just written is held for a moment
        while time.monotonic() < end:
            self.collect()
            if node.disk.lacked > asked if lacks & Disk.NO_HOLES else self.segments() <= held - (4 << 20):
                break
            time.sleep(0.02)
        content["f4"] = os.urandom(2 << 20)
        self.write({"f4": content["f4"]})
        self.check(content)
        node.stop()
        lacked = node.disk.lacked
        freed = held + (2 << 20) - self.segments()
        node.start()  # the same disk can everything now
        self.check(content)
        node.verify()
        node.stop()
        return lacked, freed

    def test_each(self):
        for name, lacks in {"nothing lacks": 0, **POOR}.items():
            with self.subTest(name), solo.Solo() as self.node:
                lacked, freed = self.live(lacks)
                self.assertEqual(lacked > 0, lacks != 0, "what lacks was never asked for")
                if lacks & Disk.NO_HOLES:
                    self.assertLess(freed, 1 << 20)
                else:
                    self.assertGreaterEqual(freed, 4 << 20)


class End(unittest.TestCase):
    def test_down_waits_for_the_process(self):
        """Not only for its lock: what its files are on is to be unmounted next."""
        solo.need()
        with solo.Solo() as node:
            pipe = node.home / "linger"
            os.mkfifo(pipe)
            node.env["DISK_SHIM_LINGER"] = str(pipe)
            node.start(shim=True)
            down = subprocess.Popen([solo.P2P, "down"], env=node.env)
            end = open(pipe, "wb", buffering=0)  # waits until the process reads it
            with open(node.home / "state" / "lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            with self.assertRaises(subprocess.TimeoutExpired):
                down.wait(1)
            end.close()
            self.assertEqual(down.wait(30), 0)
            self.assertEqual(node.process.poll(), 0)


class Quota(unittest.TestCase):
    def test_status_says_that_a_file_cannot_be_stored(self):
        solo.need(shim=False)
        with solo.Solo() as node:
            node.start(False, "-o", "quota=8M")
            with self.assertRaises(OSError) as refused, open(node.share / "big", "wb", buffering=0) as f:
                for _ in range(16):
                    f.write(os.urandom(1 << 20))
                os.fsync(f.fileno())
            self.assertEqual(refused.exception.errno, errno.EDQUOT)
            self.says(node, lambda state: "quota" in state and "Try: rm it, or p2p limits quota SIZE" in state)
            (node.share / "big").unlink()
            self.says(node, lambda state: state == "working")

    @contextlib.contextmanager
    def filled(self, room):
        """A node with so many bytes left of its quota, and a file that can be removed and makes no room."""
        solo.need(shim=False)
        with solo.Solo(solo.QUIET + "timeout-read = 1s\ntimeout-metadata = 1s\nquota = 8M\n") as node:
            node.start()
            self.put(node, "film", b"old film")
            self.put(node, "gone", b"")
            while (left := (8 << 20) - node.status()["store_used"]) > room:
                self.put(node, f"fill{left}", os.urandom(min(left - room, 1 << 20)))
            self.assertEqual(left, room)
            yield node

    @staticmethod
    def put(node, name, data):
        with open(node.share / name, "wb", buffering=0) as f:
            f.write(data)
            os.fsync(f.fileno())

    def overwrite(self, node, name):
        """The first leaf has room, and the second has not, nor has what is above them: the record knows that too late."""
        used, new = node.status()["store_used"], os.urandom((1 << 20) + 60000)
        with open(node.share / name, "r+b", buffering=0) as f:
            f.write(new[:1 << 20])
            self.until(lambda: node.status()["store_used"] >= used + (1 << 20))
            f.write(new[1 << 20:])
        return new

    def patiently(self, attempt, most=20):
        """What is refused for now is tried again."""
        end = time.monotonic() + most
        while True:
            try:
                return attempt()
            except OSError as e:
                self.assertEqual(e.errno, errno.EDQUOT)
                self.assertLess(time.monotonic(), end)
                time.sleep(0.1)

    def rewritten(self, change, reopen):
        """A file of five MiB that is written again and again; what it has and what it had last fit into the quota all the time."""
        solo.need(shim=False)
        with solo.Solo(solo.QUIET + "quota = 12M\nmemory = 32M\n") as node:
            node.start()
            path = node.share / "film"
            fd = os.open(path, os.O_RDWR | os.O_CREAT)
            for _ in range(6):
                new = os.urandom(5 << 20)
                if reopen:
                    with contextlib.suppress(OSError):  # what the store refused so far
                        os.close(fd)
                    fd = os.open(path, os.O_RDWR)
                change(fd)
                for at in range(0, len(new), 1 << 20):
                    self.patiently(lambda: os.pwrite(fd, new[at:at + (1 << 20)], at))
            self.patiently(lambda: os.fsync(fd))
            os.close(fd)
            self.says(node, lambda state: state == "working")
            self.assertLess(5 << 20, node.status()["store_kept"])
            self.assertLess(node.status()["store_kept"], 6 << 20)
            node.kill()
            node.start()
            self.assertEqual(path.read_bytes(), new)
            node.verify()

    def test_what_is_written_again_lets_go_of_what_it_was(self):
        for reopen in (False, True):
            with self.subTest(reopen=reopen):
                self.rewritten(lambda fd: None, reopen)

    def test_what_is_cut_and_written_again_lets_go_of_what_it_was(self):
        for reopen in (False, True):
            with self.subTest(reopen=reopen):
                self.rewritten(lambda fd: os.ftruncate(fd, 0), reopen)

    def test_what_was_removed_a_moment_ago_makes_room(self):
        solo.need(shim=False)
        with solo.Solo(solo.QUIET + "quota = 8M\nmemory = 32M\n") as node:
            node.start()
            for _ in range(3):
                self.put(node, "old", os.urandom(5 << 20))
                (node.share / "old").unlink()
                new = os.urandom(5 << 20)
                (node.share / "new").write_bytes(new)
                fd = os.open(node.share / "new", os.O_RDONLY)
                self.patiently(lambda: os.fsync(fd))
                os.close(fd)
                node.kill()
                node.start()
                self.assertEqual((node.share / "new").read_bytes(), new)
                (node.share / "new").unlink()
                os.sync()
            node.verify()

    def test_what_does_not_fit_beside_what_it_was(self):
        solo.need(shim=False)
        with solo.Solo(solo.QUIET + "quota = 8M\nmemory = 32M\n") as node:
            node.start()
            old, new = os.urandom(5 << 20), os.urandom(5 << 20)
            self.put(node, "film", old)
            fd = os.open(node.share / "film", os.O_WRONLY)
            with self.assertRaises(OSError) as refused:
                for at in range(0, len(new), 1 << 20):
                    os.pwrite(fd, new[at:at + (1 << 20)], at)
                os.fsync(fd)
            self.assertEqual(refused.exception.errno, errno.EDQUOT)
            self.says(node, lambda state: "quota" in state)
            node.kill()
            node.start()
            self.assertEqual((node.share / "film").read_bytes(), old)
            node.verify()

    def until(self, check, most=20):
        end = time.monotonic() + most
        while not check():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)

    def test_what_is_stored_of_a_file_stays_while_the_rest_is_refused(self):
        with self.filled((1 << 20) + 60) as node:
            new = self.overwrite(node, "film")
            self.says(node, lambda state: "quota" in state)
            (node.share / "gone").unlink()  # the record passes with it
            time.sleep(3)
            max(node.share.glob("fill*"), key=lambda path: path.stat().st_size).unlink()
            self.says(node, lambda state: state == "working")
            with open(node.share / "film", "rb") as f:
                os.fsync(f.fileno())
                self.assertEqual(f.read(), new)
            node.kill()
            node.start()
            self.assertEqual((node.share / "film").read_bytes(), new)
            node.verify()

    def test_a_copy_of_a_file_that_is_not_stored(self):
        with self.filled((1 << 20) + 60) as node:
            self.put(node, "copy", b"")
            new = self.overwrite(node, "film")
            with open(node.share / "film", "rb") as f, open(node.share / "copy", "r+b") as to:
                with contextlib.suppress(OSError):
                    os.copy_file_range(f.fileno(), to.fileno(), len(new))
            (node.share / "gone").unlink()
            time.sleep(3)
            node.kill()
            node.start()
            for name, old in ("film", b"old film"), ("copy", b""):
                got = (node.share / name).read_bytes()
                self.assertTrue(got == old or got == new, f"{name}: {len(got)} bytes")

    def test_nothing_waits_for_a_folder_that_is_published(self):
        with self.filled(20) as node:
            node.request("GET", "/v1/cid?path=share/")
            time.sleep(1.5)  # refused, and once more
            (node.share / "folder").mkdir()
            (node.share / "film").rename(node.share / "folder/film")
            fd = os.open(node.share, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
            node.kill()
            node.start()
            self.assertEqual((node.share / "folder/film").read_bytes(), b"old film")
            node.verify()

    def test_status_knows_a_full_disk_before_a_write_fails(self):
        solo.need()
        full, nearly = "the disk is full (1.00 MiB free", "working; the disk is nearly full (32.0 MiB free"
        with solo.Solo() as node:
            node.start(shim=True)
            for room, words in ((1 << 30, "working"), (32 << 20, nearly), (1 << 20, full), (None, "working")):
                node.disk.room(room)
                state = node.status()["state"]  # what is free at this moment, not what was a while ago
                self.assertTrue(state.startswith(words), state)
                self.assertEqual("make room on the disk" in state, words != "working", state)
                if room:
                    self.assertEqual(node.status()["disk_free"], room)
                end = time.monotonic() + 20
                while words not in (node.mount / "status").read_text():  # this text is renewed now and then
                    self.assertLess(time.monotonic(), end, (node.mount / "status").read_text())
                    time.sleep(0.05)

    def says(self, node, check):
        end = time.monotonic() + 20
        while not check(node.status()["state"]):
            self.assertLess(time.monotonic(), end, node.status()["state"])
            time.sleep(0.05)


if __name__ == "__main__":
    unittest.main(verbosity=2)
