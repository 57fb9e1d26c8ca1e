#!/usr/bin/python3
"""tests/e2e/failpoints.py - one node dies at each named point; nothing is lost.

Run by 150_failpoints.sh, in its folder and with its ports, as TAP. A cluster of three
nodes of a test build is under write load; for every point of `kvd --failpoints` the
situation is made in which a node reaches it, the node ends there, and starts again. At
the end every acknowledged write is there and all nodes hold equal states. A point that is
never reached fails, and so does one for which no situation is known.

Env: KVD, KVLOAD, WORK, PORT_BASE, FAILPOINTS (pattern, all by default), SEED.
"""
import fnmatch
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import rpc

KVD, KVLOAD = os.environ["KVD"], os.environ["KVLOAD"]
WORK, BASE = os.environ["WORK"], int(os.environ["PORT_BASE"])
PATTERN = os.environ.get("FAILPOINTS", "") or "*"
SEED = int(os.environ.get("SEED", "1"))
DIED, GAVE_UP = 99, 7  # Exit statuses: ended at a point; after an I/O error.
WHAT = {"panic": "dies there", "torn": "tears a write there", "error": "gives up there"}
MARK = b"this-value-is-going-to-be-damaged"

# Which situation leads to a point. What stands in `load` is reached all the time.
SITUATIONS = {
    "full": "ballast_give ballast_given",
    "fresh": "ballast_fill open_new open_log open_state open_identity_log "
             "open_identity_state open_new_gone identity_save identity_saved",
    "start": "open_lock open_boot open_snapshots open_verified open_done node_start "
             "hello_send hello_accept",
    "load": "env_grow env_grown env_commit env_committed log_write log_filled "
            "log_written log_compact log_compacted checkpoint_freeze checkpoint "
            "checkpoint_rows checkpoint_written turn_disk turn_peers turn_clients "
            "turn_done log_heard job_heard feed feed_store feed_send send_append "
            "send_append_reply send_heartbeat send_heartbeat_reply apply applied "
            "read_serve compact reply replied forward forward_reply",
    "election": "log_hard log_hard_written send_pre_vote send_pre_vote_reply send_vote "
                "send_vote_reply",
    "stop": "stop stop_hand_over send_timeout_now stop_loop stop_threads stop_node "
            "stop_done",
    "make": "snap_make snap_write snap_sync snap_rename snap_renamed snap_made "
            "send_snapshot",
    "install": "chunk_new chunk_write chunk_sync chunk_folder chunk_stored install "
               "install_batch install_switch install_switched install_forgot log_reset "
               "log_was_reset mark_clear mark_cleared send_snapshot_reply state_sweep "
               "state_swept",
    "recover": "open_recover open_recovered",
    "truncate": "log_truncate",
    "sweep": "log_sweep log_swept",
    "repair": "log_repair log_repaired",
}
ORDER = ("full", "fresh", "load", "start", "election", "stop", "make", "install", "recover",
         "truncate", "sweep")

numbers = iter(range(1, 10000))
failed = False


def tap(good, sentence, why=""):
    global failed
    failed = failed or not good
    for line in str(why).splitlines()[:30] if not good else []:
        print("#", line)
    print("ok" if good else "not ok", next(numbers), "-", sentence, flush=True)


def until(limit_s, done):
    """Tries until it is true; the last value."""
    end = time.monotonic() + limit_s
    while True:
        value = done()
        if value or time.monotonic() >= end:
            return value
        time.sleep(0.01)


class Node:
    def __init__(self, number):
        self.number, self.process = number, None
        self.dir = f"{WORK}/n{number}"
        self.client = BASE + 10 * number
        self.http = self.client + 2
        self.log = self.dir + ".log"
        # Node 3 keeps a longer log, so that compacting leaves something to sweep.
        self.window = 2048 if number == 3 else 64
        self.armed_error = False

    def start(self, armed=""):
        self.armed_error = "=error" in armed
        cluster = ",".join(f"{i}=127.0.0.1:{BASE + 10 * i}:{BASE + 10 * i + 1}"
                           for i in (1, 2, 3))
        # A state that is quiet is checkpointed after a 30th of that.
        args = [KVD, "--id", str(self.number), "--data-dir", self.dir,
                "--initial-cluster", cluster, "--groups", "4", "--log-window",
                str(self.window), "--checkpoint-ms", "6000", "--reserve-bytes", "1M",
                "--election-timeout-ms", "150"]
        env = dict(os.environ, KVD_FAILPOINTS=armed)
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, env=env)

    def signal(self, number):
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait()

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=2) as r:
            return r.read().decode()

    def ready(self):
        try:
            return self.get("/readyz").startswith("ok")
        except (OSError, urllib.error.URLError):
            if self.process.poll() is not None:
                raise RuntimeError(f"node {self.number} ended with status "
                                   f"{self.process.returncode}:\n{self.tail()}")
            return False

    def arm(self, armed):
        if not armed.endswith("=off"):
            self.armed_error = "=error" in armed
        try:
            self.get("/debug/failpoints?" + armed)
        except (OSError, urllib.error.URLError):
            pass  # It may have died of it before it answered.

    def dies(self, name, limit_s):
        """Does it end at this point, within a time? By itself after an error."""
        try:
            status = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return False
        if not (status == DIED and f"failpoint {name}: " in self.tail(1)
                or status == GAVE_UP and self.armed_error):
            raise RuntimeError(f"node {self.number} ended with status {status}:\n"
                               + self.tail())
        return True

    def tail(self, lines=12):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-lines:])


