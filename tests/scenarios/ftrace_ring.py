#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A stock Debian 13 guest that records sched events into ftrace's persistent
ring, in memory that is a file of the host: what dlog-read says of the file is
what the next boot's own kernel says of the ring, or more.

Relies on lib/ and on build/bin.  The ring's layout is read anew here, by
pages_of(), to damage it.
"""

import base64
import collections
import gzip
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main, until  # noqa: E402 (needs the path)
from lib.guest import Guest  # noqa: E402
from lib.world import BIN, tool  # noqa: E402

AT, SIZE, NODE = 512 << 20, 4 << 20, 128 << 20
TRACING = '/sys/kernel/tracing'
RING = TRACING + '/instances/dlog'
# Without end; little of it is in the ring when the guest is killed.
LOAD = 'while :; do ls -lR /sys/class /proc/self > /dev/null; usleep 500; done'

SHOWN = re.compile(r'^ *(.+)-(\d+) +\[(\d+)\] .{5,6} +(\d+)\.(\d{6}): (\w+): ?'
                   r'(.*)$')


class Ring:
    """The guest, the file with the ring at its beginning, the formats."""

    def __init__(self, size=SIZE):
        self.size = size

    def __enter__(self):
        self.home = tempfile.mkdtemp(prefix='dlog-ftrace-')
        self.file = os.path.join(self.home, 'ring.img')
        self.formats = os.path.join(self.home, 'formats')
        self.guest = self.make()
        return self

    def __exit__(self, *_):
        self.guest.remove()
        shutil.rmtree(self.home)

    def make(self, **kw):
        node = 'memory-backend-file,id=log,mem-path=%s,size=%d,share=on' % (
            self.file, NODE)
        return Guest(
            kernel='6.12', mem='640M', qemu_args=[
                '-object', 'memory-backend-ram,id=ram,size=512M',
                '-numa', 'node,cpus=0-1,memdev=ram',
                '-object', node, '-numa', 'node,memdev=log'],
            append='memmap=%d$%#x trace_instance=dlog@%#x:%d' % (
                self.size, AT, AT, self.size), **kw)

    def start(self, switches='sched_switch sched_wakeup'):
        self.guest.start()
        text = self.guest.must(
            'cd %s; grep "" events/sched/*/format events/ftrace/*/format | '
            'gzip | base64' % TRACING)
        with open(self.formats, 'wb') as f:
            f.write(gzip.decompress(base64.b64decode(text)))
        for name in switches.split():
            self.guest.must('echo 1 > %s/events/sched/%s/enable' % (RING, name))

    def read(self, *args, path=None):
        return [json.loads(line) for line in
                tool('dlog-read', '-q', '-o', 'json', '--formats',
                     self.formats, *args, path or self.file).splitlines()]

    def shown(self):
        """What the guest's kernel shows: CPU -> [(us, name, text)]."""
        text = self.guest.must('gzip -c < %s/trace | base64' % RING,
                               timeout=200)
        out = collections.defaultdict(list)
        for line in gzip.decompress(base64.b64decode(text)).splitlines():
            m = SHOWN.match(line.decode())
            if m:
                out[int(m[3])].append((int(m[4] + m[5]), m[6], m[7]))
            else:
                assert line.startswith(b'#') or not line.strip(), line
        return out


class Follower:
    """dlog-read -f while the guest runs."""

    def __init__(self, ring, *args):
        self.out = os.path.join(ring.home, 'live')
        self.args = [os.path.join(BIN, 'dlog-read'), '-q', '-f', '-n', 'all',
                     '--formats', ring.formats, *args, ring.file]

    def __enter__(self):
        with open(self.out, 'w') as out:
            self.process = subprocess.Popen(self.args, stdout=out,
                                            stderr=subprocess.STDOUT)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def text(self):
        with open(self.out) as f:
            return f.read()


