#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""run and test, on machines that lack this or that: the scripts are real, what they call is written down. What they build is built for real
by whoever runs them."""
import os, pathlib, shutil, subprocess, tempfile, unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
TOOLS = "bash cat chmod dirname env grep head mkdir mktemp nproc rm sort tail uniq".split()
STUBS = {  # each call is a line of $CALLS
    "id": 'echo "${AS:-0}"',
    "dpkg-query": 'for p; do :; done; case " $LACKS " in *" $p "*) exit 1;; esac; echo -n installed',
    "apt-get": '[ "$1" = update ] && touch updated; [ "$1" = update ] || [ -z "$APT" ] || { [ "$APT" = old ] && [ -e updated ]; } || { echo "E: no"; exit 100; }',
    "sudo": '[ "$1" = -n ] && exit ${SUDO_ASKS:-0}; exec "$@"',
    "cmake": '[ -z "$CMAKE_FAILS" ] || { echo "CMake Error: why"; exit 1; }',
    "ninja": '[ -z "$NINJA_FAILS" ] || { echo "x.c:1: error: why"; exit 1; }; mkdir -p build/release; cat p2p.stub >build/release/p2p; chmod +x build/release/p2p',
    "ctest": 'mkdir -p build/dev/Testing/Temporary; echo "$SKIPS" >build/dev/Testing/Temporary/LastTest.log; echo "100% tests passed, 0 tests failed out of 3"; exit ${CTEST:-0}',
    "touch": ': >"$1"',
}
P2P = '#!/bin/bash\necho "p2p $*" >>"$CALLS"\ncase $1 in status) [ -e up ] && echo "state working";; up) : >up; echo TOUR;; esac\n'


class Scripts(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="p2p-scripts-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.bin, self.calls = self.dir / "bin", self.dir / "calls"
        for name in ("run", "test", "packages.txt", "cmake/install-packages.sh"):
            (self.dir / name).parent.mkdir(exist_ok=True)
            shutil.copy(SOURCE / name, self.dir / name)
        self.bin.mkdir()
        for name in TOOLS:
            (self.bin / name).symlink_to(shutil.which(name))
        for name, body in STUBS.items():
            (self.bin / name).write_text(f'#!/bin/bash\necho "{name} $*" >>"$CALLS"\n{body}\n')
            (self.bin / name).chmod(0o755)
        (self.dir / "p2p.stub").write_text(P2P)

    def start(self, script, *args, status=0, **env):
        self.calls.write_text("")
        p = subprocess.run([str(self.dir / script), *args], env={"PATH": str(self.bin), "CALLS": str(self.calls), **env}, cwd="/",
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertEqual(p.returncode, status, p.stdout + p.stderr)
        self.called = self.calls.read_text()
        return p.stderr if status else p.stdout

    def test_run_from_nothing(self):
        said = self.start("run", LACKS="cmake fuse3")
        self.assertIn("Installing with apt-get: cmake fuse3\n", said)
        self.assertRegex(self.called, r"apt-get install -y .*cmake fuse3\n")
        self.assertNotIn("sudo", self.called)
        self.assertIn("cmake --preset release", self.called)
        self.assertIn("p2p up\n", self.called)
        self.assertIn("TOUR\n", said)
        self.assertIn(f"export PATH={self.dir}/build/release:$PATH", said, "the tour can be typed")

    def test_run_again(self):
        self.start("run", "-o", "mdns=no")
        self.assertIn("p2p up -o mdns=no\n", self.called)
        said = self.start("run")
        self.assertNotIn("apt-get", self.called)
        self.assertNotIn("p2p up", self.called)
        self.assertIn("A node runs already", said)
        self.assertIn("state working", said)

    def test_a_user(self):
        said = self.start("run", AS="1000", LACKS="cmake")
        self.assertRegex(self.called, r"sudo env .*apt-get install .*cmake\n")
        self.assertIn("TOUR", said)
        for script in ("run", "test"):
            said = self.start(script, status=1, AS="1000", LACKS="cmake", SUDO_ASKS="1")
            self.assertIn("sudo would ask for a password. First: sudo apt-get install cmake\n", said)
            self.assertNotIn("apt-get install", self.called.replace("sudo -n", ""))
        (self.bin / "sudo").unlink()
        for script in ("run", "test"):
            said = self.start(script, status=1, AS="1000", LACKS="cmake")
            self.assertIn("not root and no sudo. As root: apt-get install cmake\n", said)
            self.assertNotIn("ninja -C", self.called)
        self.start("run", AS="1000")  # nothing is missing: no sudo is needed

    def test_what_fails(self):
        self.start("run", LACKS="cmake", APT="old")  # the lists of packages were old
        self.assertIn("apt-get update", self.called)
        (self.dir / "updated").unlink()
        said = self.start("run", status=1, LACKS="cmake", APT="broken")
        self.assertIn("apt-get could not install cmake. Check the network", said)
        self.assertIn("E: no\n", said)
        self.assertIn("cmake --preset release failed: see above", self.start("run", status=1, CMAKE_FAILS="1"))
        said = self.start("run", status=1, NINJA_FAILS="1")
        self.assertIn("x.c:1: error: why", said)
        self.assertIn("the build of release failed: see above", said)
        (self.bin / "dpkg-query").unlink()
        self.assertIn("This is not Debian: nothing is installed. Needed are the equivalents of: cmake ", self.start("run"))

    def test_test(self):
        said = self.start("test", "-R", "store/", LACKS="curl")
        self.assertIn("Installing with apt-get: curl\n", said)
        self.assertRegex(self.called, r"ctest .*-R store/\n")
        self.assertTrue(said.endswith("tests failed out of 3\n"), said)
        self.start("test", status=8, CTEST="8")
        said = self.start("test", SKIPS="test_a (X) ... skipped 'needs root'\nOK (skipped=1)\ntest_b (Y) ... skipped 'needs root'\nskipped: no tmpfs")
        self.assertRegex(said, r"\n +2 skipped 'needs root'\n +1 skipped: no tmpfs\n$")


if __name__ == "__main__":
    unittest.main(verbosity=2)
