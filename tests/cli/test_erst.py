#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-read on files of QEMU's acpi-erst device, built here byte by byte as
hw/acpi/erst.c of QEMU, drivers/acpi/apei/erst.c and fs/pstore/platform.c of
Linux and UEFI's appendix N say."""

import json
import os
import struct
import sys
import uuid
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cli import (case, fails, lines, objects, path, read, same,  # noqa: E402
                 texts)
from lib.case import main  # noqa: E402

SLOT = 8192
T0 = 1700000000  # 2023-11-14 22:13:20 UTC
BOOT = T0 << 32  # record ids of that boot

PSTORE = uuid.UUID('75a574e3-5052-4b29-8a8e-be2c6490b89d')
DMESG = uuid.UUID('c197e04e-d545-4a70-9c17-a5549419eb12')
DMESG_Z = uuid.UUID('4f118707-04dd-4055-b5dd-956d34ddfac6')
MCE = uuid.UUID('fe08ffbe-95e4-4be7-bc73-4096044a38fc')
MEMORY = uuid.UUID('a5bc1114-6f64-4ede-b863-3e83ed7c83b1')
OTHER = uuid.UUID('01234567-89ab-cdef-0123-456789abcdef')


def record(number, body, kind=DMESG, creator=PSTORE, time=T0, severity=1,
           sections=1, valid=2):
    """A CPER record; each section's body is the same."""
    size = 128 + 72 * sections
    out = struct.pack('<4sHIHIIIQ', b'CPER', 0x100, 0xffffffff, sections,
                      severity, valid, size + len(body), time)
    out += bytes(32) + creator.bytes_le + bytes(16)
    out += struct.pack('<QIQ12x', number, 2, 0)
    for _ in range(sections):
        out += struct.pack('<IIHBBI16s16sI20x', size, len(body), 0x100, 0, 0,
                           1, kind.bytes_le, bytes(16), severity)
    assert len(out) == size
    return out + body


def deflate(data, bits=-15):
    z = zlib.compressobj(wbits=bits)
    return z.compress(data) + z.flush()


def part(number, reason, n, text, bits=None, **more):
    body = ('%s Part%d\n%s' % (reason, n, text)).encode('latin-1')
    if bits:
        return record(number, deflate(body, bits), DMESG_Z, **more)
    return record(number, body, **more)


def store(records, slots=16, named=True, count=None, name='guest.erst'):
    """A file with @records in its slots from 1 on; None: an empty one."""
    data = bytearray(slots * SLOT)
    ids = [0] * slots
    for i, r in enumerate(records, 1):
        if r is None:
            continue
        data[i * SLOT:(i + 1) * SLOT] = r + b'\xff' * (SLOT - len(r))
        if named:
            ids[i] = struct.unpack_from('<Q', r, 96)[0]
    struct.pack_into('<8sIIHHI%dQ' % slots, data, 0, b'ERSTSTOR', SLOT, SLOT,
                     0x100, 0, sum(map(bool, ids)) if count is None else count,
                     *ids)
    return write(data, name)


def write(data, name='guest.erst'):
    with open(path(name), 'wb') as f:
        f.write(data)
    return path(name)


def change(file, at, data):
    with open(file, 'r+b') as f:
        f.seek(at)
        f.write(data)
    return file


def facts(file):
    return json.loads(read('--stats', '-o', 'json', file).lines[0])['facts']


def line(n, level=6, time=None):
    return '<%d>[%5d.%06d] line %d\n' % (level, n if time is None else time,
                                         n * 7, n)


def some(*numbers):
    return ''.join(line(n) for n in numbers)


def named(*numbers):
    return ['line %d' % n for n in numbers]


def two_dumps():
    """An oops of three parts and the panic after it; slots in no order."""
    return [part(BOOT + 2, 'Oops#1', 2, some(3, 4), -11),
            part(BOOT + 4, 'Panic#2', 1, some(7, 8), -15),
            part(BOOT + 1, 'Oops#1', 1, some(5, 6), -15),
            part(BOOT + 5, 'Panic#2', 2, some(5, 6)),
            part(BOOT + 3, 'Oops#1', 3, some(1, 2))]


def doubts(file):
    return [(o['boot'], o['text'], o.get('doubt')) for o in objects(file)]


ALL = [(1, 'line %d' % n, None) for n in range(1, 7)] + [
    (2, 'line %d' % n, None) for n in (5, 6, 7, 8)]


@case
def parts_make_dumps():
    file = store(two_dumps())
    same(doubts(file), ALL)
    same(lines('-b', '2', '-x', file)[0],
         'kern  :info  : [    5.000035] line 5')
    boots = [json.loads(x) for x in lines('--list-boots', '-o', 'json', file)]
    same([b['status'] for b in boots], ['oops', 'panic'])
    f = facts(file)
    same(f['dump 1'], 'Oops#1, 3 parts, %d bytes, 2023-11-14 22:13:20 UTC' %
         len(some(1, 2, 3, 4, 5, 6)))
    same(f['records'], '5 of dumps, 0 of other errors; 0 deleted by the '
         'guest, 0 damaged')


