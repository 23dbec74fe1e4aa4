# SPDX-License-Identifier: MIT
"""One node with its mount, without a network, for tests of what it does with its disk: killed, started again, with a disk that fails.

    with Solo() as node:
        node.start()
        (node.share / "x").write_bytes(b"…")

DISK_SHIM is the built libdisk_shim.so (tests/lib/disk_shim.h); `need()` skips with the reason when something is missing.
"""
import contextlib, http.client, json, mmap, os, pathlib, shutil, signal, socket, struct, subprocess, sys, tempfile, time, unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
P2P = os.environ.get("P2P_BIN", str(SOURCE / "build" / "release" / "p2p"))
SHIM = os.environ.get("DISK_SHIM_LIB", "")
WRITE, SYNC, NAME, MEMORY, META, BLOCK = 1, 2, 4, 8, 16, 32
FAIL, SHORT, KILL, KILL_HALF = 0, 1, 2, 3
FOREVER = 2**64 - 1
QUIET = "listen = /ip4/127.0.0.1/tcp/0\nmdns = no\n"


def need(shim=True):
    if not os.access("/dev/fuse", os.R_OK):
        raise unittest.SkipTest("needs /dev/fuse")
    if not os.access(P2P, os.X_OK):
        raise unittest.SkipTest(f"needs the built program at {P2P}")
    if shim and not os.path.exists(SHIM):
        raise unittest.SkipTest("needs DISK_SHIM_LIB")


def races(log):
    """The first report of ThreadSanitizer in a node's log, "" without: the node goes on, so that its end does not tell."""
    text = log.read_text(errors="replace")
    at = text.find("WARNING: ThreadSanitizer")
    return text[at:at + 5000] if at >= 0 else ""


class Refused(Exception):
    """The node answered a control request with an error."""


class Disk:
    """The shim's control page."""
    NO_DIRECT, NO_DIRECT_WRITE, NO_HOLES = 1, 2, 4

    def __init__(self, path):
        with open(path, "wb") as f:
            f.write(bytes(4096))
        self.path = path
        self.file = open(path, "r+b")
        self.map = mmap.mmap(self.file.fileno(), 4096)

    def close(self):
        self.map.close()
        self.file.close()

    def _get(self, at, form="<Q"):
        return struct.unpack_from(form, self.map, at)[0]

    def _set(self, at, value, form="<Q"):
        struct.pack_into(form, self.map, at, value)

    @property
    def calls(self):
        return self._get(0)

    @property
    def struck(self):
        return self._get(24)

    @property
    def lacked(self):
        return self._get(56)

    def lack(self, what):
        self._set(44, what, "<I")
        self._set(56, 0)

    def room(self, free):
        """So many bytes are said to be free; None: the truth"""
        self._set(72, 0 if free is None else free + 1)

    def big(self, least, most):
        """Only memory of so many bytes may be refused."""
        self._set(80, least)
        self._set(88, most)

    def arm(self, nth, action, kinds=WRITE | SYNC | NAME, error=0, more=0, every=1):
        """At the nth call from now, and the `more` after it, or each `every`-th of them"""
        self._set(8, 0)
        self._set(64, every)
        self._set(32, kinds, "<I")
        self._set(36, action, "<I")
        self._set(40, error, "<I")
        self._set(16, more)
        self._set(24, 0)
        self._set(8, self.calls + nth)

    def disarm(self):
        self._set(8, 0)

    def count(self, kinds):
        self._set(32, kinds, "<I")


class Solo:
    def __init__(self, config=QUIET):
        base = os.environ.get("TMPDIR", "/tmp")
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="p2p-solo-", dir=base))
        self.mount = self.home / "m"
        self.share = self.mount / "share"
        (self.home / "config").write_text(config)
        self.env = {k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET", "NO_COLOR")}
        self.env.update(P2P_HOME=str(self.home), HOME=str(self.home))
        self.disk = Disk(self.home / "disk")
        self.log = open(self.home / "log", "ab")
        self.process = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if exc and exc[0] is not None:
            sys.stderr.write(f"--- the node's log\n{self.tail()}\n")
        self.kill()
        subprocess.run(["umount", "-l", str(self.mount)], stderr=subprocess.DEVNULL)
        self.log.close()
        self.disk.close()
        found = races(self.home / "log")
        shutil.rmtree(self.home, ignore_errors=True)
        if found:
            raise AssertionError(found)

    def tail(self):
        return "".join((self.home / "log").read_text(errors="replace").splitlines(True)[-20:])

    def spawn(self, shim=False, *options):
        env = dict(self.env)
        if shim:
            env.update(LD_PRELOAD=SHIM, DISK_SHIM=str(self.disk.path), DISK_SHIM_ROOT=str(self.home / "state"))
            env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        self.process = subprocess.Popen([P2P, "up", "--foreground", *options, str(self.mount)], env=env, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)

    def ready(self, timeout=30.0):
        """True when it is mounted and answers, False when it ended before that."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.process.poll() is not None:
                return False
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                if self.request("GET", "/v1/status").get("mount") and os.path.isdir(self.share):
                    return True
            time.sleep(0.005)
        raise AssertionError(f"the node is not ready in {timeout} s:\n{self.tail()}")

    def start(self, shim=False, *options):
        self.spawn(shim, *options)
        if not self.ready():
            raise AssertionError(f"the node ended with {self.process.returncode}:\n{self.tail()}")
        return self

    def kill(self):
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()

    def stop(self, timeout=30):
        self.process.terminate()
        code = self.process.wait(timeout)
        if code != 0:
            raise AssertionError(f"the node ended with {code}:\n{self.tail()}")

    def raw(self, method, target, timeout=60, body=None):
        c = http.client.HTTPConnection("p2p", timeout=timeout)
        c.sock = socket.socket(socket.AF_UNIX)
        c.sock.settimeout(timeout)
        try:
            c.sock.connect(str(self.home / "run" / "control"))
            c.request(method, target, body)
            r = c.getresponse()
            return r.status, r.read()
        finally:
            c.close()

    def request(self, method, target):
        status, body = self.raw(method, target)
        lines = [json.loads(line) for line in body.splitlines() if line.strip()]
        if status >= 400:
            raise Refused(lines[0]["error"], lines[0]["message"])
        return lines[-1] if lines else {}

    def rows(self, target):
        status, body = self.raw("GET", target)
        if status >= 400:
            raise Refused(body)
        return [json.loads(line) for line in body.splitlines() if line.strip()]

    def status(self):
        return self.request("GET", "/v1/status")

    def limit(self, name):
        return next(r for r in self.rows("/v1/limits") if r["name"] == name)

    def run(self, *args, timeout=120):
        return subprocess.run([P2P, *map(str, args)], env=self.env, capture_output=True, text=True, timeout=timeout)

    def verify(self):
        """The totals of a whole check, which must find nothing"""
        status, body = self.raw("POST", "/v1/verify", timeout=600)
        rows = [json.loads(line) for line in body.splitlines() if line.strip()]
        wrong = [r for r in rows if "problem" in r]
        if status != 200 or wrong or not rows or rows[-1].get("problems") != 0:
            raise AssertionError(f"verify: {status} {wrong[:5]} {rows[-1:]}\n{self.tail()}")
        return rows[-1]
