"""Counts the lines that a program contains: without tests, blank lines and comments, and of functions only those that the
linker has kept. Needs a build with line tables and without inlining; `make contained` makes one.
Usage: contained.py PROGRAM
"""

import collections
import os
import re
import subprocess
import sys


def lines_with_code(program):
    """The numbers of the lines with machine code, by source file; only our own sources have relative paths."""
    found = collections.defaultdict(set)
    dump = subprocess.run(["llvm-dwarfdump", "--debug-line", program], capture_output=True, text=True, check=True)
    directories, names, begins, dead = {}, {}, True, False
    for line in dump.stdout.splitlines():
        if line.startswith("debug_line["):
            directories, names, begins = {}, {}, True
        elif match := re.match(r'include_directories\[\s*(\d+)\] = "(.*)"', line):
            directories[int(match[1])] = match[2]
        elif match := re.match(r"file_names\[\s*(\d+)\]:", line):
            number = int(match[1])
        elif match := re.match(r'\s+name: "(.*)"', line):
            name = match[1]
        elif match := re.match(r"\s+dir_index: (\d+)", line):
            names[number] = os.path.normpath(os.path.join(directories.get(int(match[1]), ""), name))
        elif match := re.match(r"0x([0-9a-f]+)\s+(\d+)\s+\d+\s+(\d+)", line):
            if begins:
                dead = int(match[1], 16) < 0x10000  # the linker has removed this function
            begins = "end_sequence" in line
            file = names.get(int(match[3]), "")
            if not dead and int(match[2]) and not file.startswith("/") and os.path.exists(file):
                found[file].add(int(match[2]))
    return found


def counted(file, kept):
    """The lines of a source file that count: those outside of functions, and those of functions with a line in `kept`."""
    source = open(file, encoding="utf-8").read().split("\n")
    for number, line in enumerate(source[:-1]):
        if line == "#[cfg(test)]" and re.match(r"mod \w+ {", source[number + 1]):
            source = source[:number]
            break
    is_code = [bool(line.strip()) and not line.strip().startswith("//") for line in source]
    total, number = 0, 0
    while number < len(source):
        match = re.match(r'(\s*)(pub(\(.*?\))? )?(const |unsafe |extern "C" )*fn ', source[number])
        last = number
        if match:
            while last < len(source) - 1 and not ends(source[last], match[1], last == number):
                last += 1
            if any(line + 1 in kept for line in range(number, last + 1)):
                total += sum(is_code[number : last + 1])
        else:
            total += is_code[number]
        number = last + 1
    return total


def ends(line, indent, is_first):
    """Whether a function ends with this line."""
    return line.startswith(indent + "}") or (is_first and line.rstrip().endswith(("}", ";")))


def main():
    totals = collections.Counter()
    for file, kept in lines_with_code(sys.argv[1]).items():
        totals[file.split("/")[0]] += counted(file, kept)
    for top, lines in sorted(totals.items()):
        print(f"{top:<6} {lines:>7,}")


main()
