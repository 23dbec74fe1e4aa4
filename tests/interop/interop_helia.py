#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Helia 7 and our node fetch from each other over TCP + Noise + Yamux, with and without early muxer negotiation."""
import filecmp, json, os, pathlib, subprocess, sys, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import Lab, need, pattern, wait_for, write_pattern

HERE = pathlib.Path(__file__).resolve().parent


def helia_folder():
    p = subprocess.run([HERE / "setup", "helia"], capture_output=True, text=True)
    if p.returncode == 77:
        raise unittest.SkipTest(p.stderr.strip())
    p.check_returncode()
    return pathlib.Path(p.stdout.strip())


class Helia:
    def __init__(self, lab, index, folder, *flags):
        self.process = lab.popen(index, [folder / "node_modules/node/bin/node", "helia.mjs", *flags, f"/ip4/{lab.ip(index)}/tcp/0"],
                                 cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        me = self("id")
        self.id, self.address = me["id"], me["addresses"][0]

    def __call__(self, verb, **args):
        self.process.stdin.write(json.dumps({"verb": verb, **args}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError("the Helia process ended")
        answer = json.loads(line)
        if "error" in answer:
            raise AssertionError(f"Helia's {verb}: {answer['error']}")
        return answer


class HeliaTests:
    flags = ()

    @classmethod
    def setUpClass(cls):
        need()
        cls.folder = helia_folder()
        cls.lab = Lab(2).__enter__()
        cls.addClassCleanup(cls.lab.__exit__, None, None, None)
        cls.ours = cls.lab.node(1)
        cls.helia = Helia(cls.lab, 2, cls.folder, *cls.flags)
        cls.helia("dial", address=cls.ours.address())

    def our_files(self):
        share = self.ours.mount / "share"
        (share / "dir" / "sub").mkdir(parents=True, exist_ok=True)
        write_pattern(share / "big", 20 * 1048576 + 7, 1)
        (share / "dir" / "sub" / "leaf").write_text("leaf\n")
        (share / "dir" / "empty").write_bytes(b"")
        return share

    def test_helia_fetches_a_file(self):
        share = self.our_files()
        out = self.lab.dir / "helia-out"
        answer = self.helia("cat", cid=self.ours.cid(share / "big"), out=str(out))
        self.assertEqual(answer["bytes"], 20 * 1048576 + 7)
        self.assertTrue(filecmp.cmp(out, share / "big", shallow=False))

    def test_helia_lists_a_directory(self):
        share = self.our_files()
        self.assertEqual(self.helia("ls", cid=self.ours.cid(share / "dir"))["names"], ["empty", "sub"])

    def test_helia_lists_a_hamt_of_10000(self):
        many = self.ours.mount / "share" / "many"
        many.mkdir(exist_ok=True)
        for i in range(10000):
            (many / f"file-{i}.txt").write_text(f"file {i}\n")
        cid = self.ours.cid(many)
        self.assertEqual(cid, "bafybeigti65kygauwm2m6z5k3tuvkez6tvcqy5niav2ecrwlplwljw57aq")
        self.assertEqual(sorted(self.helia("ls", cid=cid)["names"]), sorted(f"file-{i}.txt" for i in range(10000)))

    def test_our_mount_reads_a_file(self):
        source = self.lab.dir / "source"
        write_pattern(source, 20 * 1048576 + 11, 2)
        cid = self.helia("add", path=str(source))["cid"]
        self.assertTrue(filecmp.cmp(self.ours.mount / "ipfs" / cid, source, shallow=False))
        self.assertEqual(cid, self.ours.cid(source), "p2p cid and Helia give the same CID")

    def test_our_mount_reads_a_hamt_of_10000(self):
        cid = self.helia("addMany", count=10000, name="n-#.txt")["cid"]
        listed = os.listdir(self.ours.mount / "ipfs" / cid)
        self.assertEqual(sorted(listed), sorted(f"n-{i}.txt" for i in range(10000)))
        self.assertEqual((self.ours.mount / "ipfs" / cid / "n-777.txt").read_text(), "file 777\n")

    def test_our_mount_reads_old_layouts(self):
        source = self.lab.dir / "old"
        write_pattern(source, 3 * 1048576 + 5, 3)
        for options in ({"profile": "unixfs-v0-2015"}, {"rawLeaves": False}):
            with self.subTest(**options):
                cid = self.helia("add", path=str(source), options=options)["cid"]
                self.assertTrue(filecmp.cmp(self.ours.mount / "ipfs" / cid, source, shallow=False))

    def test_ping_both_ways(self):
        self.assertGreaterEqual(self.helia("ping", address=self.ours.address())["ms"], 0)
        self.ours.run("ping", self.helia.id)


class EarlyMuxer(HeliaTests, unittest.TestCase):
    pass


class MultistreamMuxer(HeliaTests, unittest.TestCase):
    flags = ("--no-early-muxer",)


class Discovery(unittest.TestCase):
    def test_mdns_finds_helia_and_helia_finds_us(self):
        need()
        folder = helia_folder()
        with Lab(2) as lab:
            ours = lab.node(1)
            helia = Helia(lab, 2, folder, "--mdns")
            wait_for("our node lists Helia", lambda: helia.id in ours.peers(), 30)
            wait_for("Helia is connected to us", lambda: ours.id in helia("peers")["peers"], 60)


if __name__ == "__main__":
    unittest.main(verbosity=2)
