#!/usr/bin/python3
"""tests/e2e/faults.py - what is unavailable when, with which word, after how long.

    faults.py --bin build [--repeat 5] [--only NAME,NAME...] [--docs docs/promises.md]

Starts three nodes with one group of keys and puts them into the situations below, each
--repeat times. In each one it asks one node for everything that kvd promises, all at
once, with a deadline, and notes the word of each answer and the milliseconds until it
came. Prints that as the table "Under faults" of docs/promises.md, whose words are what
the answers are compared with. Exit status 1, and a line per finding, when

- an answer has another word than the table's cell, or there is none;
- an answer took longer than the deadline and SLACK_MS;
- a promise was weaker: an acknowledged write is missing, one that was certainly not
  done is there, a read shows less than its level promises, a lock that was kept alive
  is lost, a numbered write happened twice, a watch misses or repeats a change.

Needs no root: the nodes' links lead through a proxy of this program, which holds back
what is cut. Uses Debian's python3-msgpack, through rpc.py.
"""
import argparse
import asyncio
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from rpc import Conn, RpcError, text

DEADLINE_MS = 1000
SLACK_MS = 500
NODES = (1, 2, 3)
NOT_DONE = {
    "BAD_REQUEST", "TOO_LARGE", "NOT_LEADER", "NO_LEADER", "TIMEOUT", "BUSY", "NO_SPACE",
    "DAMAGED", "OVERFLOW", "CROSS_SLOT", "SESSION_EXPIRED", "BAD_QUORUM", "FENCED",
    "COMPACTED", "DENIED",
}


def now_ms():
    return time.monotonic() * 1000


def free_ports(count):
    found = []
    for _ in range(count):
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        found.append(s)
    ports = [s.getsockname()[1] for s in found]
    for s in found:
        s.close()
    return ports


def front(i):
    """Where the other nodes find node I: the proxy listens there."""
    return f"127.0.9.{i}"


def back(i):
    """Where node I listens."""
    return f"127.0.9.{100 + i}"


def bound(i):
    """The same in its short form, which kvd does not compare with where it is found."""
    return f"127.0.{9 * 256 + 100 + i}"


class Proxy:
    """A listener in front of each node's peer port. The first frame of a stream says
    who sends it (docs/protocol.md, Between nodes); bytes between two nodes that are
    cut wait here, so that nobody sees a broken connection."""

    def __init__(self, ports):
        self.ports = ports
        self.cuts = set()
        self.loop = asyncio.new_event_loop()
        started = threading.Event()
        threading.Thread(target=self._run, args=(started,), daemon=True).start()
        started.wait()

    def cut(self, nodes):
        """Cuts these nodes off from all others; () heals."""
        self.cuts = {
            frozenset((a, b)) for a in nodes for b in NODES if b not in nodes
        }

    def _run(self, started):
        asyncio.set_event_loop(self.loop)
        for node in NODES:
            self.loop.run_until_complete(
                asyncio.start_server(
                    lambda r, w, node=node: self._stream(node, r, w),
                    front(node), self.ports[node],
                )
            )
        started.set()
        self.loop.run_forever()

    async def _wait(self, pair):
        while pair in self.cuts:
            await asyncio.sleep(0.01)

    async def _stream(self, node, reader, writer):
        out = None
        try:
            head = await reader.readexactly(28)
            pair = frozenset((node, int.from_bytes(head[24:28], "little")))
            await self._wait(pair)
            inner, out = await asyncio.open_connection(back(node), self.ports[node])
            out.write(head)
            await asyncio.gather(
                self._pump(pair, reader, out), self._pump(pair, inner, writer)
            )
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for w in (writer, out):
                if w is not None:
                    w.close()

    async def _pump(self, pair, reader, writer):
        while data := await reader.read(65536):
            await self._wait(pair)
            writer.write(data)
            await writer.drain()
        await self._wait(pair)
        raise OSError("ended")


