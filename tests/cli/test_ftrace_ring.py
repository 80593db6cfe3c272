#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-read on ftrace's persistent rings that are built here byte by byte, as
Linux 6.12 and 6.15 lay them out.  Relies on cli.py and ftracering.py."""

import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cli import BUILD, READ, case, path, run  # noqa: E402
from ftracering import (Ring, discarded, end, event, extend, long_event,  # noqa
                        page, stamp)
from lib.case import main  # noqa: E402

FORMAT = '''name: told
ID: 700
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:u64 n;\toffset:8;\tsize:8;\tsigned:0;

print fmt: "n=%llu", REC->n
'''
DAMAGE = 'damage'


def told(n, delta=0):
    return event(700, struct.pack('<Q', n), delta)


def write(ring, name='ring.img'):
    with open(path(name), 'wb') as f:
        f.write(bytes(ring))
    return path(name)


def read(file, *args, source='ftrace'):
    """(ring, boot, time in ns, n) of each record."""
    done = run(READ, '-q', '-o', 'json', '--source', source, *args, file)
    assert done.code == 0, done.err
    out = []
    for line in done.lines:
        o = json.loads(line, parse_float=str)
        data = bytes.fromhex(o['hex'])
        sec, _, ns = o['time'].partition('.')
        assert len(ns) == 9, o['time']
        out.append((o['ring'], o['boot'], int(sec) * 10**9 + int(ns),
                    struct.unpack_from('<Q', data, 8)[0],
                    o.get('doubt', '')))
    return out


def numbers(records, ring=0):
    return [r[3] for r in records if r[0] == ring]


def tree(listing=False):
    """The format of told(), as a folder or as grep's listing."""
    if listing:
        with open(path('formats'), 'w') as f:
            for line in FORMAT.splitlines():
                f.write('events/test/told/format:%s\n' % line)
        return path('formats')
    os.makedirs(path('events/test/told'))
    with open(path('events/test/told/format'), 'w') as f:
        f.write(FORMAT)
    return path('events')


def simple(pages=8, each=5, cpus=1, **kw):
    """@each events on each page, 1 us apart; page k at k ms; numbered."""
    ring = Ring(cpus=cpus, nr=pages + 2, **kw)
    for cpu in range(cpus):
        for k in range(pages):
            ring.put(cpu, k + 1, page(
                (k + 1) * 1000000 + cpu,
                [told(k * each + i, 1000 if i else 0) for i in range(each)]))
        ring.commit(cpu, pages)
    return ring


@case
def every_type_of_event():
    ring = Ring(cpus=1, nr=4)
    big = struct.pack('<Q', 7) + b'x' * 1000
    ring.put(0, 1, page(5000, [
        told(0), told(1, 10), extend(1 << 30), told(2, 5), discarded(24, 3),
        told(3, 1), discarded(24, 1), told(4, 1), stamp(9_000_000_000),
        told(5, 2), long_event(700, struct.pack('<Q', 6), 4),
        long_event(700, big, 6), end()]))
    ring.commit(0, 1)
    t = 5000 + 10 + (1 << 30)
    assert [r[1:4] for r in read(write(ring))] == [
        (1, 5000, 0), (1, 5010, 1), (1, t + 5, 2), (1, t + 9, 3),
        (1, t + 10, 4), (1, 9_000_000_002, 5), (1, 9_000_000_006, 6),
        (1, 9_000_000_012, 7)]


@case
def a_time_stamp_has_only_59_bits():
    high = 5 << 59
    ring = Ring(cpus=1, nr=4)
    ring.put(0, 1, page(high + 100, [told(1), stamp(5000),
                                             told(2, 1)]))
    ring.commit(0, 1)
    assert [r[2] for r in read(write(ring))] == [high + 100, high + 5001]


@case
def it_is_found_by_its_content():
    file = write(simple())
    done = run(READ, '--stats', file)
    assert done.code == 0 and 'ftrace' in done.out, done.out + done.err
    assert 'formats' in done.out and DAMAGE not in done.out, done.out
    assert numbers(read(file)) == list(range(40))
    with open(path('ram'), 'wb') as f:
        f.write(bytes(64 << 20) + bytes(simple(cpus=2)) + bytes(4096))
    assert numbers(read(path('ram')), 1) == list(range(40))
    assert numbers(read(path('ram'), '--at', '64M'), 1) == list(range(40))
    done = run(READ, path('ram'))
    assert done.code != 0 and not done.out


