#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What fsync promises when writes of the disk fail: the n-th, for each n, or a few from the first on. Either fsync says so, or the file is
there after a kill.

A file of several chunks is stored in several pieces; one that fails must not be hidden by others that succeed after it. That needs
several failures, because pieces that fail together are tried again one by one. P2P_FSYNC_MOST: up to which write."""
import errno, itertools, os, pathlib, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo

CHUNKS, MOST = 40, int(os.environ.get("P2P_FSYNC_MOST", "10"))


class Fsync(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        solo.need()

    def store(self, path, content, strike, synced):
        """Writes and syncs while a write fails, the `strike`; of the first `synced` bytes before that. fsync's errno, 0: it promised."""
        nth, more = strike
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        try:
            at = 0
            while at < len(content):
                if at == synced:
                    os.fsync(fd)
                    self.node.disk.arm(nth, solo.FAIL, kinds=solo.WRITE | solo.SYNC, error=errno.EIO, more=more)
                at += os.write(fd, content[at:synced if at < synced else None])  # it may take less, and say why the next time
            os.fsync(fd)
            return 0
        except OSError as e:
            return e.errno
        finally:
            self.node.kill()  # before anything can be tried again
            self.node.disk.disarm()
            try:
                os.close(fd)
            except OSError:
                pass  # the mount is gone

    def attempt(self, size, nth, more=0, synced=0):
        """Was a write hit, and what did fsync say?"""
        node, content = self.node, os.urandom(size)
        node.start(shim=True)
        (node.share / "before").write_bytes(b"kept")
        os.sync()
        result = self.store(node.share / "file", content, (nth, more), synced)
        hit = node.disk.struck > more
        node.start()
        if result == 0:
            self.assertEqual((node.share / "file").read_bytes(), content, f"write {nth} and {more} more: fsync promised it")
        else:
            self.assertIn(result, (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED))
        node.verify()
        if (node.share / "file").exists():
            (node.share / "file").unlink()
        node.stop()
        return hit, result

    def test_a_failed_write_is_told(self):
        with solo.Solo() as self.node:
            struck = 0
            for nth in range(1, MOST + 1):
                hit = self.attempt(CHUNKS << 20, nth)[0]
                struck += hit
                if not hit:
                    break  # there are no more writes than that
            self.assertGreater(struck, 2, "no write of the disk failed: nothing was shown")

    def test_what_works_later_does_not_hide_it(self):
        """The last chunk fails, its parent is stored."""
        with solo.Solo(solo.QUIET + "timeout-read = 1s\n") as self.node:
            results = [self.attempt((5 << 20) // 2, 1, more, 2 << 20) for more in range(8)]
            self.assertTrue(any(hit and result for hit, result in results), results)

    def test_what_is_not_synced_is_old_or_new(self):
        """The new blocks are refused, what tells of them is not: a kill before they are tried again leaves the old ones."""
        old, size = b"old" * 1000, 700_000  # one block: it and the record go one right behind the other
        with solo.Solo(solo.QUIET + "timeout-read = 1s\n") as node:
            struck = 0
            for error, more in itertools.product((errno.EIO, errno.ENOSPC), range(10)):
                new = os.urandom(size)
                node.start(shim=True)
                folder, fd = os.open(node.share, os.O_RDONLY), os.open(node.share / "file", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.write(fd, old)
                os.fsync(fd)
                os.pwrite(fd, new, 0)
                node.disk.arm(1, solo.FAIL, kinds=solo.WRITE, error=error, more=more)
                try:
                    os.close(fd)
                    node.run("cid", node.share / "file")  # which is known when all of it was submitted
                    os.fsync(folder)  # everything before it was tried
                except OSError as e:
                    self.assertEqual(e.errno, error)
                os.close(folder)
                node.kill()
                struck += node.disk.struck > more
                node.disk.disarm()
                node.start()
                got = (node.share / "file").read_bytes()
                self.assertTrue(got == old or got == new, f"{errno.errorcode[error]}, {more} more: {len(got)} bytes, neither old nor new")
                node.verify()
                node.stop()
            self.assertGreater(struck, 2, "no write of the disk failed: nothing was shown")

    def test_the_end_of_the_node_with_blocks_that_are_refused(self):
        """What could not be stored before the node ends is not told of: the old bytes are kept."""
        old, new = os.urandom(700_000), os.urandom(700_000)
        for closed in (True, False):
            with solo.Solo() as node:
                node.start()
                fd = os.open(node.share / "file", os.O_WRONLY | os.O_CREAT)
                os.write(fd, old)
                os.fsync(fd)
                os.pwrite(fd, new, 0)
                (node.home / "config").write_text(solo.QUIET + "quota = 100K\n")
                node.request("POST", "/v1/config/reload")
                if closed:
                    os.close(fd)
                    node.run("cid", node.share / "file")
                node.stop()
                if not closed:
                    os.close(fd)
                (node.home / "config").write_text(solo.QUIET)
                node.start()
                node.request("POST", "/v1/gc")  # what nothing refers to is not found by chance
                self.assertEqual((node.share / "file").read_bytes(), old, f"closed before: {closed}")
                node.verify()
                node.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