class Cluster:
    def __init__(self, kvd, folder, more=()):
        ports = free_ports(9)
        self.client = dict(zip(NODES, ports[0:3]))
        self.peer = dict(zip(NODES, ports[3:6]))
        self.http = dict(zip(NODES, ports[6:9]))
        self.proxy = Proxy(self.peer)
        self.kvd, self.folder, self.more = kvd, folder, list(more)
        self.initial = ",".join(
            f"{i}={front(i)}:{self.client[i]}:{self.peer[i]}" for i in NODES
        )
        self.process = {}
        for i in NODES:
            self.start(i)
        self.settle()

    def start(self, i):
        home = os.path.join(self.folder, f"n{i}")
        os.makedirs(home, exist_ok=True)
        with open(os.path.join(home, "log"), "ab") as log:
            self.process[i] = subprocess.Popen(
                [self.kvd, "--id", str(i), "--data-dir", os.path.join(home, "data"),
                 "--initial-cluster", self.initial, "--groups", "1",
                 "--listen", f"{bound(i)}:{self.client[i]}",
                 "--peer", f"{bound(i)}:{self.peer[i]}",
                 "--http", f"{bound(i)}:{self.http[i]}", "--insecure", *self.more],
                stdout=log, stderr=log,
            )

    def kill(self, i):
        self.process[i].kill()
        self.process[i].wait()

    def pause(self, i):
        self.process[i].send_signal(signal.SIGSTOP)

    def stop(self):
        for p in self.process.values():
            p.kill()
            p.wait()

    def others(self, i):
        return [n for n in NODES if n != i]

    def conn(self, i, timeout=10.0):
        return Conn(self.client[i], back(i), timeout)

    def call(self, i, method, *params):
        """One call at one node, as text; errors as RpcError or OSError."""
        c = self.conn(i)
        try:
            return c.call(method, *params)
        finally:
            c.close()

    def leader(self):
        """The leader of group 1, on which all three agree; 0 otherwise."""
        said = set()
        for i in NODES:
            try:
                groups = text(self.call(i, "cluster.status"))["groups"]
            except (OSError, EOFError, RpcError):
                return 0
            said.add(next((g["leader"] for g in groups if g["id"] == 1), 0))
        return said.pop() if len(said) == 1 else 0

    def heal(self):
        self.proxy.cut(())
        for i in NODES:
            if self.process[i].poll() is not None:
                self.start(i)
            else:
                self.process[i].send_signal(signal.SIGCONT)

    def settle(self):
        """Waits until all nodes are there, agree on a leader, and take writes that
        all three hold."""
        end = now_ms() + 60000
        quiet = 0
        while quiet < 3:
            if now_ms() > end:
                raise SystemExit(f"the cluster did not settle; see {self.folder}")
            try:
                ok = self.leader() != 0 and all(
                    self.call(i, "kv.put", "settled", "x",
                              {"w": 3, "deadline_ms": 2000})["replicas".encode()] == 3
                    for i in NODES
                )
            except (OSError, EOFError, RpcError, KeyError):
                ok = False
            quiet = quiet + 1 if ok else 0
            time.sleep(0.05)


class Answer:
    """What came of one question, and when: an error's word, or "done"; "fewer": done, by
    fewer replicas than were asked for; "silent": nothing came; "refused": no connection."""

    def __init__(self, name, begin):
        self.name, self.begin = name, begin
        self.word, self.ms, self.result, self.error = "silent", None, None, ""


# ---- what is asked ----

