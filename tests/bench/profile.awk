# tests/bench/profile.awk - what changed between two lots of counters, per request.
#
# Files, in this order: the bench's numbers, counters before, counters after, `nm -A` of our
# libraries, samples of `perf script` (may be empty).

FILENAME != last_file { part++; last_file = FILENAME }

part == 1 { done = $2; per_s = $3; p50 = $4; p99 = $5; p999 = $6; next }
# Metrics with labels: the text from the first blank on is the value.
part == 2 { change[$1] -= $2; next }
part == 3 { change[$1] += $2; next }
part == 4 { # "dir/libserver.a:tail.o:0123 T tail_get"
  if (NF == 3) { split($1, piece, ":"); sub(/\.o$/, "", piece[2]); object[$3] = piece[2] }
  next
}

# A sample: a head line "comm tid", then frames "address symbol (library)" from the
# innermost out, then an empty line. The kernel's part belongs to its system call.
part == 5 && NF == 0 { sample_end(); next }
part == 5 && $0 !~ /^[ \t]/ { in_sample = 1; leaf = ""; call = ""; next }
part == 5 {
  symbol = $2
  sub(/\+0x.*/, "", symbol)
  if (leaf == "") { leaf = symbol; library = $NF }
  if (call == "" && symbol ~ /^(__(x64|arm64)_sys_|ksys_)/) {
    call = symbol
    sub(/^(__[a-z0-9]*_sys_|ksys_)/, "", call)
  }
  if (call == "" && symbol ~ /page_fault/) call = "(page fault)"
}

function sample_end() {
  if (!in_sample) return
  samples++
  in_sample = 0
  if (call != "") { kernel[call]++; kernels++; return }
  if (library ~ /kernel|\[k/) { kernel["interrupts"]++; kernels++; return }
  if (library !~ /kvd/) {
    sub(/.*\//, "", library); sub(/[.)].*/, "", library)
    user[library]++
    return
  }
  sub(/\..*/, "", leaf)
  user[leaf in object ? object[leaf] ".c" : "kvd"]++
}

function per(name) { return change[name] / done }

function list(table, title, total,    n, key, i, best, left) {
  printf "  %s:", title
  for (n = 0; n < 18; n++) {
    best = ""
    for (key in table) if (best == "" || table[key] > table[best]) best = key
    if (best == "" || table[best] * cpu / samples < 0.05) break
    printf " %s %.1f", best, table[best] * cpu / samples
    delete table[best]
  }
  left = 0
  for (key in table) left += table[key]
  printf ", the rest %.1f\n", left * cpu / samples
}

function mean_us(name) {
  return change[name "_count"] > 0 ? change[name "_sum"] * 1e6 / change[name "_count"] : 0
}

END {
  if (done == 0) { print "nothing was done"; exit 1 }
  cpu = (per("cpu_ns_loop") + per("cpu_ns_log") + per("cpu_ns_state") + per("cpu_ns_other")) / 1e3
  printf "%s: %d per second, p50 %.3f ms, p99 %.3f ms, p99.9 %.3f ms\n", shape, per_s, p50, p99, p999
  printf "  processor, us per request over all nodes: %.1f = loop %.1f + log thread %.1f + state thread %.1f\n",
    cpu, per("cpu_ns_loop") / 1e3, per("cpu_ns_log") / 1e3, (per("cpu_ns_state") + per("cpu_ns_other")) / 1e3
  printf "  per request: %.2f context switches (%.2f forced), %.2f peer frames, %.2f Raft messages\n",
    per("voluntary_ctxt_switches") + per("nonvoluntary_ctxt_switches"), per("nonvoluntary_ctxt_switches"),
    per("kvd_peer_frames_total{direction=\"out\"}"), per("kvd_raft_messages_total{direction=\"out\"}")
  if (change["kvd_log_records_total"] > done / 2) {
    commits = change["kvd_log_commit_duration_seconds_count"]
    printf "  log: %.3f commits (%.3f syncs) per request, %.1f records per commit; commit %.0f us on average\n",
      commits / done, 2 * commits / done, change["kvd_log_records_total"] / commits, mean_us("kvd_log_commit_duration_seconds")
    printf "  disk: %.0f bytes per request, %.1f for each byte of key and value on each node; %d checkpoints\n",
      per("io_write_bytes"), per("io_write_bytes") * done / (change["kvd_log_records_total"] * (bytes + 16)),
      change["kvd_state_jobs_total{kind=\"checkpoint\"}"]
  }
  label = "{method=\"kv." op "\"}"
  asked = change["kvd_request_duration_seconds_count" label]
  if (asked > 0)
    printf "  at the nodes a %s takes %.0f us on average, from its bytes to its answer\n", op,
      change["kvd_request_duration_seconds_sum" label] * 1e6 / asked
  if (samples > 100) {
    printf "  kernel %.1f us of %.1f (%d samples)\n", kernels * cpu / samples, cpu, samples
    list(kernel, "  by system call")
    list(user, "  user space")
  }
}