class Cluster:
    def __init__(self):
        self.random = random.Random(SEED)
        self.nodes = [Node(i) for i in (1, 2, 3)]
        self.turn = 0
        self.stopping = threading.Event()
        self.threads = []

    def next(self):
        self.turn += 1
        return self.nodes[self.turn % 3]

    def others(self, node):
        return [n for n in self.nodes if n is not node]

    def start_all(self):
        for n in self.nodes:
            if n.process is None or n.process.poll() is not None:
                n.start()

    def wait_ready(self, limit_s=20):
        for n in self.nodes:
            if not until(limit_s, n.ready):
                raise RuntimeError(f"node {n.number} is not ready:\n{n.tail()}")

    def endpoints(self):
        return ",".join(f"127.0.0.1:{n.client}" for n in self.nodes)

    # ---- load ----

    def write(self):
        while not self.stopping.is_set():
            subprocess.run([KVLOAD, "write", "--endpoints", self.endpoints(), "--acked",
                            WORK + "/acked", "--writers", "6", "--seconds", "3",
                            "--deadline-ms", "1500", "--bytes", "100"],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)

    def read(self):
        """Reads through every node: other groups' keys make it forward."""
        conns, i = {}, 0
        while not self.stopping.is_set():
            i += 1
            node = self.nodes[i % 3]
            try:
                if node.client not in conns:
                    conns[node.client] = rpc.Conn(node.client, timeout=1.0)
                conns[node.client].call("kv.get", b"read-%d" % (i % 40))
            except (OSError, EOFError, rpc.RpcError):
                if node.client in conns:
                    conns.pop(node.client).close()
            time.sleep(0.003)

    def load_begin(self):
        self.stopping.clear()
        self.threads = [threading.Thread(target=f) for f in (self.write, self.read)]
        for t in self.threads:
            t.start()

    def load_end(self):
        self.stopping.set()
        for t in self.threads:
            t.join()

    # ---- situations: each makes `node` reach the point, or says False ----

    def fresh(self, name, how="panic", more=""):
        """A new directory, or one that is being made, in a cluster that forms."""
        node = self.nodes[0]
        for n in self.others(node):
            if n.process is None:
                n.start()
        node.start(f"{name}={how}{more}")
        return node.dies(name, 10)

    def full(self, name, how="panic"):
        """No space while the directory is made: the node's identity is urgent."""
        return self.fresh(name, how, ",env_grow=nospace@1..")

    def load(self, name, how="panic"):
        node = self.next()
        nth = self.random.randint(1, 2 if name in ("env_grow", "env_grown") else 20)
        node.arm(f"{name}={how}@{nth}")
        if node.dies(name, 2.5):
            return True
        node.arm(f"{name}=off")  # A leader of all groups acknowledges to nobody.
        return False

    def start(self, name, how="panic"):
        node = self.next()
        node.kill()
        node.start(f"{name}={how}")
        return node.dies(name, 10)

    def election(self, name, how="panic"):
        node = self.next()
        node.arm(f"{name}={how}")
        for other in self.others(node):
            if node.dies(name, 0.01):
                return True
            other.kill()
            if node.dies(name, 1.5):
                return True
            other.start()
            until(10, other.ready)
        node.arm(f"{name}=off")
        return False

    def stop(self, name, how="panic"):
        node = self.next()
        node.arm(f"{name}={how}")
        node.signal(signal.SIGTERM)
        status = node.process.wait(20)
        if status == 0:
            return False  # It led nothing, perhaps.
        return node.dies(name, 0)

    def leads(self, node):
        groups = json.loads(node.get("/v1/status"))["groups"]
        return sum(g["leader"] == node.number for g in groups)

    def make(self, name, how="panic"):
        """Another node stays away for a while; a leader with a short log is armed."""
        away = self.next()
        maker = max((n for n in self.others(away) if n.number != 3), key=self.leads)
        maker.arm(f"{name}={how}")
        away.kill()
        time.sleep(0.8)
        away.start()
        if maker.dies(name, 2.5):
            return True
        maker.arm(f"{name}=off")
        return False

    def install(self, name, how="panic"):
        node = self.next()
        node.kill()
        time.sleep(0.8)
        node.start(f"{name}={how}")
        return node.dies(name, 4)

    def recover(self, name, how="panic"):
        """Dead between switching in and resetting the log; then again at the start."""
        if not self.install("install_switched"):
            return False
        node = self.nodes[self.turn % 3]
        node.start(f"{name}={how}")
        return node.dies(name, 10)

    def truncate(self, name, how="panic"):
        """A leader appends what nobody else gets, and meets its successors' entries."""
        leaders = [g["leader"] for g in
                   json.loads(self.nodes[0].get("/v1/status"))["groups"]]
        node = self.nodes[max(leaders, key=leaders.count) - 1]
        for n in self.others(node):
            n.kill()
        time.sleep(0.1)
        node.kill()
        for n in self.others(node):
            n.start()
        for n in self.others(node):
            until(10, n.ready)
        node.start(f"{name}={how}")
        return node.dies(name, 4)

    def sweep(self, name, how="panic"):
        node = self.nodes[2]
        node.arm(f"{name}={how}")
        return node.dies(name, 40)

    def repair(self, name, how="panic"):
        """An entry of node 3 is damaged while it is down; its neighbours have it.

        Node 3 leads nothing then: a new leader's first entries would overwrite the
        damaged one instead. Started a moment ago, it has not been given a group back.
        """
        node = self.nodes[2]
        if node.process.poll() is None:
            node.kill()
            node.start()
            self.wait_ready()
            value = MARK + b"-%d" % self.random.randint(1, 1 << 30)
            rpc.Conn(self.nodes[0].client).call("kv.put", b"damage", value)
            until(5, lambda: self.equal() == "")
            if self.leads(node) > 0:
                return False
            node.kill()
            path = node.dir + "/log/data.mdb"
            with open(path, "r+b") as f:
                data = f.read()
                at = data.find(value)
                if at < 0:
                    return False  # It came by a snapshot.
                while at >= 0:
                    f.seek(at + 3)
                    f.write(bytes([data[at + 3] ^ 1]))
                    at = data.find(value, at + 1)
        node.start(f"{name}={how}")
        return node.dies(name, 15)

    # ---- one point, and the end ----

    def point(self, name, situation, how="panic"):
        sentence = f"{name}: a node {WHAT[how]}"
        forms = situation in ("full", "fresh")
        try:
            make = getattr(self, situation)
            for _ in range(1 if forms else 8):
                hit = make(name, how)
                if not forms:
                    self.start_all()
                    self.wait_ready()
                if hit:
                    break
            tap(hit, sentence, "it was not reached")
        except (RuntimeError, OSError, subprocess.SubprocessError) as e:
            tap(False, sentence, e)
            if not forms:
                self.start_all()
                self.wait_ready()

    def equal(self):
        """"" when all groups have equal states at equal indexes everywhere."""
        seen = {}
        for n in self.nodes:
            status = json.loads(n.get("/v1/status"))
            for g in status["groups"] + [status["meta"]]:
                place = (g.get("state_index"), g.get("state_hash"))
                if seen.setdefault(g["id"], place) != place:
                    return f"group {g['id']}: {seen[g['id']]}, node {n.number}: {place}"
        return "" if len(seen) == 5 else f"groups: {sorted(seen)}"

    def finish(self):
        for n in self.nodes:
            if n.process is not None:
                n.kill()


