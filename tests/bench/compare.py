#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares this node with the machine's limits and with Kubo, in one run, and prints one table.

    sudo P2P_BIN=build/release/p2p tests/bench/compare.py [MiB]

Every pair is measured alternately, `ROUNDS` times; the median is printed. Nodes run in network namespaces on one bridge. Kubo is left out, with
a line that says so, where it cannot be built. Needs root. Not a test: nothing passes or fails.
"""
import os, pathlib, shutil, statistics, subprocess, sys, time, unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE.parent / "interop")]
from lab import Lab, need, wait_for, write_pattern
import interop_kubo

MIB = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
ROUNDS = int(os.environ.get("ROUNDS", "3"))
FILES = 10000
rows = []


def timed(work):
    start = time.monotonic()
    work()
    return time.monotonic() - start


def alternate(**works):
    """Runs every work in turn, ROUNDS times; the median seconds of each."""
    took = {name: [] for name in works}
    for round_ in range(ROUNDS):
        for name, work in works.items():
            took[name].append(work(round_))
    return {name: statistics.median(t) for name, t in took.items()}


def drop_caches():
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")


def copy_synced(source, target):
    def work():
        shutil.copyfile(source, target)
        fd = os.open(target, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
    return timed(work)


def read_all(path):
    return timed(lambda: subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none"], check=True))


def private(pid):
    """Memory of the process itself, MiB: without pages of mapped files, which the kernel takes back when it likes."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024


def row(what, ours, others, unit="MB/s"):
    rows.append((what, f"{ours:.2f} {unit}" if ours < 10 else f"{ours:.0f} {unit}",
                 ", ".join(f"{name} {v:.2f}" if v < 10 else f"{name} {v:.0f}" for name, v in others.items())))


def rate(seconds):
    return MIB * 1.048576 / seconds


def writing(lab, a, kubo, big):
    works = {"plain": lambda i: copy_synced(big, lab.dir / f"plain{i}"), "ours": lambda i: copy_synced(big, a.mount / f"share/big{i}")}
    if kubo:
        def add(i):
            t = timed(lambda: kubo("add", "-Q", "--pin=false", big, timeout=600))
            kubo("repo", "gc", "-q", timeout=600)
            return t
        works["kubo"] = add
    took = alternate(**works)
    row(f"cp {MIB} MiB in, with fsync", rate(took["ours"]), {"plain cp + fsync": rate(took["plain"]),
        **({"Kubo's add (no fsync)": rate(took["kubo"])} if kubo else {})})


def reading(lab, a):
    def cold(path):
        drop_caches()
        return read_all(path)
    took = alternate(plain=lambda i: cold(lab.dir / "plain0"), ours=lambda i: cold(a.mount / "share/big0"))
    row(f"read {MIB} MiB that is held, cold cache", rate(took["ours"]), {"plain file": rate(took["plain"])})


def small_files(lab, a, kubo):
    small = lab.dir / "small"
    small.mkdir()
    for i in range(FILES):
        (small / f"f{i}").write_bytes(os.urandom(4096))
    cp = lambda target: timed(lambda: subprocess.run(["cp", "-r", small, target], check=True))
    works = {"plain": lambda i: cp(lab.dir / f"s{i}"), "ours": lambda i: cp(a.mount / f"share/s{i}")}
    if kubo:
        works["kubo"] = lambda i: timed(lambda: kubo("add", "-Q", "-r", "--pin=false", small, timeout=600))
    took = alternate(**works)
    row(f"cp -r {FILES} files of 4 KiB", took["ours"], {"plain cp -r": took["plain"],
        **({"Kubo's add -r": took["kubo"]} if kubo else {})}, "s")
    took = alternate(plain=lambda i: timed(lambda: shutil.rmtree(lab.dir / f"s{i}")), ours=lambda i: timed(lambda: shutil.rmtree(a.mount / f"share/s{i}")))
    row("rm -r of them", took["ours"], {"plain rm -r": took["plain"]}, "s")


def fetching(lab, a, b, program):
    def ours(i):
        source = lab.dir / f"net{i}"
        write_pattern(source, MIB << 20, 100 + i)
        shutil.copyfile(source, a.mount / f"share/net{i}")
        cid = a.cid(a.mount / f"share/net{i}")
        t = read_all(b.mount / "ipfs" / cid)
        subprocess.run(["cmp", source, b.mount / "ipfs" / cid], check=True)
        source.unlink()
        return t
    works = {"ours": ours}
    if program:
        k1, k2 = interop_kubo.Kubo(lab, 3, program), interop_kubo.Kubo(lab, 4, program)
        k2("swarm", "connect", f"/ip4/{lab.ip(3)}/tcp/4001/p2p/" + k1("id", "-f", "<id>").strip())

        def theirs(i):
            source = lab.dir / f"knet{i}"
            write_pattern(source, MIB << 20, 200 + i)
            cid = k1("add", "-Q", "--pin=false", source, timeout=600).strip()
            source.unlink()
            with open(os.devnull, "w") as null:
                return timed(lambda: subprocess.run(lab.enter(4) + [str(program), "cat", cid], env=k2.env, stdout=null, check=True))
        works["kubo"] = theirs
    took = alternate(**works)
    row(f"{MIB} MiB from node to node, verified and encrypted", rate(took["ours"]), {"Kubo to Kubo": rate(took["kubo"])} if program else {})
    if program:
        row("private memory after that, receiving node", private(b.process.pid), {"Kubo": private(k2.daemon.pid)}, "MiB")
        for k in (k1, k2):
            k.daemon.terminate()
            k.daemon.wait()


def starting(lab, program):
    n = lab.node(5, start=False)
    up = timed(n.start)
    time.sleep(3)  # idle is what is left when nothing has happened for a while
    others = {}
    if program:
        k = None

        def start():
            nonlocal k
            k = interop_kubo.Kubo(lab, 6, program)
        start()
        time.sleep(3)
        others = {"Kubo": private(k.daemon.pid)}
    row("private memory when idle", private(n.process.pid), others, "MiB")
    row("start to mounted", up, {}, "s")


def main():
    try:
        need()
    except unittest.SkipTest as e:
        sys.exit(f"cannot run here: {e}")
    try:
        program = interop_kubo.kubo_program()
    except unittest.SkipTest as e:
        program = None
        print(f"left out: Kubo ({e})")
    with Lab(6) as lab:
        starting(lab, program)
        a, b = lab.node(1), lab.node(2)
        wait_for("the nodes met", lambda: a.id in b.peers() and b.id in a.peers())
        big = lab.dir / "big"
        write_pattern(big, MIB << 20)
        kubo = interop_kubo.Kubo(lab, 3, program) if program else None
        writing(lab, a, kubo, big)
        reading(lab, a)
        small_files(lab, a, kubo)
        if kubo:
            kubo.daemon.terminate()
            kubo.daemon.wait()
            shutil.rmtree(kubo.path)
        fetching(lab, a, b, program)
    print("\n| measure | p2pfs | in the same run |\n|---|---|---|")
    for what, ours, others in rows:
        print(f"| {what} | {ours} | {others or '—'} |")


if __name__ == "__main__":
    main()
