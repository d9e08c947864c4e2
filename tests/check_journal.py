#!/usr/bin/env python3
"""Checks copies of journal.db by docs/formats.md alone, with only Python and ssh-keygen.

    check_journal.py [--at TIME] FILE KEY [FILE KEY ...]     KEY is the host's public key: "ssh-ed25519 AAAA..."
    check_journal.py [--at TIME] -                           the same from standard input, FILE and KEY on lines of their own

TIME is the time of the check, in seconds since 1970; the default is now.

Prints for each file `intact`, or one line for each difference, in order: `journal` or the name of a table, and a sentence. Where
the hashes of the journal are good, a record with invalid contents does not hide a row that differs.
"""

import base64
import hashlib
import hmac
import json
import re
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time
import unicodedata


class Bad(Exception):
    def __init__(self, what, why):
        super().__init__(why)
        self.what = what


def need(condition, what, why):
    if not condition:
        raise Bad(what, why)


class Faults(list):
    """Faults that leave the bytes, hashes and links of the records intact."""

    def need(self, condition, why):
        if not condition:
            self.append(Bad("journal", why))


def sha(data):
    return hashlib.sha256(data).hexdigest()


# The keys of each kind of record (those with ? may be absent) and their types.
COMMON = "seq u prev d time t boot t boot_id s host w version 1"
SEARCHED = "kind k uid? t run? k grant? k through? u head? k policies? [k] code? k policy? k role? s role_digest? k role_sha256? k"
KINDS = {
    "start": "run s uid n user w gid n groups [n] tty? w cwd w pid p run_as w run_as_uid n run_as_gid n run_as_groups [n] umask? n "
             "argv [w] typed? w environment [variable] path w dev u ino u sha256 d role? r assignment grant,standing,root grant? i "
             "authenticated password,unasked,cache,none auth_service? w auth_answers? n editor? [w] service? w remote? w policy? d role_digest? d role_sha256? d "
             "grant_sha256? d",
    "end": "run s start u uid n grant? i exit? p signal? p core? n ended_by ENDED duration_us? u user_us? u system_us? u "
           "max_rss_kib? u detail? w expired? t extended_by? i recording? d recording_bytes? u",
    "reject": "uid n user w tty? w cwd? w argv [w] run_as? w code s sentence w whole_argv? whole whole_sentence? whole "
              "whole_run_as? whole",
    "request": "grant i uid n user w role r run_as w argv [w] duration u starts? t deadline t limits [one-shot,exact] reason w "
               "ticket? w sha256 d break_glass? b extends? i needed? n policy? d role_sha256? d",
    "approval": "grant i uid n user w role r duration? u limits [one-shot,exact] comment? w key? w "
                "authenticated? password,key,none sha256 d policy? d role_sha256? d",
    "denial": "grant i uid n user w role r reason w key? w sha256? d",
    "cancellation": "grant i uid n user w role r key? w sha256? d",
    "grant": "grant i uid n user w role r run_as w starts t expires t limits [one-shot,exact] approvers [w] sha256 d "
             "break_glass? b extends? i not_counted? [uncounted] policy? d role_sha256? d",
    "revocation": "grant i uid n user w holder_uid n holder w role r reason w key? w sha256? d",
    "release": "grant i uid n user w role r key? w sha256? d",
    "alert": "code s sentence w uid? n user? w run? s grant? i identity? host",
    "review": "grant? i uid n user w holder w holder_uid? n role r verdict settled,confirmed,removal-proposed comment w "
              "key? w sha256? d",
    "edit": "run s start u uid n grant? i path w before? d before_bytes? u after d after_bytes u diff? w",
    "reading": "uid n user w purpose replay,export,watch,search,verify run? s holder? w holder_uid? n",
    "intervention": "uid n user w act freeze,thaw,kill run s holder w holder_uid n role? r grant? i reason w",
    "left-running": "run s start u uid n grant? i processes [process] count u",
    "left-ended": "run s start u uid n grant? i ended_by ENDED",
    "prune": "uid n user w before t latest? t identity? host through u head d records u size u tree [d] policies? [d] roles_sha256? d "
             "settings_sha256? d requests_gone? u grants_gone? u requests? u grants? u",
    "backup": "uid n user w file w through u head d",
    "policy": "policy d replaces? d files [file] file_count u added [role] added_count u added_sha256? d changed [role] "
              "changed_count u changed_sha256? d removed [role] removed_count u removed_sha256? d roles_sha256? d "
              "settings_sha256? d caller? w caller_uid? n loginuid? n",
    "fork": "continues u highest u heads [lost] sentence w",
    "clock": "confirmed_by synchronised",
    "epoch": "number u line u key s certified_by sealing-key,host-key signature s",
    "rotation": "uid n user w reason w old_key s identity host old_signature s new_signature s",
    "retirement": "uid n user w reason w key s signature s",
}
ENDED = "itself,expiry,revocation,release,time-limit,signal,not-executed,lost,unrecorded,kill"
OBJECTS = {
    "variable": "name w value? w digest? d",
    "whole": "bytes u sha256 d",
    "process": "pid p name w",
    "file": "path s sha256 d change? added,changed,removed mtime? t uid? n",
    "role": "role s sha256 d role_digest? d",
    "host": "id s key s machine s name s",
    "lost": "seq u head d source s",
    "uncounted": "sha256 d user w why own-request,same-person,same-key,other-role,not-an-approver,unsigned,not-valid,not-authenticated,superseded",
}
RANGES = {"1": (1, 1), "f": (0, 1), "b": (0, 255), "n": (0, 2**32 - 1), "u": (0, 2**64 - 1), "t": (-2**63, 2**63 - 1), "p": (-2**31, 2**31 - 1)}
TEXTS = {
    "s": r"[\s\S]*",
    "k": r'[^"\\]*',
    "w": r"(?:[^\\]|\\\\|\\x[0-9a-f]{2})*",
    "d": r"[0-9a-f]{64}",
    "i": r"[0-9abcdefghjkmnpqrstvwxyz]{10}",
    "r": r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
}


def fits(value, type):
    """Whether a value has a type."""
    if type.startswith("["):
        return isinstance(value, list) and all(fits(entry, type[1:-1]) for entry in value)
    if type in RANGES:
        least, most = RANGES[type]
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
    if type in OBJECTS:
        further = type in ("host", "terms") and isinstance(value, dict) and extra(value, OBJECTS[type])
        return isinstance(value, dict) and not further and lacks(value, OBJECTS[type]) is None
    if type == "texts":
        return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
    if not isinstance(value, str):
        return False
    if type == "a":
        return is_account(value)
    if type == "w":
        return plain(value) or re.fullmatch(TEXTS["w"], value) is not None and escaped(unescape(value)) == value
    return re.fullmatch(TEXTS[type], value) is not None if type in TEXTS else value in type.replace("ENDED", ENDED).split(",")


def lacks(record, types):
    """Returns the first key that is missing or has another type."""
    words = types.split()
    for key, type in zip(words[::2], words[1::2]):
        value = record.get(key.rstrip("?"))
        if not (value is None and key.endswith("?")) and not fits(value, type):
            return key
    return None


def extra(record, types):
    """Returns a key that is in no table."""
    return min(set(record) - {key.rstrip("?") for key in types.split()[::2]}, default=None)


def plain(word):
    """Whether a word has no escape and needs none: printable ASCII."""
    return re.fullmatch(r"[ -\[\]-~]*", word) is not None


def is_account(name):
    """Whether this may be the name of an account: it looks neither like an option nor like an id."""
    return (0 < len(name.encode()) <= 256 and name[0] not in "-#%+!" and not re.fullmatch("[0-9]+", name)
            and name not in (".", "..") and not re.search("[:/,]", name)
            and not any(c.isspace() or unicodedata.category(c) == "Cc" for c in name))


# The invisible characters: Default_Ignorable_Code_Point, White_Space except the space, and those that docs/formats.md lists.
INVISIBLE = re.compile("[\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800"
                       "\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\U00013430-\U0001343f\U00016fe4\U0001bca0-\U0001bca3\U0001d159"
                       "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]")


def escaped(raw):
    """Returns the escaped word for these bytes."""
    def hexed(data):
        return "".join(f"\\x{byte:02x}" for byte in data)
    def shown(character):
        if "\udc80" <= character <= "\udcff":
            return f"\\x{ord(character) - 0xdc00:02x}"
        hidden = unicodedata.category(character) == "Cc" or INVISIBLE.match(character)
        return hexed(character.encode()) if hidden else character.replace("\\", "\\\\")
    return "".join(map(shown, raw.decode(errors="surrogateescape")))


def load(body):
    """Parses JSON strictly: UTF-8, no constants such as NaN, limited nesting, each key once."""
    def constant(_):
        raise ValueError
    def once(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError
        return dict(pairs)
    text = bytes(body).decode()
    value = json.loads(text, parse_constant=constant, object_pairs_hook=once)
    depth = deepest = 0
    shallow = text.count("[") + text.count("{") <= 127
    for letter in "" if shallow else re.sub(r'"(?:[^"\\]|\\.)*"', "", text):
        depth += (letter in "[{") - (letter in "]}")
        deepest = max(deepest, depth)
    if deepest > 127:
        raise ValueError
    json.dumps(value, ensure_ascii=False).encode()
    return value


def is_canonical(text, value):
    """Whether this is the canonical form of the record."""
    def is_ours(value):
        if isinstance(value, dict):
            return all(map(is_ours, value.values())) and not any(re.search(r'["\\]', key) for key in value)
        if isinstance(value, list):
            return all(map(is_ours, value))
        return isinstance(value, str) or (type(value) is int and -(1 << 63) <= value < 1 << 64)
    form = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return isinstance(value, dict) and is_ours(value) and form == text and "\\" not in re.sub(r'\\["\\]', "", text) \
        and not re.search("[\x7f-\x9f]", text)


# The exceptions that hostile bytes, columns and tables may raise.
HOSTILE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, sqlite3.Error, struct.error)


def unescape(word):
    """Returns the original bytes of an escaped text."""
    out, raw, i = bytearray(), word.encode(), 0
    while i < len(raw):
        if raw[i:i + 2] == b"\\\\":
            out.append(0x5C)
            i += 2
        elif raw[i:i + 2] == b"\\x":
            out.append(int(raw[i + 2:i + 4], 16))
            i += 4
        else:
            out.append(raw[i])
            i += 1
    return bytes(out)


def escape(name):
    """Returns a name as records have it."""
    return escaped(name.encode())


# --- signatures --------------------------------------------------------------------------------------------------------

seen = {}


