#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A node is stopped while an upload is being finished, which a disk that takes nothing makes long: it ends as always, and what was
written into the mount until then is there at the next start."""
import os, pathlib, socket, sys, time, unittest, unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo

STALL = os.environ.get("STALL_LIB", "")
CONFIG = solo.QUIET + "dns-port = 0\n"
HELLO = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"  # "hello world", IPIP-499


class StopFinishing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        solo.need()
        if not os.path.exists(STALL):
            raise unittest.SkipTest("needs the library stall (STALL_LIB)")

    def stop_in(self, begin):
        with solo.Solo(CONFIG) as node, socket.socket(socket.AF_UNIX) as asker:
            stalled = node.home / "stalled"
            with unittest.mock.patch.object(solo, "SHIM", f"{STALL}:{solo.SHIM}"):
                node.env["STALL_FILE"] = str(stalled)
                node.start(shim=True)
            target, other = begin(node)
            stalled.touch()  # the log stalls, too
            (node.share / "kept").write_bytes(b"kept")
            asker.connect(str(node.home / "run" / "control"))
            asker.sendall(f"POST {target} HTTP/1.1\r\nHost: p2p\r\nContent-Length: 0\r\n\r\n".encode())
            time.sleep(0.2)
            self.assertEqual(node.raw("POST", other, body=b"")[0], 409, "it is being finished")
            node.process.terminate()
            asker.settimeout(30)
            self.assertEqual(asker.recv(1), b"", "the control socket is closed")
            time.sleep(0.2)
            stalled.unlink()
            self.assertEqual(node.process.wait(60), 0)
            node.start()
            self.assertEqual((node.share / "kept").read_bytes(), b"kept")

    def test_add(self):
        def begin(node):
            upload = node.request("POST", "/v1/add")["upload"]
            node.raw("POST", f"/v1/add/{upload}/file?end=1", body=b"x" * 3000)
            return f"/v1/add/{upload}/finish?pin=1", f"/v1/add/{upload}/data"
        self.stop_in(begin)

    def test_import(self):
        def begin(node):
            upload = node.request("POST", "/v1/add")["upload"]
            node.raw("POST", f"/v1/add/{upload}/file?end=1", body=b"hello world")
            node.raw("POST", f"/v1/add/{upload}/finish", body=b"")
            status, car = node.raw("GET", f"/v1/export?path=/ipfs/{HELLO}")
            self.assertEqual(status, 200)
            upload = node.request("POST", "/v1/import")["upload"]
            node.raw("POST", f"/v1/import/{upload}", body=car)
            return f"/v1/import/{upload}/end?pin=1", f"/v1/import/{upload}"
        self.stop_in(begin)


if __name__ == "__main__":
    unittest.main()
