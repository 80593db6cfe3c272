#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""compare.py FILE: do libdlog and the reader written from docs/abi.md agree?

Records are compared one by one: ring, boot, position, time, kind, argument,
data.  dlog-read joins the pieces of a printk line and merges rings by time;
the same is done here to the other reader's records, by docs/abi.md section 7.
"""

import decimal
import json
import os
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(os.path.dirname(os.path.dirname(HERE)),
                     os.environ.get('DLOG_BUILD') or 'build')
FIELDS = ('ring', 'boot', 'position', 'time', 'kind', 'arg', 'data')
PRINTK = 3
CONT, OPEN, TAKEN = 1 << 30, 1 << 29, 1 << 27
KINDS = {'text': 2, 'printk': 3, 'event': 4, 'boot': 5, 'state': 6, 'regs': 7,
         'stack': 8, 'call': 9, 'blocks': 14}


def parse(line):
    record = json.loads(line)
    return tuple(record[name] for name in FIELDS)


def second_reader(path):
    out = subprocess.run([sys.executable, '-B',
                          os.path.join(HERE, 'reader.py'), path],
                         stdout=subprocess.PIPE, check=True).stdout
    return [tuple(json.loads(line)['record'][name] for name in FIELDS)
            for line in out.splitlines() if line.startswith(b'{"record"')]


def joined(records):
    """By boot and time, pieces of a line joined, printk without caller."""
    lines = []
    open_line = None
    taken = {}
    keyed = []
    for record in sorted(records, key=lambda r: (r[0], r[2])):
        ring, boot, position, time, kind, _, data = record
        if kind == PRINTK and len(data) >= 8 and \
                struct.unpack('<I', bytes.fromhex(data[:8]))[0] & TAKEN:
            time = taken[ring, boot] = max(time, taken.get((ring, boot), 0))
        keyed.append((boot, time, ring, position, record))
    for *_, record in sorted(keyed):
        record = list(record)
        if record[4] == PRINTK and len(record[6]) >= 8:
            caller, = struct.unpack('<I', bytes.fromhex(record[6][:8]))
            record[6] = record[6][8:]
            if caller & CONT and open_line and open_line[3] == record[3]:
                open_line[6] += record[6]
                if not caller & OPEN:
                    open_line = None
                continue
            lines.append(record)
            open_line = record if caller & OPEN else None
        else:
            lines.append(record)
    return [tuple(line) for line in lines]


def libdlog(path):
    out = subprocess.run([os.path.join(BUILD, 'bin/dlog-read'), '-o', 'json',
                          '-t', ','.join(KINDS), path], stdout=subprocess.PIPE, check=True).stdout
    return [from_json(json.loads(line, parse_float=decimal.Decimal))
            for line in out.splitlines()]


def from_json(e):
    text = e['kind'] in ('text', 'printk')
    return (e['ring'], e['boot'], e['position'], int(e['time'] * 10**9),
            KINDS[e['kind']],
            e['facility'] << 3 | e['level'] if text else e['arg'],
            e['hex'] if 'hex' in e else e['text'].encode().hex())


def main():
    theirs = joined(second_reader(sys.argv[1]))
    ours = libdlog(sys.argv[1])
    for mine, other in zip(ours, theirs):
        if mine != other:
            sys.exit('libdlog:   %r\nreader.py: %r' % (mine, other))
    if len(ours) != len(theirs):
        sys.exit('libdlog has %d records, reader.py %d'
                 % (len(ours), len(theirs)))
    if not ours:
        sys.exit('no records to compare')
    print('%d records, the same' % len(ours))


if __name__ == '__main__':
    main()
