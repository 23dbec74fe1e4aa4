#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""How long small operations on a mount take while one node does something big: copies, lists, publishes, checks, removes.

    sudo P2P_BIN=build/release/p2p tests/bench/beside.py [--names N] [--only STEP,STEP]

Four threads do a small thing every ten milliseconds each: stat and list a folder of ten files, read one of them (4 KiB, held), create
a file, read .p2p's status. For each step: how long it took, and of each small thing the median and the worst, in ms; a row of rest at
the end. Not a test: nothing passes or fails. One node without a network; needs /dev/fuse.
"""
import argparse, contextlib, os, pathlib, random, statistics, subprocess, sys, threading, time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import solo

MIB = 1 << 20


class Beside:
    """The small things, in threads of their own; times by step."""

    def __init__(self, node):
        self.folder, self.node, self.step, self.over, self.times = node.share / "small", node, "rest", False, {}
        self.folder.mkdir()
        for i in range(10):
            (self.folder / str(i)).write_bytes(os.urandom(4096))
        self.things = {"stat": lambda: os.stat(self.folder), "ls": lambda: os.listdir(self.folder),
                       "read": (self.folder / "3").read_bytes, "create": lambda: (self.folder / "new").write_bytes(b"x"),
                       "status": (node.mount / "status").read_text}
        self.threads = [threading.Thread(target=self.run, args=(name,)) for name in self.things]
        for t in self.threads:
            t.start()

    def run(self, name):
        while not self.over:
            step, begun = self.step, time.monotonic()
            self.things[name]()
            self.times.setdefault((step, name), []).append(time.monotonic() - begun)
            time.sleep(0.01)

    def end(self):
        self.over = True
        for t in self.threads:
            t.join()

    def row(self, step, took=None):
        cells = []
        for name in self.things:
            times = self.times.get((step, name)) or [0]
            cells.append(f"{name} {statistics.median(times) * 1000:.1f} / {max(times) * 1000:.0f}")
        print(f"{step:22}{'' if took is None else f'{took:8.2f} s':>10}   {'   '.join(cells)}", flush=True)


class Steps:
    def __init__(self, node, names):
        self.node, self.share, self.names = node, node.share, names
        self.many = self.share / "many"

    def file(self, i):
        return self.many / f"a name that is not so short {i:07}"

    def cid(self, path):
        return self.node.request("GET", f"/v1/cid?path=share/{path}")

    def make_names(self):
        self.many.mkdir()
        for i in range(self.names):
            self.file(i).write_bytes(b"tiny %d" % i)

    def cid_of_names(self):
        self.cid("many")

    def cid_after_a_change(self):
        (self.many / "one more").write_bytes(b"x")
        self.cid("many")

    def walk_names(self):
        subprocess.run(["find", self.many, "-size", "+1k"], check=True, stdout=subprocess.DEVNULL)

    def rename_third(self):
        (self.share / "other").mkdir()
        for i in range(0, self.names, 3):
            os.rename(self.file(i), self.share / "other" / str(i))

    def remove_names(self):
        subprocess.run(["rm", "-rf", self.many, self.share / "other"], check=True)

    def deep_folders(self):
        """1,000 below each other; a change at the bottom, and the CID of the top, twenty times."""
        at = os.open(self.share, os.O_RDONLY)
        for _ in range(1000):
            os.mkdir("d", dir_fd=at)
            below = os.open("d", os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = below
        for i in range(20):
            with open(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=at), "wb") as f:
                f.write(b"%d" % i)
            self.cid("d")
        os.close(at)

    def disk_image(self):
        """4 TiB of holes, with something here and there, as mkfs leaves it."""
        with open(self.share / "image", "wb", buffering=0) as f:
            f.truncate(4 << 40)
            for gib in range(0, 4096, 2):
                f.seek((gib << 30) + (1 << 29))
                f.write(b"group %d" % gib)
        self.cid("image")

    def random_writes(self):
        rng = random.Random(1)
        with open(self.share / "random", "wb", buffering=0) as f:
            f.truncate(1 << 30)
            for _ in range(4000):
                f.seek(rng.randrange(1 << 30) & ~4095)
                f.write(b"y" * 4096)
        self.cid("random")

    def copy_in(self):
        piece = os.urandom(MIB)
        with open(self.share / "big", "wb", buffering=0) as f:
            for i in range(1024):
                f.write(i.to_bytes(8, "big") + piece[8:])
            os.fsync(f.fileno())

    def verify(self):
        self.node.request("POST", "/v1/verify")

    def collect(self):
        for name in "image", "random", "big":
            with contextlib.suppress(FileNotFoundError):
                (self.share / name).unlink()
        self.node.request("POST", "/v1/gc")


STEPS = [name for name in vars(Steps) if not name.startswith("_") and name not in ("file", "cid")]


def main():
    args = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    args.add_argument("--names", type=int, default=100_000)
    args.add_argument("--only", default=",".join(STEPS), metavar="STEP,STEP", help=",".join(STEPS))
    args = args.parse_args()
    solo.need(shim=False)
    with solo.Solo(solo.QUIET) as node:
        node.start()
        beside, steps = Beside(node), Steps(node, args.names)
        time.sleep(1)
        try:
            for name in args.only.split(","):
                beside.step = name
                begun = time.monotonic()
                getattr(steps, name)()
                took = time.monotonic() - begun
                time.sleep(0.1)  # so that what began beside it has ended
                beside.row(name, took)
                beside.step = "rest"
                time.sleep(1)
        finally:
            beside.end()
        beside.row("rest")
        print("private memory:", next(l.split()[1] for l in open(f"/proc/{node.process.pid}/status") if l.startswith("RssAnon")), "kB")
        node.stop()


if __name__ == "__main__":
    main()