class Round:
    """The questions of one situation, once: prepared in peace, asked, judged in peace."""

    def __init__(self, cluster, number):
        self.c, self.number = cluster, number
        self.prefix = f"round{number}/"
        self.findings = []
        self.acked_ms = None  # When the newer value of `r` was acknowledged.
        self.value = b"old"
        lead = cluster.leader()
        put = cluster.call(lead, "kv.put", self.key("r"), self.value, {"token": b""})
        self.token = put[b"token"]
        opened = cluster.call(lead, "session.open")
        self.session = {
            "session": opened[b"session"], "seq": 1, "stamp": opened[b"time"]
        }
        self.idem = {"idem": self.key("idem"), "stamp": opened[b"time"]}
        self.locks = {}
        for name in ("kept", "released"):
            held = cluster.call(lead, "lock.acquire", self.key(name),
                                {"owner": "me", "ttl_ms": 15000})
            self.locks[name] = held[b"token"]

    def key(self, name):
        return self.prefix + name

    def questions(self):
        """[(row of the table, method, params)], in the order in which they are sent."""
        k, d = self.key, {"deadline_ms": DEADLINE_MS}
        fence = {"fence": [k("kept"), self.locks["kept"]], **d}
        return [
            ("get", "kv.get", [k("r"), d]),
            ("get, quorum", "kv.get", [k("r"), {"level": "quorum", **d}]),
            ("get, session", "kv.get",
             [k("r"), {"level": "session", "token": self.token, **d}]),
            ("get, stale", "kv.get", [k("r"), {"level": "stale", **d}]),
            ("get, stale, max_age_ms 500", "kv.get",
             [k("r"), {"level": "stale", "max_age_ms": 500, **d}]),
            ("range", "kv.range", [k(""), k("~"), d]),
            ("put", "kv.put", [k("put"), "new", d]),
            ("put, w 3", "kv.put", [k("w"), "new", {"w": 3, **d}]),
            ("get, quorum, behind that put", "kv.get",
             [k("put"), {"level": "quorum", **d}]),
            ("txn", "kv.txn",
             [[], [["put", "{%s}a" % self.prefix, "new"],
                   ["put", "{%s}b" % self.prefix, "new"]], [], d]),
            ("incr, session", "kv.incr", [k("session"), 1, {**self.session, **d}]),
            ("incr, idem", "kv.incr", [k("idem"), 1, {**self.idem, **d}]),
            ("lock.acquire", "lock.acquire", [k("acquired"), {"owner": "me", **d}]),
            ("lock.keepalive", "lock.keepalive", [k("kept"), self.locks["kept"], d]),
            ("lock.release", "lock.release",
             [k("released"), self.locks["released"], d]),
            ("put, fence", "kv.put", [k("fenced"), "new", fence]),
            ("get, fence", "kv.get", [k("r"), fence]),
            ("watch", "kv.watch", [k(""), {"prefix": True, **d}]),
        ]

    def newer(self, node):
        """Another value for `r`, acknowledged through `node` while the fault lasts."""
        end = now_ms() + 10000
        while True:
            try:
                put = self.c.call(node, "kv.put", self.key("r"), b"newer",
                                  {"deadline_ms": 5000, "token": b""})
                break
            except RpcError:
                if now_ms() > end:
                    raise
        self.token = put[b"token"]
        self.acked_ms, self.value = now_ms(), b"newer"

    def ask(self, node):
        """Sends all questions to a node at once and takes what comes."""
        answers, by_id = [], {}
        begin = now_ms()
        try:
            conn = self.c.conn(node, timeout=1.0)
        except OSError:
            return [self._refused(name, begin) for name, _, _ in self.questions()]
        for name, method, params in self.questions():
            a = Answer(name, now_ms())
            by_id[conn.send(method, params)] = a
            answers.append(a)
        end = begin + DEADLINE_MS + 2 * SLACK_MS
        while any(a.ms is None for a in answers) and now_ms() < end:
            conn.sock.settimeout(max(0.01, (end - now_ms()) / 1000))
            try:
                message = conn.receive()
            except (OSError, EOFError):
                break
            if message[0] != 1:
                continue
            a = by_id[message[1]]
            a.ms = now_ms() - a.begin
            if message[2] is None:
                a.word, a.result = "done", message[3]
                if a.name == "put, w 3" and a.result[b"replicas"] < 3:
                    a.word = "fewer"
            else:
                a.error = text(message[2])
                a.word = a.error.split(" ", 1)[0]
        conn.close()
        for a in answers:
            self._judge_read(a)
        return answers

    @staticmethod
    def _refused(name, begin):
        a = Answer(name, begin)
        a.word, a.ms = "refused", now_ms() - begin
        return a

    # ---- what answers must not say ----

    def _find(self, a, what):
        self.findings.append(f"{a.name}: {what}")

    def _judge_read(self, a):
        if a.word != "done" or b"value" not in a.result or a.name.startswith("incr"):
            return
        if a.name == "get, quorum, behind that put":
            return
        value = a.result[b"value"]
        if a.name.startswith("get, stale"):
            age = a.result[b"at"][5]
            if value != self.value and (
                self.acked_ms is None or age < a.begin - self.acked_ms
            ):
                self._find(a, f"{value} with age {age} ms is older than that")
            if "max_age_ms" in a.name and age > 500:
                self._find(a, f"an age of {age} ms, although 500 was asked for")
        elif value != self.value:
            self._find(a, f"{value}, although {self.value} was acknowledged before")

    def _get(self, key):
        return self.c.call(NODES[self.number % 3], "kv.get", key)[b"value"]

    def _judge_write(self, a, keys):
        there = [self._get(k) for k in keys]
        if len(set(there)) != 1:
            self._find(a, f"one half of it is there: {there}")
        if a.word in ("done", "fewer") and there[0] != b"new":
            self._find(a, f"it was acknowledged, and {there[0]} is there")
        if a.word in NOT_DONE and there[0] is not None:
            self._find(a, f"it was certainly not done ({a.error}), and is there")

    def _judge_once(self, a, name, options):
        again = self.c.call(2, "kv.incr", self.key(name), 1, options)
        if a.word == "done" and not again.get(b"repeated"):
            self._find(a, f"acknowledged, and not known again: {again}")
        if self._get(self.key(name)) != b"1":
            self._find(a, f"sent twice, the counter is {self._get(self.key(name))}")

    def _holders(self, name):
        info = self.c.call(1, "lock.info", self.key(name))
        return [h[b"token"] for h in info[b"holders"]]

    def judge(self, answers):
        """In peace again: what was said must be so. Returns the findings."""
        for a in answers:
            if a.name == "put":
                self._judge_write(a, [self.key("put")])
            elif a.name == "put, w 3":
                self._judge_write(a, [self.key("w")])
            elif a.name == "put, fence":
                self._judge_write(a, [self.key("fenced")])
            elif a.name == "txn":
                self._judge_write(a, ["{%s}a" % self.prefix, "{%s}b" % self.prefix])
            elif a.name == "incr, session":
                self._judge_once(a, "session", self.session)
            elif a.name == "incr, idem":
                self._judge_once(a, "idem", self.idem)
            elif a.name == "lock.keepalive" and a.word == "done":
                left = a.result[b"ttl_ms"] - (now_ms() - a.begin)
                if left > 0 and self.locks["kept"] not in self._holders("kept"):
                    self._find(a, f"kept alive for {left:.0f} ms more, and lost")
            elif a.name == "lock.release":
                held = self.locks["released"] in self._holders("released")
                if a.word == "done" and held:
                    self._find(a, "released, and still held")
            elif a.name == "lock.acquire" and a.word == "done":
                if a.result[b"token"] not in self._holders("acquired"):
                    self._find(a, "acquired, and held by nobody")
        return self.findings


