#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many small files: what names, attributes and short contents cost through the mount, beside the same work on the same disk and on tmpfs.

    sudo P2P_BIN=build/release/p2p tests/bench/small.py [--rounds N] [--only WORD]

Each row is measured alternately, ROUNDS times; medians are printed, with the ratios, the node's own processor time and the requests that the
kernel sent it for one file. Before each measurement all of it (node and disk) is brought to rest. Nodes run in network namespaces; needs
root. Not a test: nothing passes or fails. `measure()` gives the rows to other programs.
"""
import argparse, contextlib, os, pathlib, random, shutil, statistics, subprocess, sys, tarfile, tempfile, time, unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib")]
from lab import SOURCE, Lab, need

FILES, LISTED, MANY = 10_000, 20_000, 100_000
TICK = os.sysconf("SC_CLK_TCK")


class Row:
    """What was measured: seconds of each place (medians), and of the node: seconds of processor time, requests in all."""

    def __init__(self, what, aim, unit_count, took, cpu, requests):
        self.what, self.aim, self.count = what, aim, unit_count
        self.took, self.cpu, self.requests = took, cpu, requests

    def text(self):
        places = [f"{p} {s:.3f}" + (f" ({self.took['share'] / s:.1f}×)" if p != "share" and s else "") for p, s in self.took.items()]
        total = sum(self.requests.values())
        kinds = ", ".join(f"{k} {n / self.count:.2f}" for k, n in sorted(self.requests.items(), key=lambda i: -i[1])[:7] if n / self.count >= 0.005)
        return f"{self.what:<44} {self.aim:<9} {'  '.join(places):<56} node {self.cpu:.2f} s; {total / self.count:.2f} requests each" + (f": {kinds}" if kinds else "")


class Place:
    """A folder where the work is done: `share`, `disk` or `tmpfs`. The node's figures only change in `share`."""

    def __init__(self, name, folder, node=None):
        self.name, self.dir, self.node = name, pathlib.Path(folder), node

    def rest(self):
        """Until nothing is on its way to the disk any more."""
        if self.node:
            fd = os.open(self.dir, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
            while True:  # what the node still does by itself: counts, releases
                before = self.cpu()
                time.sleep(0.1)
                if self.cpu() - before < 0.02:
                    break
        os.sync()

    def cpu(self):
        if not self.node:
            return 0.0
        fields = pathlib.Path(f"/proc/{node_pid(self.node)}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def requests(self):
        if not self.node:
            return {}
        lines = (self.node.mount / ".p2p/requests").read_text().splitlines()[1:]
        return {kind: int(n) for kind, n in (line.split("\t") for line in lines)}


def node_pid(node):
    return node.process.pid


def forget_caches():
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("2\n")


def run(*argv, **kw):
    subprocess.run([str(a) for a in argv], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **kw)


def alternate(what, places, rounds, work, count, before=None, aim=""):
    """One row: work(place, round) at every place in turn; before(place, round) is not timed."""
    took = {p.name: [] for p in places}
    cpu, requests = [], {}
    for i in range(rounds):
        for p in places:
            if before:
                before(p, i)
            p.rest()
            asked, busy = p.requests(), p.cpu()
            start = time.monotonic()
            work(p, i)
            took[p.name].append(time.monotonic() - start)
            if p.node:
                now = p.requests()  # before the rest: fsync is not what is measured
                requests = {k: n - asked.get(k, 0) for k, n in now.items()}
                p.rest()
                cpu.append(p.cpu() - busy)
    return Row(what, aim, count, {n: statistics.median(t) for n, t in took.items()}, statistics.median(cpu), requests)


def make_small(folder, count=FILES, size=4096, seed=1):
    folder.mkdir()
    r = random.Random(seed)
    for i in range(count):
        (folder / f"f{i}").write_bytes(r.randbytes(size))


def make_names(folder, count):
    folder.mkdir(exist_ok=True)
    for i in range(count):
        os.close(os.open(folder / f"name{i:06}", os.O_CREAT | os.O_WRONLY, 0o644))


def make_source_tree(folder, dirs=200, files=15, seed=2):
    """As the sources of a program: many folders, files of 0.2 to 40 KiB, most of them short."""
    r = random.Random(seed)
    for d in range(dirs):
        sub = folder / f"part{d % 20}" / f"mod{d}"
        sub.mkdir(parents=True)
        for f in range(files):
            (sub / f"file{f}.c").write_bytes(r.randbytes(int(200 * 200 ** r.random())))
    return dirs * files


def copying(lab, places, rounds):
    small = lab.dir / "small-source"
    make_small(small)
    target = lambda p, i: p.dir / f"small{i}"
    yield alternate(f"cp -r {FILES} × 4 KiB", places, rounds, lambda p, i: run("cp", "-r", small, target(p, i)), FILES, aim="1 s, 2×")
    yield alternate("ls -lR of them, just written", places, rounds, lambda p, i: run("ls", "-lR", target(p, i)), FILES)
    yield alternate("cat of them all, cold", places, rounds, lambda p, i: run("tar", "cf", "/dev/zero", target(p, i)), FILES,
                    before=lambda p, i: pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n"))
    yield alternate("rm -r of them", places, rounds, lambda p, i: run("rm", "-r", target(p, i)), FILES, aim="0.5 s")


def listing(lab, places, rounds):
    for p in places:
        make_names(p.dir / "listed", LISTED)
        (p.dir / "tree").mkdir()
        for d in range(100):
            make_names(p.dir / "tree" / f"d{d}", LISTED // 100)
    cold = lambda p, i: forget_caches()
    yield alternate(f"ls -l of {LISTED}, cold", places, rounds, lambda p, i: run("ls", "-l", p.dir / "listed"), LISTED, cold, "0.3 s")
    yield alternate(f"ls -l of {LISTED}, again", places, rounds, lambda p, i: run("ls", "-l", p.dir / "listed"), LISTED, aim="0.3 s")
    yield alternate(f"find over {LISTED} in 100 folders, cold", places, rounds, lambda p, i: run("find", p.dir / "tree"), LISTED, cold)
    yield alternate(f"find -newer over {LISTED}, cold", places, rounds,
                    lambda p, i: run("find", p.dir / "tree", "-newer", "/etc/passwd", "-size", "+1"), LISTED, cold)
    for p in places:
        run("rm", "-r", p.dir / "listed", p.dir / "tree")


def many(lab, places, rounds):
    for p in places:
        make_names(p.dir / "many", MANY)
    cold = lambda p, i: forget_caches()
    yield alternate(f"ls -f of {MANY}, cold", places, rounds, lambda p, i: run("ls", "-f", p.dir / "many"), MANY, cold, "0.3 s")
    yield alternate(f"ls -f of {MANY}, again", places, rounds, lambda p, i: run("ls", "-f", p.dir / "many"), MANY, aim="0.3 s")
    node = next(p.node for p in places if p.node)
    start = time.monotonic()
    hamt = node.mount / "ipfs" / node.cid(next(p for p in places if p.node).dir / "many")
    print(f"# CID of the {MANY} names (HAMT made and stored): {time.monotonic() - start:.2f} s", flush=True)
    where = lambda p: hamt if p.node else p.dir / "many"
    yield alternate(f"ls -f of {MANY} in ipfs/ (HAMT), cold", places, rounds, lambda p, i: run("ls", "-f", where(p)), MANY, cold, "0.3 s")
    yield alternate(f"ls -f of {MANY} in ipfs/, again", places, rounds, lambda p, i: run("ls", "-f", where(p)), MANY, aim="0.3 s")
    yield alternate(f"ls -l of {MANY} in ipfs/, cold", places, rounds, lambda p, i: run("ls", "-l", where(p)), MANY, cold)
    for p in places:
        run("rm", "-r", p.dir / "many")


def programs(lab, places, rounds):
    source = lab.dir / "source-tree"
    count = make_source_tree(source)
    archive = lab.dir / "source.tar"
    with tarfile.open(archive, "w") as t:
        t.add(source, "t")
    repo = lab.dir / "source.git"
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost", "-c", "safe.directory=*"]
    run(*git, "init", "-q", repo)
    shutil.copytree(source, repo / "t")
    run(*git, "-C", repo, "add", "-A")
    run(*git, "-C", repo, "commit", "-qm", "all")

    def extract(p, i):
        (p.dir / f"tar{i}").mkdir()
        run("tar", "xf", archive, "-C", p.dir / f"tar{i}")
    yield alternate(f"tar xf of {count} files", places, rounds, extract, count)
    yield alternate("git clone of them", places, rounds, lambda p, i: run(*git, "clone", "-q", "--no-hardlinks", repo, p.dir / f"git{i}"), count)
    yield alternate("git status", places, rounds, lambda p, i: run(*git, "-C", p.dir / f"git{i}", "status", "-s"), count)
    yield alternate("git status, cold", places, rounds, lambda p, i: run(*git, "-C", p.dir / f"git{i}", "status", "-s"), count,
                    lambda p, i: forget_caches())
    yield alternate("rm -r of both", places, rounds, lambda p, i: run("rm", "-rf", p.dir / f"git{i}", p.dir / f"tar{i}"), 2 * count)


def remote(lab, node, rounds):
    """A folder of another node: the first listing fetches it."""
    with contextlib.ExitStack() as stack:
        other = lab.node(2, config="mdns = off\n")
        stack.callback(other.stop)
        other.run("connect", node.address())
        place = Place("share", other.mount / "share", other)
        cids = []
        for i in range(rounds):
            make_names(node.mount / "share" / f"far{i}", LISTED)
            (node.mount / "share" / f"far{i}" / f"mark{i}").write_text(str(i))
            cids.append(node.cid(node.mount / "share" / f"far{i}"))
        far = lambda i: other.mount / "ipfs" / cids[i]
        yield alternate(f"ls of {LISTED} of another node, first", [place], rounds, lambda p, i: run("ls", far(i)), LISTED)
        yield alternate("the same, again", [place], rounds, lambda p, i: run("ls", far(i)), LISTED)
        yield alternate("the same, ls -l", [place], rounds, lambda p, i: run("ls", "-l", far(i)), LISTED)


PARTS = {"copy": copying, "list": listing, "many": many, "programs": programs}


def measure(lab, node, rounds=3, only=""):
    """Yields a Row for each line of the table. `node`: one that is up, with nothing else to do."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        disk = lab.dir / "disk"
        disk.mkdir()
        places = [Place("share", node.mount / "share", node), Place("disk", disk), Place("tmpfs", memory)]
        for name, part in PARTS.items():
            if only in name:
                yield from part(lab, places, rounds)
        if only in "remote" and lab.count > 1:
            yield from remote(lab, node, rounds)


def main():
    args = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    args.add_argument("--rounds", type=int, default=3)
    args.add_argument("--only", default="", metavar="WORD", help="|".join((*PARTS, "remote")))
    o = args.parse_args()
    try:
        need("git", "tar", "find")
    except unittest.SkipTest as e:
        sys.exit(f"small.py: {e}")
    with Lab(2) as lab:
        node = lab.node(1, config="mdns = off\n")
        for row in measure(lab, node, o.rounds, o.only):
            print(row.text(), flush=True)


if __name__ == "__main__":
    main()
