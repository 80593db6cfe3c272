#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-core, under ASan and UBSan, on the memory of a real guest in which what
it relies on is damaged: struct pages, page tables, VMCOREINFO, uts names; and
with registers from a peer that speaks QMP and lies.

Whatever comes of it, it ends soon, and leaves a core of the right size or
nothing and one line that says why.  Relies on `make asan`.
"""

import os
import random
import socket
import struct
import sys
import threading
import time

sys.dont_write_bytecode = True

import sanitized  # noqa: E402 (no bytecode)
from lib.case import case, main  # noqa: E402 (sanitized makes it found)
from lib.ramfile import Ram, in_file  # noqa: E402

PAGE = 4096
SIZE = 192 << 20
SOON = 60       # s, with sanitizers on a busy machine


def run(folder, *args):
    """Its exit status; what it left must fit that."""
    out = os.path.join(folder, 'core')
    start = time.monotonic()
    done = sanitized.run(sanitized.CORE, '-q', *args,
                         os.path.join(folder, 'ram'), out, status=(0, 1),
                         timeout=SOON)
    said = done.stderr.decode(errors='replace')
    assert done.stdout == b'' and said.count('\n') == done.returncode, said
    left = [n for n in os.listdir(folder) if n.startswith('core')]
    assert left == ['core'] * (not done.returncode), (left, said)
    if left:
        assert '--format=kdump' in args or \
            SIZE < os.path.getsize(out) < SIZE + (4 << 20)
        os.unlink(out)
    return done.returncode, time.monotonic() - start


class Damage:
    """Changes bytes of a RAM file, and puts them back."""

    def __init__(self, ram, rng):
        self.ram, self.rng, self.kept = ram, rng, []

    def put(self, at, data):
        at = min(at, self.ram.size - len(data))
        self.kept.append((at, self.ram.map[at:at + len(data)]))
        self.ram.map[at:at + len(data)] = data

    def undo(self):
        for at, data in reversed(self.kept):
            self.ram.map[at:at + len(data)] = data
        self.kept = []

    def word(self):
        """Bytes that somebody chose who knows the format."""
        rng = self.rng
        return struct.pack('<Q', rng.choice((
            0, 1, (1 << 64) - 1, 1 << 63, rng.getrandbits(64),
            0xffffff7f00000000, 0xf000000000000000 | rng.getrandbits(56),
            0x10000, rng.randrange(self.ram.size), rng.getrandbits(5),
            (self.ram.root + rng.randrange(8) * PAGE) | 0xe3,
            0xffffea0000000001 | rng.getrandbits(30) << 3)))

    def within(self, at, size, times):
        for _ in range(times):
            self.put(at + self.rng.randrange(size // 8) * 8, self.word())


def struct_pages(ram, d, vmemmap):
    d.within(vmemmap, 64 * (ram.size // PAGE) // 2, 4000)


def whole_struct_pages(ram, d, vmemmap):
    page = d.rng.choice((b'\0', b'\xff', bytes([d.rng.getrandbits(8)]))) * PAGE
    for _ in range(100):
        d.put(vmemmap + d.rng.randrange(300) * PAGE, page)


def tables(ram, d, _):
    for table in sorted(ram.tables)[:8]:
        d.within(table, PAGE, 3)


def description(ram, d, _):
    """Numbers of VMCOREINFO become others of the same length."""
    at = ram.info_at[-1]
    text = ram.map[at:at + PAGE].split(b'\0')[0]
    lines = text.split(b'\n')
    for _ in range(d.rng.choice((1, 3, 30))):
        i = d.rng.randrange(len(lines))
        name, equals, value = lines[i].partition(b'=')
        if value:
            lines[i] = name + equals + bytes(d.rng.choice(
                b'0123456789abcdef-') for _ in value)
    changed = b'\n'.join(lines)
    for each in ram.info_at:
        d.put(each, changed)


def names(ram, d, _):
    at = ram.find(ram.symbol('init_uts_ns'))
    d.put(at, bytes(d.rng.getrandbits(8) for _ in range(390)))


def vmemmap_of(ram):
    """Where the struct page of frame 0 is, by the section that it is in."""
    def word(addr):
        return ram.word(ram.find(addr))

    root = word(ram.symbol('mem_section'))
    # SECTION_MAP_MASK of Linux v6.1 include/linux/mmzone.h: five flags
    return ram.find(word(root) & ~31)


@case
def damaged_memory():
    rng = random.Random(6)
    with in_file(mem='192M', firmware='pvh') as (guest, path):
        guest.kill9()
        folder = os.path.dirname(path)
        with Ram(path) as ram:
            for name in ('_stext', 'prb', 'mem_section'):
                ram.find(ram.symbol(name))
            vmemmap, damage = vmemmap_of(ram), Damage(ram, rng)
            status, alone = run(folder, '--kernel-only')
            assert status == 0
            worked = 0
            for how in (struct_pages, whole_struct_pages, tables, description,
                        names):
                for args in (['--kernel-only'], [],
                             ['--kernel-only', '--format=kdump'],
                             ['--kernel-only', '--format=kdump',
                              '--compress=none']):
                    how(ram, damage, vmemmap)
                    status, took = run(folder, *args)
                    assert took < 5 + 5 * alone, (how, args, took, alone)
                    worked += not status
                    damage.undo()
            assert worked >= 10, worked
            assert run(folder, '--kernel-only')[0] == 0
            peers_that_lie(folder, rng)


# ---- registers ----

def notes(rng):
    """A core as QEMU gives it, or nearly."""
    def note(name, kind, desc, size=None):
        pad = b'\0' * (-len(desc) % 4)
        return struct.pack('<III', len(name) + 1, size or len(desc), kind) + \
            (name + b'\0').ljust(8, b'\0') + desc + pad

    def cpu(number):
        status = bytearray(rng.getrandbits(8) for _ in range(336))
        status[32:36] = struct.pack('<I', number)
        return note(b'CORE', 1, bytes(status))

    def good():
        return cpu(rng.choice((0, 1, 2, 1, 8192, 8193, 1 << 31)))

    body = b''.join(rng.choice((
        good, good, good, good,
        lambda: note(b'QEMU', 0, bytes(rng.choice((0, 440, 1024, 1025)))),
        lambda: note(b'CORE', 1, bytes(335)),
        lambda: note(b'CORE', 1, bytes(336), 0xfffffff0),
    ))() for _ in range(rng.choice((0, 3, 40, 40))))
    size = rng.choice([len(body)] * 4 + [len(body) + 1, 1 << 62])
    offset = rng.choice([120] * 4 + [119, 1 << 63])
    head = b'\x7fELF\2\1\1'.ljust(16, b'\0') + struct.pack(
        '<HHIQQQIHHHHHH', 4, 62, 1, 0, rng.choice([64] * 4 + [(1 << 64) - 1]), 0,
        0, 64, 56, rng.choice((1, 1, 65535)), 0, 0, 0)
    table = struct.pack('<IIQQQQQQ', 4, 0, offset, 0, 0, size, 0, 0)
    return (head + table + body)[:rng.choice([None] * 5 + [63, 119, 130])]


def serve(listener, data):
    """One client: good answers, and that core for the descriptor it sends."""
    fds = []
    with listener.accept()[0] as s:
        s.sendall(b'{"QMP": {}}\n')
        number = 0
        while True:
            line, got, _, _ = socket.recv_fds(s, 65536, 4)
            fds += got
            if not line:
                break
            number += 1
            if b'dump-guest-memory' in line:
                os.write(fds[0], data)
            s.sendall(b'{"return": {"status": "x\\u001b"}, "id": %d}\n'
                      % number)
    for fd in fds:
        os.close(fd)


def peers_that_lie(folder, rng):
    path = os.path.join(folder, 'qmp')
    statuses = []
    for _ in range(24):
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(1)
            thread = threading.Thread(target=serve, daemon=True,
                                      args=(listener, notes(rng)))
            thread.start()
            statuses.append(run(folder, '--qmp', path)[0])
            thread.join(10)
        os.unlink(path)
    assert set(statuses) == {0, 1}, statuses


if __name__ == '__main__':
    main()