@case
def formats_from_a_folder_or_a_listing():
    file = write(simple(pages=2))
    for formats in tree(), path('.'), tree(listing=True):
        done = run(READ, '-q', '--formats', formats, file)
        assert done.code == 0, done.err
        assert [line.split('] ')[-1].split()[-2:] for line in done.lines] == [
            ['test:told:', 'n=%d' % n] for n in range(10)], done.out
    done = run(READ, '-q', file)
    assert 'event 700' in done.lines[0], done.out
    with open(path('other'), 'w') as f:
        f.write('events/a/b/format\nno such thing\n/format:ID: 3\n')
    for wrong in path('nowhere'), path('other'), '/dev/null':
        done = run(READ, '--formats', wrong, file)
        assert done.code != 0 and wrong in done.err and not done.out, wrong


@case
def what_trace_marker_wrote_is_text():
    ring = Ring(cpus=1, nr=4)
    ring.put(0, 1, page(10, [event(5, struct.pack('<Q', 0x1234) +
                                   b'two words\n\0\0')]))
    ring.commit(0, 1)
    done = run(READ, '-q', write(ring))
    assert 'two words' in done.out and 'ftrace:print' in done.out, done.out


@case
def a_ring_that_has_wrapped():
    # Pages 4 and 5 are the newest, what was on them is gone.
    ring = Ring(cpus=1, nr=9)
    for k in range(8):
        ring.put(0, k + 1, page((k + 1) * 1000, [told(k)]))
    ring.put(0, 4, page(9000, [told(8)]))
    ring.put(0, 5, page(10000, [told(9)]))
    ring.commit(0, 5)
    want = [5, 6, 7, 0, 1, 2, 8, 9]
    # By the array, although times go back once; it is another boot then.
    assert numbers(read(write(ring))) == want
    boots = [r[1] for r in read(write(ring))]
    assert boots == [1, 1, 1, 2, 2, 2, 2, 2], boots
    assert numbers(read(write(ring), '-b')) == want[3:]
    assert numbers(read(write(ring), '-b', '1')) == want[:3]


@case
def what_the_kernels_reader_took_out():
    # Slot 2's page is with the reader, which gave its own, the empty one.
    ring = simple(pages=5)
    ring.array(0, [2, 1, 0, 3, 4, 5, 6])
    ring.put(0, 1, page(1, []))
    ring.head(0, 3)
    assert numbers(read(write(ring))) == list(range(5, 25))
    # It reads what is being written.
    ring = simple(pages=5)
    ring.array(0, [5, 1, 2, 3, 4, 0, 6])
    ring.head(0, 1)
    assert numbers(read(write(ring))) == list(range(25))


@case
def damaged_meta_data():
    want = list(range(40))
    ring = simple()
    ring.array(0, [3, 3, 3] + list(range(3, 10)))
    assert numbers(read(write(ring))) == want
    assert DAMAGE in run(READ, '--stats', write(ring)).out
    for field, value in (('commit', 1), ('commit', 1 << 60), ('head', 3),
                         ('first', 4096)):
        ring = simple()
        ring.field(0, field, value)
        assert numbers(read(write(ring))) == want, field
    # CPU 1's, CPU 2's, and those of the first: then others tell.
    for cpu in range(3):
        ring = simple(cpus=3)
        ring.wipe_meta(cpu)
        got = read(write(ring))
        for n in range(3):
            assert numbers(got, n) == want, (cpu, n)