@case
def same_names_of_two_boots():
    """Each boot counts its dumps from 1 on; ids tell them apart."""
    later = (T0 + 60) << 32
    file = store([part(later + 1, 'Panic#1', 1, some(3), time=T0 + 60),
                  part(BOOT + 1, 'Panic#1', 1, some(2)),
                  part(BOOT + 2, 'Panic#1', 2, some(1)),
                  part(later + 2, 'Panic#1', 2, some(2), time=T0 + 60)])
    same([(b, t) for b, t, _ in doubts(file)],
         [(1, 'line 1'), (1, 'line 2'), (2, 'line 2'), (2, 'line 3')])


@case
def wall_clock_of_the_newest_line():
    """It was written at the time of the dump."""
    file = store([part(BOOT + 1, 'Panic#1', 1, line(8, time=30)),
                  part(BOOT + 2, 'Panic#1', 2, line(7, time=10))])
    same([o['real'] for o in objects(file)],
         ['2023-11-14T22:12:59.999993000Z', '2023-11-14T22:13:20.000000000Z'])
    file = store([part(BOOT + 1, 'Panic#1', 1, line(8), valid=0)])
    same([o['real'] for o in objects(file)], [None])
    # No time in the lines.
    file = store([part(BOOT + 1, 'Panic#1', 1, '<6>no time\n')])
    same([(o['text'], o['level'], o['real']) for o in objects(file)],
         [('no time', 6, None)])


@case
def prefixes_and_bytes():
    file = store([part(BOOT + 1, 'Panic#1', 1,
                       '<30>[    1.000000][  T123] a daemon\n'
                       '<4>[    1.000001][    C1] on a CPU\n'
                       '<3>[    2.000000] first\n<3>[    2.000000] second\n'
                       '<6>[    3.000000] \x01\x80\xff<4>\n')])
    got = objects(file)
    same([(o['facility'], o['level'], o['caller']) for o in got[:2]],
         [(3, 6, 'T123'), (0, 4, 'C1')])
    same([o['text'] for o in got[:4]], ['a daemon', 'on a CPU', 'first',
                                        'second'])
    assert read('-o', 'raw', file).raw.endswith(b'\x01\x80\xff<4>\n')


@case
def header_lost():
    for at, size in ((0, 8), (8, 1), (16, 1), (0, 4096)):
        file = change(store(two_dumps()), at, b'\xa5' * size)
        same(doubts(file), [(b, t, 'salvaged') for b, t, _ in ALL])
        same(facts(file)['store'],
             'header damaged: records found by their signature')


@case
def directory_lost():
    """A count that fits no more: nobody knows what was deleted."""
    file = store(two_dumps(), named=False, count=5)
    same(doubts(file), [(b, t, 'salvaged') for b, t, _ in ALL])
    # One entry says something else.
    file = change(store(two_dumps()), 24 + 8 * 2, b'\x77')
    assert len(doubts(file)) == len(ALL)
    same([t for b, t, d in doubts(file) if d], named(7, 8))


@case
def deleted_by_the_guest():
    file = store(two_dumps(), named=False)
    same(doubts(file), [(b, t, 'stale') for b, t, _ in ALL])
    assert '5 deleted by the guest' in facts(file)['records']


@case
def record_header_damaged():
    """The directory tells that there is one, its text is where it always is."""
    for at, size in ((0, 4), (6, 4), (10, 2), (20, 4), (64, 16), (96, 8),
                     (128, 4), (144, 16), (0, 200)):
        file = change(store(two_dumps()), 3 * SLOT + at, b'\xa5' * size)
        got = doubts(file)
        same([(b, t) for b, t, _ in got], [(b, t) for b, t, _ in ALL])
        same([d for _, t, d in got[:4] + got[6:]], [None] * 8)


@case
def text_damaged():
    records = two_dumps()
    text = ''.join('<6>[%5d.%06d] %s\n' % (n, n, ('%d ' % (n * n)) * 9)
                   for n in range(500))
    records[2] = part(BOOT + 1, 'Oops#1', 1, text, -15)
    file = store(records)
    whole = doubts(file)
    half = 3 * SLOT + 200 + (len(records[2]) - 200) // 2
    got = doubts(change(file, half, os.urandom(500)))
    same(got[:4], ALL[:4])
    same(got[-4:], ALL[-4:])
    mine = got[4:-4]
    assert mine and all(d == 'torn' for _, _, d in mine)
    same([t for _, t, _ in mine[:100]], [t for _, t, _ in whole[4:104]])
    assert facts(file)['dump 1'].endswith(', torn')
    # Nothing of it at all: the others, and it is said.
    file = change(file, 3 * SLOT, b'\xff' * SLOT)
    same(doubts(file), ALL[:4] + ALL[-4:])
    f = facts(file)
    same(f['damaged 1'], 'record %d at offset %d cannot be read' % (
        BOOT + 1, 3 * SLOT))
    assert f['dump 1'].endswith(', parts missing: 1 from part 1 on'), f


