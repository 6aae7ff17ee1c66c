# Flattens a JSON document: a line "path<TAB>value" for each scalar; line breaks and tabs in strings become spaces.
{ text = text $0 " " }
END { pos = 1; parse("") }

function skip() { while (substr(text, pos, 1) ~ /[ \t\r]/) pos++ }

function join(path, key) { return path == "" ? key : path "." key }

function parse(path,    c) {
    skip()
    c = substr(text, pos, 1)
    if (c == "{") parse_object(path)
    else if (c == "[") parse_array(path)
    else if (c == "\"") print path "\t" parse_string()
    else print path "\t" parse_word()
}

function parse_object(path,    key) {
    pos++
    for (skip(); pos <= length(text) && substr(text, pos, 1) != "}"; skip()) {
        key = parse_string()
        skip(); pos++ # the colon
        parse(join(path, key))
        skip()
        if (substr(text, pos, 1) == ",") pos++
    }
    pos++
}

function parse_array(path,    number) {
    pos++
    number = 0
    for (skip(); pos <= length(text) && substr(text, pos, 1) != "]"; skip()) {
        parse(join(path, number++))
        skip()
        if (substr(text, pos, 1) == ",") pos++
    }
    pos++
}

function parse_word(    start) {
    start = pos
    while (pos <= length(text) && substr(text, pos, 1) !~ /[],} \t\r]/) pos++
    return substr(text, start, pos - start)
}

function parse_string(    out, c) {
    out = ""
    for (pos++; pos <= length(text); pos++) {
        c = substr(text, pos, 1)
        if (c == "\"") { pos++; return out }
        if (c == "\\") {
            c = substr(text, ++pos, 1)
            if (c ~ /[nrtbf]/) c = " "
            else if (c == "u") { c = character(substr(text, pos + 1, 4)); pos += 4 }
        }
        out = out c
    }
    return out
}

function character(hex,    code, i) { # ASCII as itself, others as they were written
    code = 0
    for (i = 1; i <= 4; i++) code = code * 16 + index("0123456789abcdef", tolower(substr(hex, i, 1))) - 1
    return code < 128 ? sprintf("%c", code) : "\\u" hex
}