@case
def one_damaged_page():
    def check(change, lost, gone=()):
        ring = simple(each=200)
        off = ring.page_offset(0, 4)
        change(ring.data, off)
        got = numbers(read(write(ring)))
        want = [n for n in range(1600) if n not in lost]
        assert [n for n in got if n in want] == want, change
        assert not set(got) & set(gone)
        return ring

    fourth = range(600, 800)

    def commit(data, off):
        struct.pack_into('<Q', data, off + 8, 0x7777777)

    def clock(data, off):
        struct.pack_into('<Q', data, off, 1 << 50)

    def past(data, off):
        struct.pack_into('<Q', data, off, 7)

    def middle(data, off):
        # After 100 events of 20 bytes: one that is longer than the page.
        struct.pack_into('<II', data, off + 16 + 2000, 0, 0x7ffffffc)

    def garbage(data, off):
        data[off:off + 4096] = b'\xa5' * 4096

    check(commit, ())
    check(clock, ())
    check(past, ())
    check(middle, range(700, 800), range(700, 800))
    ring = check(garbage, fourth, fourth)
    assert DAMAGE in run(READ, '--stats', write(ring)).out
    # Times of a header that is wrong are taken from before it.
    ring = simple(each=200)
    clock(ring.data, ring.page_offset(0, 4))
    got = [r for r in read(write(ring)) if r[3] in fourth]
    assert all(3_000_000 <= r[2] < 5_000_000 and r[4] == 'salvaged'
               for r in got), got[0]


@case
def loss_is_counted():
    ring = simple(each=100)
    data, off = ring.data, ring.page_offset(0, 3)
    struct.pack_into('<II', data, off + 16 + 1000, 0, 0x7ffffffc)
    # A kernel's own flags: so many are missing before this page.
    off = ring.page_offset(0, 5)
    size = struct.unpack_from('<Q', data, off + 8)[0]
    struct.pack_into('<Q', data, off + 8, size | 3 << 30)
    struct.pack_into('<Q', data, off + 16 + size, 1234)
    assert len(read(write(ring))) == 750
    words = [line.split() for line in
             run(READ, '--stats', write(ring)).lines]
    row = next(w for w in words if w[:2] == ['1', '0'])
    # RECORDS WRITTEN OVERWRITTEN TORN CORRUPT
    assert row[2:7] == ['750', '1985', '1234', '0', '1'], row


@case
def the_layouts_of_later_kernels():
    for kind in '6.15', '6.15-kaslr', '6.18':
        for cpus in 1, 3:
            got = read(write(simple(cpus=cpus, kind=kind)))
            for n in range(cpus):
                assert numbers(got, n) == list(range(40)), (kind, n)
    ring = simple(kind='6.15')
    struct.pack_into('<QQ', ring.data, 24, 5, 0xffffffff81000000)
    assert 'mono' in run(READ, '--stats', write(ring)).out


@case
def the_last_ones_and_one_boot():
    file = write(simple(each=200))
    assert numbers(read(file, '-n', '7')) == list(range(1593, 1600))
    assert numbers(read(file, '-n', '1000')) == list(range(600, 1600))


class Place(ctypes.Structure):
    _fields_ = [('ring', ctypes.c_uint32), ('boot', ctypes.c_uint32),
                ('position', ctypes.c_uint64), ('end', ctypes.c_uint64),
                ('records', ctypes.c_uint64)]


class Entry(ctypes.Structure):
    _fields_ = [('source', ctypes.c_void_p), ('ring', ctypes.c_uint32),
                ('boot', ctypes.c_uint32), ('position', ctypes.c_uint64),
                ('time', ctypes.c_uint64), ('real', ctypes.c_uint64),
                ('kind', ctypes.c_uint32), ('arg', ctypes.c_uint32),
                ('level', ctypes.c_uint8), ('facility', ctypes.c_uint16),
                ('caller', ctypes.c_uint32), ('doubt', ctypes.c_uint32),
                ('data', ctypes.c_void_p), ('len', ctypes.c_size_t)]


def part(file, places, most):
    """Numbers of up to @most records from there on, and where it stopped."""
    lib = ctypes.CDLL(os.path.join(BUILD, 'lib', 'libdlog.so'))
    pointer, d, r = ctypes.c_void_p, ctypes.c_void_p(), ctypes.c_void_p()
    lib.dlog_close.argtypes = lib.dlog_reader_free.argtypes = [pointer]
    lib.dlog_reader_next.argtypes = [pointer, pointer, ctypes.c_int]
    lib.dlog_reader_tell.argtypes = lib.dlog_reader_seek.argtypes = [
        pointer, ctypes.c_size_t, pointer, ctypes.c_size_t]
    lib.dlog_reader_tell.restype = ctypes.c_size_t
    assert lib.dlog_open(ctypes.byref(d), file.encode(), 2, None) == 0
    assert lib.dlog_reader_new(ctypes.byref(r), ctypes.byref(d),
                               ctypes.c_size_t(1), 1, None) == 0
    if places:
        assert lib.dlog_reader_seek(r, 0, places, len(places)) == 0
    got, e = [], Entry()
    while len(got) < most and lib.dlog_reader_next(r, ctypes.byref(e), 0) == 1:
        got.append((e.ring, struct.unpack_from(
            '<Q', ctypes.string_at(e.data, e.len), 8)[0]))
    places = (Place * 8)()
    n = lib.dlog_reader_tell(r, 0, places, 8)
    lib.dlog_reader_free(r)
    lib.dlog_close(d)
    return got, (Place * n)(*places[:n])