@case
def heading_damaged():
    """Its id says of which dump it is."""
    records = two_dumps()
    records[4] = record(BOOT + 3, b'\x00ops#1 Part3\n' + some(1, 2).encode())
    got = doubts(store(records))
    same([(b, t) for b, t, _ in got[1:]], [(b, t) for b, t, _ in ALL])
    same([d for _, _, d in got], ['torn'] * 3 + [None] * 8)
    records = two_dumps()
    records[2] = record(BOOT + 1, some(5, 6).encode())
    got = doubts(store(records))
    same([(b, t) for b, t, _ in got], [(b, t) for b, t, _ in ALL])


@case
def cut_by_the_kernel():
    """A part that does not compress: Linux before 6.6 keeps its end, later
    ones its begin."""
    file = store([part(BOOT + 1, 'Panic#1', 1, 'ine 2\n' + some(3)),
                  part(BOOT + 2, 'Panic#1', 2, some(1) + line(2)[:-4])])
    same(doubts(file), [(1, 'line 1', None), (1, 'lin', 'torn'),
                        (1, 'ine 2', 'torn'), (1, 'line 3', None)])


@case
def other_records():
    bcd = int.from_bytes(bytes([0x20, 0x13, 0x22, 1, 0x14, 0x11, 0x23, 0x20]),
                         'little')
    file = store([record(BOOT + 1, bytes(300), MCE, valid=0),
                  record(BOOT + 2, bytes(80), MEMORY, OTHER, bcd, 2, 2),
                  part(BOOT + 3, 'Panic#1', 1, some(1)),
                  record(BOOT + 4, b'', OTHER, OTHER, bcd, 7)])
    got = objects(file)
    same([(o['boot'], o['kind'], o['level'], o['real']) for o in got], [
        (1, 'text', 2, None),
        (2, 'text', 4, '2023-11-14T22:13:20.000000000Z'),
        (2, 'text', 4, '2023-11-14T22:13:20.000000000Z'),
        (3, 'printk', 6, '2023-11-14T22:13:20.000000000Z'),
        (4, 'text', 4, '2023-11-14T22:13:20.000000000Z')])
    same(got[0]['text'], 'error record: section type %s (machine check), '
         'severity fatal, 300 bytes, creator %s' % (MCE, PSTORE))
    same(got[1]['text'], 'error record: section type %s (memory), severity '
         'corrected, 80 bytes, creator %s' % (MEMORY, OTHER))
    same(got[4]['text'], 'error record: section type %s, severity unknown, '
         '0 bytes, creator %s' % (OTHER, OTHER))


@case
def cut_short():
    """At any page: what is there."""
    with open(store(two_dumps(), slots=6), 'rb') as f:
        data = f.read()
    for pages in range(1, 12):
        got = doubts(write(data[:pages * 4096], 'cut'))
        assert all(x in ALL for x in got), got
        # Slots 1 to 5 have 2, 2, 2, 2 and 2 lines in their first page.
        same(len(got), 2 * ((pages - 1) // 2))


@case
def ids_to_confuse():
    """Many records with the same ids, and with those at the ends."""
    records = [part(n, 'Panic#1', 1, some(1), time=2**63)
               for n in (5, 5, 5, 2**64 - 1, 2**64 - 2, 1)]
    records += [part(7, 'Panic#4294967296', 4294967295, some(1)),
                part(8, 'Panic#1', 0, some(2)),
                part(9, 'Panic#1', 999999999, some(3))]
    got = doubts(store(records))
    assert len(got) == 9 + 1, got  # one heading is none


@case
def made_to_fill_memory():
    """Empty lines, compressed a thousand times: an end, and it is said."""
    body = deflate(b'Panic#1 Part1\n' + b'\n' * 24000)
    file = store([record(BOOT + 3 * n, body, DMESG_Z) for n in range(127)],
                 slots=128)
    same(len(lines('-o', 'cat', '-b', '1', file)), 24000)
    same(len(lines('-o', 'cat', file)), (128 * SLOT) // 16 + 65536)
    assert facts(file)['records'].endswith('; more lines than are read')


@case
def empty_and_wrong():
    file = store([])
    same(read(file).out, '')
    same(facts(file)['records'], '0 of dumps, 0 of other errors; 0 deleted '
         'by the guest, 0 damaged')
    fails(read('--source', 'erst', write(bytes(65536))), 2, 'guest.erst',
          'acpi-erst')
    fails(read(write(bytes(65536))), 2, 'guest.erst')
    # A record that no pstore made, far behind: not taken for a store.
    file = write(bytes(1 << 21) + part(BOOT + 1, 'Panic#1', 1, some(1)))
    fails(read(file), 2, 'guest.erst')
    same(texts('--source', 'erst', file), named(1))


if __name__ == '__main__':
    main()
