#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Two nodes with a long path between them (tests/lib/wan.c): slow, lossy, cut for a while."""
import filecmp, os, pathlib, re, shutil, socket, subprocess, sys, threading, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import P2P, Lab, need, wait_for, write_pattern

DELAY = 25     # ms, one way
RATE = 5000000  # bytes a second
SIZE = 6 << 20
FILES = 200
TCP_RTO_MAX_MS = 44


class LongPathTests(unittest.TestCase):
    def setUp(self):
        need()
        self.lab = Lab(2, bridge=False).__enter__()
        self.addCleanup(self.lab.__exit__, None, None, None)
        self.path = self.lab.path(1, 2, delay=DELAY, rate=RATE)
        self.a, self.b = self.lab.node(1, config="mdns = off\n"), self.lab.node(2, config="mdns = off\n")
        self.b.run("connect", self.a.address(self.path.a_ip))

    def share(self, seed):
        source = self.lab.dir / f"source{seed}"
        write_pattern(source, SIZE, seed)
        shutil.copyfile(source, self.a.mount / "share" / source.name)
        return source, self.b.mount / "ipfs" / self.a.cid(self.a.mount / "share" / source.name)

    def test_delay_and_rate(self):
        self.assertGreaterEqual(self.b.json("ping", "-c", "1", self.a.id)["rtt"], 0.002 * DELAY)
        source, path = self.share(1)
        start = time.monotonic()
        self.assertTrue(filecmp.cmp(source, path, shallow=False))
        self.assertGreater(time.monotonic() - start, 0.95 * SIZE / RATE)  # what the path lets through, no more

    def test_small_files_come_together(self):
        """A tree is copied (by inode number), and another compared (by name), in much less than a round trip for each file."""
        per_file = {}
        for program in ("cp", "diff"):
            top = self.lab.dir / f"tree-{program}"
            for i in range(FILES):
                (top / f"d{i % 2}").mkdir(parents=True, exist_ok=True)
                (top / f"d{i % 2}" / f"f{i}").write_text(f"{program} {i}")
            shutil.copytree(top, self.a.mount / "share" / top.name)
            remote = self.b.mount / "ipfs" / self.a.cid(self.a.mount / "share" / top.name)
            copy = self.lab.dir / "copy"
            start = time.monotonic()
            subprocess.run(["cp", "-r", remote, copy] if program == "cp" else ["diff", "-r", remote, top], check=True)
            per_file[program] = (time.monotonic() - start) / FILES
        subprocess.run(["diff", "-r", copy, self.lab.dir / "tree-cp"], check=True)
        self.assertLess(max(per_file.values()), 0.001 * DELAY)

    def test_small_folders_come_together(self):
        """What is wanted ahead goes on from one directory to the next: they cost less than a round trip each."""
        top, slow, folders = self.lab.dir / "folders", 100, 40
        for i in range(folders):
            (top / f"d{i:02}").mkdir(parents=True)
            for k in range(5):
                (top / f"d{i:02}" / f"f{k}").write_text(f"{i} {k}")
        shutil.copytree(top, self.a.mount / "share" / top.name)
        remote = self.b.mount / "ipfs" / self.a.cid(self.a.mount / "share" / top.name)
        self.path.set(delay=slow)
        for program in (["cp", "-r", remote, self.lab.dir / "copy"], ["diff", "-r", self.lab.dir / "copy", top]):
            start = time.monotonic()
            subprocess.run(program, check=True)
            self.assertLess(time.monotonic() - start, 0.8 * folders * 0.002 * slow)

    def restart(self, metadata, read):
        self.b.stop()
        (self.b.home / "config").write_text(f"mdns = off\ntimeout-read = {read}s\ntimeout-metadata = {metadata}s\n")
        self.b.start()
        self.b.run("connect", self.a.address(self.path.a_ip))

    def test_patience(self):
        """Of who asks what it is, and of who has it open (cat asks for the size first)."""
        self.restart(1, 4)
        absent = self.b.mount / "ipfs" / "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
        took = []
        for program in ("stat", "cat"):
            start = time.monotonic()
            got = subprocess.run([program, absent], capture_output=True, text=True, env=dict(os.environ, LC_ALL="C"))
            self.assertIn("timed out", got.stderr)
            took.append(time.monotonic() - start)
        self.assertGreater(took[0], 1)
        self.assertGreater(took[1], 4)

    def test_slower_than_the_patience(self):
        """A block takes longer than a read waits without any progress, and more so the last of many: bytes are progress."""
        self.restart(3, 3)
        paths = []
        for i in range(4):
            name = self.a.mount / "share" / f"slow{i}"
            write_pattern(name, 1 << 20, 100 + i)
            paths.append((name, self.b.mount / "ipfs" / self.a.cid(name)))
        last, _ = paths.pop()
        self.path.set(rate=200000)
        failed = []

        def read(mine, theirs):
            try:
                self.assertTrue(filecmp.cmp(mine, theirs, shallow=False))
            except Exception as e:
                failed.append(e)
        threads = [threading.Thread(target=read, args=p) for p in paths]
        for t in threads:
            t.start()
        copy = self.lab.dir / "got"
        self.b.run("get", self.a.cid(last), "-o", copy)
        for t in threads:
            t.join()
        self.assertEqual(failed, [])
        self.assertTrue(filecmp.cmp(last, copy, shallow=False))

    def test_one_stream(self):
        """One stream of a service alone, both ways: not bound by the window it begins with."""
        self.path.set(rate=25000000, queue=4000000)
        size, rtt = 32 << 20, 0.002 * DELAY
        held = rtt * size / (256 << 10)  # seconds that a window of 256 KiB takes at the least
        source = self.lab.dir / "source"
        with open(source, "wb") as f:
            f.truncate(size)
        self.a.run("offer", "down", "file", source, "-a", self.b.id)
        self.a.run("offer", "-a", self.b.id, "--", "up", "exec", "/usr/bin/wc", "-c")
        name = self.b.mount / "peers" / self.a.id / "streams"
        wait_for("both are listed", lambda: {"down", "up"} <= set(os.listdir(name)))
        start = time.monotonic()
        with open(source, "rb") as f:
            self.assertEqual(self.b.run("dial", f"{self.a.id}/up", stdin=f).stdout, f"{size}\n")
        up = time.monotonic() - start
        start = time.monotonic()
        subprocess.run(["cmp", source, name / "down"], check=True)
        down = time.monotonic() - start
        print(f"\n{size / up / 1e6:.1f} MB/s up, {size / down / 1e6:.1f} MB/s down of 25", file=sys.stderr)
        self.assertLess(max(up, down), held)

    def test_loss(self):
        self.path.set(loss=10000)
        source, path = self.share(2)
        self.assertTrue(filecmp.cmp(source, path, shallow=False))

    def test_a_stream_goes_on_after_a_cut(self):
        """What got lost is sent again every two seconds, and not after as long as the cut was, or twice that."""
        need("ss")
        with socket.socket() as s:
            try:
                s.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, 2000)
            except OSError:
                raise unittest.SkipTest("needs TCP_RTO_MAX_MS, Linux 6.15")
        self.a.run("offer", "zero", "file", "/dev/zero", "-a", "any")
        reader = self.lab.popen(2, [P2P, "dial", f"{self.a.id}/zero"], env=self.b.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        def read(size):
            while size:
                got = os.read(reader.stdout.fileno(), min(size, 1 << 16))
                self.assertTrue(got)
                size -= len(got)
        def retries():
            """How often TCP has sent again what got lost, and after how many ms it does next."""
            lines = subprocess.run(self.lab.enter(1) + ["ss", "-tinoH", "dst", self.path.b_ip], capture_output=True, text=True).stdout
            found = [(int(b), int(rto)) for rto, b in re.findall(r" rto:(\d+) .*?backoff:(\d+) ", lines)]
            return max(found, default=(0, 0))
        read(RATE)
        self.path.set(up=0)
        wait_for("it was sent four times", lambda: retries()[0] >= 4)
        self.assertLessEqual(retries()[1], 2000)  # else 16 times what it began with, 0.2 s or more
        self.path.set(up=1)
        read(RATE)

    def test_cut_for_a_while(self):
        source, path = self.share(3)
        same = []
        t = threading.Thread(target=lambda: same.append(filecmp.cmp(source, path, shallow=False)))
        t.start()
        held = lambda: self.b.json("status")["store_used"]
        wait_for("the transfer runs", lambda: held() > 1 << 20)
        self.path.set(up=0)
        stuck = held()
        wait_for("a read waits", lambda: self.b.json_lines("waiting"))
        self.path.set(up=1)
        t.join(60)
        self.assertEqual(same, [True])
        self.assertGreater(held(), stuck)


if __name__ == "__main__":
    unittest.main(verbosity=2)