@case
def going_on_where_it_stopped():
    """After each number of records, in another process's reader."""
    file = write(simple(cpus=2, each=50))
    whole, _ = part(file, None, 10000)
    assert len(whole) == 800
    for most in 1, 49, 50, 51, 130, 333, 799, 800:
        first, places = part(file, places=None, most=most)
        rest, _ = part(file, places, 10000)
        assert first + rest == whole, (most, len(first), len(rest))
    # Behind it everything was written anew: from its beginning.
    ring = simple(cpus=2, each=50)
    for cpu in range(2):
        for k in range(8):
            ring.put(cpu, k + 1, page(k * 1000, [told(k)]))
    got, _ = part(write(ring), places, 10000)
    assert len(got) == 16, got


@case
def following_a_writer():
    """Appending to a page, going on to the next, and round twice."""
    ring = Ring(cpus=1, nr=6)
    file = write(ring)
    out = open(path('out'), 'wb+')
    live = subprocess.Popen([READ, '-q', '-f', '-n', 'all', '-o', 'json',
                             '--source', 'ftrace', file], stdout=out)
    n, want, now = 0, [], 1000

    def seen():
        with open(path('out')) as f:
            return [struct.unpack_from('<Q', bytes.fromhex(
                json.loads(line)['hex']), 8)[0] for line in f]
    try:
        time.sleep(0.3)
        for lap in range(11):
            slot = lap % 5 + 1
            events, start = [], now
            for _ in range(3):
                events.append(told(n, 10 if events else 0))
                want.append(n)
                n += 1
                now += 10
                body = page(start, events)
                with open(file, 'r+b') as f:
                    off = ring.page_offset(0, slot)
                    f.seek(off + 8)
                    if len(events) == 1:
                        f.write(bytes(8))       # as the kernel does
                        f.flush()
                        f.seek(off)
                        f.write(body[:8])
                    f.seek(off + 16)
                    f.write(body[16:])
                    f.flush()
                    f.seek(off + 8)
                    f.write(body[8:16])
                    f.seek(ring.meta[0] + 40)
                    f.write(struct.pack('<Q', ring.first(0) + slot * 4096))
                deadline = time.monotonic() + 15
                while seen() != want:
                    assert time.monotonic() < deadline, (seen()[:60], want)
                    time.sleep(0.01)
    finally:
        live.send_signal(signal.SIGTERM)
        live.wait()


@case
def a_circle_of_one_time():
    """Sub-buffers that all claim the same instant lead nowhere."""
    ring = Ring(cpus=1, nr=5)
    for slot in range(1, 5):
        ring.put(0, slot, page(1000, [told(slot)]))
    ring.commit(0, 4)
    with open(path('out'), 'wb') as out:
        live = subprocess.Popen([READ, '-q', '-f', '-n', 'all', '-o', 'json',
                                 '--source', 'ftrace', write(ring)],
                                stdout=out)
        time.sleep(1)
        live.send_signal(signal.SIGTERM)
        live.wait()
    with open(path('out')) as f:
        assert len(f.readlines()) <= 4


@case
def what_is_no_ring():
    for data in b'', bytes(4096), b'\xed\xfe\xad\x0b' * 4096:
        with open(path('x'), 'wb') as f:
            f.write(data)
        done = run(READ, '--source', 'ftrace', path('x'))
        assert done.code not in (0, -signal.SIGSEGV) and done.err, data[:8]
    # Cut short: what is there.
    file = write(simple())
    os.truncate(file, os.path.getsize(file) - 4096 * 3)
    assert run(READ, '--source', 'ftrace', file).code >= 0


if __name__ == '__main__':
    main()
