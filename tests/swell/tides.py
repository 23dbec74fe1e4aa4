#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The limit of memory rises and falls (16 to 128 MiB, a few times a second) while programs do on one node all that takes memory, and
another fetches: sparse files and whole ones, large folders and small files, adding, importing, exporting, CIDs, collecting. Nobody
is told of it, no bytes are wrong, and nothing waits for long: who has memory gives it back though the limit is below what he has.

TIDES_SECONDS, TIDES_SEED. What waits too long is printed with what memory is used for."""
import errno, multiprocessing, os, pathlib, random, shutil, signal, subprocess, sys, time, traceback, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import P2P, Lab, need, wait_for

SECONDS = float(os.environ.get("TIDES_SECONDS", "20"))
SEED = int(os.environ.get("TIDES_SEED", str(time.time_ns() % 10**9)))
PATIENCE = 30  # seconds that anything may wait; on a busy machine with 16 MiB a collection takes some
MIB = 1 << 20
# What was let go of meanwhile and a collection took: nobody has it
GONE = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)


class Work:
    """What one program does in turns, until the time is over."""

    def __init__(self, a, b, rng):
        self.a, self.b, self.rng = a, b, rng
        self.share = a.mount / "share"

    def sparse_file(self):
        """Pieces here and there in holes; synced, cut and lengthened; each piece is there or was cut."""
        path = self.share / f"sparse{self.rng.randrange(2)}-{os.getpid()}"
        pieces, step = {}, self.rng.choice((1, 1, 7, 1024)) * MIB
        with open(path, "w+b") as f:
            for i in range(self.rng.randrange(1, 60)):
                at = self.rng.randrange(64) * step + self.rng.choice((0, 5, 500000, MIB - 9))
                what = self.rng.random()
                if what < 0.05:
                    f.truncate(at)
                    pieces = {k: v[:max(0, at - k)] for k, v in pieces.items()}
                    continue
                if what < 0.1:
                    os.fsync(f.fileno())
                if all(abs(at - k) >= 9 for k in pieces):
                    pieces[at] = self.rng.randbytes(9)
                    f.seek(at)
                    f.write(pieces[at])
                    f.flush()
            if self.rng.random() < 0.5:
                os.fsync(f.fileno())
            for at, piece in pieces.items():
                f.seek(at)
                assert f.read(len(piece)) == piece, f"{path} at {at}"
        path.unlink()

    def whole_file(self):
        """A file of some MB, synced, copied, read back."""
        path, copy = self.share / f"whole-{os.getpid()}", self.share / f"copy-{os.getpid()}"
        data = self.rng.randbytes(self.rng.choice((3, 1000000, MIB, 5 * MIB + 1, 20 * MIB)))
        with open(path, "wb") as f:
            f.write(data)
            if self.rng.random() < 0.5:
                os.fsync(f.fileno())
        shutil.copy(path, copy)
        for p in (path, copy):
            assert p.read_bytes() == data, p
            p.unlink()

    def small_files(self):
        """A folder of many, its CID, and away with it."""
        folder = self.share / f"folder-{os.getpid()}"
        folder.mkdir()
        for i in range(self.rng.choice((3, 300, 3000))):
            (folder / f"a name that takes a little room {i:06}").write_bytes(b"%d" % i)
        self.a.cid(folder)
        shutil.rmtree(folder)

    def control(self):
        """Added, exported, imported."""
        data = self.rng.randbytes(self.rng.choice((3, MIB, 6 * MIB)))
        file, car = self.a.home / f"data-{os.getpid()}", self.a.home / f"car-{os.getpid()}"
        file.write_bytes(data)
        cid = self.a.run("add", file).stdout.split()[0]
        with open(car, "wb") as out:
            exported = subprocess.run([P2P, "export", cid], env=self.a.env, stdout=out, stderr=subprocess.PIPE, timeout=120)
        if exported.returncode == 0:  # else collected meanwhile
            self.a.run("import", car)

    def collect(self):
        for node in (self.a, self.b):
            node.run("gc")
        time.sleep(self.rng.random())

    def fetch(self):
        """Whatever state of the share there is, elsewhere, until something is gone."""
        cid = self.a.cid(self.share)
        try:
            for folder, _, names in os.walk(self.b.mount / "ipfs" / cid):
                for name in names:
                    with open(pathlib.Path(folder, name), "rb") as f:
                        f.seek(max(0, os.fstat(f.fileno()).st_size - 3 * MIB))
                        f.read()
        except OSError as e:
            assert e.errno in GONE, e


def work(node_a, node_b, kind, seed, end):
    rng = random.Random(f"{seed} {kind}")
    w = Work(node_a, node_b, rng)
    turns = 0
    try:
        while time.monotonic() < end or turns == 0:
            getattr(w, kind)()
            turns += 1
        print(f"{kind}: {turns} turns", flush=True)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


class Tides(unittest.TestCase):
    KINDS = ("sparse_file", "sparse_file", "whole_file", "small_files", "control", "collect", "fetch")

    @classmethod
    def setUpClass(cls):
        need()

    def config(self, node, mib):
        text = (node.home / "config").read_text().splitlines()
        lines = [line for line in text if not line.startswith("memory")] + [f"memory = {mib}M", ""]
        (node.home / "config.new").write_text("\n".join(lines))
        os.rename(node.home / "config.new", node.home / "config")
        node.process.send_signal(signal.SIGHUP)

    def look(self, node):
        late = [r for r in node.json_lines("waiting") if r["seconds"] > PATIENCE]
        if late:
            limits = [r for r in node.json_lines("limits") if r["name"].startswith("memory")]
            self.fail(f"node {node.index}: {late}\n{limits}\n{node.tail()}")

    def test_memory_rises_and_falls(self):
        rng = random.Random(SEED)
        print(f"TIDES_SEED={SEED}", file=sys.stderr)
        with Lab(2) as lab:
            a, b = (lab.node(i, config="memory = 32M\ntimeout-read = 5s\ntimeout-metadata = 5s\n") for i in (1, 2))
            wait_for("they see each other", lambda: a.id in b.peers() and b.id in a.peers())
            end = time.monotonic() + SECONDS
            workers = [multiprocessing.get_context("fork").Process(target=work, args=(a, b, kind, SEED + i, end))
                       for i, kind in enumerate(self.KINDS)]
            try:
                for w in workers:
                    w.start()
                last = end + 2 * PATIENCE
                while any(w.is_alive() for w in workers):
                    self.assertLess(time.monotonic(), last, f"{[k for k, w in zip(self.KINDS, workers) if w.is_alive()]} do not end")
                    for node in (a, b):
                        self.look(node)
                    if time.monotonic() < end:
                        self.config(rng.choice((a, b)), rng.choice((16, 16, 20, 32, 128)))
                    time.sleep(rng.random() * 0.5)
            finally:
                for w in workers:
                    w.kill()
            self.assertEqual([w.exitcode for w in workers], [0] * len(workers), f"TIDES_SEED={SEED}")
            for node in (a, b):
                self.assertIn('"problems":0', node.run("verify", "--json").stdout.replace(" ", ""))
                self.assertEqual(node.stop(60), 0, node.tail())


if __name__ == "__main__":
    unittest.main(verbosity=2)
