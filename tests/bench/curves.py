#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Cost curves: time and memory against the size of a file, of a folder, of the store, and the number of peers.

    sudo P2P_BIN=build/release/p2p tests/bench/curves.py [--only file,folder,store,peers] [--small]
    tests/bench/curves.py --draw

Measures, writes tests/bench/data/<curve>.json (x, seconds, MiB of private memory at the end of each step; how busy the machine was), and draws
<curve>.svg beside it; --draw only draws. Medians of --rounds. Takes minutes and some 10 GiB of disk (--small: seconds, for trying it). By hand only; needs root.
"""
import argparse, json, math, os, pathlib, statistics, subprocess, sys, time

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE / "data"
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]
import net, small
from compare import copy_synced, drop, timed
from lab import Lab, Loopback, need, write_pattern

QUIET = "mdns = off\n"
options = None


def private(node):
    """MiB that the process has for itself: without pages of mapped files, which the kernel takes back when it likes"""
    for line in pathlib.Path(f"/proc/{node.process.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024


class Curve:
    """`lines`: name → unit, "s" or "MiB"; points come as (x, {name: value})."""

    def __init__(self, name, x, lines, points):
        self.name, self.x, self.lines, self.points = name, x, lines, points


def load():
    return f"{os.getloadavg()[1]:.1f}"


def medians(step, x):
    """step(x, round) → {name: value}, `rounds` times; the median of each"""
    got = [step(x, i) for i in range(options.rounds)]
    return {name: statistics.median(g[name] for g in got) for name in got[0]}


def over(xs, step):
    points = []
    for x in xs:
        points.append((x, medians(step, x)))
        print(f"  {x}: " + ", ".join(f"{k} {v:.4g}" for k, v in points[-1][1].items()), file=sys.stderr, flush=True)
    return points


def sizes(least, most, factor):
    found = [least]
    while found[-1] * factor <= most:
        found.append(found[-1] * factor)
    return found


def file():
    with Lab(1) as lab:
        node = lab.node(1, config=QUIET)

        def step(size, i):
            source, target = lab.dir / "source", node.mount / "share/target"
            write_pattern(source, size, size + i)
            write = timed(copy_synced, source, target)
            drop(target)
            cold = timed(net.dd, target)
            warm = timed(net.dd, target)
            memory = private(node)
            target.unlink()
            return {"cp + fsync": write, "cat, cold": cold, "cat, warm": warm, "private memory": memory}
        points = over(sizes(1 << 10, (1 << 22) if options.small else (1 << 32), 8), step)
    return Curve("file", "bytes of a file", {"cp + fsync": "s", "cat, cold": "s", "cat, warm": "s", "private memory": "MiB"}, points)


def folder():
    with Lab(1) as lab:
        node = lab.node(1, config=QUIET)

        def step(count, i):
            path = node.mount / f"share/d{count}-{i}"
            made = timed(small.make_names, path, count)
            place = small.Place("share", node.mount / "share", node)
            place.rest()
            small.forget_caches()
            names = timed(small.run, "ls", "-f", path)
            long = timed(small.run, "ls", "-l", path)
            cid = timed(node.cid, path)
            memory = private(node)
            gone = timed(small.run, "rm", "-r", path)
            small.forget_caches()
            return {"make the files": made, "ls -f, cold": names, "ls -l": long, "p2p cid": cid, "rm -r": gone, "private memory": memory}
        points = over(sizes(100, 1600 if options.small else 102400, 4), step)
    return Curve("folder", "names in a folder", {"make the files": "s", "ls -f, cold": "s", "ls -l": "s", "p2p cid": "s", "rm -r": "s",
                                                "private memory": "MiB"}, points)


def store():
    """The store is filled and the node started again; then a file of 1 MiB goes in and out."""
    with Lab(1) as lab:
        node = lab.node(1, config=QUIET)
        filled, source = 0, lab.dir / "source"

        def step(mib, i):
            nonlocal filled
            while filled < mib:
                piece = min(1024, mib - filled)
                write_pattern(source, piece << 20, 7000 + filled)
                copy_synced(source, node.mount / f"share/f{filled}")
                filled += piece
            node.stop()
            start = timed(node.start)
            time.sleep(1)  # idle: nothing has happened for a while
            memory = private(node)
            write_pattern(source, 1 << 20, mib * 1000 + i)
            write = timed(copy_synced, source, node.mount / "share/one")
            drop(node.mount / "share/one")
            read = timed(net.dd, node.mount / "share/one")
            (node.mount / "share/one").unlink()
            return {"start to mounted": start, "cp of 1 MiB + fsync": write, "cat of it": read, "private memory": memory}
        points = over(sizes(16, 64 if options.small else 4096, 4), step)
    return Curve("store", "MiB in the store", {"start to mounted": "s", "cp of 1 MiB + fsync": "s", "cat of it": "s", "private memory": "MiB"},
                 points)


def peers():
    """One node that many are connected to; one of them fetches 16 MiB from it."""
    counts = [1, 2, 4] if options.small else [1, 2, 4, 8, 16, 32, 64]
    with Loopback(counts[-1] + 1) as lab:
        config = QUIET + "listen = /ip4/127.0.0.1/tcp/0\nmax-connections-per-ip = 200\n"
        middle = lab.node(1, config=config)
        nodes = []

        def step(count, i):
            while len(nodes) < count:
                nodes.append(lab.node(len(nodes) + 2, config=config, options=("--no-mount",) if nodes else ()))
                nodes[-1].run("connect", middle.address())
            cid = net.share(middle, 16, count * 100 + i, f"f{count}-{i}")
            fetch = timed(net.dd, nodes[0].mount / "ipfs" / cid)
            status = timed(middle.run, "status")
            return {"fetch of 16 MiB": fetch, "p2p status": status, "private memory": private(middle)}
        points = over(counts, step)
    return Curve("peers", "connected peers", {"fetch of 16 MiB": "s", "p2p status": "s", "private memory": "MiB"}, points)


CURVES = {f.__name__: f for f in (file, folder, store, peers)}


# ---- drawing ----

COLOURS = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e"]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460, 300, 60, 12, 40, 46


def decades(low, high):
    return [10.0 ** e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def short(v):
    for unit, name in ((1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")):
        if v >= unit and v % unit == 0:
            return f"{v // unit:.0f}{name}"
    return f"{v:g}"


def panel(c, unit, shift):
    """One panel, both axes logarithmic"""
    names = [n for n, u in c["lines"].items() if u == unit]
    values = [p[1][n] for p in c["points"] for n in names]
    ticks = decades(min(values), max(values))
    xs = [p[0] for p in c["points"]]
    span = lambda v, low, high: (math.log10(v) - math.log10(low)) / ((math.log10(high) - math.log10(low)) or 1)
    X = lambda v: shift + LEFT + span(v, xs[0], xs[-1]) * (WIDTH - LEFT - RIGHT)
    Y = lambda v: HEIGHT - BOTTOM - span(v, ticks[0], ticks[-1]) * (HEIGHT - TOP - BOTTOM)
    out = [f'<text x="{shift + LEFT}" y="16" font-weight="bold">{"seconds" if unit == "s" else "MiB"}</text>']
    for t in ticks:
        out.append(f'<line x1="{shift + LEFT}" x2="{shift + WIDTH - RIGHT}" y1="{Y(t):.1f}" y2="{Y(t):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{shift + LEFT - 6}" y="{Y(t) + 4:.1f}" text-anchor="end">{t:g}</text>')
    for x in xs:
        out.append(f'<text x="{X(x):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{short(x)}</text>')
    out.append(f'<text x="{shift + (LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 10}" text-anchor="middle">{c["x"]}</text>')
    for i, n in enumerate(names):
        colour = COLOURS[i % len(COLOURS)]
        line = " ".join(f"{X(p[0]):.1f},{Y(p[1][n]):.1f}" for p in c["points"])
        out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out.append(f'<text x="{shift + LEFT + i * (WIDTH - LEFT) / len(names):.0f}" y="32" fill="{colour}">{n}</text>')
    return out


def draw(path):
    c = json.loads(path.read_text())
    body = panel(c, "s", 0) + panel(c, "MiB", WIDTH)
    body.append(f'<text x="{2 * WIDTH - RIGHT}" y="16" text-anchor="end" fill="#777">{c["about"]}</text>')
    path.with_suffix(".svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="11">\n'
        f'<rect width="{2 * WIDTH}" height="{HEIGHT}" fill="white"/>\n' + "\n".join(body) + "\n</svg>\n")


def main():
    global options
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default=",".join(CURVES), metavar="CURVE,…", help=", ".join(CURVES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="short curves, to try it")
    parser.add_argument("--draw", action="store_true", help="only draw what was measured")
    parser.add_argument("--data", type=pathlib.Path, default=DATA, help="folder of the data")
    options = parser.parse_args()
    options.data.mkdir(exist_ok=True)
    for name in options.only.split(","):
        path = options.data / f"{name}.json"
        if not options.draw:
            need()
            print(name, file=sys.stderr)
            before = load()
            c = CURVES[name]()
            about = f"{options.rounds} rounds, {os.cpu_count()} processors, load average of 5 minutes {before} before, {load()} after"
            points = ",\n  ".join(json.dumps([x, {k: float(f"{v:.4g}") for k, v in p.items()}]) for x, p in c.points)
            path.write_text(f'{{"x": {json.dumps(c.x)}, "lines": {json.dumps(c.lines)}, "about": {json.dumps(about)}, "points": [\n  {points}\n]}}\n')
        draw(path)


if __name__ == "__main__":
    main()
