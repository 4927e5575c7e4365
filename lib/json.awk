# json.awk - read one flat JSON object, strictly, in any awk (LC_ALL=C); for tools in shell and awk
#
# Load it with -f in front of a program, or alone with -v want=NAME:
#   value["text"]  the string, number, true, false or null of each key; a list or an object stays JSON
#   type["text"]   string, number, boolean, null, array or object
# want=NAME prints that value without a newline (nothing where it is missing). What is not a JSON object is said on
# standard error and ends the program with status 2. NUL (\u0000) is refused: no awk can hold it.

function json_fail(why) {
    printf "%s: standard input is not JSON: %s\n", (tool ? tool : "json.awk"), why > "/dev/stderr"
    json_failed = 2
    exit 2
}
function json_space() { if (match(json, /^[ \t\r\n]+/)) json = substr(json, RLENGTH + 1) }
function json_utf8(n) {
    if (n < 128) return sprintf("%c", n)
    if (n < 2048) return sprintf("%c%c", 192 + int(n / 64), 128 + n % 64)
    if (n < 65536) return sprintf("%c%c%c", 224 + int(n / 4096), 128 + int(n / 64) % 64, 128 + n % 64)
    return sprintf("%c%c%c%c", 240 + int(n / 262144), 128 + int(n / 4096) % 64, 128 + int(n / 64) % 64, 128 + n % 64)
}
function json_hex(text,   i, n) {
    if (text !~ /^[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f]$/) json_fail("bad \\u escape")
    for (i = 1; i <= 4; i++) n = n * 16 + index("0123456789abcdef", tolower(substr(text, i, 1))) - 1
    return n
}
function json_string(   token, parts, n, i, out, piece, c) {      # json begins with a quote
    if (!match(json, /^"([^"\\\001-\037]|\\[^\001-\037])*"/)) json_fail("a string without end, or a control character in it")
    token = substr(json, 2, RLENGTH - 2)
    json = substr(json, RLENGTH + 1)
    n = split(token, parts, "\\\\")         # each part but the first begins with the letter of its escape
    piece = parts[1]
    for (i = 2; i <= n; i++) {
        c = substr(parts[i], 1, 1)
        if (c == "") piece = piece "\\" parts[++i]
        else if (c == "u") {
            if (parts[i] ~ /^u[dD][89abAB]..$/ && parts[i + 1] ~ /^u[dD][c-fC-F]/) i++
            piece = piece json_unicode(parts[i - 1], parts[i]) substr(parts[i], 6)
        }
        else if (index("\"/bfnrt", c)) piece = piece substr("\"/\b\f\n\r\t", index("\"/bfnrt", c), 1) substr(parts[i], 2)
        else json_fail("bad escape \\" c)
        if (length(piece) > 4096) { out = out piece; piece = "" }   # long strings are not copied at each escape
    }
    return out piece
}
function json_unicode(before, part,   n) {  # before counts where it is the first half of a surrogate pair
    n = json_hex(substr(part, 2, 4))
    if (n == 0) json_fail("a NUL in a string")
    if (n >= 56320 && n < 57344 && before ~ /^u[dD][89abAB]..$/)
        return json_utf8(65536 + (json_hex(substr(before, 2, 4)) - 55296) * 1024 + n - 56320)
    return json_utf8(n >= 55296 && n < 57344 ? 65533 : n)
}
function json_skip(close_with,   start, depth_before) {     # a list or an object: checked and kept as it is
    start = json
    if (++json_depth > 64) json_fail("nested too deeply")
    json = substr(json, 2)
    json_space()
    if (substr(json, 1, 1) == close_with) json = substr(json, 2)
    else while (1) {
        if (close_with == "}") json_key()
        json_value()
        json_space()
        if (substr(json, 1, 1) == close_with) { json = substr(json, 2); break }
        json_comma()
    }
    json_depth--
    return substr(start, 1, length(start) - length(json))
}
function json_comma() {
    if (substr(json, 1, 1) != ",") json_fail("expected a comma or the end near \"" substr(json, 1, 20) "\"")
    json = substr(json, 2)
}
function json_key(   name) {
    json_space()
    if (substr(json, 1, 1) != "\"") json_fail("expected a key near \"" substr(json, 1, 20) "\"")
    name = json_string()
    json_space()
    if (substr(json, 1, 1) != ":") json_fail("expected a colon after the key \"" name "\"")
    json = substr(json, 2)
    return name
}
function json_value(   c, word) {           # sets json_type
    json_space()
    c = substr(json, 1, 1)
    if (c == "\"") { word = json_string(); json_type = "string"; return word }
    if (c == "[") { word = json_skip("]"); json_type = "array"; return word }
    if (c == "{") { word = json_skip("}"); json_type = "object"; return word }
    if (match(json, /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/)) json_type = "number"
    else if (match(json, /^(true|false)/)) json_type = "boolean"
    else if (match(json, /^null/)) json_type = "null"
    else json_fail("expected a value near \"" substr(json, 1, 20) "\"")
    word = substr(json, 1, RLENGTH)
    json = substr(json, RLENGTH + 1)
    return word
}
function json_object(   name, word) {
    sub(/^\357\273\277/, "", json)        # a byte order mark
    json_space()
    if (substr(json, 1, 1) != "{") json_fail("not an object")
    json = substr(json, 2)
    json_space()
    if (substr(json, 1, 1) == "}") json = substr(json, 2)
    else while (1) {
        name = json_key()
        if (name in value) json_fail("the key \"" name "\" stands twice")
        word = json_value()
        value[name] = word
        type[name] = json_type
        json_space()
        if (substr(json, 1, 1) == "}") { json = substr(json, 2); break }
        json_comma()
    }
    json_space()
    if (json != "") json_fail("something after the object")
}
{ json = json $0 "\n" }
END {
    if (json_failed) exit json_failed
    json_object()
    if (want) printf "%s", value[want]
}
