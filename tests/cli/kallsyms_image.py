# SPDX-License-Identifier: GPL-2.0-or-later
"""Small vmlinux files with the tables that scripts/kallsyms.c of Linux writes,
made from a list of symbols, and bzImages around them."""

import gzip
import lzma
import struct

TEXT = 0xffffffff81000000
LAYOUTS = ('6.1', '6.1.y', '6.12')


def symbols(count=700):
    """(address, type, name) by address, per-CPU ones first."""
    found = [(0x1000 * i, 'A', 'percpu_%d' % i) for i in range(20)]
    found += [(TEXT, 'T', '_stext'), (TEXT, 'T', '_text')]
    found += [(TEXT + 0x30 * i, 'tTdDbBrRwW'[i % 10],
               'symbol_%d%s' % (i, '_long' * (60 if i % 97 == 0 else 0)))
              for i in range(1, count - 22)]
    return found


def _tokens(names):
    """256 texts: each byte that occurs stands for itself, the others for
    pairs and a whole word."""
    used = {ord(c) for name in names for c in name}
    words = iter(['symbol_', '_long', 'percpu_'] +
                 ['%02d' % i for i in range(100)] +
                 ['%c%c' % (a, b) for a in b'xyzq' for b in b'abcdefghijklmnop'
                  b'rstuvwxyz0123456789'])
    return [chr(i) if i in used else next(words) for i in range(256)]


def _pack_name(name, table):
    at, out = 0, b''
    by_text = sorted(table, key=len, reverse=True)
    while at < len(name):
        token = next(t for t in by_text if name.startswith(t, at))
        out += bytes([table.index(token)])
        at += len(token)
    length = len(out)
    if length < 128:
        return bytes([length]) + out
    return bytes([length & 0x7f | 0x80, length >> 7]) + out


def _align(data):
    return data + b'\0' * (-len(data) % 8)


def tables(syms, layout, absolute_percpu=True):
    """The bytes, in that order."""
    base = TEXT
    table = _tokens([t + n for _, t, n in syms])
    names, markers = b'', b''
    for i, (_, kind, name) in enumerate(syms):
        if i % 256 == 0:
            markers += struct.pack('<I', len(names))
        names += _pack_name(kind + name, table)
    text, index = b'', b''
    for token in table:
        index += struct.pack('<H', len(text))
        text += token.encode('latin1') + b'\0'
    offsets = b''.join(
        struct.pack('<i', a if a < base else base - 1 - a) if absolute_percpu
        else struct.pack('<I', a - base) for a, _, _ in syms)
    part = {'offsets': offsets, 'base': struct.pack('<Q', base),
            'num': struct.pack('<I', len(syms)), 'names': names,
            'markers': markers, 'seqs': bytes(3 * len(syms)), 'text': text,
            'index': index}
    order = {
        '6.1': 'offsets base num names markers text index',
        '6.1.y': 'offsets base num names markers seqs text index',
        '6.12': 'num names markers text index offsets base seqs'}[layout]
    return b''.join(_align(part[name]) for name in order.split())


def vmlinux(data):
    """An ELF file that loads data at TEXT + 64 KiB."""
    body = bytes(65536) + data
    head = struct.pack('<16sHHIQQQIHHHHHH', b'\x7fELF\2\1\1', 2, 62, 1, TEXT,
                       64, 0, 0, 64, 56, 1, 64, 0, 0)
    load = struct.pack('<IIQQQQQQ', 1, 5, 4096, TEXT, 0x1000000, len(body),
                       len(body), 4096)
    return (head + load).ljust(4096, b'\0') + body


def bzimage(elf, method='xz'):
    """As arch/x86/boot makes it, with nothing but the payload."""
    size = struct.pack('<I', len(elf))
    packed = {
        'xz': lambda: lzma.compress(elf, check=lzma.CHECK_CRC32) + size,
        'lzma': lambda: lzma.compress(elf, lzma.FORMAT_ALONE) + size,
        'gzip': lambda: gzip.compress(elf),
        'lz4': lambda: b'\x02\x21\x4c\x18' + elf + size}[method]()
    head = bytearray(2 * 512)
    head[0x1f1] = 1
    head[0x202:0x208] = b'HdrS\x0f\x02'
    struct.pack_into('<II', head, 0x248, 64, len(packed))
    return bytes(head) + bytes(64) + packed
