# strip.awk - prints C files without comments and without the text of strings, as
# "file:line:code", so that the other checks only see code. `//` comments are kept
# as "//" for the check that forbids them.

FNR == 1 { in_comment = 0 }

{
    line = $0
    out = ""
    while (line != "") {
        if (in_comment) {
            end = index(line, "*/")
            if (!end) {
                line = ""
                break
            }
            line = substr(line, end + 2)
            in_comment = 0
            continue
        }
        if (!match(line, /"|'|\/\*|\/\//)) {
            out = out line
            break
        }
        token = substr(line, RSTART, RLENGTH)
        out = out substr(line, 1, RSTART - 1)
        line = substr(line, RSTART + RLENGTH)
        if (token == "/*") {
            in_comment = 1
            out = out " "
        } else if (token == "//") {
            out = out "//"
            break
        } else {
            out = out token
            while (line != "") {
                c = substr(line, 1, 1)
                if (c == "\\") {
                    line = substr(line, 3)
                    continue
                }
                line = substr(line, 2)
                if (c == token) {
                    out = out token
                    break
                }
            }
        }
    }
    if (out !~ /^[ \t]*$/) {
        print FILENAME ":" FNR ":" out
    }
}
