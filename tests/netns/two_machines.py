#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two and three machines on one LAN that were told nothing about each other."""
import base64, filecmp, hashlib, os, pathlib, signal, statistics, subprocess, sys, threading, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import Lab, child, end, need, wait_for, write_pattern

SIZE = int(os.environ.get("P2P_TEST_BIG", str(256 << 20)))  # by hand: 1 GiB


def absent(what="absent"):
    """The CID of bytes that no node holds"""
    digest = hashlib.sha256(what.encode()).digest()
    return "b" + base64.b32encode(b"\x01\x55\x12\x20" + digest).decode().lower().rstrip("=")


ABSENT = absent()

EAGER = """
import sys
while True:
    try:
        open(sys.argv[1]).read()
    except FileNotFoundError:
        continue
"""


def met(*nodes):
    ids = [n.id for n in nodes]
    for n in nodes:
        wait_for(f"node {n.index} sees the others", lambda: all(i in n.peers() for i in ids if i != n.id), 30)


def attribute(path, name):
    p = subprocess.run(["getfattr", "--only-values", "--absolute-names", "-n", f"user.p2p.{name}", path], capture_output=True, text=True)
    return p.stdout if p.returncode == 0 else None


class TwoMachines(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need()

    def test_cp_here_cat_there(self):
        with Lab(2) as lab:
            a, b = lab.node(1), lab.node(2)
            met(a, b)
            source = lab.dir / "random"
            write_pattern(source, SIZE)
            subprocess.run(["cp", "-r", "/usr/share/doc", source, a.mount / "share"], check=True)
            stop = threading.Event()

            def keep_writing():
                n = 0
                while not stop.is_set():
                    (a.mount / "share" / f"more-{n % 50}").write_bytes(os.urandom(70000))
                    n += 1
            writer = threading.Thread(target=keep_writing)
            writer.start()
            try:
                doc, big = a.cid(a.mount / "share" / "doc"), a.cid(a.mount / "share" / "random")
                subprocess.run(["diff", "-r", "--no-dereference", b.mount / "ipfs" / doc, "/usr/share/doc"], check=True, timeout=300)
                self.assertTrue(filecmp.cmp(b.mount / "ipfs" / big, source, shallow=False))
                for name in ("source", "providers"):
                    self.assertEqual(attribute(b.mount / "ipfs" / big, name), a.id)
                    self.assertIsNone(attribute(a.mount / "ipfs" / big, name), "made here")
                a.run("export", doc, "-o", lab.dir / "doc.car")
                self.assertTrue(filecmp.cmp(b.mount / "ipfs" / f"{doc}.car", lab.dir / "doc.car", shallow=False))
            finally:
                stop.set()
                writer.join()

    def test_keep_and_resume(self):
        """B keeps a film with ln -s; A goes away mid-transfer and comes back; the transfer resumes by itself."""
        with Lab(2) as lab:
            a = lab.node(1)
            # a slow enough film that A can vanish in the middle of it
            b = lab.node(2, config="download-limit = 20M\n")
            met(a, b)
            film = lab.dir / "film"
            write_pattern(film, 64 << 20, 9)
            subprocess.run(["cp", film, a.mount / "share/film"], check=True)
            cid = a.cid(a.mount / "share/film")
            os.symlink(f"../ipfs/{cid}", b.mount / "share/film")
            used = lambda: b.json("status")["store_used"]
            wait_for("some of the film arrived", lambda: used() > 8 << 20)
            a.kill()
            wait_for("B noticed", lambda: not any(p["connected"] for p in b.json_lines("peers")))
            self.assertLess(used(), 64 << 20, "A was killed in the middle")
            a.start()
            wait_for("the film is whole", lambda: used() >= 64 << 20, 90)
            a.stop()
            self.assertTrue(filecmp.cmp(b.mount / "share/film", film, shallow=False), "held: A is not needed")

    def test_keep_what_nobody_has(self):
        """B keeps many DAGs that nobody has: what it keeps before, between and after them comes all the same."""
        with Lab(2) as lab:
            a, b = lab.node(1), lab.node(2)
            met(a, b)
            cids = []
            for i in range(60):
                write_pattern(a.mount / f"share/{i}", 3 << 20 if i % 10 == 0 else 1000, i)
                cids.append(a.cid(a.mount / f"share/{i}"))
            held = lambda: b.json("status")["store_blocks"]
            for i, cid in enumerate(cids[:50]):
                os.symlink(f"../ipfs/{cid}", b.mount / f"share/{i}")
                for k in range(4):
                    os.symlink(f"../ipfs/{absent(f'{i} {k}')}", b.mount / f"share/nobody has {i} {k}")
            (b.mount / "share/own").write_bytes(b"here")
            os.symlink(f"../ipfs/{b.cid(b.mount / 'share/own')}", b.mount / "share/kept own")
            blocks = 45 + 5 * 4 + 1
            wait_for("all that somebody has is here", lambda: held() >= blocks, 60)
            wait_for("they count", lambda: "200 kept DAGs" in b.json("status")["state"], 10)
            for cid in cids[50:]:
                begun = time.monotonic()
                blocks += 4 if cid == cids[50] else 1
                os.symlink(f"../ipfs/{cid}", b.mount / f"share/late {cid}")
                wait_for("a new one does not wait for its turn", lambda: held() >= blocks, 20)
                print(f"kept beside 200 that nobody has: {time.monotonic() - begun:.2f} s", file=sys.stderr)
            os.symlink(f"../ipfs/{absent('late')}", b.mount / "share/now somebody has it")
            (a.mount / "share/late").write_bytes(b"late")
            a.cid(a.mount / "share/late")
            wait_for("it is found when its turn comes", lambda: held() > blocks, 90)

    def test_another_address(self):
        """A's address changes under a connection: what can send nothing any more is given up, and both find each other again."""
        with Lab(2) as lab:
            a, b = lab.node(1), lab.node(2)
            met(a, b)
            wait_for("connected", lambda: all(n.json("status")["peers_connected"] for n in (a, b)))
            for args in (("route", "del", "default"), ("addr", "del", f"{lab.ip(1)}/24", "dev", "eth0"),
                         ("addr", "add", "10.77.0.99/24", "dev", "eth0")):
                subprocess.run(["ip", "-n", lab.name(1), *args], check=True)
            wait_for("A closed its connection", lambda: any(e["kind"] == "peer.disconnected" for e in a.json_lines("events")), 10)
            (a.mount / "share" / "new").write_bytes(b"told from another address")
            cid = a.cid(a.mount / "share" / "new")
            remotes = lambda: [p.get("remote", "") for p in b.json_lines("peers")]
            wait_for("B meets the new address", lambda: any("/10.77.0.99/" in r for r in remotes()))
            self.assertEqual((b.mount / "ipfs" / cid).read_bytes(), b"told from another address")
            doctor = {row["check"]: row for row in a.json_lines("doctor", check=False)}
            self.assertEqual(doctor["mdns"]["verdict"], "good", "a network without a default route")

    def test_kill_9_loses_nothing_synced(self):
        with Lab(1) as lab:
            a = lab.node(1)
            for round_ in range(3):
                path = a.mount / "share" / f"synced-{round_}"
                with open(path, "wb") as f:
                    f.write(bytes([round_]) * 3000000)
                    os.fsync(f.fileno())
                writer = subprocess.Popen(["cp", "-r", "/usr/share/doc", a.mount / "share" / f"doc-{round_}"], stderr=subprocess.DEVNULL)
                wait_for("cp is under way", lambda: (a.mount / "share" / f"doc-{round_}").exists())
                a.kill()
                writer.wait()
                a.start()  # onto the dead mount
                for r in range(round_ + 1):
                    self.assertEqual((a.mount / "share" / f"synced-{r}").read_bytes(), bytes([r]) * 3000000)
            self.assertEqual(a.run("verify", timeout=300).returncode, 0)

    def test_three_share_the_load(self):
        with Lab(3) as lab:
            a, b, c = lab.node(1), lab.node(2), lab.node(3)
            met(a, b, c)
            source = lab.dir / "f"
            write_pattern(source, 96 << 20, 3)
            subprocess.run(["cp", source, a.mount / "share/f"], check=True)
            subprocess.run(["cp", source, b.mount / "share/f"], check=True)
            cid = a.cid(a.mount / "share/f")
            self.assertEqual(cid, b.cid(b.mount / "share/f"))
            self.assertTrue(filecmp.cmp(c.mount / "ipfs" / cid, source, shallow=False))
            self.assertEqual(set(attribute(c.mount / "ipfs" / cid, "providers").split()), {a.id, b.id})
            self.assertIn(attribute(c.mount / "ipfs" / cid, "source"), (a.id, b.id))
            subprocess.run(["cp", c.mount / "ipfs" / cid, c.mount / "share/f"], check=True)
            self.assertIn(attribute(c.mount / "share/f", "source"), (a.id, b.id))
            counted = lambda: {p["id"]: p["block_bytes_in"] for p in c.json_lines("peers")}
            wait_for("the ledger counted it", lambda: sum(counted().values()) >= 96 << 20)
            got = counted()
            for n in (a, b):
                self.assertGreater(got.get(n.id, 0), 8 << 20, f"node {n.index} had a share in it: {got}")
            self.assertLess(sum(got.values()), 1.1 * (96 << 20), "hardly anything came twice")

    def test_what_was_collected_is_fetched_again(self):
        """What has just come is in memory too: it does not count as held when the store has let it go."""
        with Lab(2) as lab:
            a, b = lab.node(1), lab.node(2)
            met(a, b)
            source = lab.dir / "f"
            write_pattern(source, 3 << 20, 5)
            subprocess.run(["cp", source, a.mount / "share/f"], check=True)
            cid = a.cid(a.mount / "share/f")
            b.run("pin", cid)
            b.run("unpin", cid)
            b.run("gc")
            self.assertEqual(b.json("status")["store_blocks"], 0)
            b.run("stat", cid, timeout=30)
            b.run("pin", cid, timeout=30)
            self.assertEqual(b.json("status")["store_blocks"], 4, "kept is what is in the store")
            a.kill()
            self.assertTrue(filecmp.cmp(b.mount / "ipfs" / cid, source, shallow=False))

    def test_goodbye(self):
        """A node that stops says so: the other one does not go on listing it as of this network."""
        with Lab(2) as lab:
            a, b = lab.node(1), lab.node(2)
            met(a, b)
            lan = lambda: [p for p in b.json_lines("peers") if p["id"] == a.id and p["lan"]]
            wait_for("B has heard A", lan)
            a.stop()
            wait_for("B knows that A left", lambda: not lan() and f"peer.left\t{a.id}" in (b.mount / ".p2p/events").read_text(), 5)

    def test_offline_and_stuck(self):
        with Lab(1) as lab:
            a = lab.node(1, start=False)
            absent = a.mount / "ipfs" / ABSENT
            # Asks as soon as there is a mount, which is before the node knows its network
            p = subprocess.Popen([sys.executable, "-c", EAGER, absent], stderr=subprocess.PIPE)
            a.start()
            wait_for("it is listed as waiting", lambda: p.poll() is not None or str(p.pid) in (a.mount / ".p2p/waiting").read_text())
            self.assertIsNone(p.returncode, "it waits" if p.returncode is None else p.stderr.read())
            (a.mount / "share/held").write_bytes(b"held")
            start = time.monotonic()
            p.send_signal(signal.SIGINT)
            p.wait(5)
            self.assertLess(time.monotonic() - start, 1.0, "Ctrl-C frees a read that waits")
            self.assertEqual((a.mount / "share/held").read_bytes(), b"held")
            lab.cable(1, False)
            wait_for("offline is noticed", lambda: "Network is unreachable" in
                     subprocess.run(["cat", absent], capture_output=True, text=True, timeout=30).stderr, 60)


class Alone(unittest.TestCase):
    def test_what_was_just_copied_is_listed_without_a_network(self):
        """The command line reads the store; a folder's CID is told when its blocks are there."""
        need()
        with Lab(1, bridge=False) as lab:
            a = lab.node(1)
            for i in range(5):
                (a.mount / f"share/d{i}/sub").mkdir(parents=True)
                (a.mount / f"share/d{i}/sub/file").write_text(f"new {i}")
                self.assertIn("sub", a.run("ls", f"share/d{i}").stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
