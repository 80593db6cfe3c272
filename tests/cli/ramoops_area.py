# SPDX-License-Identifier: GPL-2.0-or-later
"""Areas of ramoops made byte by byte, as fs/pstore/ram.c and ram_core.c of
Linux 6.1 lay them out.  Relies on nothing of dlog.

The Reed-Solomon code (8 bits, 0x11d, first root 0) is written from its
definition: the parity of a block is the rest of its polynomial divided by
the generator.
"""

import struct
import zlib

SIG = 0x43474244
HEADER = 12
BLOCK = 128
LINUX_6_1 = 6 << 16 | 1 << 8

_exp = [1]
for _ in range(254):
    _x = _exp[-1] << 1
    _exp.append(_x ^ 0x11d if _x & 0x100 else _x)
_log = {value: power for power, value in enumerate(_exp)}


def _times(a, b):
    return _exp[(_log[a] + _log[b]) % 255] if a and b else 0


def _generator(parity):
    g = [1]
    for n in range(parity):
        # g * (x + alpha^n), highest power first
        g = [a ^ b for a, b in zip(g + [0], [0] + [
            _times(c, _exp[n]) for c in g])]
    return g


_generators = {}


def parity_of(data, parity):
    g = _generators.setdefault(parity, _generator(parity))
    rest = [0] * parity
    for byte in data:
        lead = byte ^ rest[0]
        rest = [r ^ _times(lead, c) for r, c in zip(rest[1:] + [0], g[1:])]
    return bytes(rest)


def room(size, parity=0):
    """Bytes of data in a zone."""
    left = size - HEADER
    if not parity:
        return left
    blocks = -(-(left - parity) // (BLOCK + parity))
    return left - (blocks + 1) * parity


class Zone:
    """A zone that is written to as the kernel does."""

    def __init__(self, size, parity=0, sig=SIG):
        self.size, self.parity, self.sig = size, parity, sig
        self.room = room(size, parity)
        self.data = bytearray(self.room)
        self.start = self.fill = 0

    def write(self, data, copied=None):
        """Appends; with copied, dies when that many bytes are copied."""
        data = data[-self.room:]
        self.fill = min(self.fill + len(data), self.room)
        at = self.start
        self.start = (self.start + len(data)) % self.room
        if copied is not None:
            data = data[:copied]
        for byte in data:
            self.data[at] = byte
            at = (at + 1) % self.room
        return self

    def zap(self):
        self.start = self.fill = 0
        return self

    def header(self):
        return struct.pack('<III', self.sig, self.start, self.fill)

    def bytes(self):
        out = self.header() + bytes(self.data)
        if self.parity:
            blocks = -(-(self.size - HEADER - self.parity) //
                       (BLOCK + self.parity))
            for n in range(blocks):
                block = bytes(self.data[n * BLOCK:(n + 1) * BLOCK])
                out += parity_of(block, self.parity) if any(block) else \
                    bytes(self.parity)
            out += parity_of(self.header(), self.parity)
        assert len(out) == self.size, (len(out), self.size)
        return out


def deflate(data):
    # crypto/deflate.c: raw, window of 11 bits
    z = zlib.compressobj(9, zlib.DEFLATED, -11)
    return z.compress(data) + z.flush()


def dump(size, wall, lines, parity=0, reason='Panic', packed=False):
    """A zone with a dump; wall in seconds."""
    text = ('%s#1 Part1\n' % reason).encode() + b''.join(
        line.encode() + b'\n' for line in lines)
    zone = Zone(size, parity)
    zone.write(b'====%d.%06d-%c\n' % (
        int(wall), round(wall * 1e6) % 1000000, b'DC'[packed]))
    zone.write(deflate(text) if packed else text)
    assert zone.fill < zone.room
    return zone


def call(ip, parent, stamp, cpu):
    """struct pstore_ftrace_record"""
    return struct.pack('<QQQ', ip, parent, stamp << 8 | cpu)


def area(*zones):
    return b''.join(zone.bytes() for zone in zones)
