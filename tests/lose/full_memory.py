#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The disk takes nothing, what could not be written fills the memory, and the limit of memory is below that: whoever needs memory to
answer hears of the disk's error instead of waiting for what comes back when the disk does."""
import contextlib, errno, os, pathlib, signal, sys, threading, time, unittest, unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo

STALL = os.environ.get("STALL_LIB", "")
CONFIG = solo.QUIET + "quota = none\ndns-port = 0\nmemory = 64M\n"
LONG = 20.0  # seconds that nothing takes


def within(what, check):
    end = time.monotonic() + 60
    while not check():
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not in 60 s")
        time.sleep(0.05)


class FullMemory(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        solo.need()
        if not os.path.exists(STALL):
            raise unittest.SkipTest("needs the library stall (STALL_LIB)")

    def used(self, node):
        return node.limit("memory.store")["used"]

    def fill(self, node, stalled):
        """Many small files, of which the stalled disk takes none until it takes none for good"""
        refused = []

        def write():
            try:
                for i in range(1000000):
                    (node.share / f"file{i}").write_bytes(b"%d" % i)
            except OSError as e:
                refused.append(e.errno)

        stalled.touch()
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        within("memory is filled", lambda: self.used(node) > 12 << 20)
        node.disk.arm(1, solo.FAIL, solo.WRITE | solo.SYNC, errno.ENOSPC, more=solo.FOREVER)
        stalled.unlink()
        writer.join(LONG)
        self.assertEqual(refused, [errno.ENOSPC])

    def test_cid_of_an_empty_file(self):
        with solo.Solo(CONFIG) as node:
            stalled = node.home / "stalled"
            with unittest.mock.patch.object(solo, "SHIM", f"{STALL}:{solo.SHIM}"):
                node.env["STALL_FILE"] = str(stalled)
                node.start(shim=True)
            (node.share / "empty").touch()
            self.fill(node, stalled)
            (node.home / "config").write_text(CONFIG.replace("64M", "16M"))
            node.process.send_signal(signal.SIGHUP)
            within("the limit is lower", lambda: node.limit("memory")["value"] == "16M")
            begun = time.monotonic()
            with self.assertRaises(solo.Refused) as refused:
                node.request("GET", "/v1/cid?path=share/empty")
            self.assertEqual(refused.exception.args[0], "ERR_NO_SPACE")
            self.assertLess(time.monotonic() - begun, LONG)
            node.disk.disarm()

            def told():
                with contextlib.suppress(solo.Refused):
                    return node.request("GET", "/v1/cid?path=share/empty")["cid"]

            within("it is told when the disk is back", told)
            node.verify()
            node.stop()


if __name__ == "__main__":
    unittest.main(verbosity=2)