def as_shown(records):
    """The same of dlog-read's records, as far as the kernel's text has it."""
    out = collections.defaultdict(list)
    for r in records:
        assert r['kind'] == 'event', r
        f = r['fields']
        ns = int(r['time'].replace('.', '')) if isinstance(r['time'], str) \
            else round(r['time'] * 1e9)
        name = r['name'].partition(':')[2]
        if name == 'sched_switch':
            text = (f['prev_comm'], f['prev_pid'], f['next_comm'],
                    f['next_pid'], f['next_prio'])
        elif name == 'sched_wakeup':
            text = (f['comm'], f['pid'], f['prio'])
        else:
            text = f.get('buf', '').strip()
        out[r['ring']].append(((ns + 500) // 1000, name, text))
    return out


def parts(event):
    """A line of the kernel's as as_shown() has it."""
    us, name, text = event
    # Of a boot with another KASLR it shows fields: "prev_pid=0x11 (17)".
    text = re.sub(r'=0x[0-9a-f]+ \((-?\d+)\)', r'=\1', text)
    if name == 'sched_switch':
        m = re.match(r'prev_comm=(.*) prev_pid=(\d+) .* next_comm=(.*) '
                     r'next_pid=(\d+) next_prio=(\d+)$', text)
        return us, name, (m[1], int(m[2]), m[3], int(m[4]), int(m[5]))
    if name == 'sched_wakeup':
        m = re.match(r'comm=(.*) pid=(\d+) prio=(\d+) target_cpu', text)
        return us, name, (m[1], int(m[2]), int(m[3]))
    return us, 'print', text


def same_as(kernel, ours):
    """All that the kernel shows is in ours, in that order, up to the end."""
    assert sum(map(len, kernel.values())) > 1000, 'the kernel shows nothing'
    for cpu, events in kernel.items():
        want = [parts(e) for e in events]
        got = ours[cpu]
        assert len(got) >= len(want), (cpu, len(got), len(want))
        start = len(got) - len(want)
        while start and got[start:start + len(want)] != want:
            start -= 1
        assert got[start:start + len(want)] == want, (
            cpu, next((a, b) for a, b in zip(got[-len(want):], want)
                      if a != b))


def pages_of(data):
    """Offset of the sub-buffers of each CPU, and how many they are."""
    off = 0
    while off < SIZE and struct.unpack_from('<I', data, off)[0] == 0xbadfeed:
        size, nr = struct.unpack_from('<II', data, off + 48)
        pages = (off + 56 + 4 * nr + size - 1) // size * size
        yield pages, nr
        off = pages + nr * size


def full_page(data):
    """Offset of a sub-buffer in the middle of what is in the ring, and how
    many records are in it."""
    pages, nr = next(iter(pages_of(data)))
    full = [off for off in range(pages, pages + nr * 4096, 4096)
            if struct.unpack_from('<Q', data, off + 8)[0] > 4000]
    off = full[len(full) // 2]
    end = off + 16 + struct.unpack_from('<Q', data, off + 8)[0]
    at, records = off + 16, 0
    while at < end:
        word, more = struct.unpack_from('<II', data, at)
        kind = word & 31
        records += kind < 29
        at += 8 if kind > 29 else 4 + (4 * kind if 0 < kind < 29 else more)
    return off, records


def damaged(ring, name, change):
    """A copy of the ring where change(data, offset) hit one sub-buffer."""
    with open(ring.file, 'rb') as f:
        data = bytearray(f.read(SIZE))
    off, records = full_page(data)
    change(data, off)
    path = os.path.join(ring.home, name)
    with open(path, 'wb') as f:
        f.write(data)
    return path, records


def break_commit(data, off):
    struct.pack_into('<Q', data, off + 8, 0x123456789)


def break_all(data, off):
    data[off:off + 4096] = b'\xa5' * 4096


def positions(records):
    return {(r['ring'], r['position']) for r in records}


@case
def killed_and_read():
    """SIGKILL; then one damaged sub-buffer costs only itself."""
    with Ring() as ring:
        ring.start()
        with Follower(ring) as live:
            ring.guest.must('echo seen alive > %s/trace_marker' % RING)
            until('a live line', lambda: 'seen alive' in live.text())
        ring.guest.sh_nowait(LOAD)
        time.sleep(6)
        ring.guest.kill9()
        whole = ring.read()
        ours = as_shown(whole)
        print({cpu: len(events) for cpu, events in ours.items()})
        assert ('print', 'seen alive') in [e[1:] for cpu in ours
                                           for e in ours[cpu]]
        for change in break_all, break_commit:
            path, lost = damaged(ring, 'damaged', change)
            left = positions(ring.read(path=path))
            assert len(positions(whole) - left) in range(lost + 1), lost
            assert left >= positions(whole) or change == break_all
        ring.guest.start()
        same_as(ring.shown(), ours)


@case(long=True)
def every_record_live():
    """A follower gets all of a guest that never pauses, once and in order,
    while the ring goes round."""
    with Ring(size=256 << 10) as ring:
        ring.start()
        with Follower(ring, '-o', 'json') as live:
            ring.guest.sh('timeout -s KILL 30 sh -c "%s"' % LOAD, timeout=60)
            ring.guest.must('echo 0 > %s/tracing_on' % RING)
            whole = ring.read()
            newest = {cpu: max(r['position'] for r in whole
                               if r['ring'] == cpu) for cpu in (0, 1)}
            until('the last ones', lambda: all(
                '"position":%d,' % p in live.text() for p in newest.values()))
        got = [json.loads(line) for line in live.text().splitlines()]
        print(len(got), 'live,', len(whole), 'in the ring')
        assert len(got) > 1.2 * len(whole), 'it has not gone round'
        assert len(got) == len(positions(got)), 'one came twice'
        last = positions(whole)
        assert last <= positions(got), len(last - positions(got))
        for cpu in 0, 1:
            mine = [r['position'] for r in got if r['ring'] == cpu]
            assert mine == sorted(mine)
            # One CPU's switches follow one another: none is missing.
            switches = [r['fields'] for r in got if r['ring'] == cpu and
                        r['name'] == 'sched:sched_switch']
            for a, b in zip(switches, switches[1:]):
                assert a['next_pid'] == b['prev_pid'], (a, b)


@case(long=True)
def the_kernel_drops_what_is_damaged():
    """One sub-buffer of CPU 0 is broken: the kernel has nothing of that CPU,
    we have the rest."""
    with Ring() as ring:
        ring.start()
        ring.guest.sh('timeout -s KILL 8 sh -c "%s"' % LOAD, timeout=60)
        ring.guest.kill9()
        whole = ring.read()
        path, lost = damaged(ring, 'damaged', break_all)
        with open(path, 'rb') as f, open(ring.file, 'r+b') as to:
            to.write(f.read())
        left = ring.read()
        ring.guest.start()
        kernel = ring.shown()
        print(len(whole), 'records,', lost, 'damaged;',
              {cpu: len(events) for cpu, events in kernel.items()}, 'shown')
        assert not kernel[0] and kernel[1]
        assert len(positions(whole) - positions(left)) == lost
        assert positions(left) <= positions(whole)


@case(long=True)
def with_kaslr():
    """The kernel elsewhere in each boot, SeaBIOS, other RAM; a reset."""
    with Ring() as ring:
        ring.guest.remove()
        ring.guest = ring.make(firmware='seabios')
        ring.start()
        ring.guest.sh_nowait(LOAD)
        time.sleep(8)
        ring.guest.system_reset()
        ring.guest.wait_ready()
        same_as(ring.shown(), as_shown(ring.read()))


if __name__ == '__main__':
    main()