class Watch:
    """Hears the changes of a round from before its fault to its end, at a node, and
    where that ends, behind the last position at another one."""

    def __init__(self, cluster, node, prefix):
        self.c, self.prefix = cluster, prefix
        self.conn = cluster.conn(node)
        self.node = node
        self.pos = self.conn.call("kv.watch", prefix, {"prefix": True})[b"pos"]
        self.heard = []

    def take(self, until_ms, stop_key):
        """Hears until that key changed: true. False: the watch ended before, or time."""
        while now_ms() < until_ms:
            self.conn.sock.settimeout(max(0.01, (until_ms - now_ms()) / 1000))
            try:
                message = self.conn.receive()
            except (OSError, EOFError):
                return False
            if message[0] != 2:
                continue
            _, events, self.pos = message[2]
            for kind, key, _, rev, _ in events:
                if kind == b"end":
                    return False
                if kind != b"progress":
                    self.heard.append((key, rev))
                if key == stop_key:
                    return True
        return False

    def resume(self, node):
        self.conn.close()
        self.conn = self.c.conn(node)
        self.conn.call("kv.watch", self.prefix, {"prefix": True, "pos": self.pos})

    def finish(self, node):
        """Hears everything up to now; returns findings."""
        last = self.prefix + "last"
        self.c.call(node, "kv.put", last, "x")
        try:
            if not self.take(now_ms() + 1000, last.encode()):
                self.resume(node)
                if not self.take(now_ms() + 5000, last.encode()):
                    return ["watch: the last change was not heard within 5 s"]
        except RpcError as e:
            return [f"watch: going on from its position: {e}"]
        revs = [rev for _, rev in self.heard]
        if revs != sorted(set(revs)):
            return [f"watch: heard twice or out of order: {self.heard}"]
        there = self.c.call(node, "kv.range", self.prefix, self.prefix + "~")[b"items"]
        missed = [k for k, _, rev in there if (k, rev) not in self.heard
                  and not k.endswith(b"/r")]
        return [f"watch: not heard: {missed}"] if missed else []


