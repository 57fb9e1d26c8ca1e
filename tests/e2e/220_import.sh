#!/bin/bash
# tests/e2e/220_import.sh - kvctl export and import: JSON lines there and back, resumed.
. "$(dirname "$0")/lib.sh"
plan 19

ok "three nodes start" up 3
"$python" - > "$work/in.jsonl" << 'END'
import base64, json
for i in range(3000):
    print(json.dumps({"key": "user/%04d" % i, "value": "v%d \u00e4\n" % i}))
print()
print(json.dumps({"key_b64": base64.b64encode(b"user/\xff\x00").decode(), "value_b64": base64.b64encode(bytes(range(256))).decode()}))
print(json.dumps({"key": "z" * 480, "value": ""}))
print(json.dumps({"key": "zz", "value": "first"}))
print(json.dumps({"key": "zz", "value": "last"}))
END
exits "all is imported" 0 ctl import "$work/in.jsonl"
ok "which it says" grep "3004 lines imported" "$work/exits.out"
is "a value arrived" $'v7 \u00e4' ctl get user/0007
is "of two lines with a key the last one won" last ctl get zz
export_all() { ctl export > "$work/out.jsonl"; }
ok "all is exported" export_all
is "each key once, in order" "3003 True" "$python" -c '
import base64, json, sys
lines = [json.loads(l) for l in open(sys.argv[1])]
keys = [l["key"].encode() if "key" in l else base64.b64decode(l["key_b64"]) for l in lines]
print(len(keys), keys == sorted(set(keys)))' "$work/out.jsonl"
only_users() { ctl export user/ | wc -l; }
is "of a prefix only those" 3001 only_users
rest() { ctl export user/ --from user/2999 | wc -l; }
is "from a key on only the rest" 2 rest
escaped() { ctl export --from 'user/\xff' | head -1 | "$python" -c 'import base64, json, sys; print(len(base64.b64decode(json.load(sys.stdin)["value_b64"])))'; }
is "a key that is no text is written with escapes" 256 escaped
there_and_back() { ctl import - < "$work/out.jsonl" && ctl export > "$work/again.jsonl"; }
ok "what was exported can be imported" there_and_back
same() { cmp <(sed 's/,"rev".*//' "$work/out.jsonl") <(sed 's/,"rev".*//' "$work/again.jsonl"); }
ok "and is the same" same

{ head -20 "$work/in.jsonl"; echo '{"key":"x"}'; tail -3 "$work/in.jsonl"; } > "$work/bad.jsonl"
exits "a line without a value ends it" 7 ctl import "$work/bad.jsonl"
ok "and is named" grep "line 21: it must have one of" "$work/exits.out"
ok "with where to go on" grep -e "go on with: --skip 20" "$work/exits.out"
ok "behind which the rest is taken" ctl import --skip 21 "$work/bad.jsonl"
scripts/cluster.sh down > "$work/down.out" 2>&1
exits "without a cluster it ends" 3 ctl --timeout 1s import "$work/in.jsonl"
ok "nothing was done, it says" grep -e "--skip 0" "$work/exits.out"
exits "a file that is not there is refused" 2 ctl import "$work/none"
done_testing
