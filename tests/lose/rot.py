#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bits of a block rotted, and the disk takes no write any more, so that the block cannot be dropped: who reads it is told, and nobody
turns in circles. Afterwards it is as on a disk that works."""
import contextlib, errno, http.client, os, pathlib, socket, sys, time, unittest, unittest.mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo

STALL = os.environ.get("STALL_LIB", "")
CONFIG = solo.QUIET + "dns-port = 0\nmemory = 16M\ntimeout-read = 1s\ntimeout-metadata = 1s\n"
SIZES = {"small": 5000, "big": 300_000}  # in LMDB; in a file of its own


class Rot(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        solo.need()

    def rot(self, node, content):
        for file in (node.home / "state" / "blocks").iterdir():
            data = bytearray(file.read_bytes()) if file.name != "ballast" else bytearray()
            for block in content.values():
                at = data.find(block[:100])
                if at >= 0:
                    data[at + 50] ^= 1
            if data:
                file.write_bytes(data)

    def cpu(self, node):
        fields = pathlib.Path(f"/proc/{node.process.pid}/stat").read_text().rsplit(")")[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def refused(self, node, name):
        with self.assertRaises(OSError) as caught:
            (node.share / name).read_bytes()
        self.assertEqual(caught.exception.errno, errno.EBADMSG)

    def test_disk_takes_no_write(self):
        for error in errno.ENOSPC, errno.EIO:
            with self.subTest(error=errno.errorcode[error]), solo.Solo(CONFIG) as node:
                content = {name: os.urandom(size) for name, size in SIZES.items()}
                node.start()
                for name, data in content.items():
                    (node.share / name).write_bytes(data)
                node.stop()
                self.rot(node, content)
                node.start(shim=True)
                node.disk.arm(1, solo.FAIL, solo.WRITE | solo.SYNC, error, solo.FOREVER)
                before = self.cpu(node)
                for name in content:
                    self.assertEqual(node.raw("GET", f"/v1/export?path=share/{name}")[0], 500)
                    self.refused(node, name)
                self.assertLess(self.cpu(node) - before, 2)  # of many in which it waits for peers
                node.disk.disarm()
                for name in content:
                    self.refused(node, name)
                while node.status()["store_wanted"] < len(content):
                    time.sleep(0.01)
                for name, data in content.items():
                    (node.share / name).write_bytes(data)
                    self.assertEqual((node.share / name).read_bytes(), data)
                node.verify()
                node.stop()

    @contextlib.contextmanager
    def cut(self, node, name, size=0):
        """What a disk does not give: a file under the node's map ends before it should. Then it is as it was."""
        path = node.home / "state" / "blocks" / name
        data = path.read_bytes()
        os.truncate(path, size)
        yield
        self.assertEqual(path.stat().st_size, size, "nothing was written on such grounds")
        with open(path, "r+b") as f:
            f.write(data)

    def fails(self, what):
        with self.assertRaises(OSError) as caught:
            what()
        self.assertEqual(caught.exception.errno, errno.EIO)

    def change(self, path):
        with open(path, "r+b", buffering=0) as f:
            f.seek(1000)
            f.write(b"changed")
            os.fsync(f.fileno())

    def test_files_that_cannot_be_read(self):
        """Who reads what is there no more is told, nothing is made of it, and the node lives; when it is there again, all is well."""
        with solo.Solo(CONFIG) as node:
            content = {name: os.urandom(size) for name, size in (*SIZES.items(), ("mapped", SIZES["big"]))}
            node.start()
            for name, data in content.items():
                (node.share / name).write_bytes(data)
            node.stop()  # all of it is in its files then, and nowhere else
            node.start()
            big = node.share / "big"
            self.assertEqual((node.share / "mapped").read_bytes(), content["mapped"])
            with self.cut(node, "segment-00000000", 4096):
                self.fails(big.read_bytes)
                self.fails(lambda: self.change(big))
                self.assertNotEqual(node.run("export", big, "-o", node.home / "car").returncode, 0)
                self.assertNotEqual(node.run("get", node.run("cid", big).stdout.strip(), "-o", node.home / "got").returncode, 0)
                self.assertEqual((node.share / "small").read_bytes(), content["small"])
            self.assertEqual(big.read_bytes(), content["big"])
            with self.cut(node, "data.mdb", 8192):
                self.fails(lambda: (node.share / "new").read_bytes())
                self.fails(lambda: os.listdir(node.share))
                self.fails(lambda: self.change(big))
                self.assertEqual(node.raw("GET", "/v1/version")[0], 200)
                with contextlib.suppress(http.client.HTTPException):
                    self.assertNotIn(b'"problems":0', node.raw("POST", "/v1/verify")[1])
            content["big"] = content["big"][:1000] + b"changed" + content["big"][1007:]
            self.change(big)
            node.stop()
            node.start()
            for name, data in content.items():
                self.assertEqual((node.share / name).read_bytes(), data)
            node.verify()
            node.stop()

    @contextlib.contextmanager
    def repairing(self):
        """A node whose disk does not answer while it is asked to repair, and who asked"""
        if not os.path.exists(STALL):
            self.skipTest("needs the library stall (STALL_LIB)")
        with solo.Solo(CONFIG) as node:
            content = {"small": os.urandom(5000)}
            node.start()
            (node.share / "small").write_bytes(content["small"])
            node.stop()
            self.rot(node, content)
            stalled = node.home / "stalled"
            node.env["STALL_FILE"] = str(stalled)
            with unittest.mock.patch.object(solo, "SHIM", STALL):
                node.start(shim=True)
            stalled.touch()
            with socket.socket(socket.AF_UNIX) as s, s.makefile("rb") as lines:
                s.settimeout(30)
                s.connect(str(node.home / "run" / "control"))
                s.sendall(b"POST /v1/verify?repair=1 HTTP/1.1\r\nHost: p2p\r\nContent-Length: 0\r\n\r\n")
                self.assertTrue(any(b'"problem"' in line for line in lines))
                yield node, stalled, s

    def test_check_that_is_left(self):
        """Who asked goes before the disk answers: others are answered."""
        with self.repairing() as (node, stalled, asker):
            asker.shutdown(socket.SHUT_RDWR)
            for _ in range(10):
                self.assertEqual(node.raw("GET", "/v1/version", timeout=20)[0], 200)
                time.sleep(0.05)  # it has been heard that the asker is gone
            stalled.unlink()
            self.assertEqual(node.raw("POST", "/v1/verify?repair=1")[0], 200)
            node.verify()
            node.stop()

    def test_stop_while_it_repairs(self):
        with self.repairing() as (node, stalled, asker):
            self.assertEqual(node.raw("POST", "/v1/shutdown")[0], 200)  # a signal would be logged first: to a file, here
            while asker.recv(65536):
                pass
            stalled.unlink()
            self.assertEqual(node.process.wait(60), 0)


if __name__ == "__main__":
    unittest.main()
