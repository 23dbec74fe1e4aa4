# SPDX-License-Identifier: MIT
"""A lab: nodes of the built program in network namespaces on one bridge, none of which can reach outside.

    with Lab(2) as lab:
        a, b = lab.node(1), lab.node(2)

`Lab(2, bridge=False)` has no bridge, for `lab.path(1, 2, delay=25, rate=25e6)`: a long path (tests/lib/wan.c). `Loopback(2)` has all
nodes in one namespace, on its loopback interface.

Needs root, ip(8) and /dev/fuse; `need()` skips with the reason when something is missing. Namespaces are entered with nsenter: `ip netns
exec` would also make a private mount namespace, in which a FUSE mount hides from everybody else.
"""
import contextlib, itertools, json, os, pathlib, select, shutil, signal, socket, subprocess, sys, tempfile, time, unittest

import solo

SOURCE = pathlib.Path(__file__).resolve().parents[2]
P2P = os.environ.get("P2P_BIN", str(SOURCE / "build" / "release" / "p2p"))
WAN = os.environ.get("WAN_BIN", str(pathlib.Path(P2P).parent / "tests" / "wan"))


def need(*tools, root=True):
    """Raises SkipTest with the reason when this machine cannot run the test."""
    if root and os.geteuid() != 0:
        raise unittest.SkipTest("needs root for network namespaces")
    if not os.path.exists("/dev/fuse"):
        raise unittest.SkipTest("needs /dev/fuse")
    for tool in ("ip", "nsenter") + tools:
        if not shutil.which(tool):
            raise unittest.SkipTest(f"needs {tool}, which is not installed")
    if root:  # containers and plain chroots may not let root make them; ip(8) needs both kinds
        p = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True)
        if p.returncode:
            raise unittest.SkipTest(f"needs namespaces: {p.stderr.strip()}")
    if not os.access(P2P, os.X_OK):
        raise unittest.SkipTest(f"needs the built program at {P2P}")


def wait_for(what, check, timeout=30.0):
    """Polls until check() is true; for conditions of other processes that send no event. Fails with `what`."""
    end = time.monotonic() + timeout
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout:.0f} s")
        time.sleep(0.02)


def pattern(size, seed=1):
    """`size` reproducible bytes that no compressor or zero detector can shorten, as an iterator of 1 MiB pieces."""
    import hashlib
    piece, made = 1 << 20, 0
    stream = hashlib.shake_128(str(seed).encode()).digest(piece)
    base = bytearray(stream)
    while made < size:
        base[0:8] = made.to_bytes(8, "little")
        take = min(piece, size - made)
        yield bytes(base[:take])
        made += take


def write_pattern(path, size, seed=1):
    with open(path, "wb") as f:
        for piece in pattern(size, seed):
            f.write(piece)


def child(call):
    """A process that makes one system call and ends: 0 when it was answered, else the errno."""
    pid = os.fork()
    if pid:
        return pid
    status = 255
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        call()
        status = 0
    except OSError as e:
        status = e.errno
    finally:
        os._exit(status)


def end(pids, number):
    """Sends the signal to one after the other; the seconds until each was gone."""
    took = []
    for pid in pids:
        start = time.monotonic()
        os.kill(pid, number)
        os.waitpid(pid, 0)
        took.append(time.monotonic() - start)
    return took


