# includes.awk - who may include whom (the table of docs and tests/tidy/README.md).
# Reads C files, prints "file:line: what is wrong". Never up, never sideways.

# Is `name` one of the words of `list`? A word that ends in / is a prefix.
function listed(name, list,    n, words, i) {
    n = split(list, words, " ")
    for (i = 1; i <= n; i++) {
        if (words[i] ~ /\/$/ ? index(name, words[i]) == 1 : name == words[i]) {
            return 1
        }
    }
    return 0
}

BEGIN {
    raft_public = "raft/raft.h raft/record.h raft/types.h"
    base = "raft/base/"
    may["raft/base"] = base
    may["raft"] = base " raft/"
    may["rpc"] = base " rpc/ " raft_public
    may["storage"] = base " storage/ " raft_public
    may["server"] = base " server/ rpc/ storage/store.h storage/state.h " \
                    "storage/failpoint.h " raft_public
    may["client"] = base " client/ rpc/"
    may["jepsen"] = base " jepsen/ rpc/ client/kv.h"

    # A library's header, and the only files that may include it.
    only["xxhash.h"] = "raft/base/hash.c"
    only["lmdb.h"] = "storage/ tests/storage/ tests/bench/bench_log.c tests/bench/bench_limits.c"
    only["uv.h"] = "server/main.c server/uv_ client/ jepsen/ tests/"
    only["uv/version.h"] = only["uv.h"]
    only["msgpack.h"] = "rpc/ server/ client/ jepsen/ tests/"
    only["llhttp.h"] = "server/ tests/"
    only["ini.h"] = "server/ tests/"
    only["jansson.h"] = "server/ client/kvctl jepsen/ tests/"
    only["editline/readline.h"] = "client/kvctl"
    only["histedit.h"] = "client/kvctl"

    # The core sees no clock, no I/O and no allocation: these headers have none.
    pure = "assert.h inttypes.h limits.h stdbool.h stddef.h stdint.h string.h"
}

FNR == 1 {
    folder = FILENAME
    sub(/\/[^\/]*$/, "", folder)
    if (folder ~ /^jepsen\//) {
        folder = "jepsen"
    }
}

/^[ \t]*#[ \t]*include[ \t]*"/ {
    split($0, part, "\"")
    name = part[2]
    if (name !~ /\// || name ~ /\.\./) {
        print FILENAME ":" FNR ": \"" name "\": write the path from the repository root"
    } else if (folder in may && !listed(name, may[folder])) {
        print FILENAME ":" FNR ": " folder "/ may not include " name
    } else if (FILENAME ~ /^client\/kv\.h$/) {
        print FILENAME ":" FNR ": kv.h is installed alone, it may not include " name
    }
}

/^[ \t]*#[ \t]*include[ \t]*</ {
    split($0, part, /[<>]/)
    name = part[2]
    if (name ~ /^msgpack\//) {
        name = "msgpack.h"
    }
    if (name in only) {
        n = split(only[name], words, " ")
        found = 0
        for (i = 1; i <= n; i++) {
            if (index(FILENAME, words[i]) == 1) {
                found = 1
            }
        }
        if (!found) {
            print FILENAME ":" FNR ": " name " belongs to " only[name] " only"
        }
    } else if (folder == "raft" && !listed(name, pure)) {
        print FILENAME ":" FNR ": the core may not include <" name ">"
    }
}
