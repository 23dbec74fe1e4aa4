#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks of the source that no compiler makes. `lint.py CHECK [--build DIR] [--p2p FILE]`; `lint.py --list`.

Each check prints one line a finding, `file:line: what`, and ends with status 1 when there is one. tests/lint/exceptions holds findings
that are known and tolerated, one a line, as printed without the line number; that list may only shrink.
"""
import argparse, collections, concurrent.futures, json, os, pathlib, re, shutil, subprocess, sys

TOP = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("cmd", "fs", "net", "store")
LINES_C, LINES_H, LINES_FUNCTION, COLUMNS = 800, 250, 70, 128
# net/ may know these headers of the block store: its interface, not how it is made.
BLOCK_INTERFACE = {"store/block/block.h", "store/block/source.h", "store/block/want.h", "store/block/blockstore.h",
                   "store/block/blockcache.h"}
IMPURE_FOLDERS = {"net/io", "net/transport", "net/nat", "net/engine"}  # DESIGN 4: everything else under net/ is pure
IMPURE_HEADERS = re.compile(r"^(event2/.*|event\.h|pthread\.h|threads\.h|unistd\.h|time\.h|fcntl\.h|poll\.h|signal\.h|dirent\.h|netdb\.h|"
                            r"ifaddrs\.h|sys/(epoll|eventfd|timerfd|stat|mman|select|time|uio|un|wait)\.h)$")
IMPURE_SYMBOLS = re.compile(r"^(socket|bind|listen|accept4?|connect|sendto|recvfrom|sendmsg|recvmsg|open|openat|read|write|fopen|"
                            r"clock_gettime|gettimeofday|time|sleep|usleep|nanosleep|pthread_.*|event_.*|bufferevent_.*|getaddrinfo|"
                            r"random|rand|srand|getenv|randombytes_buf)$")
FORBIDDEN = re.compile(r"\b(TODO|FIXME|XXX)\b")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')


def sources(*suffixes):
    for folder in FOLDERS:
        for path in sorted((TOP / folder).rglob("*")):
            if path.suffix in suffixes:
                yield path, path.relative_to(TOP).as_posix()


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        m = INCLUDE.match(line)
        if m:
            yield number, m.group(1) == '"', m.group(2)


def layers():
    """folder → the folders it may include, from cmake/layers.cmake: what it uses, and what those use."""
    text = re.sub(r"#.*", "", (TOP / "cmake/layers.cmake").read_text())
    uses = {}
    for body in re.findall(r"p2p_library\(([^()]*)\)", text):
        words = body.split()
        if not words or "${" in words[0] or words[0] == "folder":
            continue
        mode, used = None, []
        for word in words[1:]:
            if word in ("USES", "WITH", "PROTO"):
                mode = word
            elif mode == "USES":
                used.append(word)
        uses[words[0]] = used
    closure = {}
    for folder in uses:
        seen, todo = set(), [folder]
        while todo:
            f = todo.pop()
            if f not in seen:
                seen.add(f)
                todo += uses.get(f, [])
        closure[folder] = seen
    return closure


def check_layers(_):
    allowed = layers()
    for path, name in sources(".c", ".h"):
        folder = name.rsplit("/", 1)[0]
        for number, ours, target in includes(path):
            if not ours:
                continue
            where = target.rsplit("/", 1)[0] if "/" in target else ""
            if target.endswith(".pb-c.h"):
                where = where or folder
            if not where:
                yield f"{name}:{number}: \"{target}\" is not a path from the root"
            elif folder == "cmd":
                if where.split("/")[0] in ("fs", "net"):
                    yield f"{name}:{number}: only cmd/daemon may see {where}"
            elif where not in allowed.get(folder, {folder}):
                yield f"{name}:{number}: {folder} may not include {where} (cmake/layers.cmake)"
            elif folder.startswith("net/") and where == "store/block" and target not in BLOCK_INTERFACE:
                yield f"{name}:{number}: net/ may know only the interface of the block store, not {target}"
            elif folder.startswith("net/") and where.split("/")[0] == "store" and where not in (
                    "store/base", "store/content", "store/codec", "store/block"):
                yield f"{name}:{number}: net/ may not include {where}"
        own = name[:-1] + "h"
        if name.endswith(".c") and (TOP / own).exists():
            first = next((t for _, ours, t in includes(path) if ours), None)
            if first != own and (not first or first.rsplit("/", 1)[0] != folder):  # or one of its folder that includes it
                yield f"{name}:1: its own header comes first"


def check_pure(options):
    for path, name in sources(".c", ".h"):
        folder = name.rsplit("/", 1)[0]
        if not folder.startswith("net/") or folder in IMPURE_FOLDERS:
            continue
        for number, ours, target in includes(path):
            if not ours and IMPURE_HEADERS.match(target):
                yield f"{name}:{number}: <{target}> in a pure folder"
    if not options.build:
        return
    for library in sorted(pathlib.Path(options.build).glob("libnet_*.a")):
        folder = "net/" + library.stem[len("libnet_"):]
        if folder in IMPURE_FOLDERS:
            continue
        out = subprocess.run(["nm", "-u", library], capture_output=True, text=True, check=True).stdout
        for symbol in sorted(set(re.findall(r"^\s+U (\S+)", out, re.M))):
            if IMPURE_SYMBOLS.match(symbol.split("@")[0]):
                yield f"{folder}: calls {symbol}, and is pure"


def check_headers(options):
    flags = ["-std=gnu11", "-D_GNU_SOURCE", f"-I{TOP}", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-fsyntax-only"]
    if options.build:
        flags.append(f"-I{options.build}/generated")
    flags += subprocess.run(["pkg-config", "--cflags", "fuse3", "jansson", "libevent", "libcbor"], capture_output=True,
                            text=True).stdout.split()

    def compile_one(item):
        path, name = item
        p = subprocess.run(["cc", *flags, "-x", "c", "-"], input=f'#include "{name}"\n', capture_output=True, text=True, cwd=TOP)
        return name, p

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, p in pool.map(compile_one, sources(".h")):
            if p.returncode:
                line = next((l for l in p.stderr.splitlines() if "error" in l), "fails")
                yield f"{name}:1: does not compile alone: {line}"


def check_sizes(_):
    for path, name in sources(".c", ".h"):
        lines = path.read_text().splitlines()
        most = LINES_C if path.suffix == ".c" else LINES_H
        if len(lines) > most:
            yield f"{name}:{len(lines)}: longer than {most} lines"
        for number, line in enumerate(lines, 1):
            if len(line.expandtabs()) > COLUMNS:
                yield f"{name}:{number}: wider than {COLUMNS} columns"
    if not shutil.which("ctags"):
        raise SystemExit("lint.py: universal-ctags is needed: apt-get install universal-ctags")
    files = [name for _, name in sources(".c")]
    out = subprocess.run(["ctags", "-f", "-", "--languages=C", "--kinds-C=f", "--fields=+ne", "--output-format=json", *files],
                         capture_output=True, text=True, check=True, cwd=TOP).stdout
    functions = 0
    for line in out.splitlines():
        tag = json.loads(line)
        if tag.get("_type") != "tag" or "end" not in tag:
            continue
        functions += 1
        length = tag["end"] - tag["line"] + 1
        if length > LINES_FUNCTION:
            yield f"{tag['path']}:{tag['line']}: {tag['name']} is longer than {LINES_FUNCTION} lines"
    if files and not functions:
        yield "ctags found no function at all"


def check_names(_):
    homes = collections.defaultdict(set)
    for path, name in sources(".c", ".h"):
        homes[path.stem].add(name.rsplit("/", 1)[0])
    for stem, folders in sorted(homes.items()):
        if len(folders) > 1:
            yield f"{stem}: the base name stands in {', '.join(sorted(folders))}"


def check_words(_):
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=TOP).stdout.splitlines()
    for name in listed:
        path = TOP / name
        if not path.is_file() or name.startswith(("tests/fuzz/corpus/", "tests/lint/")):
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if FORBIDDEN.search(line):
                yield f"{name}:{number}: {FORBIDDEN.search(line).group(0)}"
    for path, name in sources(".c", ".h"):
        if not path.read_text().startswith("/* SPDX-License-Identifier: MIT"):
            yield f"{name}:1: does not begin with the SPDX line"


def mdoc_sections(text, macro):
    """Title → lines of each `.Ss` (or `.Sh`) section."""
    found, current = {}, None
    for line in text.splitlines():
        if line.startswith((".Sh ", ".Ss ")):
            current = line[4:].strip() if line.startswith(macro) else None
            if current is not None:
                found[current] = []
        elif current is not None:
            found[current].append(line)
    return found


def check_man(options):
    if not options.p2p:
        raise SystemExit("lint.py: man needs --p2p")
    for page in sorted((TOP / "man").iterdir()):
        p = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], capture_output=True, text=True)
        for line in (p.stdout + p.stderr).splitlines():
            yield line.replace(str(TOP) + "/", "")
    tables = subprocess.run([options.p2p, "completion", "tables"], capture_output=True, text=True, check=True).stdout
    commands = collections.defaultdict(set)
    for line in tables.splitlines():
        command, option, _ = line.split("\t")
        commands[command] |= {option} if option else set()
    page = (TOP / "man/p2p.1").read_text()
    sections = mdoc_sections(page, ".Ss ")
    common = documented_options(mdoc_sections(page, ".Sh ").get("OPTIONS", []))
    shared = set.intersection(*commands.values())
    if common != shared:
        yield f"man/p2p.1: OPTIONS documents {sorted(common)}, every command takes {sorted(shared)}"
    for command in sorted(commands.keys() | sections.keys()):
        if command not in sections or command not in commands:
            yield f"man/p2p.1: command {command} is {'not documented' if command in commands else 'documented and does not exist'}"
            continue
        documented = documented_options(sections[command])
        for option in sorted(documented ^ (commands[command] - shared)):
            yield f"man/p2p.1: {command}: option {option} is {'not documented' if option in commands[command] else 'documented and does not exist'}"
    yield from check_lists("man/p2p.conf.5", r"^\.It Ic (\S+)", set(
        json.loads(l)["key"] for l in subprocess.run([options.p2p, "config", "--json"], capture_output=True, text=True, check=True,
                                                     env=dict(os.environ, P2P_HOME="/nonexistent")).stdout.splitlines()))
    routes = set(re.findall(r'^\s*\{"(/v1/[^"]*)"', (TOP / "cmd/daemon/routes.c").read_text(), re.M)) | {"/v1/failures/"}
    yield from check_lists("man/p2p-control.7", r"^\.It (?:(?:GET|POST|DELETE) )+(\S+)", routes)


def documented_options(lines):
    found = set()
    for line in lines:
        if line.startswith(".It "):
            for word in re.findall(r"Fl (-?[\w-]+)", line):
                found.add("-" + word)
    return found


def check_lists(page, pattern, expected):
    documented = set(re.findall(pattern, (TOP / page).read_text(), re.M))
    documented = {d if d in expected else d.split("<")[0] for d in documented}
    for name in sorted(expected ^ documented):
        yield f"{page}: {name} is {'not documented' if name in expected else 'documented and does not exist'}"


CHECKS = {name[6:]: f for name, f in list(globals().items()) if name.startswith("check_") and name != "check_lists"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("check", nargs="*", choices=[[], *CHECKS])
    parser.add_argument("--build")
    parser.add_argument("--p2p")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    if options.list:
        print("\n".join(CHECKS))
        return 0
    tolerated = {l for l in (TOP / "tests/lint/exceptions").read_text().splitlines() if l and not l.startswith("#")}
    count = 0
    for name in options.check or CHECKS:
        for finding in CHECKS[name](options):
            if re.sub(r"^([^:]+):\d+:", r"\1:", finding) not in tolerated:
                print(f"{name}: {finding}")
                count += 1
    print(f"{count} findings" if count else "nothing found")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
