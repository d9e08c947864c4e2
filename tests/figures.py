"""Counts, in the product's code: lines without tests, blank lines and comments; files over 300 lines; and type names that are
declared in more than one file of a crate.
Usage: figures.py [DIRECTORY]; `make figures` runs it.
"""

import collections
import os
import re
import sys

PARTS = ["core/src", "src", "src/broker", "sys/src", "ctl/src", "import/src", "compile/src", "shrink/src", "pam-module/src"]
DECLARED = re.compile(r"^\s*(?:pub(?:\([^)]*\))? )?(?:struct|enum|trait|type|union) ([A-Z]\w*)", re.MULTILINE)
TESTS = re.compile(r"\n#\[cfg\(test\)\]\n(?:pub\([a-z]+\) )?mod tests")


def sources(part):
    """The files of a crate or room, without those of tests and of other parts."""
    others = [other for other in PARTS if other.startswith(part + "/")]
    for directory, _, names in os.walk(part):
        for name in names:
            file = os.path.join(directory, name)
            is_test = name in ("tests.rs", "samples.rs", "sample.rs") or "tests" in directory.split("/")
            if name.endswith(".rs") and not is_test and not any(file.startswith(other + "/") for other in others):
                yield file


def main():
    os.chdir(sys.argv[1] if len(sys.argv) > 1 else ".")
    long, twice = 0, 0
    for part in PARTS:
        lines, declared = 0, collections.defaultdict(set)
        for file in sources(part):
            text = open(file, encoding="utf-8").read()
            long += text.count("\n") > 300
            code = TESTS.split(text)[0]
            lines += sum(bool(line.strip()) and not line.strip().startswith("//") for line in code.split("\n"))
            for name in DECLARED.findall(code):
                declared[name].add(file)
        twice += sum(len(places) > 1 for places in declared.values())
        print(f"{lines:>7,} lines in {part}")
    print(f"{long:>7} files over 300 lines")
    print(f"{twice:>7} names of types declared in two or more files of a crate or room")


main()