class Node:
    def __init__(self, lab, index, env=None, config=""):
        self.lab, self.index = lab, index
        self.home = lab.dir / f"node{index}"
        self.mount = self.home / "m"
        self.home.mkdir(exist_ok=True)
        if config:
            (self.home / "config").write_text(config)
        self.env = dict(os.environ, P2P_HOME=str(self.home), HOME=str(self.home), **(env or {}))
        self.process = None
        self.log = open(self.home / "log", "ab")

    def start(self, *options, timeout=30.0):
        """Starts the node and waits for its READY notification."""
        self.mount.parent.mkdir(parents=True, exist_ok=True)
        notify = self.home / "notify"
        with contextlib.suppress(FileNotFoundError):
            notify.unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(str(notify))
            self.process = subprocess.Popen(
                self.lab.enter(self.index) + [P2P, "up", "--foreground", *options, str(self.mount)],
                env=dict(self.env, NOTIFY_SOCKET=str(notify)), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
            end = time.monotonic() + timeout
            while True:
                if select.select([s], [], [], 0.05)[0] and b"READY=1" in s.recv(4096):
                    break
                if self.process.poll() is not None:
                    raise AssertionError(f"node {self.index} ended with {self.process.returncode}:\n{self.tail()}")
                if time.monotonic() > end:
                    raise AssertionError(f"node {self.index} is not ready in {timeout} s:\n{self.tail()}")
        return self

    def tail(self):
        return "".join((self.home / "log").read_text(errors="replace").splitlines(True)[-15:])

    def run(self, *args, check=True, timeout=120, **kw):
        """A p2p subcommand of this node; returns CompletedProcess with text."""
        p = subprocess.run(self.lab.enter(self.index) + [P2P, *map(str, args)], env=self.env, capture_output=True, text=True,
                           timeout=timeout, stdin=kw.pop("stdin", subprocess.DEVNULL), **kw)
        if check and p.returncode != 0:
            raise AssertionError(f"p2p {' '.join(map(str, args))}: exit {p.returncode}\n{p.stdout}{p.stderr}")
        return p

    def json(self, *args, **kw):
        return json.loads(self.run(*args, "--json", **kw).stdout)

    def json_lines(self, *args, **kw):
        return [json.loads(line) for line in self.run(*args, "--json", **kw).stdout.splitlines()]

    @property
    def id(self):
        if not hasattr(self, "_id"):
            self._id = self.json("status")["id"]
        return self._id

    def cid(self, path):
        return self.run("cid", path, timeout=300).stdout.split()[0]

    def peers(self):
        return os.listdir(self.mount / "peers")

    def address(self, ip=None):
        """A TCP multiaddr of this node in the lab, with /p2p/: the one on the bridge, or with `ip` where it has others."""
        ip = ip or self.lab.ip(self.index)
        for a in self.json("status")["addresses"]:
            if f"/ip4/{ip}/tcp/" in a:
                return a if "/p2p/" in a else f"{a}/p2p/{self.id}"
        raise AssertionError(f"no address with {ip}")

    def signal(self, number):
        self.process.send_signal(number)
        if number == signal.SIGSTOP:  # kill() returns before the threads that run have heard of it
            wait_for("it has stopped", self.stands_still)

    def stands_still(self):
        """Every thread's state is T."""
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return all((t / "stat").read_text().rpartition(")")[2].split()[0] == "T" for t in tasks)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self, timeout=30):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout)
        return self.process.returncode if self.process else None

    def clean(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        subprocess.run(["umount", "-l", str(self.mount)], stderr=subprocess.DEVNULL)
        self.log.close()


class Path:
    """What lies between namespaces `a` and `b` of a lab: a running wan.c. `a_ip` and `b_ip` are the addresses of its ends."""

    def __init__(self, lab, a, b, **settings):
        if not os.access(WAN, os.X_OK):
            raise unittest.SkipTest(f"needs the built program at {WAN}")
        number = len(lab.paths) + 1
        self.a_ip, self.b_ip = f"10.78.{number}.1", f"10.78.{number}.2"
        names = [f"{lab.tag}{number}{end}"[-15:] for end in "ab"]
        self.process = subprocess.Popen([WAN, *names, *(f"{k}={v}" for k, v in settings.items())], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        lab.processes.append(self.process)
        if self.process.stdout.readline() != "ready\n":
            raise unittest.SkipTest("needs /dev/net/tun")
        for index, name, own, other in ((a, names[0], self.a_ip, self.b_ip), (b, names[1], self.b_ip, self.a_ip)):
            ns = lab.name(index)
            lab._ip("link", "set", name, "netns", ns)
            lab._ip("-n", ns, "addr", "add", own, "peer", other, "dev", name)
            lab._ip("-n", ns, "link", "set", name, "txqueuelen", 1000, "up")

    def set(self, **settings):
        """Changes it while it runs: delay, jitter, rate, queue, loss, up; `a_` or `b_` before a name: one direction."""
        for k, v in settings.items():
            key = f"{k[0]}.{k[2:]}" if k[:2] in ("a_", "b_") else k
            self.process.stdin.write(f"{key}={v}\n")
        self.process.stdin.flush()


class Lab:
    """`count` namespaces on one bridge with addresses 10.77.0.1 …; without `bridge` nothing connects them."""

    numbers = itertools.count()

    def __init__(self, count, bridge=True):
        self.tag = f"p2pt{os.getpid()}.{next(self.numbers)}"  # a process may have two at once
        self.count = count
        self.bridge = bridge
        self.nodes = []
        self.processes = []
        self.paths = []

    def _ip(self, *args):
        subprocess.run(["ip", *map(str, args)], check=True, capture_output=True)

    def name(self, index):
        return f"{self.tag}-{index}"

    def ip(self, index):
        return f"10.77.0.{index}"

    def enter(self, index):
        return ["nsenter", f"--net=/run/netns/{self.name(index)}", "--"]

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="p2p-lab-"))
        try:
            self._make()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _make(self):
        if self.bridge:
            self._ip("netns", "add", self.name("br"))
            self._ip("-n", self.name("br"), "link", "add", "br0", "type", "bridge")
            self._ip("-n", self.name("br"), "link", "set", "br0", "up")
        for i in range(1, self.count + 1):
            ns = self.name(i)
            self._ip("netns", "add", ns)
            self._ip("-n", ns, "link", "set", "lo", "up")
            if not self.bridge:
                continue
            self._ip("-n", self.name("br"), "link", "add", f"p{i}", "type", "veth", "peer", "name", "eth0", "netns", ns)
            self._ip("-n", self.name("br"), "link", "set", f"p{i}", "master", "br0")
            self._ip("-n", self.name("br"), "link", "set", f"p{i}", "up")
            self._ip("-n", ns, "addr", "add", f"{self.ip(i)}/24", "dev", "eth0")
            self._ip("-n", ns, "link", "set", "eth0", "up")
            self._ip("-n", ns, "route", "add", "default", "dev", "eth0")

    def path(self, a, b, **settings):
        self.paths.append(Path(self, a, b, **settings))
        return self.paths[-1]

    def node(self, index, start=True, options=(), **kw):
        n = Node(self, index, **kw)
        self.nodes.append(n)
        return n.start(*options) if start else n

    def cable(self, index, up):
        """Plugs or pulls the cable of namespace `index`."""
        self._ip("-n", self.name("br"), "link", "set", f"p{index}", "up" if up else "down")

    def popen(self, index, args, **kw):
        p = subprocess.Popen(self.enter(index) + list(map(str, args)), **kw)
        self.processes.append(p)
        return p

    def __exit__(self, *exc):
        if exc and exc[0] is not None:
            for n in self.nodes:
                sys.stderr.write(f"--- log of node {n.index}\n{n.tail()}")
        for p in self.processes:
            if p.poll() is None:
                p.kill()
                p.wait()
        for n in self.nodes:
            n.clean()
        races = "".join(solo.races(n.home / "log") for n in self.nodes)
        for name in [self.name(i) for i in range(1, self.count + 1)] + [self.name("br")]:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        shutil.rmtree(self.dir, ignore_errors=True)
        if races:
            raise AssertionError(races)


class Loopback(Lab):
    """All nodes in one namespace, on its loopback interface. They need ports of their own: `listen = /ip4/127.0.0.1/tcp/0`."""

    def name(self, index):
        return f"{self.tag}-1"

    def ip(self, index):
        return "127.0.0.1"

    def _make(self):
        self._ip("netns", "add", self.name(1))
        self._ip("-n", self.name(1), "link", "set", "lo", "up")