def blob_of(signature):
    """Returns the public key inside a binary SSHSIG."""
    if signature[:10] != b"SSHSIG\0\0\0\x01":
        return None
    (length,) = struct.unpack(">I", signature[10:14])
    return signature[14:14 + length]


ORDER = 2**252 + 27742317777372353535851937790883648493


def strings(data):
    """The strings that bytes are, each behind its length; it has to be all of them."""
    found = []
    while data:
        (length,) = struct.unpack(">I", data[:4])
        need(len(data) >= 4 + length, "journal", "a signature that is cut off")
        found.append(data[4:4 + length])
        data = data[4 + length:]
    return found


def is_allowed(signature):
    """Whether a signature has the form that formats.md allows, of which ssh-keygen allows more."""
    try:
        blob, _, reserved, _, made = strings(signature[10:])
        size = struct.unpack(">I", made[:4])[0]
        kind, rest = made[4:4 + size], made[4 + size:]
        raw = rest[4:68]
    except (ValueError, Bad, struct.error):
        return False
    known = kind in (b"ssh-ed25519", b"sk-ssh-ed25519@openssh.com") and strings(blob)[0] == kind
    return known and reserved == b"" and len(raw) == 64 and int.from_bytes(raw[32:], "little") < ORDER


def signer(namespace, body, signature):
    """Returns the key of a valid signature, as the base64 of a public key file; None where it is not valid."""
    question = (namespace, body, signature)
    if question not in seen:
        seen[question] = None
        with tempfile.NamedTemporaryFile("w", suffix=".sig") as file:
            text = base64.b64encode(signature).decode()
            lines = "\n".join(re.findall(".{1,70}", text))
            file.write(f"-----BEGIN SSH SIGNATURE-----\n{lines}\n-----END SSH SIGNATURE-----\n")
            file.flush()
            words = ["ssh-keygen", "-Y", "check-novalidate", "-n", namespace, "-s", file.name]
            done = subprocess.run(words, input=body, capture_output=True)
        if done.returncode == 0 and is_allowed(signature):
            seen[question] = base64.b64encode(blob_of(signature)).decode()
    return seen[question]


def is_key(text):
    """Whether this is a public key as a host has it."""
    kind, _, encoded = text.partition(" ")
    try:
        blob = base64.b64decode(encoded, validate=True)
    except ValueError:
        return False
    head = b"\0\0\0\x0bssh-ed25519\0\0\0\x20"
    return kind == "ssh-ed25519" and len(blob) == len(head) + 32 and blob.startswith(head)


def is_host(host):
    """Whether the host id of a description belongs to its key and machine, so that anyone can recompute it."""
    if not is_key(host["key"]) or not fits(host["machine"], "d") or re.search("[\x00-\x1f\x7f-\x9f]", host["name"]):
        return False
    return host_id(base64.b64decode(host["key"].split()[1]), bytes.fromhex(host["machine"])) == host["id"]


def host_id(blob, machine):
    """Returns the id of the host with this key and the digest of its machine-id."""
    return sha(b"jit-sudo host v2\0" + b"".join(struct.pack(">I", len(part)) + part for part in (blob, machine)))


def fingerprint(key):
    return "SHA256:" + base64.b64encode(hashlib.sha256(base64.b64decode(key)).digest()).decode().rstrip("=")


# --- the journal -------------------------------------------------------------------------------------------------------

COLUMNS = "SELECT seq, kind, uid, run, grant_id, at, high, hash, body FROM record"


def may_follow(record, seq, number):
    """Whether record `seq` may come after record `number`, or after any if that is None: only a fork leaves a gap."""
    if record["kind"] == "fork" and lacks(record, KINDS["fork"]) is None:
        continues, highest = record["continues"], record["highest"]
        right = continues == number if number is not None else continues < seq
        right = right and all(lost["seq"] <= highest for lost in record["heads"])
        return right and continues <= highest < seq <= highest + 1_000_000 and (number is None or number < seq)
    return number is None or seq == number + 1


def leftovers(db, begin, head):
    """What stands before the beginning are the last of the records that were pruned."""
    number, link = None, None
    for seq, kind, uid, run, grant, at, high, stored, body in db.execute(COLUMNS + " WHERE seq > 0 AND seq <= ? ORDER BY seq", (begin,)):
        try:
            record = load(body)
            right = is_canonical(bytes(body).decode(), record) and lacks(record, COMMON + " " + SEARCHED) is None
            right = right and hashlib.sha256(body).digest() == stored and record["seq"] == seq
            right = right and may_follow(record, seq, number) and link in (None, record["prev"])
            columns = (record["kind"], record.get("uid"), record.get("run"), record.get("grant"), record["time"])
            right = right and columns == (kind, uid, run, grant, at)
        except HOSTILE:
            right = False
        need(right, "journal", f"record {seq} is none of those that were pruned")
        number, link = seq, stored.hex()
    need((number, link) in ((None, None), (begin, head)), "journal", f"record {number} does not lead to the pruned {begin}")


class Tree:
    """The Merkle tree of all records so far."""

    def __init__(self, size, hashes):
        self.size, self.hashes, self.stored = size, list(hashes), []

    def push(self, head, seq):
        top, height = hashlib.sha256(b"\0" + head).digest(), 0
        while self.size >> height & 1:
            top, height = hashlib.sha256(b"\1" + self.hashes.pop() + top).digest(), height + 1
            if height % 8 == 0:
                self.stored.append((height, self.size >> height, seq, top))
        self.hashes.append(top)
        self.size += 1

    def head(self):
        if not self.hashes:
            return self.size, hashlib.sha256(b"").hexdigest()
        top = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            top = hashlib.sha256(b"\1" + left + top).digest()
        return self.size, top.hex()


def removed_tree(db, begin):
    """Returns the tree of the records that were pruned, up to number `begin`."""
    size, hashes = 0, []
    if begin:
        query = "SELECT height, place, hash FROM tree WHERE seq = ? ORDER BY place << height, height DESC"
        for height, place, top in db.execute(query, (begin,)):
            need(0 <= height < 64 and place >= 0 and place << height == size and len(top) == 32, "journal", "the tree of the pruned records")
            size, hashes = size + (1 << height), hashes + [top]
        need(len(hashes) == bin(size).count("1"), "journal", "the tree of the pruned records")
    return Tree(size, hashes)


P, L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def point_add(a, b):
    """Adds two points in extended coordinates (RFC 8032, 5.1.4)."""
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    x, y, z, t = (f - e) % P, (h - g) % P, (h + g) % P, (f + e) % P
    return x * y % P, z * t % P, y * z % P, x * t % P


def point_mul(number, point):
    result = (0, 1, 1, 0)
    while number:
        if number & 1:
            result = point_add(result, point)
        point, number = point_add(point, point), number >> 1
    return result


def point_of(data):
    """Decodes a point (RFC 8032, 5.1.3); None where it is none."""
    y, sign = int.from_bytes(data, "little") & (1 << 255) - 1, data[31] >> 7
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def is_strong(public):
    """Whether these bytes are a public key: the only encoding of a point that is not of low order."""
    point = point_of(public)
    if point is None:
        return False
    x, y, z, _ = point_mul(8, point)
    return not (x % P == 0 and (y - z) % P == 0)