# ---- situations ----

def situation_calm(c, r):
    """nothing is wrong; a follower is asked"""
    return r.ask(c.others(c.leader())[0])


def situation_cut_now(c, r):
    """the leader was cut off this moment and does not know it; it is asked"""
    lead = c.leader()
    c.proxy.cut((lead,))
    return r.ask(lead)


def situation_cut_leader(c, r):
    """the former leader is cut off alone for 2 s; it is asked"""
    lead = c.leader()
    c.proxy.cut((lead,))
    r.newer(c.others(lead)[0])
    time.sleep(2)
    return r.ask(lead)


def situation_cut_follower(c, r):
    """a follower is cut off alone for 2 s; it is asked"""
    lead = c.leader()
    node = c.others(lead)[0]
    c.proxy.cut((node,))
    time.sleep(0.2)
    r.newer(lead)
    time.sleep(2)
    return r.ask(node)


def situation_kill(c, r):
    """the leader was killed this moment; a follower is asked"""
    lead = c.leader()
    node = c.others(lead)[r.number % 2]
    c.kill(lead)
    return r.ask(node)


def situation_pause(c, r):
    """the leader stands still since this moment; a follower is asked"""
    lead = c.leader()
    node = c.others(lead)[r.number % 2]
    c.pause(lead)
    return r.ask(node)


def situation_paused(c, r):
    """the former leader stands still for 2 s; it is asked"""
    lead = c.leader()
    c.pause(lead)
    r.newer(c.others(lead)[0])
    time.sleep(2)
    return r.ask(lead)


def situation_one_down(c, r):
    """a follower is down, W is the majority; the leader is asked"""
    lead = c.leader()
    c.kill(c.others(lead)[0])
    time.sleep(1)
    return r.ask(c.leader() or lead)


def situation_w_all(c, r):
    """a follower is down, W = N = 3; the leader is asked"""
    c.call(c.leader(), "cluster.set_w", 1, 3)
    r.after = lambda: c.call(1, "cluster.set_w", 1, 0)
    lead = c.leader()
    c.kill(c.others(lead)[0])
    time.sleep(1)
    return r.ask(lead)


def situation_majority(c, r):
    """both others are down for 2 s; the former leader is asked"""
    lead = c.leader()
    for i in c.others(lead):
        c.kill(i)
    time.sleep(2)
    return r.ask(lead)


def situation_restart(c, r):
    """a killed follower starts; it is asked as soon as it listens"""
    lead = c.leader()
    node = c.others(lead)[0]
    c.kill(node)
    r.newer(lead)
    c.start(node)
    end = now_ms() + 10000
    while now_ms() < end:
        try:
            c.conn(node).close()
            break
        except OSError:
            time.sleep(0.002)
    return r.ask(node)


def situation_full(c, r):
    """the quota of all disks is full; the leader is asked"""
    lead = c.leader()
    for i in range(2000):
        try:
            c.call(lead, "kv.put", f"filler{i}", os.urandom(400000),
                   {"deadline_ms": 3000})
        except RpcError as e:
            if e.code == "NO_SPACE":
                r.after = lambda: [c.call(lead, "kv.del", f"filler{k}")
                                   for k in range(i + 1)]
                return r.ask(lead)
    raise SystemExit("the quota was never full")


SITUATIONS = {
    "calm": situation_calm,
    "cut now": situation_cut_now,
    "leader cut off": situation_cut_leader,
    "follower cut off": situation_cut_follower,
    "leader killed": situation_kill,
    "leader pauses": situation_pause,
    "paused": situation_paused,
    "one down": situation_one_down,
    "one down, W=N": situation_w_all,
    "majority down": situation_majority,
    "restarts": situation_restart,
    "disk full": situation_full,
}
ELECTIONS = ("leader killed", "leader pauses", "restarts")
# Of nodes with a small quota.
FULL_ARGS = ["--quota-bytes", "40M", "--log-bytes", "2M", "--delta-bytes", "2M"]


