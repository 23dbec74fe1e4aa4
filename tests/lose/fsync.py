#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What fsync promises when one write of the disk fails: the n-th, for each n. Either fsync says so, or the file is there after a kill.

A file of several chunks is stored in several pieces; one that fails must not be hidden by others that succeed after it. P2P_FSYNC_MOST: up
to which write."""
import errno, os, pathlib, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo

CHUNKS, MOST = 40, int(os.environ.get("P2P_FSYNC_MOST", "10"))


class Fsync(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        solo.need()

    def store(self, path, content, nth):
        """Writes and syncs while the nth write from now fails; fsync's errno, 0 when it promised."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT)
        try:
            self.node.disk.arm(nth, solo.FAIL, kinds=solo.WRITE | solo.SYNC, error=errno.EIO)
            at = 0
            while at < len(content):
                at += os.write(fd, content[at:])  # it may take less, and say why the next time
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

    def test_a_failed_write_is_told(self):
        with solo.Solo() as node:
            self.node = node
            struck = 0
            for nth in range(1, MOST + 1):
                content = os.urandom(CHUNKS << 20)
                node.start(shim=True)
                (node.share / "before").write_bytes(b"kept")
                os.sync()
                result = self.store(node.share / "file", content, nth)
                hit = node.disk.struck > 0
                struck += hit
                node.start()
                if result == 0:
                    self.assertEqual((node.share / "file").read_bytes(), content, f"write {nth}: fsync promised it")
                else:
                    self.assertIn(result, (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED))
                node.verify()
                if (node.share / "file").exists():
                    (node.share / "file").unlink()
                node.stop()
                if not hit:
                    break  # there are no more writes than that
            self.assertGreater(struck, 2, "no write of the disk failed: nothing was shown")


if __name__ == "__main__":
    unittest.main()
