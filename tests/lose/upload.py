#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""An upload's last blocks are on their way to the disk while its end is asked for, and the disk refuses them: that is said, and nothing
is pinned."""
import hashlib, json, os, pathlib, sys, threading, time, unittest, unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo

STALL = os.environ.get("STALL_LIB", "")
CONFIG = solo.QUIET + "dns-port = 0\nmemory = 16M\n"
BLOCK = 1 << 20


def varint(n):
    return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])


def car(cid, block):
    """One raw block, which is the root"""
    header = b"\xa2eroots\x81\xd8\x2a\x58\x25\x00" + cid + b"gversion\x01"
    return varint(len(header)) + header + varint(len(cid) + len(block)) + cid + block


class Upload(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        solo.need()
        if not os.path.exists(STALL):
            raise unittest.SkipTest("needs the library stall (STALL_LIB)")

    def finish(self, kind, data, end, body):
        with solo.Solo(CONFIG) as node:
            stalled = node.home / "stalled"
            with unittest.mock.patch.object(solo, "SHIM", f"{STALL}:{solo.SHIM}"):
                node.env["STALL_FILE"] = str(stalled)
                node.start(shim=True)
            upload = f"/v1/{kind}/{node.request('POST', f'/v1/{kind}')['upload']}"
            stalled.touch()
            node.disk.arm(1, solo.FAIL, solo.BLOCK, 5, solo.FOREVER)
            self.assertEqual(node.raw("POST", upload + data, body=body)[0], 200)
            answer = []
            ending = threading.Thread(target=lambda: answer.append(node.raw("POST", upload + end)))
            ending.start()
            while not any(r["why"] == "waiting for the disk" and r["path"] == upload + end.split("?")[0]
                          for r in node.rows("/v1/waiting")):
                self.assertTrue(ending.is_alive())  # it is behind the block
                time.sleep(0.01)
            stalled.unlink()
            ending.join()
            node.disk.disarm()
            self.assertEqual(json.loads(answer[0][1]).get("error"), "ERR_IO", answer)
            self.assertEqual(node.rows("/v1/pins"), [])
            self.assertEqual(node.status()["store_wanted"], 0)
            node.verify()
            node.stop()

    def test_add(self):
        for end in "/finish", "/finish?pin=1":
            with self.subTest(end=end):
                self.finish("add", "/file?end=1", end, os.urandom(BLOCK))

    def test_it_is_on_the_disk(self):
        """The record of the pin is synced, too, when its end is answered."""
        with solo.Solo(CONFIG) as node:
            node.start(shim=True)
            upload = f"/v1/add/{node.request('POST', '/v1/add')['upload']}"
            self.assertEqual(node.raw("POST", upload + "/file?end=1", body=b"small")[0], 200)
            time.sleep(2)  # what was before is synced
            node.disk.arm(2, solo.FAIL, solo.SYNC, 5, solo.FOREVER)  # the first are the pages, which the record is not seen without
            status, body = node.raw("POST", upload + "/finish?pin=1")
            node.disk.disarm()
            self.assertEqual((status, json.loads(body).get("error")), (500, "ERR_IO"))
            node.stop()

    def test_import(self):
        block = os.urandom(BLOCK)
        cid = b"\x01\x55\x12\x20" + hashlib.sha256(block).digest()
        for end in "/end", "/end?pin=1":
            with self.subTest(end=end):
                self.finish("import", "", end, car(cid, block))


if __name__ == "__main__":
    unittest.main(verbosity=2)
