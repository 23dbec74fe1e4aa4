#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the fuzz targets by hand, adds up their executions, and minimises the corpora.

    cmake --preset fuzz && ninja -C build/fuzz
    tests/fuzz/campaign.py run STATE [--seconds 60] [--rounds 1] [NAME ...]   each target so long, in turn
    tests/fuzz/campaign.py report STATE                                       executions and coverage of each so far
    tests/fuzz/campaign.py merge STATE [NAME ...]                             the best of what STATE found joins the corpus here

STATE is a folder that keeps what was found, crashes, and `executions`, a line for each run that ended well or with a finding: name,
executions, coverage. Status 1 when something was found.
"""
import argparse, os, pathlib, re, shutil, subprocess, sys, tempfile

HERE = pathlib.Path(__file__).resolve().parent
INPUT_MAX = 4096  # of a checked in input; larger ones add time and hardly an edge
INPUTS_MAX, FOUND_LEAST, CORPUS_MAX = 60, 20, 100000  # of a corpus: inputs, of which found at least (written ones stay), bytes
# Freed memory is held back for a whole input, not for hundreds: half of the kernel's time for host_fuzz, which is a tenth of all
SANITIZER = {"ASAN_OPTIONS": "quarantine_size_mb=16:malloc_context_size=8"}
FOUND_NAME = re.compile(r"[0-9a-f]{40}$")


def programs(build, names):
    found = {p.name.removesuffix("_fuzz"): p for p in sorted((build / "tests").glob("*_fuzz"))}
    return {n: found[n] for n in names} if names else found


def run_one(state, name, program, seconds):
    work = state / name
    work.mkdir(parents=True, exist_ok=True)
    (state / "crashes").mkdir(exist_ok=True)
    p = subprocess.run(["nice", "-n", "19", program, f"-max_total_time={seconds}", "-print_final_stats=1", "-timeout=300",
                        "-rss_limit_mb=1500", f"-artifact_prefix={state}/crashes/{name}-", f"-max_len={INPUT_MAX}", work,
                        HERE / "corpus" / name], capture_output=True, text=True, errors="replace", env=os.environ | SANITIZER)
    count = re.search(r"number_of_executed_units: (\d+)", p.stderr)
    covered = re.findall(r"cov: (\d+)", p.stderr)
    if count:
        with open(state / "executions", "a") as f:
            f.write(f"{name}\t{count.group(1)}\t{covered[-1] if covered else 0}\n")
    if p.returncode != 0:
        print(f"{name}: status {p.returncode}\n{p.stderr[-3000:]}", flush=True)
    return p.returncode == 0


def report(state):
    total = {}
    for line in (state / "executions").read_text().splitlines():
        name, count, covered = line.split("\t")
        n, c = total.get(name, (0, 0))
        total[name] = n + int(count), max(c, int(covered))
    for name, (n, c) in sorted(total.items()):
        print(f"{name:16}{n:15,}{c:8} edges")
    print(f"{'all':16}{sum(n for n, _ in total.values()):15,}")


def features_of(program, folders, control):
    """What each input reaches: {path: set of libFuzzer's features}; an edge has eight, for how often it was taken."""
    with tempfile.TemporaryDirectory() as fresh:
        subprocess.run([program, "-set_cover_merge=1", f"-merge_control_file={control}", f"-max_len={INPUT_MAX}", fresh, *folders],
                       check=True, capture_output=True)
    lines = control.read_text(errors="replace").splitlines()
    count = int(lines[0])
    paths, reached = lines[2:2 + count], {}
    for line in lines[2 + count:]:
        kind, _, rest = line.partition(" ")
        if kind == "FT":
            index, *features = rest.split()
            reached[pathlib.Path(paths[int(index)])] = {int(f) for f in features}
    return reached


def merge(state, name, program):
    corpus, found = HERE / "corpus" / name, state / name
    found.mkdir(parents=True, exist_ok=True)
    for p in [p for p in corpus.iterdir() if FOUND_NAME.match(p.name)]:
        shutil.move(p, found / p.name)
    control = state / f"{name}.merge"
    control.unlink(missing_ok=True)
    reached = features_of(program, [corpus, found], control)
    written = list(corpus.iterdir())
    covered = set().union(*(reached.get(p, set()) for p in written))
    size = sum(p.stat().st_size for p in written)
    left = {p: f for p, f in reached.items() if p.parent == found}
    for _ in range(max(INPUTS_MAX - len(written), FOUND_LEAST)):
        edges = {f // 8 for f in covered}
        gains = {p: (len({x // 8 for x in f - covered} - edges), len(f - covered), -p.stat().st_size) for p, f in left.items()
                 if size + p.stat().st_size <= CORPUS_MAX and f - covered}
        if not gains:
            break
        best = max(gains, key=gains.get)
        size += best.stat().st_size
        covered |= left.pop(best)
        shutil.copy(best, corpus / best.name)
    print(f"{name}: {len(list(corpus.iterdir()))} inputs, {size} bytes, {len(covered)} of "
          f"{len(set().union(*reached.values()))} features", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("verb", choices=("run", "report", "merge"))
    p.add_argument("state", type=pathlib.Path)
    p.add_argument("names", nargs="*")
    p.add_argument("--build", type=pathlib.Path, default=HERE.parents[1] / "build" / "fuzz")
    p.add_argument("--seconds", type=int, default=60)
    p.add_argument("--rounds", type=int, default=1)
    a = p.parse_intermixed_args()
    a.state = a.state.resolve()
    if a.verb == "report":
        return report(a.state)
    well = True
    for _ in range(a.rounds if a.verb == "run" else 1):
        for name, program in programs(a.build, a.names).items():
            if a.verb == "merge":
                merge(a.state, name, program)
            else:
                well = run_one(a.state, name, program, a.seconds) and well
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