def is_signed(public, message, signature):
    """Verifies an ed25519 signature (RFC 8032, 5.1.7)."""
    question = (public, message, signature)
    if question not in seen:
        a, r = point_of(public), point_of(signature[:32])
        s = int.from_bytes(signature[32:], "little")
        seen[question] = False
        if len(signature) == 64 and a and r and s < L:
            k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
            base = point_of((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
            left, right = point_mul(s, base), point_add(r, point_mul(k, a))
            seen[question] = not ((left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P)
    return seen[question]


def is_note(note, said, key):
    """Whether this is the signed note of the tree head that a checkpoint states, by the host with this key."""
    origin, public = "jit-sudo/" + said["host"], base64.b64decode(key)[-32:]
    text = f"{origin}\n{said['size']}\n{base64.b64encode(bytes.fromhex(said['root'])).decode()}\n"
    front = f"{text}\n— {origin} "
    if not isinstance(note, str) or not note.startswith(front) or not note.endswith("\n"):
        return False
    if re.search(r"[\s+\x00-\x1f\x7f-\x9f]", origin):
        return False
    encoded = note[len(front):-1]
    try:
        signed = base64.b64decode(encoded, validate=True)
    except ValueError:
        return False
    name = hashlib.sha256(f"{origin}\n".encode() + b"\1" + public).digest()[:4]
    exact = base64.b64encode(signed).decode() == encoded and len(signed) == 68 and signed[:4] == name
    return exact and is_signed(public, text.encode(), signed[4:])


def signer_of(namespace, record, name, names):
    """Returns the key of the signature `name` in a record, over the record without the signatures `names`."""
    seq = record["seq"]
    signed = {key: value for key, value in record.items() if key not in names}
    text = json.dumps(signed, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    raw = base64.b64decode(record[name], validate=True)
    need(base64.b64encode(raw).decode() == record[name], "journal", f"the signature in record {seq}")
    by = signer(namespace, text, raw)
    need(by, "journal", f"{name} in record {seq}")
    return by


class Lineage:
    """The host keys of a journal: which is that of the host, and for which records."""

    def __init__(self, given):
        self.given, self.key, self.rotations, self.ended, self.retired = given, None, [], {}, None
        # The machines that records name, the first record that does, and whether one says that the host became an unknown one.
        self.machines, self.named, self.open = set(), None, False
        # The keys and host ids that checkpoints state, each with the number of the first one.
        self.stated = {}

    def begins(self, seq, by):
        need(by not in self.ended, "journal", f"record {seq} begins a line by a host key that was replaced or retired")
        self.key, self.retired = by, None

    def rotates(self, seq, old, new):
        need(not self.retired, "journal", f"record {seq} follows the retirement of the host")
        need(self.key == old, "journal", f"the old key in record {seq} is not the host key")
        need(new not in self.ended, "journal", f"the new key in record {seq} was replaced or retired")
        self.rotations.append((seq, old, new))
        self.key, self.ended[old] = new, "replaced"

    def retires(self, seq, key):
        need(not self.retired, "journal", f"record {seq} follows the retirement of the host")
        need(self.key == key, "journal", f"the key in record {seq} is not the host key")
        self.retired, self.ended[key] = seq, "retired"

    def joined(self):
        """Returns the keys that count: the given one, those to which rotations lead from it, and from which they lead to it."""
        keys, more = set(), {self.given}
        while more:
            keys |= more
            pairs = {pair for _, old, new in self.rotations for pair in ((old, new), (new, old))}
            more = {after for before, after in pairs if before in keys} - keys
        return keys

    def present(self):
        """Returns the keys whose signatures are valid after the last record."""
        return {key for key in self.joined() if self.ended.get(key) != "replaced"}

    def vouched(self):
        """Returns the last rotation to a key that counts: that key signs what came before, too."""
        keys = self.joined()
        return max((seq for seq, _, new in self.rotations if new in keys), default=0)

    def names(self, record):
        """Takes a record that may name the host."""
        host = record.get("identity")
        if host is None:
            self.open = self.open or record.get("code") in ("host-changed", "state-accepted")
        elif fits(host, "host") and is_host(host):
            self.machines.add(bytes.fromhex(host["machine"]))
            self.named = record["seq"] if self.named is None else self.named

    def misnamed(self):
        """Returns the first checkpoint that states a host that this was not."""
        unknown = set()
        for (key, host), seq in self.stated.items():
            if any(host_id(base64.b64decode(key), machine) == host for machine in self.machines):
                continue
            late = self.named is not None and self.named <= seq
            if not self.open and (late or key in unknown):
                return seq
            unknown.add(key)
        return None


class Epochs:
    """The sealing keys of a journal: each certified by the one before it, the first of a line by the key of the host."""

    def __init__(self, key):
        self.key, self.number, self.line, self.seq = None, None, None, None
        self.lineage, self.began = Lineage(key), []
        # The epoch records and the host key by which each is, and those of them that were not pruned.
        self.certified, self.remaining = [], []
        # The latest time of an epoch of this line, and that of the present one.
        self.latest, self.since = None, -2**63
        # The last record that was taken.
        self.last = None

    def take(self, record, consent):
        """Takes a record about a sealing key or the host key."""
        kind, seq = record["kind"], record["seq"]
        need(lacks(record, COMMON + " " + KINDS[kind]) is None, "journal", f"record {seq} lacks a key")
        if kind == "epoch":
            self.certify(record, consent)
        else:
            need(not self.lineage.retired, "journal", f"record {seq} follows the retirement of the host")
            if kind == "rotation":
                self.rotate(record)
            else:
                self.retire(record)
        self.last = seq

    def rotate(self, record):
        seq, names = record["seq"], ("old_signature", "new_signature")
        need(is_key(record["old_key"]) and is_host(record["identity"]), "journal", f"a key in record {seq} is none")
        old, new = record["old_key"].split()[1], record["identity"]["key"].split()[1]
        by = [signer_of("jit-sudo/rotation/v1", record, name, names) for name in names]
        need(by == [old, new] and old != new, "journal", f"record {seq} is signed with other keys")
        self.lineage.rotates(seq, old, new)
        self.lineage.names(record)
        self.began.append((seq, self.key, new, self.since))

    def retire(self, record):
        seq = record["seq"]
        need(is_key(record["key"]), "journal", f"the key in record {seq} is none")
        key = record["key"].split()[1]
        by = signer_of("jit-sudo/retirement/v1", record, "signature", ("signature",))
        need(by == key, "journal", f"record {seq} is signed with another key")
        self.lineage.retires(seq, key)

    def certify(self, record, consent):
        """Takes the `epoch` record. `consent`: the last acceptance by root; None for a record that was pruned."""
        seq = record["seq"]
        strong = is_key(record["key"]) and is_strong(base64.b64decode(record["key"].split()[1])[-32:])
        need(strong, "journal", f"the key in record {seq} is none")
        by = signer_of("jit-sudo/epoch/v1", record, "signature", ("signature",))
        need(self.number is None or record["number"] == self.number + 1, "journal", f"the number of the epoch in record {seq}")
        if record["certified_by"] == "host-key":
            need(record["line"] == seq, "journal", f"the line in record {seq}")
            need(self.number is not None or record["number"] == 1, "journal", f"the first epoch in record {seq}")
            need(self.number is None or consent is None or consent > self.seq, "journal", f"record {seq} begins a line without consent")
            self.lineage.begins(seq, by)
            self.latest = record["time"]
        else:
            need(not self.lineage.retired, "journal", f"record {seq} follows the retirement of the host")
            need((by, record["line"]) == (self.key, self.line), "journal", f"the key in record {seq} is certified by another")
        self.key, self.number, self.line, self.seq = record["key"].split()[1], record["number"], record["line"], seq
        self.since = record["time"]
        self.latest = self.since if self.latest is None else max(self.latest, self.since)
        self.began.append((seq, self.key, self.lineage.key, self.since))
        self.certified.append((seq, self.lineage.key))
        if consent is not None:
            self.remaining.append((seq, self.lineage.key))

    def signed(self, keys):
        """Returns the last record that an `epoch` record by one of these host keys signs, and the last that is by another one."""
        own = max((seq for seq, key in self.certified if key in keys), default=None)
        return own, max((seq for seq, key in self.remaining if key not in keys), default=None)

    def at(self, seq):
        """Returns the sealing key of a record, the host key by which it is known, and when its epoch began."""
        found = [entry[1:] for entry in self.began if entry[0] <= seq]
        return found[-1] if found else (None, None, -2**63)


def records(db, key, now):
    """Returns all records in order, each as its keys, if chain, columns and checkpoints are good."""
    meta = db.execute("SELECT value FROM journal_meta WHERE name = 'pruned'").fetchone()
    number, head = 0, "0" * 64
    if meta:
        text = bytes(meta[0]).decode()
        need(re.fullmatch(r"[0-9]{20} [0-9a-f]{64}\n", text), "journal", "what is kept of the last pruning")
        number, head = int(text.split()[0]), text.split()[1]
    consent, begin, proved, high = 0, number, meta is None, None if meta else -(1 << 63)
    pruned = (number, head)
    leftovers(db, number, head)
    tree = removed_tree(db, begin)
    before = tree.size, [top.hex() for top in tree.hashes]
    sealed = {seq for seq, in db.execute("SELECT seq FROM checkpoint")}
    trees = {number: tree.head()}
    heads, result, epochs = {number: head}, [], Epochs(key)
    for name, body in sorted(db.execute("SELECT name, value FROM journal_meta WHERE substr(name, 1, 12) = 'certificate:'")):
        try:
            record = load(body)
            need(record["kind"] in ("epoch", "rotation", "retirement") and record["seq"] <= number, "journal", "a certificate that is none")
            need(name == f"certificate:{record['seq']:020}" and record["seq"] > 0, "journal", "a certificate under another name")
            need(is_canonical(bytes(body).decode(), record), "journal", "a certificate in another form")
            need(epochs.last is None or record["seq"] > epochs.last, "journal", "a certificate in another place")
            epochs.take(record, None)
        except HOSTILE:
            raise Bad("journal", "a certificate that is none") from None
    certified = epochs.latest
    query = COLUMNS + " WHERE seq > ? OR seq <= 0 ORDER BY seq"
    for seq, kind, uid, run, grant, at, column_high, stored, body in db.execute(query, (begin,)):
        need(hashlib.sha256(body).digest() == stored, "journal", f"the hash of record {seq}")
        try:
            record = load(body)
            need(is_canonical(bytes(body).decode(), record), "journal", f"record {seq} is written in another form")
            need(lacks(record, COMMON + " " + SEARCHED) is None, "journal", f"record {seq} is none")
            need(may_follow(record, seq, number), "journal", f"record {number + 1} is missing")
            same = (record["seq"], record["prev"]) == (seq, head)
            columns = (record["kind"], record.get("uid"), record.get("run"), record.get("grant"), record["time"])
            need(fits(record["time"], "t"), "journal", f"record {seq} is none")
        except HOSTILE:
            raise Bad("journal", f"record {seq} is none") from None
        need(same, "journal", f"record {seq} does not follow")
        accepted = kind == "alert" and record.get("code") == "state-accepted"
        high = record["time"] if accepted else max(column_high if high is None else high, record["time"])
        need(columns + (high,) == (kind, uid, run, grant, at, column_high), "journal", f"a column of record {seq}")
        if kind == "prune" and (record["through"], record["head"]) == pruned:
            proved = True
        if kind == "prune" and record["through"] == begin and "size" in record and "tree" in record:
            need((record["size"], record["tree"]) == before, "journal", f"record {seq} states another tree of the pruned records")
        number, head = seq, stored.hex()
        tree.push(stored, seq)
        if seq in sealed:
            trees[seq] = tree.head()
        heads[seq] = head
        record["high"] = high
        result.append(record)
        if accepted:
            consent = seq
        if kind in ("epoch", "rotation", "retirement"):
            try:
                epochs.take(load(body), consent)
            except HOSTILE:
                raise Bad("journal", f"record {seq} is no {kind}") from None
        elif kind in ("alert", "prune"):
            epochs.lineage.names(record)
    need(proved, "journal", "the beginning is missing")
    kept, prunings = None, {record["seq"]: record for record in result if record["kind"] == "prune" and lacks(record, KINDS["prune"]) is None}
    unsigned, foreign = set(prunings), 0
    counted = epochs.lineage.joined()
    certified_by, other = epochs.signed(counted)
    own, signed = certified_by is not None and certified_by > begin, max(begin, certified_by or 0)
    for seq, body, signature, note in db.execute("SELECT seq, body, signature, note FROM checkpoint ORDER BY seq"):
        need(seq in heads, "journal", f"the checkpoint of record {seq} has no record")
        by = signer("jit-sudo/checkpoint/v1", body, signature)
        need(by, "journal", f"the signature of the checkpoint of record {seq}")
        said = load(body)
        exact = lacks(said, "at t head d host s root d seq u size u version u") is None and said["version"] == 2 and len(said) == 7
        exact = exact and bytes(body) == json.dumps(said, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
        need(exact, "journal", f"the checkpoint of record {seq} is none")
        need(said["seq"] == seq, "journal", f"the checkpoint of record {seq} is of another")
        sealing, host_key, began = epochs.at(seq)
        need(sealing in (None, by), "journal", f"the checkpoint of record {seq} is by another key than that of its epoch")
        is_own = by == key if sealing is None else host_key in counted
        own = own or is_own
        if not is_own:
            other = max(seq, other or 0)
        if meta and seq == begin:
            kept = said["at"]
        need(said["at"] >= began // 1_000_000 - 60, "journal", f"the checkpoint of record {seq} is older than its key")
        if seq in prunings:
            late = prunings[seq]["time"] > (said["at"] + 1) * 1_000_000 + 60_000_000
            need(not late, "journal", f"record {seq} is later than its checkpoint")
            unsigned.discard(seq)
            if not is_own:
                foreign = seq
        if is_own:
            need(said["head"] == heads[seq], "journal", f"record {seq} is not the one that was signed")
            need((said["size"], said["root"]) == trees[seq], "journal", f"the checkpoint of record {seq} states another tree")
            need(is_note(note, said, host_key or key), "journal", f"the note of the checkpoint of record {seq}")
            signed = max(signed, seq)
            if host_key is not None:
                epochs.lineage.stated.setdefault((host_key, said["host"]), seq)
    last = max(sealed, default=0)
    stored = [row for row in tree.stored if row[2] <= last]
    rows = db.execute("SELECT height, place, seq, hash FROM tree WHERE seq <> ?1 OR ?1 = 0 ORDER BY seq, height", (begin,))
    need(list(rows) == stored, "journal", "the stored subtrees are not those of the records")
    misnamed = epochs.lineage.misnamed()
    need(misnamed is None, "journal", f"the checkpoint of record {misnamed} states a host that this was not by then")
    # From this record on only signatures by this host's key are valid.
    since = max(consent, epochs.lineage.vouched())
    right = other is None or (own and since > other)
    need(right, "journal", f"record {other} was signed with another key, and nobody has accepted that")
    for record in result:
        if record["kind"] == "prune" and lacks(record, KINDS["prune"]) is None:
            need(record["before"] <= record["time"] - 86_400_000_000, "journal", f"record {record['seq']} prunes what was not a day old")
            if meta and record["through"] == begin:
                right = kept is not None and kept * 1_000_000 <= record["before"]
                need(right, "journal", f"record {record['seq']} prunes what was signed later than it says")
                right = certified is None or certified < record["before"]
                need(right, "journal", f"record {record['seq']} prunes an epoch that began later")
    need(not unsigned, "journal", f"the pruning in record {min(unsigned, default=0)} has no checkpoint of its own")
    need(not foreign or foreign < since <= signed, "journal", f"the pruning in record {foreign} is by another key")
    young = not result or now - result[0]["time"] / 1_000_000 <= 60
    need(own or young, "journal", "it has no checkpoint by the host's key")
    # Nobody signs what follows a retirement, which has a checkpoint of its own, or of a record behind it.
    over = epochs.lineage.retired is not None and epochs.lineage.retired <= signed
    need(over or sum(record["seq"] > signed for record in result) <= 5000, "journal", f"record {signed + 1} and what follows are not signed")
    return result, begin, consent, since, epochs.lineage.present()


class Policies:
    """The roles of each policy, and what the last record says about the tables."""

    def __init__(self, begin, faults):
        self.faults = faults
        self.whole, self.count, self.roles, self.gaps, self.last = not begin, 0, {}, [], None
        self.held = {}

    def at(self, role, end):
        """Returns what the first `end` policy records say about a role: its entry, `absent`, or None where that is unknown."""
        said = [(index, entry) for index, entry in self.roles.get(role, []) if index < end]
        behind = said[-1][0] + 1 if said else 0
        if any(behind <= gap < end for gap in self.gaps):
            return None
        return said[-1][1] if said else "absent" if self.whole else None

    def told(self, record):
        lists = {name: record.get(name, []) for name in ("added", "changed", "removed")}
        for name, entries in lists.items():
            count = record.get(name + "_count", 0)
            fits = len(entries) == count or (len(entries) == 256 < count and name + "_sha256" in record)
            self.faults.need(fits, f"record {record['seq']}: so many roles are not {name}")
        cut = any(len(entries) != record.get(name + "_count", 0) for name, entries in lists.items())
        if cut:
            self.gaps.append(self.count)
        if "replaces" not in record:
            for states in self.roles.values():
                states.append((self.count, "absent"))
        if self.whole and not self.gaps and "replaces" in record:
            for name, entries in lists.items():
                for entry in entries:
                    before = self.at(entry["role"], self.count)
                    fits = before == "absent" if name == "added" else before != "absent"
                    if name == "removed" and fits:
                        fits = before["sha256"] == entry["sha256"]
                    self.faults.need(fits, f"record {record['seq']}: {entry['role']} cannot be {name}")
        self.release(record, lists, cut)
        for name, entries in lists.items():
            for entry in entries:
                state = "absent" if name == "removed" else entry
                self.roles.setdefault(entry["role"], []).append((self.count, state))
        self.count += 1
        self.last = record

    def release(self, record, lists, cut):
        """Checks earlier uses of unknown roles, as far as this record shows what they were."""
        if "replaces" not in record:
            self.held = {}
        for entry in lists["added"]:
            known = self.held.pop(entry["role"], None)
            self.faults.need(known is None, f"{entry['role']} was named before it was added")
        for entry in lists["removed"]:
            held = self.held.pop(entry["role"], {})
            self.faults.need(self.same(held, entry), f"{entry['role']} was named with another digest")
        for entry in lists["changed"]:
            self.held.pop(entry["role"], None)
        if cut:
            self.held = {}

    def same(self, record, entry):
        pairs = (("role_digest", "role_digest"), ("role_sha256", "sha256"))
        return all(a not in record or b not in entry or record[a] == entry[b] for a, b in pairs)

    def hold(self, record):
        held = self.held.setdefault(record["role"], {"seq": record["seq"]})
        for name in ("role_digest", "role_sha256"):
            if name in record:
                right = held.setdefault(name, record[name]) == record[name]
                self.faults.need(right, f"record {record['seq']}: {record['role']} is another than in {held['seq']}")

    def judged(self, record):
        """Checks that a record about a role names the policy in force, and that this policy has that role."""
        seq, policy, role = record["seq"], record["policy"], record.get("role")
        if self.last and self.last["policy"] != policy:
            return self.faults.need(False, f"record {seq}: policy {policy} was not in force")
        found = self.at(role, self.count) if role is not None else None
        if found is None:
            if role is not None:
                self.hold(record)
            return
        same = found != "absent" and self.same(record, found)
        self.faults.need(same, f"record {seq}: policy {policy} has no such role {role}")


class Journal:
    """The records about each id."""

    def __init__(self, db, key, now):
        self.key, self.faults = key, Faults()
        self.request, self.approval, self.decision, self.grant, self.given = {}, {}, {}, {}, {}
        self.end, self.starts, self.extended, self.alert, self.settled = {}, {}, {}, set(), {}
        self.stated, self.roles, self.ids, self.doubted, self.unproven = {}, set(), {}, None, {}
        self.lost, self.gone, self.pruned_at, self.accepted = (0, 0), (0, 0), None, None
        found, begin, self.consent, self.since, self.present = records(db, key, now)
        self.pruned, self.begin = bool(begin), begin
        self.open, self.over, self.left, self.ran, self.pruned_until = {}, {}, {}, {}, None
        self.certified, self.older, self.host_changed, self.identity, self.rotated = {}, 0, 0, None, 0
        self.became, self.first = [], None
        self.boot_id, self.untold = None, None
        self.policies = Policies(begin, self.faults)
        if begin:
            self.lost = (None, None)
        remembered = next((r for r in found if begin and r["kind"] == "prune" and r["through"] == begin), {})
        if remembered.get("policies"):
            # The last state according to the removed records.
            said = {key: remembered[key] for key in ("roles_sha256", "settings_sha256") if remembered.get(key) is not None}
            self.policies.last = dict(said, policy=remembered["policies"][0])
        self.high = None
        for record in found:
            lacking = lacks(record, COMMON + " " + KINDS[record["kind"]]) if record["kind"] in KINDS else None
            if lacking is None:
                self.take({key: value for key, value in record.items() if value is not None}, begin)
            else:
                self.faults.need(False, f"record {record['seq']} lacks {lacking}, or has another type there")

    def take(self, record, begin):
        kind, id = record["kind"], record.get("grant")
        record["seconds"] = record["time"] // 1_000_000
        self.take_run(record, kind, begin)
        if kind == "start":
            right = (record["assignment"] == "grant") == (id is not None)
            self.faults.need(right, f"record {record['seq']}: the assignment of the run and its grant")
        if kind == "end" and "extended_by" in record:
            self.faults.need(id, f"record {record['seq']} extends no grant")
        if kind == "review" and record["verdict"] == "settled":
            self.faults.need(id, f"record {record['seq']} settles the review of no grant")
        # What a prune record says of the removed records counts only if it was the last pruning.
        last = kind == "alert" and record["code"] in ("host-changed", "state-accepted") or kind == "prune" and record["through"] == begin
        if last and "identity" in record:
            self.faults.need(is_host(record["identity"]), f"record {record['seq']}: the host that it names")
        if kind == "prune":
            latest = record.get("latest", record["before"] - 1)
            self.pruned_until = latest if self.pruned_until is None else max(self.pruned_until, latest)
        if kind == "review" and not id:
            self.certified[record["role"], unescape(record["holder"]).decode()] = record
        if kind == "fork" and not self.is_power_failure(record):
            self.doubted = self.untold = record["seq"]
        elif kind == "alert" and record["code"] == "database-older":
            self.older = self.doubted = record["seq"]
            self.untold = None
        elif kind != "alert" and self.untold:
            self.faults.need(False, f"record {self.untold}: a fork without an alert")
            self.untold = None
        self.boot_id = record["boot_id"]
        if kind == "retirement":
            self.older = self.doubted = record["seq"]
        if kind == "rotation":
            self.rotated, self.identity = record["seq"], record["identity"]["id"]
            self.became.append((record["seq"], record["identity"]))
        if kind == "alert" and record["code"] == "state-accepted":
            self.doubted, self.accepted = None, record["seq"]
        if kind == "alert" and record["code"] == "host-changed":
            self.host_changed = record["seq"]
        if kind == "alert" and record["code"] in ("host-changed", "state-accepted"):
            host = record.get("identity")
            self.identity = host and host["id"]
            self.became.append((record["seq"], host))
        if kind == "start" and "role_digest" in record:
            self.roles.add(record["role_digest"])
        if kind == "policy":
            self.policies.told(record)
        elif "policy" in record:
            self.faults.need(self.policies.last, f"record {record['seq']} names an unknown policy")
            if self.policies.last:
                self.policies.judged(record)
        if kind in ("denial", "cancellation", "revocation", "release", "review") and "sha256" in record:
            self.stated[record["sha256"]] = record
        if id:
            self.act(record, id)
        if kind == "request":
            self.request[id] = record
        elif kind == "approval":
            self.check_narrower(record, id)
            self.approval[id, record["uid"]] = record
            self.given.setdefault(id, []).append(record)
        elif kind in ("denial", "cancellation"):
            self.decision[id] = record
        elif kind == "grant":
            over = self.end.get(record.get("extends"))
            self.faults.need(not over, f"record {record['seq']}: {id} extends a grant that had ended")
            self.grant[id] = record
        elif kind in ("revocation", "release"):
            self.end[id] = record
        elif kind == "start" and id:
            record["identity"] = self.identity
            self.starts.setdefault(id, []).append(record)
        elif kind == "end" and "extended_by" in record:
            self.extended.setdefault(record["extended_by"], []).append(record)
        elif kind == "alert" and record["code"] == "break-glass" and id:
            self.alert.add(id)
        elif kind == "review" and record["verdict"] == "settled":
            self.settled[id] = record
        elif kind == "prune" and begin and record["through"] == begin:
            self.lost = (record.get("requests"), record.get("grants"))
            self.gone = (record.get("requests_gone", 0), record.get("grants_gone", 0))
            self.pruned_at = record["seconds"] if "grants" in record else None
            if "identity" in record:
                self.became.insert(0, (0, record["identity"]))

    def is_power_failure(self, fork):
        """Whether a fork follows a boot and lacks only a few records, all of them the last ones and not synced."""
        heads = all(head["seq"] > fork["continues"] and head["source"] != "anchor" for head in fork["heads"])
        booted = self.boot_id != fork["boot_id"] if self.boot_id is not None else self.pruned
        return booted and fork["seq"] - fork["highest"] <= 1000 and fork["highest"] - fork["continues"] <= 64 and heads

    def check_narrower(self, record, id):
        """Checks that an approval is not wider than an earlier one by the same person."""
        for before in self.given.get(id, []):
            if before["uid"] == record["uid"] or unescape(before["user"]) == unescape(record["user"]):
                most = before.get("duration", 0)
                right = set(before["limits"]) <= set(record["limits"])
                right = right and (most == 0 or 0 < record.get("duration", 0) <= most)
                self.faults.need(right, f"record {record['seq']}: wider than record {before['seq']} by the same person")

    def then(self, seq):
        """Returns the host at a record: its description, None if unknown, `first` before any record or request names it."""
        return ([host for since, host in self.became if since < seq] or [self.first or "first"])[-1]

    def is_then(self, seq, id, key, table, what):
        """Checks that a document names the host and key at the time of its record."""
        host = self.then(seq)
        if host == "first" and table == "request":
            self.first = {"id": id, "key": "ssh-ed25519 " + key}
        if isinstance(host, dict):
            need(host["id"] == id, table, f"{what} names another host than this was by then")
            need(key is None or host["key"] == "ssh-ed25519 " + key, table, f"{what} is by another key than this host's by then")

    # Which act is allowed in which state, and the resulting state.
    NEXT = {
        ("new", "request"): "pending",
        ("pending", "glass"): "pending",
        ("pending", "approval"): "pending",
        ("pending", "denial"): "closed",
        ("pending", "cancellation"): "closed",
        ("pending", "grant"): "granted",
        ("granted", "use"): "granted",
        ("granted", "gone on"): "granted",
        ("granted", "review"): "granted",
        ("granted", "revocation"): "ended",
        ("granted", "release"): "ended",
        ("ended", "gone on"): "ended",
        ("ended", "review"): "ended",
    }
    # Nothing is known about pruned requests: any act is possible, and shows what the request was.
    NEXT |= {("older", act): state for (before, act), state in NEXT.items() if before != "ended"}
    NEXT["older", "review"] = "older"

    def act(self, record, id):
        kind, seq = record["kind"], record["seq"]
        act = {"start": "use", "alert": None, "review": None, "end": None}.get(kind, kind)
        if kind == "alert" and record["code"] == "break-glass":
            act = "glass"
        if kind == "review" and record["verdict"] == "settled":
            act = "review"
        if kind == "end" and "extended_by" in record:
            act, id = "gone on", record["extended_by"]
        if act not in {act for _, act in self.NEXT}:
            return
        power = act in ("approval", "grant", "use")
        self.faults.need(not (power and self.doubted), f"record {seq}: the database was older by {self.doubted}")
        state = self.ids.get(id, "older" if self.pruned else "new")
        self.faults.need((state, act) in self.NEXT, f"record {seq}: {act} of {id}, which is {state}")
        # A record that must not be there still has its effect.
        self.ids[id] = self.NEXT.get((state, act)) or self.NEXT["older", act]
        deadline = self.request.get(id, {}).get("deadline")
        if act == "approval" and deadline is not None:
            self.faults.need(record["high"] // 1_000_000 < deadline // 1_000_000, f"record {seq}: {id} was over")
        if act == "use" and self.accepted:
            living = id in self.grant and self.grant[id]["seq"] > self.accepted
            self.faults.need(living, f"record {seq}: {id} is older than what root accepted by {self.accepted}")
        if act == "use" and id in self.grant:
            self.check_use(record, self.grant[id])
        if act == "gone on":
            self.check_gone_on(record, id)

    def check_use(self, start, grant):
        what = f"record {start['seq']} is no run under the grant of record {grant['seq']}"
        same = all(start[key] == grant[key] for key in ("uid", "user")) and start.get("role") == grant["role"]
        now, first, last = (time // 1_000_000 for time in (start["high"], grant["starts"], grant["expires"]))
        once = "one-shot" in grant["limits"] and ("extends" in grant or start["grant"] in self.starts)
        self.faults.need(same and first <= now < last and not once, what)

    def check_gone_on(self, end, last):
        what = f"record {end['seq']} does not go on under {last}"
        grant = self.grant.get(last)
        once = grant and "one-shot" in grant["limits"] and last in self.extended
        leads = self.leads(end["grant"], last, self.grant)
        self.faults.need(not once and (leads or (leads is None and self.pruned)), what)
        if leads is None:
            self.unproven[end["grant"], last] = end["seq"]

    def leads(self, base, last, grants):
        """Whether one extends the other, directly or indirectly; None where a grant is unknown."""
        def holder(id):
            return [grants[id][key] for key in ("uid", "user", "role", "run_as")]
        if base not in grants:
            return None
        for _ in range(len(self.ids)):
            if last not in grants:
                return None
            if holder(last) != holder(base) or "extends" not in grants[last]:
                return False
            last = grants[last]["extends"]
            if last == base:
                return True
        return False

    def take_run(self, record, kind, begin):
        """Checks that each run begins once and ends once, and that only open runs edit and only ended ones leave processes."""
        if kind == "start":
            self.open[record["seq"]] = record
        if kind not in ("end", "edit", "left-running", "left-ended"):
            return
        number = record["start"]
        if kind == "edit":
            run = self.open.get(number)
        elif kind == "left-running":
            run = self.over.get(number) if number not in self.left else None
        else:
            run = (self.open if kind == "end" else self.left).pop(number, None)
        right = run and all(run.get(key) == record.get(key) for key in ("run", "uid", "grant"))
        older = number <= begin and not (kind == "left-running" and number in self.left)
        if kind == "left-running":
            self.left[number] = record
        if kind == "end" and run:
            self.over[number] = run
            self.count(run)
        self.faults.need(right or older, f"record {record['seq']}: {kind} of a run that was not there")

    def count(self, start):
        words = [start["user"], start["run_as"], start["path"], *start["argv"][1:]]
        command = b"".join(unescape(word) + b"\0" for word in words)
        key = (start["uid"], hashlib.sha256(command).digest())
        runs, last = self.ran.get(key, (0, start["time"]))
        self.ran[key] = (runs + 1, max(last, start["time"]))

    def counts(self, seq, by, table, id):
        """Checks that signatures after root's last acceptance are by the host's key."""
        need(not seq or seq <= self.since or by in self.present, table, f"{id} is by another key than the host's")


def told(record, words):
    """Returns the expected columns of an end."""
    return unescape(record["user"]).decode(), record["seconds"], unescape(record.get(words, ""))


def name_of(entry):
    """Returns the name of a variable in the command of a document."""
    return unescape(entry).split(b"=")[0]


# What a record and the document that it names both contain.
SHARED = {
    "request": "uid user role run_as argv duration starts deadline limits reason ticket break_glass extends",
    "approval": "user role duration limits comment",
    "grant": "uid user role run_as starts expires limits approvers break_glass extends",
    "denial": "user role reason",
    "cancellation": "user role",
    "release": "user role",
    "revocation": "user role reason holder holder_uid",
    "review": "user role comment holder holder_uid",
}


def paper_words(kind, document, asked=None):
    """Returns the expected contents of a record, from its document; `asked` is the request of the document."""
    def limits():
        return [word for key, word in (("one_shot", "one-shot"), ("exact", "exact")) if document[key] == 1]
    if kind in ("request", "grant"):
        words = {key: document[key] for key in ("uid", "role", "duration", "reason", "extends") if key in document}
        words |= {"user": escape(document["user"]), "run_as": escape(document["run_as"]), "limits": limits()}
        if document.get("break_glass") == 1:
            words["break_glass"] = 1
    if kind == "request":
        words["argv"] = document["command"]["argv"] if "command" in document else []
        words["deadline"] = document["deadline"] * 1_000_000
        if document["start"] != 0:
            words["starts"] = document["start"] * 1_000_000
        if document["ticket"] != "":
            words["ticket"] = document["ticket"]
    elif kind == "grant":
        words |= {"starts": document["starts"] * 1_000_000, "expires": document["expires"] * 1_000_000}
        words["approvers"] = [escape(name) for name in document["approvers"]]
    elif kind == "approval":
        words = {"user": escape(document["approver"]), "role": asked["role"], "limits": limits()}
        if document["duration"] != 0:
            words["duration"] = document["duration"]
        if document["comment"] != "":
            words["comment"] = document["comment"]
    else:
        words = {"user": escape(document["by"]), "role": asked["role"], "holder": escape(asked["user"])}
        words |= {"holder_uid": asked["uid"], "reason": document["reason"], "comment": document["reason"]}
        words = {key: word for key, word in words.items() if key in SHARED[kind].split()}
    return words


def same_words(record, words, table, what):
    said = {key: word for key, word in record.items() if key in SHARED[record["kind"]].split()}
    need(said == words, table, f"the record of {what} says something else than its bytes")


def same_clocks(record, document, id):
    """Checks what a grant says of the clocks when it was signed."""
    issued = record["high"] // 1_000_000
    deadline = record["boot"] + (record["expires"] // 1_000_000 - issued) * 1_000_000
    same = (document["issued"], document["boot_id"], document["boot_deadline"]) == (issued, record["boot_id"], deadline)
    behind = record["high"] - record["time"] > 60_000_000
    need(same and behind == ("this_boot" in document), "granted", f"{id} was not signed by the clocks of its record")


def is_own(request, uid, name):
    """Whether the uid or the name is that of the requester."""
    return uid == request["document"]["uid"] or name == request["document"]["user"]


# --- the tables --------------------------------------------------------------------------------------------------------

def in_order(table, rows, recorded, lost, gone, until, pruned_at):
    """Returns the ids of the older rows: the first ones, whose records were removed, and which were closed or had expired."""
    if lost is None:
        lost = next((n for n, row in enumerate(rows) if row["id"] in recorded), len(rows))
    last = 0
    for number, row in enumerate(rows, 1):
        record = recorded.get(row["id"])
        need(row["rowid"] == gone + number, table, f"row {gone + number} is missing")
        if number <= lost:
            need(record is None, table, f"{row['id']} is older than the pruning and has a record")
            closed = row["state"] != "pending" if table == "request" else row["ended"] is not None
            need(closed or pruned_at is None or row[until] <= pruned_at, table, f"the records of {row['id']} had to stay")
        else:
            need(record, table, f"{row['id']} has no record")
            need(record["seq"] > last, table, f"{row['id']} stands in another place than its record")
            last = record["seq"]
    return {row["id"] for row in rows[:lost]}


def parsed(table, row):
    try:
        return load(row["body"])
    except HOSTILE:
        raise Bad(table, f"the bytes of {row['id']}") from None


PAPERS = {
    "request": "id s uid t user s role s role_digest? s created t deadline t break_glass? b extends? s host s version n",
    "approval": "approver s id s request s role_digest? s",
    "granted": "id s uid t user s role s role_digest? s starts t expires t one_shot b break_glass? b extends? s request s "
               "approvals [s] approvers [s] exact b run_as s command? command this_boot? b boot_id? s boot_deadline? t host s "
               "version n",
    "statement": "by s id s kind s request s host s follows? s",
}
OBJECTS["command"] = "argv [w] cwd w path w program s run_as_uid t run_as_gid t run_as_groups [t]"

# The keys of version 2; there are no others. No extension is critical yet.
ALL = " critical [none] extensions texts version n"
PAPERS_2 = {
    "request": "break_glass? 1 command? terms created t deadline t duration u exact f extends? i host host id i needed n one_shot f reason w "
               "role r role_digest s run_as a start t ticket w uid n user a" + ALL,
    "approval": "approver a at t comment w duration u exact f host s id i one_shot f request s role_digest s" + ALL,
    "granted": "approvals [s] approvers [a] boot_deadline t boot_id s break_glass? 1 command? terms exact f expires t extends? i "
               "host s id i issued t one_shot f request s role r role_digest s run_as a starts t this_boot? 1 uid n user a" + ALL,
    "statement": "at t by a follows? s host s id i kind denial,cancellation,revocation,release,review reason w request s" + ALL,
}
OBJECTS["terms"] = "argv [w] cwd w environment [w] path w program s run_as_gid n run_as_groups [n] run_as_uid n"


def paper_of(table, row):
    """Returns a document, after a check of the types of its keys; keys that are null count as missing."""
    document = parsed(table, row)
    need(isinstance(document, dict), table, f"the bytes of {row['id']}")
    # No boolean: in Python, True equals 1.
    version = document.get("version") if type(document.get("version")) is int else None
    canonical = version == 1 or is_canonical(bytes(row["body"]).decode(), document)
    need(canonical, table, f"the bytes of {row['id']} are written in another form")
    document = {key: value for key, value in document.items() if value is not None}
    if version == 1:
        lacking = lacks(document, PAPERS[table])
    else:
        known = version == 2 and len(row["body"]) <= 16 << 20
        lacking = lacks(document, PAPERS_2[table]) or extra(document, PAPERS_2[table]) if known else "version"
    need(lacking is None, table, f"the {lacking} of {row['id']}")
    command = document.get("command")
    need(not isinstance(command, dict) or command.get("argv") != [], table, f"the command of {row['id']}")
    return document


class Tables:
    def __init__(self, db, journal):
        db.row_factory = sqlite3.Row
        self.db, self.journal = db, journal
        self.requests = self.read("SELECT rowid, * FROM request NOT INDEXED ORDER BY rowid")
        self.approvals = self.read("SELECT *, request AS id FROM approval")
        self.grants = self.read("SELECT rowid, * FROM granted NOT INDEXED ORDER BY rowid")
        self.by_id = {row["id"]: row for row in self.requests}
        self.described, self.newest, self.found, self.older = {}, None, [], set()
        self.meta = {row["name"]: row["value"] for row in self.read("SELECT * FROM journal_meta")}

    def read(self, query):
        return [dict(row) for row in self.db.execute(query)]

    CHECKS = (
        "requests", "approvals", "grants", "debts", "roles", "statements", "settings", "policy_roles", "principals",
        "certifications", "runs", "precedents", "meta",
    )

    NAMED = {
        "request": "request", "approval": "approval", "grant": "granted", "debt": "review_debt", "role": "role_text",
        "statement": "statement", "setting": "policy_settings", "policy_role": "policy_role", "principal": "policy_principal",
        "certification": "certification", "run": "open_run", "precedent": "precedent", "meta": "journal_meta",
    }

    def check(self):
        """Returns the first fault of each row that gives permission, and of each other table."""
        for name in self.CHECKS:
            self.attempt(getattr(self, "check_" + name))
        return self.found

    def attempt(self, check, *words):
        try:
            check(*words)
        except Bad as bad:
            self.found.append(bad)
        except HOSTILE as error:
            # Rows that depend on an unread row cannot be compared; and only one fault is reported for a row that cannot be read.
            table = self.NAMED[check.__name__.removeprefix("check_").removeprefix("place_").rstrip("s")]
            self.found.append(Bad(table, f"a row that cannot be read ({type(error).__name__})"))

    def check_requests(self):
        journal, table = self.journal, "request"
        self.attempt(self.place_requests)
        for row in self.requests:
            self.attempt(self.check_request, row)
        missing = set(journal.request) - set(self.by_id)
        need(not missing, table, f"{missing} missing")

    def place_requests(self):
        self.older = in_order("request", self.requests, self.journal.request, self.journal.lost[0], self.journal.gone[0], "deadline", self.journal.pruned_at)

    def check_request(self, row):
        id, table = row["id"], "request"
        record = self.journal.request.get(id)
        row["document"] = document = paper_of(table, row)
        if record:
            need(sha(row["body"]) == record["sha256"], table, f"the bytes of {id}")
            need(record.get("needed", row["needed"]) == row["needed"], table, f"needed of {id}")
        need(row["needed"] >= 0, table, f"needed of {id}")
        need(document["version"] == 1 or row["needed"] == document["needed"], table, f"needed of {id}")
        if document["version"] > 1:
            need(is_host(document["host"]), table, f"the host of {id}")
            host, key = document["host"]["id"], document["host"]["key"].split()[1]
            if record:
                self.newest = (record["seq"], host)
            self.journal.counts(record and record["seq"], key, table, id)
            if record:
                self.journal.is_then(record["seq"], host, key, table, id)
                same_words(record, paper_words("request", document), table, id)
            self.described.setdefault(host, set()).add(key)
        for column in ("id", "uid", "role", "created", "deadline"):
            need(row[column] == document[column], table, f"{column} of {id}")
        need(row["extends"] == document.get("extends"), table, f"extends of {id}")
        self.check_state(row, document)

    def check_state(self, row, document):
        id, journal = row["id"], self.journal
        columns = (row["ended_by"], row["ended_at"], row["ended_reason"])
        decision, state = journal.decision.get(id), row["state"]
        if id in journal.grant:
            right = state == "approved"
        elif decision:
            right = state == {"denial": "denied", "cancellation": "cancelled"}[decision["kind"]]
            words = "reason" if decision["kind"] == "denial" else ""
            need(right and columns == told(decision, words), "request", f"the state of {id}: {state}, {decision}")
            return
        elif id in self.older:
            need(state in ("pending", "approved", "denied", "cancelled", "expired"), "request", f"the state of {id}")
            return
        else:
            right = state == "pending" or (state == "expired" and document["version"] == 1)
        need(right and columns == (None, None, None), "request", f"the state of {id}: {state}")

    def check_approvals(self):
        table, found = "approval", set()
        for row in self.approvals:
            id, uid = row["id"], row["uid"]
            request, record = self.by_id.get(id), self.journal.approval.get((id, uid))
            need(request, table, f"there is no request {id}")
            need(record or id in self.older, table, f"the approval of {id} by {uid} has no record")
            row["document"] = document = paper_of(table, row)
            if record:
                need(sha(row["body"]) == record["sha256"], table, f"the bytes of the approval of {id} by {uid}")
                columns = (record["seconds"], record.get("key"), unescape(record["user"]).decode())
                need(columns == (row["at"], row["key"], document["approver"]), table, f"the columns of {id} by {uid}")
            host = request["document"]["host"]
            same = document.get("host", host) in (host, host["id"] if isinstance(host, dict) else host)
            need(same, table, f"the approval of {id} by {uid} is for another host")
            same = (document["id"], document["request"]) == (id, sha(request["body"]))
            need(same, table, f"the approval of {id} by {uid} is for another request")
            need(not is_own(request, uid, document["approver"]), table, f"{uid} approved the own request {id}")
            same = document.get("role_digest") == request["document"].get("role_digest")
            need(same, table, f"the approval of {id} by {uid} is for another role text")
            same = document["version"] == request["document"]["version"]
            need(same, table, f"the approval of {id} by {uid} has another version than its request")
            if record and request["document"]["version"] > 1:
                words = paper_words("approval", document, request["document"])
                same_words(record, words, table, f"the approval of {id} by {uid}")
            if row["signature"] is not None or row["key"] is not None:
                by = row["signature"] and signer("jit-sudo/approval/v1", row["body"], row["signature"])
                need(by and fingerprint(by) == row["key"], table, f"the signature of {id} by {uid}")
            found.add((id, uid))
        need(not set(self.journal.approval) - found, table, "one is missing")

    def check_grants(self):
        journal, table = self.journal, "granted"
        older = in_order(table, self.grants, journal.grant, journal.lost[1], journal.gone[1], "expires", journal.pruned_at)
        for row in self.grants:
            self.attempt(self.check_grant, row, row["id"] in older)
        ids = {row["id"] for row in self.grants}
        named = set(journal.grant) | set(journal.end) | set(journal.starts) | set(journal.extended)
        named |= {row["id"] for row in self.requests if row["state"] == "approved"}
        need(not named - ids, table, f"{named - ids} missing")
        for id, record in journal.grant.items():
            over = journal.end.get(record.get("extends"))
            right = not over or id in journal.end or record["expires"] // 1_000_000 <= over["high"] // 1_000_000
            need(right, table, f"{id} has not ended with {record.get('extends')}")
        self.check_unproven()

    def check_grant(self, row, older):
        id, table = row["id"], "granted"
        if not older:
            need(sha(row["body"]) == self.journal.grant[id]["sha256"], table, f"the bytes of {id}")
        document = paper_of(table, row)
        for column in ("id", "uid", "role", "starts", "expires"):
            need(row[column] == document[column], table, f"{column} of {id}")
        if not older and document["version"] > 1:
            record = self.journal.grant[id]
            same_words(record, paper_words("grant", document), table, id)
            same_clocks(record, document, id)
            self.journal.is_then(record["seq"], document["host"], None, table, id)
        self.check_asked(row, document)
        self.check_named(row, document)
        self.check_within(row, document)
        self.check_end(row, document, older)

    def check_asked(self, row, document):
        id, request = row["id"], self.by_id.get(row["id"])
        need(request and request["state"] == "approved", "granted", f"there is no approved request {id}")
        need(sha(request["body"]) == document["request"], "granted", f"{id} is for another request")
        asked = request["document"]
        for key in ("uid", "user", "role", "role_digest", "break_glass", "extends"):
            need(asked.get(key) == document.get(key), "granted", f"{key} of {id} is not that of the request")
        by, host = signer("jit-sudo/grant/v1", row["body"], row["signature"]), asked["host"]
        need(by, "granted", f"the signature of {id}")
        if asked["version"] > 1:
            need(host["key"] == "ssh-ed25519 " + by and host["id"] == document["host"], "granted", f"the key of {id}")
        else:
            need(host == document["host"], "granted", f"the host of {id}")

    def check_named(self, row, document):
        id, people, keys = row["id"], [], []
        beside = {sha(other["body"]): other for other in self.approvals if other["id"] == id}
        need(len(document["approvals"]) == len(document["approvers"]), "granted", f"the approvers of {id}")
        for digest, approver in zip(document["approvals"], document["approvers"]):
            other = beside.get(digest)
            need(other and other["document"]["approver"] == approver, "granted", f"an approval of {id} is missing")
            need(not is_own(self.by_id[id], other["uid"], approver), "granted", f"an approval of {id} is the requester's")
            twice = any(other["uid"] == uid or approver == name for uid, name in people)
            need(not twice and (other["key"] is None or other["key"] not in keys), "granted", f"an approval of {id} counts twice")
            people.append((other["uid"], approver))
            keys.append(other["key"])
        asked = self.by_id[id]["document"]
        needed = asked["needed"] if asked["version"] > 1 else self.by_id[id]["needed"]
        need(len(people) >= needed, "granted", f"{id} has too few approvals")
        if document["version"] > 1 and id in self.journal.grant:
            self.check_explained(id, document, beside)

    def check_explained(self, id, document, beside):
        """Checks that the grant names each approval, or that its record says why it does not count."""
        entries = self.journal.grant[id].get("not_counted", [])
        others = {entry["sha256"]: entry for entry in entries}
        need(len(others) == len(entries), "granted", f"the record of {id} has an approval twice")
        given = [(digest, row["document"]["approver"], row["uid"], row["key"], False) for digest, row in beside.items()]
        for record in self.journal.given.get(id, []):
            last = self.journal.approval[id, record["uid"]] is record
            given.append((record["sha256"], unescape(record["user"]).decode(), record["uid"], record.get("key"), not last))
        named = [one for one in given if one[0] in document["approvals"]]
        for one in given:
            digest, approver, superseded = one[0], one[1], one[4]
            entry = others.get(digest)
            if one in named:
                right = not entry and not superseded
            else:
                right = entry and unescape(entry["user"]).decode() == approver and self.is_reason(entry["why"], one, named, id)
            need(right, "granted", f"{id} does not say whether the approval of {approver} counts")
        need(not set(others) - {one[0] for one in given}, "granted", f"the record of {id} has an approval that was not given")

    def is_reason(self, why, one, named, id):
        """Whether the evidence allows this reason; what the host knew of people and keys is its word."""
        _, approver, uid, key, superseded = one
        if superseded or why == "superseded":
            return superseded and why == "superseded"
        return {
            "own-request": is_own(self.by_id[id], uid, approver),
            "same-person": any(uid == other[2] or approver == other[1] for other in named),
            "same-key": key is not None and any(key == other[3] for other in named),
            "other-role": False,
            "unsigned": key is None,
            "not-valid": key is not None,
        }.get(why, True)

    def check_within(self, row, document):
        id, asked = row["id"], self.by_id[row["id"]]["document"]
        need(document["version"] == asked["version"], "granted", f"the version of {id} is not that of the request")
        if document["version"] == 1:
            return
        for key in ("id", "run_as", "command"):
            need(asked.get(key) == document.get(key), "granted", f"{key} of {id} is not that of the request")
        beside = {sha(other["body"]): other["document"] for other in self.approvals if other["id"] == id}
        approvals = [beside[digest] for digest in document["approvals"]]
        for limit in ("exact", "one_shot"):
            least = max([asked[limit]] + [approval[limit] for approval in approvals])
            need(document[limit] >= least, "granted", f"{limit} of {id} is wider than approved")
        need(document["starts"] == max(asked["start"], document["issued"]), "granted", f"the start of {id}")
        need(not approvals or document["issued"] < asked["deadline"], "granted", f"{id} was signed after the deadline")
        durations = [approval["duration"] for approval in approvals if approval["duration"] > 0]
        lasts = document["expires"] - document["starts"]
        need(lasts <= min([asked["duration"]] + durations), "granted", f"{id} lasts longer than approved")

    def check_end(self, row, document, older):
        id, journal, ended = row["id"], self.journal, row["ended"]
        columns = (row["ended_by"], row["ended_at"], row["ended_reason"])
        starts, end = journal.starts.get(id, []), journal.end.get(id)
        one_shot, extended = document["one_shot"] == 1, journal.extended.get(id, [])
        need(not one_shot or len(starts) <= 1, "granted", f"{id} was used more than once")
        need(not (one_shot and "extends" in document and starts), "granted", f"{id} serves no new run")
        need(not one_shot or len(extended) <= 1, "granted", f"two runs went on under {id}")
        over = older and not end and ended in ("revoked", "released")
        need(not (over and starts), "granted", f"a run began after the end of {id}")
        for start in starts:
            self.check_start(start, document, older)
            said = start.get("grant_sha256", sha(row["body"]))
            need(said == sha(row["body"]), "granted", f"record {start['seq']}: {id} had other bytes")
        if end:
            word = {"revocation": "revoked", "release": "released"}[end["kind"]]
            need(ended == word and columns == told(end, "reason" if word == "revoked" else ""), "granted", f"the end of {id}: {ended}, {end}")
            return
        used = ended == "used" and (columns[0], columns[2]) == (document["user"], b"")
        nothing = ended is None and columns == (None, None, None)
        if one_shot and starts:
            right = used and columns[1] == starts[0]["seconds"]
        elif one_shot and id in journal.extended:
            right = used or (older and ended in ("revoked", "released"))
        else:
            right = nothing or (used and one_shot and ("extends" in document or older))
            right = right or (older and ended in ("revoked", "released"))
        need(right, "granted", f"the end of {id}: {ended}, {columns}")

    def check_start(self, start, document, older):
        what = f"record {start['seq']} is no run under {document['id']}"
        if older:
            same = (start["uid"], unescape(start["user"]).decode(), start.get("role"))
            need(same == (document["uid"], document["user"], document["role"]), "granted", what)
            need(document["starts"] <= start["high"] // 1_000_000 < document["expires"], "granted", what)
        late = start["boot_id"] == document["boot_id"] and start["boot"] >= document["boot_deadline"]
        need(not late, "granted", what)
        need(document.get("this_boot") != 1 or start["boot_id"] == document["boot_id"], "granted", what)
        need(start["identity"] in (None, document["host"]), "granted", what)
        if document["exact"] != 1 or (document["version"] == 1 and "command" not in document):
            return
        need("command" in document, "granted", what)
        command = document["command"]
        same = [start[key] == command[key] for key in ("argv", "path", "run_as_uid", "run_as_gid")]
        same += [start["sha256"] == command["program"], unescape(start["run_as"]).decode() == document["run_as"]]
        same += [sorted(start["run_as_groups"]) == sorted(command["run_as_groups"])]
        # Files to edit are named by their paths.
        same += [command["cwd"] in ("", start["cwd"])]
        if "editor" not in start:
            named = {name_of(entry) for entry in command["environment"]}
            loaded = {unescape(variable["name"]) for variable in start["environment"]}
            same += [not {name for name in loaded if name.startswith(b"LD_")} - named]
        need(all(same), "granted", what)

    def check_unproven(self):
        grants, journal = {row["id"]: paper_of("granted", row) for row in self.grants}, self.journal
        for (base, last), seq in journal.unproven.items():
            need(journal.leads(base, last, grants), "granted", f"record {seq}: {last} does not extend {base}")

    def check_debts(self):
        journal, table = self.journal, "review_debt"
        said = {row["id"] for row in self.requests if row["document"].get("break_glass") == 1}
        rows = self.read("SELECT * FROM review_debt NOT INDEXED")
        for row in rows:
            id = row["id"]
            need(id in said, table, f"{id} broke no glass")
            need(id in journal.alert or id in self.older, table, f"{id} has no alert")
            document = self.by_id[id]["document"]
            same = (row["uid"], row["user"], row["role"], row["at"])
            need(same == (document["uid"], document["user"], document["role"], document["created"]), table, f"{id} is another's")
            columns, record = (row["reviewer"], row["reviewed"], row["comment"]), journal.settled.get(id)
            if record:
                need(columns == told(record, "comment"), table, f"the review of {id}")
            elif id not in self.older:
                need(columns == (None, None, None), table, f"nobody reviewed {id}")
        missing = (said | journal.alert | set(journal.settled)) - {row["id"] for row in rows}
        need(not missing, table, f"{missing} missing")

    def check_roles(self):
        rows = {row["digest"]: row["body"] for row in self.read("SELECT * FROM role_text")}
        said = {row["document"]["role_digest"] for row in self.requests if "role_digest" in row["document"]} | self.journal.roles
        surplus = set() if self.journal.pruned else set(rows) - said
        need(not surplus and not said - set(rows), "role_text", f"{set(rows) ^ said}")
        for digest, body in rows.items():
            need(sha(body) == digest, "role_text", digest)

    def check_statements(self):
        table, found, causes = "statement", set(), {}
        for row in self.read("SELECT *, request AS id FROM statement NOT INDEXED ORDER BY rowid"):
            id, digest, request = row["id"], sha(row["body"]), self.by_id.get(row["id"])
            need(request, table, f"there is no request {id}")
            record, document = self.journal.stated.get(digest), paper_of(table, row)
            if record:
                columns = (record["grant"], record["kind"], record["seconds"], record["uid"], record.get("key"))
                same = columns == (id, row["kind"], row["at"], row["uid"], row["key"])
                need(same and document["by"] == unescape(record["user"]).decode(), table, f"the columns of one of {id}")
            else:
                need(id in self.older, table, f"one of {id} has no record")
            need(not record or digest not in found, table, f"one of {id} stands there twice")
            found.add(digest)
            same = (document["id"], document["kind"], document["request"]) == (id, row["kind"], sha(request["body"]))
            need(same, table, f"one of {id} is of another request")
            self.check_author(row, document["by"], request)
            this = (row["kind"], row["uid"], document["by"])
            if "follows" in document:
                cause = (request["document"].get("extends"),) + this
                right = row["kind"] in ("revocation", "release") and causes.get(document["follows"]) == cause
                need(right, table, f"one of {id} follows from nothing")
            causes[digest] = (id,) + this
            if record:
                same_words(record, paper_words(row["kind"], document, request["document"]), table, f"one of {id}")
            self.check_signatures(table, row, document, request["document"])
        need(not set(self.journal.stated) - found, table, "one is missing")

    def check_author(self, row, by, request):
        id, kind, own = row["id"], row["kind"], is_own(request, row["uid"], by)
        holder = (row["uid"], by) == (request["document"]["uid"], request["document"]["user"])
        need(holder or kind not in ("cancellation", "release"), "statement", f"one of {id} is not by the requester")
        need(not own or kind not in ("review", "denial") or (kind == "denial" and row["uid"] == request["document"]["uid"] == 0), "statement", f"one of {id} is by the requester")

    def check_signatures(self, table, row, document, asked):
        by, host = signer("jit-sudo/statement/v1", row["body"], row["host_signature"]), asked["host"]
        need(by, table, f"the host's signature of one of {row['id']}")
        record = self.journal.stated.get(sha(row["body"]))
        self.journal.counts(record and record["seq"], by, table, row["id"])
        what, asking = f"one of {row['id']}", host["id"] if asked["version"] > 1 else host
        then = self.journal.then(record["seq"]) if record else None
        if isinstance(then, dict):
            self.journal.is_then(record["seq"], document["host"], by, table, what)
        elif asking == document["host"]:
            right = asked["version"] == 1 or host["key"] == "ssh-ed25519 " + by
            need(right, table, f"the host's key of {what}")
        else:
            need(then != "first", table, f"{what} names another host than this was by then")
            known = self.described.get(document["host"])
            need(known is None or by in known, table, f"the host's key of {what}")
        if row["signature"] is not None or row["key"] is not None:
            by = row["signature"] and signer("jit-sudo/statement/v1", row["body"], row["signature"])
            need(by and fingerprint(by) == row["key"], table, f"the signature of one of {row['id']}")


    def check_settings(self):
        table, last = "policy_settings", self.journal.policies.last
        rows = self.read("SELECT * FROM policy_settings")
        for row in rows:
            text = b"settings of " + row["policy"].hex().encode() + b"\0" + row["body"]
            need(sha(text) == row["sha256"].hex(), table, "the digest of the settings")
            text = f"policy {row['policy'].hex()} {row['sha256'].hex()} {row['format']}\n{row['stamp']}".encode()
            seal = hmac.new(self.meta.get("redaction_key", b""), text, "sha256").digest()
            need("redaction_key" not in self.meta or seal == row["seal"], table, "the seal of the stamp")
            if not self.unknown():
                need(last and last["policy"] == row["policy"].hex(), table, "they are of another policy")
                said = last.get("settings_sha256", row["sha256"].hex())
                need(said == row["sha256"].hex(), table, "the settings are not those of the last policy record")
            self.check_files(row["files"])
        need(rows or not last, table, "the settings are missing")
        need(len(rows) < 2, table, "there are several")

    def unknown(self):
        return self.journal.pruned and not self.journal.policies.last

    def check_files(self, text):
        table, last = "policy_settings", self.journal.policies.last
        try:
            files = dict(json.loads(text))
        except (ValueError, TypeError):
            raise Bad(table, "the list of files") from None
        written = json.dumps(files, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
        need(written == text, table, "the list of files is not as it is written")
        if last and "files" in last:
            said = {file["path"]: file["sha256"] for file in last["files"] if file.get("change") != "removed"}
            need(len(said) != last["file_count"] or said == files, table, "the files differ")

    def check_policy_roles(self):
        table, policies, lines, self.principals = "policy_role", self.journal.policies, b"", set()
        rows = self.read("SELECT * FROM policy_role NOT INDEXED")
        for row in sorted(rows, key=lambda row: row["name"].encode()):
            name, body = row["name"], row["body"]
            need(hashlib.sha256(name.encode() + b"\0" + body).digest() == row["sha256"], table, f"the bytes of {name}")
            role = parsed(table, {"id": name, "body": body})
            place = json.dumps(role["source"], ensure_ascii=False, separators=(",", ":"))
            before, found, behind = body.rpartition(b',"source":' + place.encode())
            digest = hashlib.sha256(name.encode() + b"\0" + before + behind)
            need(found and digest.digest() == row["digest"], table, f"the digest of {name}")
            lines += f"{digest.hexdigest()}  {name}\n".encode()
            said = policies.at(name, policies.count)
            if not self.unknown() and said is not None:
                right = said != "absent" and said["sha256"] == digest.hexdigest()
                need(right, table, f"{name} is not as the policy records say")
            if said is None and name in policies.held:
                held, entry = policies.held[name], {"sha256": digest.hexdigest(), "role_digest": role["digest"]}
                need(policies.same(held, entry), table, f"{name} is not as record {held['seq']} says")
            for kind in ("standing", "eligible"):
                people = [who for who in role[kind] if not who.startswith("!")]
                self.principals |= {("+" if who.startswith("+") else who, kind, name) for who in people}
        names = {row["name"] for row in rows}
        need(not set(policies.held) - names, table, f"{set(policies.held) - names} missing")
        for name in policies.roles:
            need(policies.at(name, policies.count) in (None, "absent") or name in names, table, f"{name} is missing")
        if policies.last and "roles_sha256" in policies.last:
            need(sha(lines) == policies.last["roles_sha256"], table, "the roles together")

    def check_principals(self):
        rows = {(row["principal"], row["kind"], row["role"]) for row in self.read("SELECT * FROM policy_principal")}
        need(rows == self.principals, "policy_principal", f"{rows ^ self.principals}")


    def check_certifications(self):
        table, found = "certification", set()
        for row in self.read("SELECT * FROM certification"):
            key = (row["role"], row["holder"])
            record = self.journal.certified.get(key)
            if record:
                same = row["verdict"] == record["verdict"]
                same = same and (row["reviewer"], row["at"], row["comment"]) == told(record, "comment")
                need(same, table, f"that of {key}")
            else:
                need(self.journal.pruned, table, f"{key} has no record")
            found.add(key)
        need(not set(self.journal.certified) - found, table, "one is missing")

    def check_runs(self):
        table, missing = "open_run", {0: set(self.journal.open), 1: set(self.journal.left)}
        for row in self.read("SELECT * FROM open_run"):
            number, ended = row["start"], row["ended"]
            need(ended in missing, table, f"whether run {row['run']} has ended")
            record = (self.journal.left if ended else self.journal.open).get(number)
            older = ended and 0 < number <= self.journal.begin
            need(record or older, table, f"run {row['run']} is not there")
            if record:
                this = (record["run"], record["uid"], record.get("grant"))
                need((row["run"], row["uid"], row["grant_id"]) == this, table, f"the columns of {row['run']}")
            missing[ended].discard(number)
        need(not missing[0] and not missing[1], table, "one is missing")

    def check_precedents(self):
        until = self.journal.pruned_until if self.journal.pruned else None
        for row in self.read("SELECT * FROM precedent"):
            runs, last = self.journal.ran.get((row["uid"], row["command"]), (0, None))
            need(row["runs"] >= 0, "precedent", "less than none")
            if last is None:
                right = until is not None and row["last"] <= until
            else:
                right = row["last"] <= max(last, last if until is None else until)
                right = right and (until is not None or row["runs"] <= runs)
            need(right, "precedent", f"{row['runs']} runs by {row['uid']}")

    def check_meta(self):
        table, journal = "journal_meta", self.journal
        older = journal.older > journal.consent
        for name, value in self.meta.items():
            known = name in ("redaction_key", "host", "restored", "pruned", "unsealed", "backup") or name.startswith(("stored:", "recorded:", "limit:", "failed:", "certificate:"))
            need(known, table, f"nothing is kept as {name}")
            need(name != "redaction_key" or len(value) == 32, table, "the key")
            if name == "host" and self.newest and self.newest[0] > max(journal.host_changed, journal.rotated, journal.consent):
                need(value.decode() == self.newest[1], table, "the host")
            need(name != "restored" or older or journal.pruned, table, "nobody said that it was restored")
        need("redaction_key" in self.meta, table, "the key is missing")
        need("host" in self.meta or not self.newest, table, "the host is missing")
        need("restored" in self.meta or not older, table, "that it was restored is missing")


def whole(db):
    """Every index agrees with its table: one that lacks a row hides it from the product."""
    (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    need(found == "ok", "journal", f"the database is damaged: {found}")


def check(path, key, now):
    db = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        journal = Journal(db, key.split()[1], now)
        if not journal.faults:
            whole(db)
        bad = journal.faults + Tables(db, journal).check()
    except Bad as broken:
        bad = [broken]
    except HOSTILE as error:
        bad = [Bad("journal", f"it cannot be read ({type(error).__name__})")]
    finally:
        db.close()
    return "; ".join(f"{fault.what}: {fault}" for fault in bad[:100]) or "intact"


def main():
    words, now = sys.argv[1:], time.time()
    if words[:1] == ["--at"]:
        words, now = words[2:], float(words[1])
    if words == ["-"]:
        words = sys.stdin.read().splitlines()
    verdicts = [check(path, key, now) for path, key in zip(words[::2], words[1::2])]
    print("\n".join(verdicts))
    sys.exit(0 if all(verdict == "intact" for verdict in verdicts) else 1)


if __name__ == "__main__":
    main()
