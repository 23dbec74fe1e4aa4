#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The one entry to the measurements: this node beside the machine's limits and its rivals, and what it is aimed at.

    sudo P2P_BIN=build/release/p2p tests/bench/compare.py [--only ROW,…] [--rounds N] [--mib N] [--json FILE]
    tests/bench/compare.py --list

A row does its work at each place in turn, `--rounds` times; medians and spreads are printed, the aim, and whether it is met (✓, ✗). Places:
share (our mount), null (null_fuse.c: what FUSE itself costs), disk (plain files beside the store), tmpfs, and rivals: Kubo, sshfs. Who is not
installed is left out, with a line that says so. The rows of small.py and net.py are run from here too. Needs root, and a machine that does
nothing else. Not a test: nothing fails.

What is cold: "mount cold": the kernel holds no page of the mount's file, the pages of the store may be in the page cache. "disk cold": nothing
of it is in memory; the node was started anew, since what a process has mapped is not dropped.

What is made of many small requests depends on where the kernel wakes whom: between two processors of a virtual machine a wake-up can cost
more than the request. `taskset -c 0 compare.py …` has all of it on one processor, ours and the others', and spreads less.

Memory that the guest has not touched for a while costs more than the copying itself on machines whose hypervisor takes free pages back: it
is touched before each round, for all alike (--warm, GiB; 0: not).

