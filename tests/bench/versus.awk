# tests/bench/versus.awk - medians, ratios with spread, JSON and SVG from versus.sh's rows.
#
# A row: round, system, shape, per_s, p50, p99, p99.9, max (ms), failed, processor time
# of all its nodes per request in 1/100 us, load average. Also run by test_versus.sh.

BEGIN { FS = "\t" }

{
  round = $1; name = $2; shape = $3
  if (!(shape in seen_shape)) { seen_shape[shape] = 1; shape_of[++shapes] = shape }
  if (!(name in seen_system)) { seen_system[name] = 1; system_of[++systems] = name }
  value[name, shape, "per_s", round] = $4
  value[name, shape, "p50_ms", round] = $5
  value[name, shape, "p99_ms", round] = $6
  value[name, shape, "p999_ms", round] = $7
  value[name, shape, "cpu_us", round] = $10 / 100
  failed[name, shape] += $9
  if (round > last_round) last_round = round
  if ($11 > load_most) load_most = $11
  if (load_least == "" || $11 < load_least) load_least = $11
}

# Sets low, middle, high of what one cell gave in all rounds; false when there is nothing.
function spread(name, shape, what,    n, i, j, v, list) {
  n = 0
  for (i = 1; i <= last_round; i++) {
    if ((name, shape, what, i) in value) {
      v = value[name, shape, what, i] + 0
      for (j = n; j > 0 && list[j] > v; j--) list[j + 1] = list[j]
      list[j + 1] = v
      n++
    }
  }
  if (n == 0) return 0
  low = list[1]; high = list[n]
  middle = n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
  return 1
}

# Ratios of one system to another, round by round.
function ratios(a, b, shape, what,    i) {
  for (i = 1; i <= last_round; i++) {
    delete value["ratio", shape, what, i]
    if (((a, shape, what, i) in value) && value[b, shape, what, i] > 0)
      value["ratio", shape, what, i] = value[a, shape, what, i] / value[b, shape, what, i]
  }
  return spread("ratio", shape, what)
}

function cell_json(name, shape, what) {
  if (!spread(name, shape, what)) return
  printf "%s\"%s\": {\"median\": %.6g, \"least\": %.6g, \"most\": %.6g}", comma, what, middle, low, high > json
  comma = ", "
}

function write_json(    i, j, line) {
  printf "{\n \"when\": \"%s\", \"cores\": %d, \"rounds\": %d, \"seconds\": %s, \"keys\": %d, \"value_bytes\": %d,\n", when, cores, last_round, seconds, keys, bytes > json
  printf " \"load_average\": [%s, %s],\n \"anonymous_kb\": [", load_least, load_most > json
  while (memory != "" && (getline line < memory) > 0) {
    split(line, part, " ")
    printf "%s{\"system\": \"%s\", \"kb\": %d}", sep, part[1], part[2] > json
    sep = ", "
  }
  printf "],\n \"shapes\": [" > json
  for (i = 1; i <= shapes; i++) {
    printf "%s\n  {\"shape\": \"%s\"", (i > 1 ? "," : ""), shape_of[i] > json
    for (j = 1; j <= systems; j++) {
      comma = ""
      printf ",\n   \"%s\": {", system_of[j] > json
      cell_json(system_of[j], shape_of[i], "per_s")
      cell_json(system_of[j], shape_of[i], "p50_ms")
      cell_json(system_of[j], shape_of[i], "p99_ms")
      cell_json(system_of[j], shape_of[i], "p999_ms")
      cell_json(system_of[j], shape_of[i], "cpu_us")
      printf ", \"failed\": %d}", failed[system_of[j], shape_of[i]] > json
    }
    for (j = 2; j <= systems; j++) {
      if (ratios(system_of[1], system_of[j], shape_of[i], "per_s"))
        printf ",\n   \"%s/%s\": {\"median\": %.4g, \"least\": %.4g, \"most\": %.4g}", system_of[1], system_of[j], middle, low, high > json
    }
    printf "}" > json
  }
  printf "\n ]\n}\n" > json
}

