#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-core --symbols: a System.map from kernels' files of each layout and
packing; from Debian's own kernels, whose guests tell the truth, in
tests/scenarios/plugin_symbols.py."""

import os
import random
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import kallsyms_image as made  # noqa: E402 (needs the path above)
from cli import CORE, case, path, run, same  # noqa: E402
from lib.case import main  # noqa: E402


def save(data, name='kernel'):
    with open(path(name), 'wb') as f:
        f.write(data)
    return path(name)


def text_of(symbols):
    return ''.join('%016x %s %s\n' % one for one in symbols)


def expect(data, symbols):
    r = run(CORE, '--symbols', save(data))
    same((r.code, r.err, r.out), (0, '', text_of(symbols)))


def fails(words, data):
    r = run(CORE, '--symbols', save(data))
    same((r.code, r.out), (1, ''))
    assert words in r.err and r.err.count('\n') == 1, r.err


@case
def each_layout():
    for layout in made.LAYOUTS:
        for count in (700, 768, 769, 3000):
            symbols = made.symbols(count)
            expect(made.vmlinux(made.tables(symbols, layout)), symbols)
        # Without CONFIG_KALLSYMS_ABSOLUTE_PERCPU.
        plain = [s for s in made.symbols() if s[0] >= made.TEXT]
        expect(made.vmlinux(made.tables(plain, layout, False)), plain)


@case
def each_packing():
    symbols = made.symbols()
    elf = made.vmlinux(made.tables(symbols, '6.12'))
    for method in ('xz', 'lzma', 'gzip'):
        expect(made.bzimage(elf, method), symbols)
    if shutil.which('zstd'):
        packed = subprocess.run(['zstd', '-qc'], input=elf, check=True,
                                stdout=subprocess.PIPE).stdout
        image = bytearray(made.bzimage(elf)[:2 * 512 + 64])
        packed += len(elf).to_bytes(4, 'little')
        image[0x24c:0x250] = len(packed).to_bytes(4, 'little')
        expect(bytes(image) + packed, symbols)


@case
def what_is_none():
    elf = made.vmlinux(made.tables(made.symbols(), '6.1'))
    image = made.bzimage(elf)
    fails('not known here', made.bzimage(elf, 'lz4'))
    fails('it cannot be unpacked', image[:-2000] + bytes(1996) + image[-4:])
    fails('its size is wrong', image[:-4] + bytes(4))
    fails('is damaged', image[:-100])
    fails('no vmlinux of x86-64', elf[:18] + b'\xb7' + elf[19:])
    fails('no CONFIG_KALLSYMS', made.vmlinux(bytes(100000)))
    fails('', bytes(1 << 20))           # taken for a guest's memory


@case
def usage():
    kernel = save(made.vmlinux(b''))
    for args in ([kernel, path('core')], ['--tasks', kernel],
                 ['--qmp=x', kernel], ['--regs=x', kernel]):
        r = run(CORE, '--symbols', *args)
        same((r.code, r.out), (2, ''))
        assert '--symbols' in r.err, r.err


@case
def damage():
    """Whatever the bytes are, it ends with all symbols or a sentence."""
    rng = random.Random(1)
    symbols = made.symbols()
    for layout in made.LAYOUTS:
        elf = made.vmlinux(made.tables(symbols, layout))
        for n in range(40):
            data = bytearray(elf)
            for _ in range(rng.choice((1, 3, 30))):
                at = rng.choice((rng.randrange(120), rng.randrange(
                    4096 + 65536, len(data))))
                data[at] = rng.choice((0, 255, rng.randrange(256)))
            if n % 8 == 0:
                data = data[:rng.randrange(len(data))]
            r = run(CORE, '--symbols', save(bytes(data)))
            assert r.code in (0, 1), (r.code, r.err)
            assert r.err.count('\n') == r.code, r.err


if __name__ == '__main__':
    main()