A row begins no other round when that would not end within `--seconds` of its begin; a line says so.
"""
import argparse, contextlib, json, os, pathlib, random, re, shutil, signal, statistics, subprocess, sys, tempfile, time, unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib"), str(HERE.parent / "interop")]
import interop_kubo, net, small
from lab import P2P, Lab, need, wait_for, write_pattern

NULL = os.environ.get("NULL_BIN", str(pathlib.Path(P2P).parent / "tests" / "bench" / "null_fuse"))
MIB = 1 << 20
KUBO_MIB, KUBO_FILES = 128, 1000  # for its mount, which takes seconds for that
CONFIG = "mdns = off\n"
left_out = net.left_out


class Options:
    mib, rounds, warm, seconds, store_gib, no_rivals = 1024, 5, 3, 120, 10, False


options = Options()


class Result:
    """One line of the table. `samples`: place → figures; the first place is ours. `aims`: texts like "≥ 0.9 null", "≤ 1", "≤ 2 disk"."""

    def __init__(self, what, unit, samples, aims=()):
        self.what, self.unit, self.samples, self.aims = what, unit, samples, aims
        self.median = {place: statistics.median(s) for place, s in samples.items() if s}

    @property
    def ours(self):
        return next(iter(self.median.values()))

    def met(self, aim):
        """None when the place it is compared with was left out."""
        sign, factor, *place = aim.split()
        if place and place[0] not in self.median:
            return None
        limit = float(factor) * (self.median[place[0]] if place else 1)
        return self.ours >= limit if sign == "≥" else self.ours <= limit

    def cells(self):
        def number(v):
            return f"{v:.0f}" if v >= 100 else f"{v:.1f}" if v >= 10 else f"{v:.2f}" if v >= 0.1 else f"{v:.3f}"
        first, *others = self.median
        s = self.samples[first]
        ours = f"{number(self.ours)} {self.unit}" + (f" ({number(min(s))}–{number(max(s))})" if len(s) > 1 else "")
        mark = {True: "✓", False: "✗", None: "?"}
        return [self.what, ours, ", ".join(f"{a} {mark[self.met(a)]}" for a in self.aims) or "—",
                ", ".join(f"{p} {number(self.median[p])} ({self.ours / self.median[p]:.2f}×)" for p in others if self.median[p]) or "—"]

    def data(self):
        return {"what": self.what, "unit": self.unit, "samples": self.samples, "median": self.median,
                "aims": {a: self.met(a) for a in self.aims}}


def alternate(**works):
    return net.samples(works)


def timed(work, *args):
    start = time.monotonic()
    work(*args)
    return time.monotonic() - start


def rates(times):
    """MB/s of `mib` MiB"""
    return {place: [options.mib * 1.048576 / t for t in s] for place, s in times.items()}


# ---- the places ----

class Null:
    """null_fuse.c, with the kernel's read-ahead set as the node sets its own"""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="p2p-null-"))
        self.process = subprocess.Popen([NULL, self.dir, str(options.mib)], stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise unittest.SkipTest("null_fuse cannot mount")
        number = self.dir.stat().st_dev
        pathlib.Path(f"/sys/class/bdi/{os.major(number)}:{os.minor(number)}/read_ahead_kb").write_text("1024")

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.dir.rmdir()


class Sshfs:
    """A folder of this machine through sshd"""

    def __init__(self, lab, source):
        ip = "127.0.0.1"
        ssh = net.Ssh(lab, 1, 1, ip)
        self.dir = lab.dir / "sshfs"
        self.dir.mkdir()
        wishes = ",".join(o for o in ssh.common if "=" in o)
        subprocess.run(lab.enter(1) + ["sshfs", f"{ip}:{source}", str(self.dir), "-o", wishes], check=True)

    def stop(self):
        subprocess.run(["umount", "-l", self.dir], check=True)


class Bench:
    """What the rows share; each part is made when a row asks for it first."""

    def __init__(self, stack):
        self.stack, self.made = stack, {}

    def once(self, name, make):
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]

    @property
    def lab(self):
        return self.once("lab", lambda: self.stack.enter_context(Lab(3)))

    @property
    def node(self):
        return self.once("node", lambda: self.lab.node(1, config=CONFIG))

    @property
    def null(self):
        def make():
            if not os.access(NULL, os.X_OK):
                left_out["the null FUSE server"] = f"{NULL} is not built"
                return None
            n = Null()
            self.stack.callback(n.stop)
            return n
        return self.once("null", make)

    @property
    def kubo(self):
        program = self.once("kubo-program", lambda: None if options.no_rivals else net.kubo_program())
        return self.once("kubo", lambda: interop_kubo.Kubo(self.lab, 3, program) if program else None)

    @property
    def kubo_mount(self):
        """The folders where Kubo's own mount has what is named by CID, and files that can be written (MFS)"""
        def make():
            if not self.kubo:
                return None
            by_cid, names, files = (self.lab.dir / f"kubo-{n}" for n in ("ipfs", "ipns", "mfs"))
            for d in (by_cid, names, files):
                d.mkdir()
            self.kubo("mount", "-f", by_cid, "-n", names, "-m", files)
            self.stack.callback(lambda: [subprocess.run(["umount", "-l", d]) for d in (by_cid, names, files)])
            return by_cid, files
        return self.once("kubo-mount", make)

    @property
    def plain(self):
        """A file of `mib` MiB on the store's disk"""
        def make():
            path = self.lab.dir / "plain"
            write_pattern(path, options.mib * MIB)
            return path
        return self.once("plain", make)

    @property
    def sshfs(self):
        def make():
            if options.no_rivals or not net.have("sshfs", "sshfs") or not net.have("sshd", "sshfs"):
                return None
            self.plain
            s = Sshfs(self.lab, self.lab.dir)
            self.stack.callback(s.stop)
            return s.dir / "plain"
        return self.once("sshfs", make)

    @property
    def held(self):
        """The same bytes in share/, and by their CID in ipfs/"""
        def make():
            shared = self.node.mount / "share/held"
            copy_synced(self.plain, shared)
            return shared, self.node.mount / "ipfs" / self.node.cid(shared)
        return self.once("held", make)

    def restart(self):
        self.node.stop()
        self.node.start()

    def places(self):
        memory = self.once("tmpfs", lambda: self.stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        disk = self.once("disk", lambda: self.lab.dir / "disk")
        disk.mkdir(exist_ok=True)
        found = [small.Place("share", self.node.mount / "share", self.node), small.Place("disk", disk), small.Place("tmpfs", memory)]
        return found + ([small.Place("null", self.null.dir)] if self.null else [])


def copy_synced(source, target):
    shutil.copyfile(source, target)
    fd = os.open(target, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def drop(path):
    """The kernel's pages of this file"""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def drop_all():
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")


def pread_many(path, count, seed=1):
    """Seconds for `count` reads of 4 KiB all over the file"""
    r = random.Random(seed)
    fd = os.open(path, os.O_RDONLY)
    places = [r.randrange(os.fstat(fd).st_size // 4096) * 4096 for _ in range(count)]
    start = time.monotonic()
    for at in places:
        os.pread(fd, 4096, at)
    took = time.monotonic() - start
    os.close(fd)
    return took


# ---- the rows of one machine ----

def read_places(b):
    shared, by_cid = b.held
    found = {"share": shared, "ipfs": by_cid}
    if b.null:
        found["null"] = b.null.dir / "big"
    for path in found.values():
        net.dd(path)  # looked at once, mapped
    return found


def read_cold(b):
    """cat with no page of the file in the mount's cache"""
    def cold(path, mib=options.mib):
        def work(i):
            drop(path)
            return net.rate(mib, timed(net.dd, path))
        return work
    works = {name: cold(path) for name, path in read_places(b).items()}
    if b.sshfs:
        works["sshfs"] = cold(b.sshfs)
    if b.kubo_mount:
        part = b.lab.dir / "part"
        write_pattern(part, KUBO_MIB * MIB, 3)
        works[f"Kubo's mount, {KUBO_MIB} MiB"] = cold(b.kubo_mount[0] / b.kubo("add", "-Q", part).strip(), KUBO_MIB)
    yield Result(f"cat {options.mib} MiB held, mount cold", "MB/s", alternate(**works), ["≥ 0.9 null"])


def read_warm(b):
    def warm(path):
        def work(i):
            net.dd(path)
            return timed(net.dd, path)
        return work
    yield Result(f"cat {options.mib} MiB held, warm", "MB/s", rates(alternate(**{n: warm(p) for n, p in read_places(b).items()})), ["≥ 0.95 null"])


def read_random(b, count=20000):
    def cold(path):
        def work(i):
            drop(path)
            return count / pread_many(path, count, i)
        return work
    yield Result("random reads of 4 KiB, mount cold", "per s", alternate(**{n: cold(p) for n, p in read_places(b).items()}), ["≥ 0.7 null"])


def read_started(b):
    """The first read after a start: pages of the store are in the page cache, nothing is mapped or known to be sound"""
    def work(i):
        b.restart()
        return timed(net.dd, b.held[0])

    def null(i):
        drop(b.null.dir / "big")
        return timed(net.dd, b.null.dir / "big")
    b.held
    yield Result(f"cat {options.mib} MiB held, first after a start", "MB/s", rates(alternate(share=work, null=b.null and null)), ["≥ 0.9 null"])


def read_disk(b):
    """The same with nothing in memory: the disk's speed is the limit"""
    b.held

    def ours(i):
        b.node.stop()
        drop_all()
        b.node.start()
        return timed(net.dd, b.held[0])

    def disk(i):
        drop_all()
        return timed(net.dd, b.plain)
    yield Result(f"cat {options.mib} MiB held, disk cold", "MB/s", rates(alternate(share=ours, disk=disk)))


def write_big(b):
    def add(i):
        took = timed(lambda: b.kubo("add", "-Q", "--pin=false", b.plain, timeout=600))
        b.kubo("repo", "gc", "-q", timeout=600)
        return took

    def into(folder):
        def work(i):
            target = folder / "copy"
            os.sync()
            took = timed(copy_synced, b.plain, target)
            target.unlink()
            return took
        return work

    def ours(i):  # bytes of their own: what is held already would not be written again
        source = b.lab.dir / "source"
        write_pattern(source, options.mib * MIB, 1000 + i)
        os.sync()  # what is on its way to the disk would be in the way of both
        took = timed(copy_synced, source, b.node.mount / "share/copy")
        (b.node.mount / "share/copy").unlink()
        source.unlink()
        return took
    took = alternate(share=ours, disk=into(b.lab.dir), kubo=add if b.kubo else None)
    yield Result(f"cp {options.mib} MiB into share/ + fsync (Kubo: add, no fsync)", "MB/s", rates(took), ["≥ 0.8 disk", "≥ 3 kubo"])


def small_files(b):
    """cp -r of 10,000 files, and rm -r of them"""
    source = b.lab.dir / "small"
    small.make_small(source)
    places = b.places()
    copy, remove = {}, {}

    def rested(p, *argv):
        p.rest()
        return timed(small.run, *argv)
    for i in net.rounds(options.rounds):
        net.warm()
        for p in places:
            copy.setdefault(p.name, []).append(rested(p, "cp", "-r", source, p.dir / f"small{i}"))
        for p in places:
            remove.setdefault(p.name, []).append(rested(p, "rm", "-r", p.dir / f"small{i}"))
    if b.kubo:
        copy["kubo"] = [timed(lambda: b.kubo("add", "-Q", "-r", "--pin=false", source, timeout=600)) for _ in range(min(3, options.rounds))]
    yield Result(f"cp -r of {small.FILES} × 4 KiB (Kubo: add -r)", "s", copy, ["≤ 1", "≤ 2 disk"])
    yield Result("rm -r of them", "s", remove, ["≤ 0.5"])
    if b.kubo_mount:
        few = b.lab.dir / "few"
        small.make_small(few, KUBO_FILES)
        into = lambda folder: lambda i: timed(small.run, "cp", "-r", few, folder / f"few{i}")
        yield Result(f"cp -r of {KUBO_FILES} × 4 KiB", "s", alternate(share=into(b.node.mount / "share"), **{"Kubo's mount": into(b.kubo_mount[1])}))


def listing(b, what, where, argv, aims):
    """`where`: place → folder. Cold: the kernel knows no name; again: it may."""
    def work(path, cold):
        def once(i):
            if cold:
                small.forget_caches()
            return timed(small.run, "ls", *argv, path)
        return once
    for how in ("cold", "again"):
        yield Result(f"{what}, {how}", "s", alternate(**{n: work(p, how == "cold") for n, p in where.items()}), aims)


def list_long(b):
    places = b.places()
    for p in places:
        if p.name != "null":
            small.make_names(p.dir / "listed", small.LISTED)
            p.rest()
    yield from listing(b, f"ls -l of {small.LISTED}", {p.name: p.dir / "listed" for p in places}, ["-l"], ["≤ 0.3"])


def list_many(b):
    places = b.places()
    for p in places:
        if p.name != "null":
            small.make_names(p.dir / "many", small.MANY)
            p.rest()
    where = {p.name: p.dir / "many" for p in places}
    yield from listing(b, f"ls -f of {small.MANY} in share/", where, ["-f"], ["≤ 0.3"])
    hamt = b.node.mount / "ipfs" / b.node.cid(where["share"])
    yield from listing(b, f"ls -f of {small.MANY} in ipfs/ (HAMT)", {**where, "share": hamt}, ["-f"], ["≤ 0.3"])


def resident(pid):
    """MiB, all of it: own memory and pages of mapped files"""
    return int(re.search(r"VmRSS:\s*(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def start(b):
    """With `store_gib` GiB of files in share/"""
    node = b.lab.node(2, config=CONFIG)
    source = b.lab.dir / "gib"
    for i in range(options.store_gib):
        write_pattern(source, 1 << 30, 5000 + i)
        copy_synced(source, node.mount / f"share/gib{i}")
    source.unlink()
    node.stop()
    took, idle = [], []
    for i in net.rounds(options.rounds):
        took.append(timed(node.start))
        time.sleep(2)  # idle is what is left when nothing has happened for a while
        idle.append(resident(node.process.pid))
        node.stop()
    yield Result(f"start to mounted, {options.store_gib} GiB in the store", "s", {"share": took}, ["≤ 0.05"])
    others = {"kubo": [resident(b.kubo.daemon.pid)]} if b.kubo else {}
    yield Result("resident memory when idle", "MiB", {"share": idle, **others}, ["≤ 30"])


def from_net(name):
    def rows(b):
        for r in net.MEASURES[name]():
            aim = [] if r.aim is None else [f"{'≤' if r.less else '≥'} {r.aim:.4g}"]
            yield Result(r.what, r.unit, {"share": [r.ours], **{k: [v] for k, v in r.others.items() if v}}, aim)
    rows.__doc__ = f"net.py {name}: {net.MEASURES[name].__doc__ or ''}"
    return rows


def from_small(name):
    def rows(b):
        for r in small.PARTS[name](b.lab, [p for p in b.places() if p.name != "null"], options.rounds):
            yield Result(r.what, "s", {place: [t] for place, t in r.took.items()})
    rows.__doc__ = f"small.py --only {name}"
    return rows


ROWS = {"read-cold": read_cold, "read-warm": read_warm, "read-random": read_random, "read-started": read_started, "read-disk": read_disk,
        "write": write_big, "small": small_files, "list-long": list_long, "list-many": list_many, "start": start,
        "programs": from_small("programs"), **{f"net-{name}": from_net(name) for name in net.MEASURES}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", metavar="ROW,…", default=",".join(ROWS), help="see --list")
    parser.add_argument("--json", metavar="FILE", help="all samples, for other programs")
    parser.add_argument("--no-rivals", action="store_true", help="without Kubo and sshfs")
    parser.add_argument("--list", action="store_true", help="names of the rows")
    for name, what in (("mib", "size of the big file"), ("rounds", "of each row"), ("warm", "GiB of memory to touch before a round"),
                       ("seconds", "after which a row begins no other round"),
                       ("store-gib", "in the store of the row start")):
        key = name.replace("-", "_")
        parser.add_argument(f"--{name}", type=int, default=getattr(Options, key), help=f"{what} ({getattr(Options, key)})")
    parser.parse_args(namespace=options)
    net.options.mib, net.options.rounds, net.options.warm, net.options.seconds = options.mib, options.rounds, options.warm, options.seconds
    if options.list:
        for name, row in ROWS.items():
            print(f"{name:14} {(row.__doc__ or '').splitlines()[0] if row.__doc__ else ''}")
        return
    names = options.only.split(",")
    if set(names) - ROWS.keys():
        parser.error(f"no such row: {', '.join(sorted(set(names) - ROWS.keys()))}")
    try:
        need()
    except unittest.SkipTest as e:
        sys.exit(f"cannot run here: {e}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # what was started is stopped, and the table is as far as it is
    results = []
    print("| measure | p2pfs: median (spread) | aim | in the same run (p2pfs ÷ it) |\n|---|---|---|---|")
    with contextlib.ExitStack() as stack:
        bench = Bench(stack)
        for name in names:
            net.begin(name)
            try:
                for r in ROWS[name](bench):
                    results.append(r)
                    print("| " + " | ".join(r.cells()) + " |", flush=True)
            except unittest.SkipTest as e:
                left_out[name] = str(e)
    for what, why in left_out.items():
        print(f"left out: {what} ({why})")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"rounds": options.rounds, "mib": options.mib, "rows": [r.data() for r in results],
                                                          "left_out": left_out}, indent=1) + "\n")


if __name__ == "__main__":
    main()