function write_table(    i, j) {
  printf "%-10s", "shape"
  for (j = 1; j <= systems; j++) printf " | %-6s per_s (least-most)      p50    p99 ms cpu us", system_of[j]
  for (j = 2; j <= systems; j++) printf " | %s/%s per_s (least-most), cpu", system_of[1], system_of[j]
  printf "\n"
  for (i = 1; i <= shapes; i++) {
    printf "%-10s", shape_of[i]
    for (j = 1; j <= systems; j++) {
      spread(system_of[j], shape_of[i], "per_s")
      printf " | %7.0f (%7.0f-%7.0f)", middle, low, high
      spread(system_of[j], shape_of[i], "p50_ms"); printf " %7.2f", middle
      spread(system_of[j], shape_of[i], "p99_ms"); printf " %7.2f", middle
      spread(system_of[j], shape_of[i], "cpu_us"); printf " %6.1f", middle
      if (failed[system_of[j], shape_of[i]] > 0) printf " FAILED %d", failed[system_of[j], shape_of[i]]
    }
    for (j = 2; j <= systems; j++) {
      if (ratios(system_of[1], system_of[j], shape_of[i], "per_s")) printf " | %5.2f (%.2f-%.2f)", middle, low, high
      else printf " | -"
      if (ratios(system_of[1], system_of[j], shape_of[i], "cpu_us")) printf ", %.2f (%.2f-%.2f)", middle, low, high
    }
    printf "\n"
  }
  printf "load average while it ran: %s to %s\n", load_least, load_most
}

# A bar per system and shape on a logarithmic scale, the spread as a line on it.
function write_svg(    i, j, x, w, h, top, base, y, tick, colour) {
  split("#2b6cb0 #c05621 #4a5568 #2f855a", colour, " ")
  w = 24; h = 320; top = 40; base = top + h
  printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" font-size=\"11\">\n", 90 + shapes * (systems * w + 24), base + 60 > svg
  printf "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n" > svg
  for (tick = 100; tick <= 1000000; tick *= 10) {
    y = base - h * log(tick / 100) / log(10000)
    printf "<path d=\"M60 %.1fH%d\" stroke=\"#ddd\"/><text x=\"54\" y=\"%.1f\" text-anchor=\"end\">%d</text>\n", y, 70 + shapes * (systems * w + 24), y + 4, tick > svg
  }
  for (i = 1; i <= shapes; i++) {
    for (j = 1; j <= systems; j++) {
      if (!spread(system_of[j], shape_of[i], "per_s")) continue
      x = 70 + (i - 1) * (systems * w + 24) + (j - 1) * w
      y = base - h * log(middle > 100 ? middle / 100 : 1) / log(10000)
      printf "<rect x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%.1f\" fill=\"%s\"/>", x, y, w - 4, base - y, colour[j] > svg
      printf "<path d=\"M%d %.1fV%.1f\" stroke=\"black\"/>\n", x + (w - 4) / 2, base - h * log(low > 100 ? low / 100 : 1) / log(10000), base - h * log(high > 100 ? high / 100 : 1) / log(10000) > svg
    }
    printf "<text x=\"%d\" y=\"%d\">%s</text>\n", 70 + (i - 1) * (systems * w + 24), base + 16, shape_of[i] > svg
    if (systems > 1 && ratios(system_of[1], system_of[2], shape_of[i], "per_s"))
      printf "<text x=\"%d\" y=\"%d\" fill=\"#555\">%.1fx</text>\n", 70 + (i - 1) * (systems * w + 24), base + 30, middle > svg
  }
  for (j = 1; j <= systems; j++)
    printf "<rect x=\"%d\" y=\"14\" width=\"12\" height=\"12\" fill=\"%s\"/><text x=\"%d\" y=\"24\">%s</text>\n", 60 + 80 * (j - 1), colour[j], 76 + 80 * (j - 1), system_of[j] > svg
  printf "<text x=\"%d\" y=\"24\">requests per second, median of %d rounds; op:clients:under way on each</text>\n</svg>\n", 60 + 80 * systems, last_round > svg
}

END {
  write_table()
  if (json != "") write_json()
  if (svg != "") write_svg()
}
