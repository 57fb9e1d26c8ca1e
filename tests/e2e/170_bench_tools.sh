#!/bin/bash
# tests/e2e/170_bench_tools.sh - the measuring tools' own arithmetic, on given rows.
. "$(dirname "$0")/lib.sh"
plan 7

row() { # round name per_s cpu
  printf '%s\t%s\tput:1:1\t%s\t1.5\t2.5\t3\t4\t0\t%s\t0.5\n' "$@" >> "$work/rows"
}
row 1 kvd 300 1000
row 1 etcd 100 4000
row 2 kvd 800 3000
row 2 etcd 200 5000
row 3 kvd 400 2000
row 3 etcd 400 6000
awk -f tests/bench/versus.awk -v when=now -v cores=2 -v seconds=1 -v keys=10 -v bytes=1 \
  -v json="$work/v.json" -v svg="$work/v.svg" "$work/rows" > "$work/table"

value() {
  "$python" -c "import json; s = json.load(open('$work/v.json'))['shapes'][0]; print(s['$1']$2)"
}
is "the median of three rounds is the middle one" 400.0 value kvd "['per_s']['median'] * 1.0"
is "ratios are taken within a round" "3 1 4" \
  value kvd/etcd "['median'], s['kvd/etcd']['least'], s['kvd/etcd']['most']"
is "processor time comes in microseconds" 20.0 value kvd "['cpu_us']['median'] * 1.0"
ok "the picture is well-formed XML" "$python" -c \
  "import xml.dom.minidom; xml.dom.minidom.parse('$work/v.svg')"
ok "a failed request shows in the table" bash -c "sed 's/\t0\t/\t7\t/' '$work/rows' |
  awk -f tests/bench/versus.awk | grep -q 'FAILED 21'"

echo "bench 10 5 1 2 3" > "$work/numbers"
printf '%s\n' "cpu_ns_loop 1000" "cpu_ns_log 0" > "$work/before"
printf '%s\n' "cpu_ns_loop 21000" "cpu_ns_log 10000" > "$work/after"
echo "libserver.a:tail.o:00 t tail_cut" > "$work/symbols"
for i in $(seq 60); do # A thread in the kernel, and in tail.c.
  printf 'kvd 7\n\t00 copy_page ([kernel.kallsyms])\n\t01 __x64_sys_pwrite64 ([kernel.kallsyms])\n\n'
  printf 'kvd 7\n\t02 tail_cut (/b/kvd)\n\t03 main (/b/kvd)\n\n'
done > "$work/samples"
awk -f tests/bench/profile.awk -v shape=put:1:1 -v op=put -v bytes=1 "$work/numbers" \
  "$work/before" "$work/after" "$work/symbols" "$work/samples" > "$work/profile"
ok "processor time is what changed, per request" \
  grep -q 'nodes: 3.0 = loop 2.0 + log thread 1.0' "$work/profile"
ok "samples are told apart by system call and by source file" bash -c "
  grep -q 'system call: pwrite64 1.5, the rest 0.0' '$work/profile' &&
  grep -q 'user space: tail.c 1.5, the rest 0.0' '$work/profile'"
done_testing