def names_of(situation):
    return SITUATIONS.get(situation, "").split()


def run(cluster, kinds):
    names = list(kinds)
    hows = {n: {"ERROR": ["panic", "error"], "WRITE": ["panic", "torn"]}.get(
        kinds[n], ["panic"]) if fnmatch.fnmatch(n, PATTERN) else [] for n in names}
    known = {n for s in SITUATIONS for n in names_of(s)}
    print(f"1..{sum(len(h) for h in hows.values()) + 5}")
    print(f"# seed {SEED}")
    tap(set(names) == known, "every point has a situation",
        f"differ: {sorted(set(names) ^ known)}")
    for situation in ORDER:
        if situation == "load":
            cluster.start_all()
            cluster.wait_ready(30)
            cluster.load_begin()
        for name in names_of(situation):
            for how in hows.get(name, []):
                cluster.point(name, situation, how)
    cluster.load_end()
    cluster.wait_ready()
    for name in names_of("repair"):
        for how in hows.get(name, []):
            cluster.point(name, "repair", how)
    cluster.start_all()
    cluster.wait_ready()
    why = until(20, lambda: cluster.equal() == "") and "" or cluster.equal()
    tap(why == "", "all nodes hold equal states", why)
    verify = subprocess.run([KVLOAD, "verify", "--endpoints", cluster.endpoints(),
                             "--acked", WORK + "/acked"], capture_output=True, text=True)
    print("#", verify.stdout.strip())
    tap(verify.returncode == 0, "every acknowledged write is there",
        verify.stdout + verify.stderr)
    why = [line for n in cluster.nodes for line in open(n.log, errors="replace")
           if "ASSERT" in line or (" ERROR " in line and "disk" not in line
                                   and "damaged" not in line and "halt" not in line)]
    tap(not why, "no node found anything else wrong", "".join(why))
    for n in cluster.nodes:
        n.signal(signal.SIGTERM)
    status = [n.process.wait(30) for n in cluster.nodes]
    tap(status == [0, 0, 0], "all nodes stop cleanly", status)


def main():
    def end(number, frame):
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, end)
    listed = subprocess.run([KVD, "--failpoints"], capture_output=True, text=True,
                            check=True)
    cluster = Cluster()
    try:
        run(cluster, dict(line.split()[:2] for line in listed.stdout.splitlines()))
    finally:
        cluster.stopping.set()
        cluster.finish()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
