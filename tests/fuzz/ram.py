#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's RAM, made with care and then damaged, under ASan and UBSan.

Relies on `make asan`, on ramimage.py for RAM files that are known to the byte
and on mutate_ram.c for the damage.
"""

import json
import os
import struct
import sys
import tempfile

sys.dont_write_bytecode = True

import sanitized  # noqa: E402 (no bytecode)
from sanitized import READ, file_of  # noqa: E402
from lib.case import case, main  # noqa: E402 (sanitized makes it found)
from lib.ramfile import Ram, in_file  # noqa: E402
import ramimage  # noqa: E402
from ramimage import COMMITTED, RESERVED, Image  # noqa: E402


def read(*args, status=0):
    done = sanitized.run(READ, '--source', 'ram', *args, status=(status,))
    return (done.stderr if status else done.stdout).decode()


def records(image):
    """What dlog-read makes of it."""
    with tempfile.NamedTemporaryFile() as f:
        image.write(f.name)
        return [json.loads(line)
                for line in read('-o', 'json', f.name).splitlines()]


def texts(image):
    return [(e['position'], e.get('doubt'), e['text'])
            for e in records(image)]


def filled(image, laps=3):
    """Records of all lengths; [(seq, doubt, text)] of those that are left."""
    said = {}
    for n in range(image.count * laps):
        text = ('%d.' % n + 'abcdefghijklmnopqrstuvwxyz' * 6)[:n * 7 % 150]
        said[image.say(n % 192, n * 1000, n, text.encode())] = text
    return [(seq, None, said[seq]) for seq, _, _ in image.blocks]


@case
def all_kinds_of_memory_and_ids():
    for args in ({}, {'levels': 5}, {'huge': True}, {'wide': True},
                 {'count_bits': 3, 'size_bits': 15},
                 {'levels': 5, 'huge': True, 'wide': True, 'count_bits': 8}):
        image = Image(**args)
        want = filled(image)
        assert texts(image) == want, args
        assert len(want) > 5


@case
def a_file_full_of_kernels():
    """Thousands of pages that name a kernel, with page tables that take long
    to walk: what is looked at is bounded."""
    size, tables, text = 16 << 20, 1700, 0xffffffff80000000
    mem = bytearray(size)
    root = at = 0x100000

    def put(where, value):
        struct.pack_into('<Q', mem, where, value)

    at += ramimage.PAGE
    pdpt = at
    put(root + 8 * 273, pdpt | 1)
    for i in range(tables):
        if i % 512 == 0:
            at += ramimage.PAGE
            put(pdpt + i // 512 * 8, at | 1)
            directory = at
        at += ramimage.PAGE
        put(directory + 8 * (i % 512), at | 1)
    mem[0x3000 + 130:0x3000 + 135] = b'6.1.0'
    info = ('OSRELEASE=6.1.0\nNUMBER(phys_base)=0\n'
            'SYMBOL(swapper_pg_dir)=%x\nSYMBOL(init_uts_ns)=%x\n'
            % (text + root, text + 0x3000)).encode()
    for copy in range(at + ramimage.PAGE, size, ramimage.PAGE):
        mem[copy:copy + len(info)] = info
    with file_of(mem) as f:
        began = os.times()
        read(f, status=2)
        now = os.times()
        took = (now.children_user + now.children_system -
                began.children_user - began.children_system)
        print('%.2f s' % took)
        assert took < 8, took


@case
def an_empty_log_and_the_first_records():
    for wide in (False, True):
        image = Image(wide=wide)
        assert records(image) == []
        image.say(4, 5000000, 0x80000001, b'first')
        image.say(8 * 3 + 2, 6000000, 77, b'')
        got = records(image)
        assert [(e['time'], e['level'], e['facility'], e['caller'], e['text'])
                for e in got] == [(0.005, 4, 0, 'C1', 'first'),
                                  (0.006, 2, 3, 'T77', '')], got


@case
def a_text_that_ends_with_the_buffer():
    image = Image()
    for n in range(4):
        # 1016 bytes, a NUL, and 8 bytes of id make 1024 when rounded up.
        image.say(6, n, 1, b'%d' % n * 1015, ends_with_buffer=True)
    image.say(6, 9, 1, b'in the next lap')
    assert texts(image) == [(n, None, '%d' % n * 1015) for n in (1, 2, 3)] + \
        [(4, None, 'in the next lap')]


@case
def records_that_were_being_written():
    image = Image()
    image.say(6, 1000, 1, b'whole')
    image.say(6, 2000, 1, b'with more to come', state=COMMITTED)
    image.say(6, 3000, 1, b'again in work', state=RESERVED)
    seq = image.say(6, 0, 1, b'just begun\0\xff', state=RESERVED)
    # Before the writer has filled in what it is about.
    image.put(ramimage.INFOS + seq * ramimage.INFO_SIZE + 8, '<QHBBI', 0, 0,
              0, 0, 0)
    assert texts(image) == [
        (0, None, 'whole'), (1, None, 'with more to come'),
        (2, 'torn', 'again in work'), (3, 'torn', 'just begun')]
    assert records(image)[3]['time'] == 0.000003


@case
def the_last_of_two_kernels():
    """Both are whole; what is below 1 MiB tells which came last."""
    a, b = Image(), Image(phys=ramimage.SIZE)
    a.say(6, 1000, 1, b'of a')
    b.say(6, 1000, 1, b'of b')
    low = slice(ramimage.LAST, ramimage.LAST + ramimage.PAGE)
    for last, text, at in ((a, 'of a', ramimage.SIZE), (b, 'of b', 0)):
        mem = a.mem + b.mem
        mem[low] = last.mem[low]
        with file_of(mem) as f:
            assert text in read(f) and read(f).count('\n') == 1
            stats = read('--stats', f)
            option = 'vmcoreinfo=%#x' % (at + ramimage.INFO)
            assert option in stats, stats
            done = sanitized.run(READ, '--source', 'ram,' + option, f)
            assert (b'of a' if last is b else b'of b') in done.stdout


@case
def tables_that_hold_themselves():
    """Each level is the same table: 512^4 ways, but few pages."""
    image = Image()
    filled(image)
    for n in range(256, 511):
        image.put(ramimage.ROOT + n * 8, '<Q', ramimage.ROOT | 0x63)
    with tempfile.NamedTemporaryFile() as f:
        image.write(f.name)
        assert 'not found' in read('--stats', f.name)
        assert len(read(f.name).splitlines()) > 20


@case
def texts_that_overlap():
    """Each of many records claims all the bytes there are."""
    image = Image(count_bits=10, size_bits=16)
    for n in range(1024):
        image.say(6, n, 1, b'')
    for n in range(1024):
        image.put(image.desc(n) + 8, '<QQ', 0, 65528)
        image.put(ramimage.INFOS + n * ramimage.INFO_SIZE + 16, '<H', 65000)
    got = records(image)
    assert len(got) == 1024
    assert sum(len(e['text']) for e in got) < 4 << 16
    assert {e['doubt'] for e in got[1:]} == {'torn'}


@case
def no_kernel_at_all():
    for data in (b'', b'OSRELEASE=6.1\n', b'OSRELEASE=6.1\n' * 100000,
                 struct.pack('<III', 11, 4096, 0) + b'VMCOREINFO\0\0'
                 b'OSRELEASE='):
        with file_of(data) as f:
            assert 'VMCOREINFO' in read(f, status=2), data[:20]


def mutate(path, parts, count, seed):
    sanitized.mutate('mutate_ram', '--count=%d' % count, '--seed=%d' % seed,
                     path, *('%d:%d' % part for part in parts))


def mutate_made(count, seed, **args):
    image = Image(**args)
    filled(image)
    with tempfile.NamedTemporaryFile() as f:
        image.write(f.name)
        mutate(f.name, image.parts(), count, seed)


@case
def thousands_of_made_ones():
    mutate_made(3000, 1)
    mutate_made(1500, 2, levels=5, wide=True)


@case(long=True, timeout=3600)
def many_made_ones():
    for n in range(8):
        mutate_made(20000, 10 + n, levels=4 + n % 2, huge=n & 2, wide=n & 4)


@case(long=True, timeout=3600)
def real_ones():
    with in_file(mem='128M', firmware='pvh') as (guest, path):
        guest.kill9()
        with Ram(path) as ram:
            parts = list(ram.log().values())
            parts += [(table, ramimage.PAGE) for table in ram.tables]
            parts += [(at, ramimage.PAGE - 24) for at in ram.info_at]
        mutate(path, parts, 1000, 5)


if __name__ == '__main__':
    main()
