# SPDX-License-Identifier: GPL-2.0-or-later
"""ftrace's persistent ring buffer, byte by byte.

After kernel/trace/ring_buffer.c of Linux 6.12 (kind '6.12'), 6.15 and later
(one head for all CPUs: '6.15'; for a while with an address in each CPU's meta
data: '6.15-kaslr'; after 6.17 with two counters there: '6.18').
"""

import struct

PAGE = 4096
MAGIC = 0xbadfeed
FIRST = 0xffffc90000200000      # where the kernel had mapped it


def align(n, to=PAGE):
    return (n + to - 1) // to * to


def _word(kind, delta):
    return struct.pack('<I', kind | delta << 5)


def event(ident, body, delta=0):
    """A record that is short enough for its length in type_len."""
    data = struct.pack('<HBBi', ident, 0, 0, 1) + body
    data += bytes(-len(data) % 4)
    assert len(data) <= 112
    return _word(len(data) // 4, delta) + data


def long_event(ident, body, delta=0):
    data = struct.pack('<HBBi', ident, 0, 0, 1) + body
    data += bytes(-len(data) % 4)
    return _word(0, delta) + struct.pack('<I', len(data) + 4) + data


def extend(ns):
    return _word(30, ns & (1 << 27) - 1) + struct.pack('<I', ns >> 27)


def stamp(ns):
    return _word(31, ns & (1 << 27) - 1) + \
        struct.pack('<I', ns >> 27 & 0xffffffff)


def discarded(size, delta):
    """A record that was taken back: @size bytes, with its head."""
    return _word(29, delta) + struct.pack('<I', size - 4) + b'?' * (size - 8)


def end():
    """Nothing from here on."""
    return _word(29, 0)


def page(time, events):
    body = b''.join(events)
    assert len(body) <= PAGE - 16
    return (struct.pack('<QQ', time, len(body)) + body).ljust(PAGE, b'\0')


class Ring:
    """@nr pages for each CPU: number 0 is the reader's, slots 1 to nr - 1."""

    def __init__(self, cpus, nr, kind='6.12'):
        self.nr = nr
        # Where the fields from first_buffer on are, and the array.
        self.fields, self.head_size = {
            '6.12': (24, 56), '6.15': (0, 32), '6.15-kaslr': (8, 40),
            '6.18': (0, 40)}[kind]
        self.meta, self.pages = [], []
        at = 0 if kind == '6.12' else 24 + 4000
        for _ in range(cpus):
            self.meta.append(at)
            self.pages.append(align(at + self.head_size + 4 * nr))
            at = self.pages[-1] + nr * PAGE
        self.data = bytearray(at)
        if kind != '6.12':
            struct.pack_into('<IIQQ', self.data, 0, MAGIC,
                             self.head_size | 24 << 16, at, self.meta[0])
        for cpu in range(cpus):
            if kind == '6.12':
                struct.pack_into('<IIQQ', self.data, self.meta[cpu], MAGIC, 56,
                                 0xffffffff81234567, 0xffffffff82345678)
            struct.pack_into('<QQQII', self.data, self.meta[cpu] + self.fields,
                             self.first(cpu), 0, 0, PAGE, nr)
            self.array(cpu, range(nr))
            self.head(cpu, 1)
            self.commit(cpu, 1)

    def __bytes__(self):
        return bytes(self.data)

    def first(self, cpu):
        return FIRST + self.pages[cpu]

    def field(self, cpu, name, value):
        struct.pack_into('<Q', self.data, self.meta[cpu] + self.fields +
                         8 * ['first', 'head', 'commit'].index(name), value)

    def head(self, cpu, number):
        self.field(cpu, 'head', self.first(cpu) + number * PAGE)

    def commit(self, cpu, number):
        self.field(cpu, 'commit', self.first(cpu) + number * PAGE)

    def array(self, cpu, numbers):
        struct.pack_into('<%dI' % self.nr, self.data,
                         self.meta[cpu] + self.head_size, *numbers)

    def wipe_meta(self, cpu):
        start = self.meta[cpu]
        self.data[start:self.pages[cpu]] = b'\xee' * (self.pages[cpu] - start)

    def page_offset(self, cpu, number):
        return self.pages[cpu] + number * PAGE

    def put(self, cpu, number, content):
        off = self.page_offset(cpu, number)
        self.data[off:off + PAGE] = content
