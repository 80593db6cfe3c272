#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of symbols, damaged: for the QEMU plugin (tests/tools/symload.c) and
for dlog-core --symbols, under ASan and UBSan.  Relies on `make asan`.

Whatever the bytes are, each ends soon with symbols or one sentence.
"""

import os
import random
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'scenarios'))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'cli'))

import kallsyms_image as made  # noqa: E402 (needs the path above)
from lib.case import case, main  # noqa: E402

TREE = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.join(TREE, os.environ.get('DLOG_BUILD') or 'build')
SYMLOAD = os.path.join(BUILD, 'asan/tests/symload')
CORE = os.path.join(BUILD, 'asan/bin/dlog-core')
ENV = dict(os.environ, ASAN_OPTIONS='exitcode=99', UBSAN_OPTIONS='exitcode=99')
SOON = 30       # s, with sanitizers on a busy machine

KERNEL = '''
	.globl _text, _stext, _end
	.section .head, "ax"
_text: _stext: nop
%s
	.data
_end: .quad 0
'''
SCRIPT = '''
SECTIONS {
	. = 0xffffffff81000000;
	.text : { *(.head) *(.text) }
	.data : { *(.data) }
}
'''


def run(*args, timeout=SOON):
    done = subprocess.run(args, stdout=subprocess.PIPE, timeout=timeout,
                          stderr=subprocess.PIPE, env=ENV)
    return (done.returncode, done.stdout.decode(errors='replace'),
            done.stderr.decode(errors='replace'))


def linux_elf(folder):
    """A file with what the plugin knows a Linux kernel by."""
    path = os.path.join(folder, 'kernel')
    functions = ''.join('\t.globl f%d\n\t.type f%d, @function\nf%d:\t.fill 16,'
                        '1,0x90\n\t.size f%d, 16\n' % (i, i, i, i)
                        for i in range(40))
    with open(path + '.s', 'w') as f:
        f.write(KERNEL % functions)
    with open(path + '.lds', 'w') as f:
        f.write(SCRIPT)
    subprocess.run(['gcc', '-nostdlib', '-static', '-no-pie', '-Wl,--build-id,'
                    '-T,' + path + '.lds', '-o', path, path + '.s'],
                   check=True, stderr=subprocess.PIPE)
    return path


def system_map(folder):
    path = os.path.join(folder, 'System.map')
    symbols = made.symbols(60)
    symbols += [(made.TEXT + (1 << 20), 'D', '_end')]
    with open(path, 'w') as f:
        for one in symbols:
            f.write('%016x %s %s\n' % one)
        f.write('ffffffffc0001000 t in_a_module\t[module]\n')
    return path


def campaign(count, seed):
    with tempfile.TemporaryDirectory() as folder:
        for path, symbols in ((linux_elf(folder), 43),
                              (system_map(folder), 60)):
            status, out, err = run(SYMLOAD, path)
            assert (status, err) == (0, ''), err
            assert out == ('%d symbols in 1 parts, a kernel that moves\n'
                           % symbols), out
            status, out, err = run(SYMLOAD, path, str(count), str(seed),
                                   timeout=60 + count / 10)
            assert status == 0, err[-4000:]
            loaded = int(out.split()[0])
            assert 0 < loaded < count, out      # it was damage


@case
def damaged_files():
    campaign(1500, 1)


@case(long=True, timeout=3600)
def damaged_files_many():
    campaign(200000, 2)


@case
def no_symbols():
    """Each is refused by one sentence that names the file."""
    line = 'ffffffff81000000 T _text\n'
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'symbols')
        for data, words in (
                ('', 'has no symbols'),
                ('\x7fELF', 'damaged ELF file'),
                ('\x7fELF' + 'x' * 4096, 'damaged ELF file'),
                (line + 'garbage\n', ':2: neither an ELF file nor'),
                (line + '\n', ':2: neither'),
                (line + 'x' * 100000, ':2: neither'),
                ('0' * 100000, ':1: neither'),
                ('123456789abcdef01 T long\n', ':1: neither'),
                ('ffffffff81000000 T\n', ':1: neither'),
                ('ffffffff81000000 T two words\n', ':1: neither'),
                ('ffffffff81000000 T %s\n' % ('n' * 512), ':1: neither'),
                ('ffffffff81000000 T \x1b[31m\n', ':1: neither'),
                ('0000000000000000 T _text\n' * 3, 'all addresses are 0'),
                (' \0' * 1000, ':1: neither')):
            with open(path, 'w') as f:
                f.write(data)
            status, out, err = run(SYMLOAD, path)
            assert (status, out) == (1, ''), (data[:80], status, out, err)
            assert words in err and err.count('\n') == 1, err
            assert path in err, err
        for odd in (folder, '/dev/null', os.path.join(folder, 'none')):
            status, out, err = run(SYMLOAD, odd)
            assert (status, out) == (1, '') and odd in err, err
        # No more memory than the file is worth, and no end: a sparse one.
        with open(path, 'w') as f:
            f.truncate(1 << 40)
        status, out, err = run(SYMLOAD, path)
        assert status == 1 and ':1: neither' in err, err


@case
def damaged_kernels():
    rng = random.Random(3)
    symbols = made.symbols()
    want = ''.join('%016x %s %s\n' % one for one in symbols)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'kernel')
        for n in range(90):
            elf = made.vmlinux(made.tables(symbols,
                                           made.LAYOUTS[n % 3]))
            data = bytearray(made.bzimage(elf, 'gzip') if n % 4 == 3 else elf)
            for _ in range(0 if n < 3 else rng.choice((1, 3, 30))):
                at = rng.choice((rng.randrange(700), rng.randrange(
                    len(data) - len(data) // 4, len(data))))
                data[at] = rng.choice((0, 255, rng.randrange(256)))
            if n % 8 == 7:
                data = data[:rng.randrange(len(data))]
            with open(path, 'wb') as f:
                f.write(data)
            status, out, err = run(CORE, '--symbols', path)
            assert status in (0, 1) and err.count('\n') == status, \
                (status, err)
            assert n >= 3 or (status == 0 and out == want), err


if __name__ == '__main__':
    main()