def play(cluster, name, number):
    """One situation, once. Returns its answers and findings."""
    r = Round(cluster, number)
    r.after = None
    lead = cluster.leader()
    watch = Watch(cluster, cluster.others(lead)[0], r.prefix)
    try:
        answers = SITUATIONS[name](cluster, r)
    finally:
        cluster.heal()
    if r.after is not None:
        settle_light(cluster)
        r.after()
    cluster.settle()
    findings = r.judge(answers)
    findings += watch.finish(cluster.leader())
    watch.conn.close()
    return answers, findings


def settle_light(cluster):
    end = now_ms() + 30000
    while cluster.leader() == 0 and now_ms() < end:
        time.sleep(0.05)


# ---- the table ----

def documented(path):
    """{(row, column): words} of the table in docs, whose head begins with `| asked for`."""
    cells, columns = {}, None
    with open(path, encoding="utf-8") as f:
        for line in f:
            parts = [p.strip() for p in line.strip().strip("|").split("|")]
            if line.startswith("| asked for"):
                columns = parts[1:]
            elif not line.startswith("|"):
                columns = None
            elif columns is not None and not parts[0].startswith("--"):
                for column, cell in zip(columns, parts[1:]):
                    cells[parts[0], column] = set(
                        re.findall(r"done|fewer|silent|refused|[A-Z][A-Z_]{3,}", cell)
                    )
    return cells


def times(values):
    return f"{statistics.median(values):.0f} / {max(values):.0f}"


def cell_of(answers):
    words = {}
    for a in answers:
        words.setdefault(a.word, []).append(a.ms if a.ms is not None else 0)
    order = sorted(words, key=lambda w: (w != "done", w))
    return "; ".join(
        w if w == "silent" else f"{w} {times(words[w])}" for w in order
    )


def table(seen, columns):
    rows = list(dict.fromkeys(name for name, _ in seen))
    print("| asked for | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for row in rows:
        print(f"| {row} | " + " | ".join(
            cell_of(seen.get((row, c), [])) for c in columns) + " |")


def judge_cell(row, column, answers, docs, out):
    words = docs.get((row, column))
    for a in answers:
        if column in ELECTIONS and a.word in ("NO_LEADER", "TIMEOUT") and \
                a.ms > 0.9 * DEADLINE_MS:
            continue  # The machine had no time to elect anybody before the deadline.
        if words is not None and a.word not in words:
            out.append(f"{column}: {row}: {a.word} {a.error}; documented: {sorted(words)}")
        if a.ms is not None and a.ms > DEADLINE_MS + SLACK_MS:
            out.append(f"{column}: {row}: answered after {a.ms:.0f} ms: {a.word}")
        if a.word == "silent" and words is not None and "silent" not in words:
            out.append(f"{column}: {row}: no answer at all")
    if docs and words is None:
        out.append(f"{column}: {row}: not documented")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--bin", default="build")
    p.add_argument("--repeat", type=int, default=5)
    p.add_argument("--only", default="")
    p.add_argument("--docs", default="docs/promises.md")
    o = p.parse_args()
    names = [n.strip() for n in o.only.split(";") if n.strip()] or list(SITUATIONS)
    docs = documented(o.docs) if o.docs else {}
    folder = tempfile.mkdtemp(prefix="kvd-faults.")
    seen, found, number = {}, [], 0
    for full in (False, True):
        todo = [n for n in names if (n == "disk full") == full]
        if not todo:
            continue
        home = os.path.join(folder, "full" if full else "plain")
        cluster = Cluster(os.path.join(o.bin, "kvd"), home, FULL_ARGS if full else ())
        try:
            for name in todo:
                for _ in range(o.repeat):
                    number += 1
                    answers, findings = play(cluster, name, number)
                    found += [f"{name}: {f}" for f in findings]
                    for a in answers:
                        seen.setdefault((a.name, name), []).append(a)
        finally:
            cluster.stop()
    table(seen, names)
    for (row, column), answers in seen.items():
        judge_cell(row, column, answers, docs, found)
    for line in dict.fromkeys(found):
        print("FOUND", line)
    if found:
        print(f"logs: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
