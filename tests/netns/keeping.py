#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is kept is fetched, also after a start, and what is waited for when it is there. A pin that is said to be complete is: also when what was here already goes while the
rest is fetched, or was found damaged."""
import ctypes, os, pathlib, subprocess, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import Loopback, need, wait_for

CONFIG = "listen = /ip4/127.0.0.1/tcp/0\nmdns = no\ndns-port = 0\ntimeout-read = 3s\n"
MIB = 1 << 20
QUOTA = 16 * MIB
FILES = 400
ABSENT = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"


class Keeping(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()

    def pin_state(self, node, cid):
        return next(p["state"] for p in node.json_lines("pin") if p["cid"] == cid)

    def damage(self, node, content):
        """A block of the node, which does not run, that begins like this"""
        segment = next(p for p in node.home.rglob("segment-*") if content[:MIB] in p.read_bytes())
        with open(segment, "r+b") as f:
            f.seek(f.read().index(content[:MIB]) + 777)
            f.write(bytes([content[777] ^ 0x20]))

    def fill(self, node):
        """With what may be evicted, up to a few bytes below the quota"""
        while (left := QUOTA - node.json("status")["store_used"]) > 2000:
            with open(node.mount / "share/filler", "wb") as f:
                f.write(os.urandom(min(left - 1000, MIB - 1)))
                f.flush()
                os.fsync(f.fileno())
            (node.mount / "share/filler").unlink()
            folder = os.open(node.mount / "share", os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

    def test_what_is_here_goes_for_what_comes(self):
        """The oldest half of what is evicted are files of a folder, which is pinned: its own block has no room without."""
        with Loopback(1) as lab:
            a, b = lab.node(1, config=CONFIG + "quota = 16M\n"), lab.node(2, config=CONFIG)
            a.run("connect", b.address())
            for turn in range(5):
                folder = b.mount / f"share/folder{turn}"
                folder.mkdir()
                for i in range(FILES):
                    (folder / str(i)).write_bytes(os.urandom(5000))
                cid = b.cid(folder)
                for i in range(0, FILES, 2):
                    (a.mount / "ipfs" / b.cid(folder / str(i))).read_bytes()
                self.fill(a)
                # what was written in the last second is held: all, when that went fast
                wait_for("the quota has room", lambda: a.run("pin", cid, check=False).returncode == 0)
                self.assertEqual(self.pin_state(a, cid), "complete")
                self.assertEqual(a.json("status")["store_wanted"], 0, "it is complete")
                a.run("unpin", cid)
                a.run("gc")

    def test_what_is_exchanged(self):
        """Blocks of a file whose name was temporary are told to who waits, also when its new one was another's until then."""
        with Loopback(1) as lab:
            a, b = lab.node(1, config=CONFIG), lab.node(2, config=CONFIG.replace("3s", "8s"))  # it asks again after 10 s
            b.run("connect", a.address())
            content = os.urandom(300000)
            (lab.dir / "content").write_bytes(content)
            cid = a.cid(lab.dir / "content")
            waits = lab.popen(2, ["cat", b.mount / "ipfs" / cid], stdout=subprocess.PIPE)
            wait_for("it waits", lambda: cid in (b.mount / ".p2p/waiting").read_text())
            wait_for("the other knows", lambda: any(p["id"] == b.id for p in a.json_lines("peers")))
            temporary, name = a.mount / "share/.x.tmp", a.mount / "share/x"
            name.write_bytes(b"what was there before")
            with open(temporary, "wb") as f:
                f.write(content[:1000])
                f.flush()
                self.assertEqual(ctypes.CDLL(None).renameat2(-1, os.fsencode(name), -1, os.fsencode(temporary), 2), 0)
                f.write(content[1000:])
            self.assertEqual(waits.communicate(timeout=30)[0], content)

    def test_what_is_renamed(self):
        """A file gets its name when it is whole and closed, as rsync and editors do it: who waits for it is told then."""
        with Loopback(1) as lab:
            a, b = lab.node(1, config=CONFIG), lab.node(2, config=CONFIG.replace("3s", "8s"))  # it asks again after 10 s
            b.run("connect", a.address())
            wait_for("the other knows", lambda: any(p["id"] == b.id for p in a.json_lines("peers")))
            for size in 300000, 3 * MIB:
                content = os.urandom(size)
                (lab.dir / "content").write_bytes(content)
                cid = a.cid(lab.dir / "content")
                waits = lab.popen(2, ["cat", b.mount / "ipfs" / cid], stdout=subprocess.PIPE)
                wait_for("it waits", lambda: cid in (b.mount / ".p2p/waiting").read_text())
                with open(a.mount / "share/.x.tmp", "wb") as f:
                    f.write(content)
                    f.flush()
                    os.fsync(f.fileno())
                os.rename(a.mount / "share/.x.tmp", a.mount / "share/x")
                self.assertEqual(waits.communicate(timeout=30)[0], content)

    def test_a_link_after_a_start(self):
        """What it keeps and nobody had goes on being fetched."""
        with Loopback(1) as lab:
            a, b = lab.node(1, config=CONFIG), lab.node(2, config=CONFIG)
            content = os.urandom(2 * MIB)
            (b.mount / "share/file").write_bytes(content)
            cid = b.cid(b.mount / "share/file")
            os.symlink(f"../ipfs/{cid}", a.mount / "share/link")
            a.stop()
            a.start()
            a.run("connect", b.address())
            wait_for("it is kept", lambda: cid in (a.mount / ".p2p/events").read_text())
            b.stop()
            self.assertEqual((a.mount / "share/link").read_bytes(), content)

    def test_what_a_link_had(self):
        """A link keeps a file, of which a block is found damaged then: a pin of it misses the block."""
        with Loopback(1) as lab:
            a, b = lab.node(1, config=CONFIG), lab.node(2, config=CONFIG)
            a.run("connect", b.address())
            content = os.urandom(2 * MIB)
            (b.mount / "share/file").write_bytes(content)
            cid = b.cid(b.mount / "share/file")
            os.symlink(f"../ipfs/{cid}", a.mount / "share/link")
            wait_for("it is kept", lambda: cid in (a.mount / ".p2p/events").read_text())
            os.symlink(f"../ipfs/{ABSENT}", a.mount / "share/absent")  # so that all links are looked at after a start
            a.stop()
            b.stop()
            self.damage(a, content)
            a.start()
            wait_for("it is looked at", lambda: cid in (a.mount / ".p2p/events").read_text())
            with self.assertRaises(OSError):
                (a.mount / "share/link").read_bytes()
            wait_for("the block is dropped", lambda: a.json("status")["store_wanted"] == 2)
            a.run("pin", "--background", cid)
            self.assertEqual(self.pin_state(a, cid), "incomplete")
            b.start()
            a.run("connect", b.address())
            wait_for("it is mended", lambda: self.pin_state(a, cid) == "complete", 60)
            self.assertEqual((a.mount / "share/link").read_bytes(), content)

    def test_what_is_found_damaged(self):
        """What a pin and a link had is fetched again, though nobody reads it."""
        with Loopback(1) as lab:
            a, b = lab.node(1, config=CONFIG), lab.node(2, config=CONFIG)
            a.run("connect", b.address())
            contents = [os.urandom(2 * MIB) for _ in range(2)]
            cids = []
            for i, content in enumerate(contents):
                (b.mount / f"share/{i}").write_bytes(content)
                cids.append(b.cid(b.mount / f"share/{i}"))
            a.run("pin", cids[0])
            os.symlink(f"../ipfs/{ABSENT}", a.mount / "share/absent")  # so that all links are looked at after a start
            os.symlink(f"../ipfs/{cids[1]}", a.mount / "share/link")
            wait_for("it is kept", lambda: cids[1] in (a.mount / ".p2p/events").read_text())
            a.stop()
            for content in contents:
                self.damage(a, content)
            a.start()
            wait_for("it is looked at", lambda: cids[1] in (a.mount / ".p2p/events").read_text())
            a.run("connect", b.address())
            self.assertEqual(a.run("verify", "--repair", check=False).stdout.count("is damaged"), 2)
            wait_for("all is here", lambda: self.pin_state(a, cids[0]) == "complete" and a.json("status")["store_wanted"] == 1)
            b.stop()
            self.assertEqual((a.mount / "share/link").read_bytes(), contents[1])

    def test_a_pin_again(self):
        """It failed; with what it lacked, the same command works at once."""
        with Loopback(1) as lab:
            a, b = lab.node(1, config=CONFIG + "quota = 2M\n"), lab.node(2, config=CONFIG)
            a.run("connect", b.address())
            (b.mount / "share/file").write_bytes(os.urandom(8 * MIB))
            cid = b.cid(b.mount / "share/file")
            self.assertEqual(a.run("pin", cid, check=False).returncode, 8)
            a.run("limits", "quota", "64M")
            a.run("pin", cid)
            self.assertEqual(self.pin_state(a, cid), "complete")

    def test_an_import_of_a_part(self):
        """Its root is pinned: what the CAR does not have is fetched."""
        with Loopback(1) as lab:
            a, b = lab.node(1, config=CONFIG), lab.node(2, config=CONFIG)
            a.run("connect", b.address())
            (b.mount / "share/file").write_bytes(os.urandom(4 * MIB))
            cid = b.cid(b.mount / "share/file")
            car = (b.mount / f"ipfs/{cid}.car").read_bytes()
            part = a.home / "part.car"
            root = 1 + car[0]  # behind the header; both are short
            length = (car[root] & 127) + (car[root + 1] << 7) + 2
            part.write_bytes(car[:root + length])
            a.run("import", str(part))
            wait_for("it is complete", lambda: self.pin_state(a, cid) == "complete")


if __name__ == "__main__":
    unittest.main(verbosity=2)
