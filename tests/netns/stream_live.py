#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Live services: one writer and many readers, each of which begins two seconds back; a writer that comes again; a slow reader."""
import errno, os, pathlib, struct, sys, threading, time, unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
from lab import wait_for
from services import Services

RECORD = struct.Struct("<Qd1008x")  # number, when it was written
MIB = 1 << 20


class Writer:
    """Writes numbered records to streams/live/<name> of alice, some of them every so often, until it is stopped."""

    def __init__(self, node, name, pause=0.05, many=1):
        self.fd = os.open(node.mount / "streams/live" / name, os.O_WRONLY | os.O_CREAT)
        self.count, self.pause, self.many = 0, pause, many
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.over.is_set():
            for _ in range(self.many):
                os.write(self.fd, RECORD.pack(self.count, time.monotonic()))
                self.count += 1
            self.over.wait(self.pause)

    def stop(self):
        self.over.set()
        self.thread.join()
        os.close(self.fd)


class Reader:
    def __init__(self, path):
        self.file = open(path, "rb", buffering=1 << 16)

    def record(self):
        """The next one: its number, and how old it is; None at the end."""
        got = self.file.read(RECORD.size)
        if not got:
            return None
        number, at = RECORD.unpack(got)
        return number, time.monotonic() - at

    def close(self):
        self.file.close()


class Live(Services):
    nodes = 3

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.c = cls.lab.node(3)
        cls.c.run("connect", cls.a.address())

    def writer(self, name, **kw):
        w = Writer(self.a, name, **kw)
        self.a.run("offer", name, "-a", "any")
        for n in (self.b, self.c):
            wait_for("it is listed", lambda: name in os.listdir(self.of(n)))
        return w

    def of(self, node):
        return node.mount / "peers" / self.a.id / "streams"

    def test_each_begins_two_seconds_back(self):
        w = self.writer("clock")
        try:
            wait_for("there are more than two seconds of it", lambda: w.count > 80)
            readers = [Reader(self.of(n) / "clock") for n in (self.b, self.c) for _ in range(10)]
            for r in readers:
                number, age = r.record()
                self.assertTrue(1 < age < 3.5, f"it begins {age:.1f} s back")
                for i in range(1, 30):
                    self.assertEqual(r.record()[0], number + i, "and has everything from there on")
            wait_for("time passes", lambda: w.count > 140)
            late = Reader(self.of(self.c) / "clock")
            self.assertTrue(1 < late.record()[1] < 3.5)
            for r in readers + [late]:
                r.close()
        finally:
            w.stop()

    def test_one_writer_at_a_time_which_may_come_again(self):
        w = self.writer("cam")
        with self.assertRaises(OSError) as e:
            os.open(self.a.mount / "streams/live/cam", os.O_WRONLY)
        self.assertEqual(e.exception.errno, errno.EBUSY)
        first = Reader(self.of(self.b) / "cam")
        first.record()
        w.stop()
        last = None
        while (r := first.record()) is not None:
            last = r
        self.assertEqual(last[0], w.count - 1, "all of it, then an end")
        first.close()
        off = Reader(self.of(self.b) / "cam")  # of a camera that is off: what is left, and an end
        while off.record() is not None:
            pass
        off.close()
        again = Writer(self.a, "cam")
        try:
            second = Reader(self.of(self.c) / "cam")
            wait_for("what the new one writes arrives", lambda: second.record()[1] < 2.5 and again.count > 20)
            second.close()
        finally:
            again.stop()

    def test_a_reader_that_comes_first(self):
        """It waits for the writer."""
        self.a.run("offer", "early", "live", "-a", "any")
        wait_for("it is listed", lambda: "early" in os.listdir(self.alice))
        r = Reader(self.alice / "early")
        got = []
        waits = threading.Thread(target=lambda: got.append(r.record()))
        waits.start()
        wait_for("the read waits", lambda: "early" in (self.b.mount / ".p2p/waiting").read_text())
        w = Writer(self.a, "early")
        waits.join(10)
        w.stop()
        self.assertEqual(got[0][0], 0)
        r.close()

    def test_a_slow_reader_misses_something(self):
        """And neither the writer nor the other readers wait for it. It goes on with what is new."""
        w = self.writer("fast", pause=0.005, many=40)  # 8 MB/s at most
        slow, quick = Reader(self.of(self.b) / "fast"), Reader(self.of(self.c) / "fast")
        slow.record()
        number, _ = quick.record()
        while w.count * RECORD.size < 40 * MIB:
            n, _ = quick.record()
            self.assertEqual(n, number + 1, "who keeps up misses nothing")
            number = n
        w.stop()
        rest = slow.file.read()
        self.assertLess(len(rest), (w.count - 1) * RECORD.size, "so much does not fit anywhere")
        self.assertEqual(RECORD.unpack(rest[-RECORD.size:])[0], w.count - 1, "the newest of it")
        slow.close()
        quick.close()


if __name__ == "__main__":
    unittest.main(verbosity=2)
