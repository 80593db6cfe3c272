#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog's gdb commands on region files and cores, without a guest."""

import os
import re
import struct
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from debugger import Gdb, link_symbols  # noqa: E402 (needs the path above)
from cli import READ, case, path, read, region, same  # noqa: E402
from lib.case import main, skip  # noqa: E402

SCRIPT = '''rings 2
boot 6.1.0-first 1700000000000000000
printk 6 T1 1000 disk: it begins
ring 1
text 3 2000 seen ffffffff81000010, 0xffffffff81002004 and ffffffff70000000
text 6 2500 a module's ffffffffc1000004, not ours
regs 0 4 5000
boot 6.1.0-second 1700000100000000000
printk 4 C0 1000 at ffffffff81001000
note 2000
status 2 3000
'''
COMMANDS = (('dlog log', []), ('dlog log -n 2 -b', ['-n', '2', '-b']),
            ('dlog log -b 1 -x', ['-b', '1', '-x']),
            ('dlog log -l err+', ['-l', 'err+']),
            ('dlog log -g "it b"', ['-g', 'it b']),
            ('dlog log -o json', ['-o', 'json']),
            ('dlog boots', ['--list-boots']), ('dlog stats', ['--stats']),
            ('dlog stats -o json', ['--stats', '-o', 'json']),
            ('dlog regs -b -1', ['--regs', '-b', '-1']))


def agree(gdb, g):
    """gdb's commands print what dlog-read prints; how much."""
    size = 0
    for command, options in COMMANDS:
        wanted = read(*options, g)
        # Ages go on.
        moving = re.compile(r'\d+\.\d+ s|"age":[\d.]+')
        same(moving.sub('AGE', gdb(command)),
             moving.sub('AGE', wanted.out + wanted.err))
        size += len(wanted.out)
    return size


def core(name, pieces, count=None, machine=62):
    """An ELF core as QEMU writes it: (physical address, bytes) each."""
    extended = count == 0xffff
    at = 64 + 56 * len(pieces) + (64 if extended else 0)
    headers, data = b'', b''
    for address, content in pieces:
        # Not at a page of the file, as after QEMU's notes.
        headers += struct.pack('<IIQQQQQQ', 1, 7, at + len(data), 0, address,
                               len(content), len(content), 0)
        data += content
    header = struct.pack('<16sHHIQQQIHHHHHH', b'\x7fELF\2\1\1', 4, machine, 1,
                         0, 64 + (64 if extended else 0),
                         64 if extended else 0, 0, 64, 56,
                         0xffff if extended else len(pieces),
                         64, 1 if extended else 0, 0)
    if extended:
        header += struct.pack('<IIQQQQIIQQ', 0, 0, 0, 0, 0, 0, 0,
                              len(pieces), 0, 0)
    with open(path(name), 'wb') as f:
        f.write(header + headers + data)
    return path(name)


def content(file):
    with open(file, 'rb') as f:
        return f.read()


@case
def commands_print_what_dlog_read_prints():
    g = region(SCRIPT, 'a; touch mark $(touch mark) \'x.img')
    with Gdb() as gdb:
        same(gdb.said, '')
        same(gdb('dlog file ' + g.replace("'", "\\'").replace(' ', '\\ ')),
             '')
        assert agree(gdb, g) > 2000
        assert g in gdb('dlog region')
        same(os.listdir(os.path.dirname(g)), [os.path.basename(g)])


@case
def every_command_has_help():
    with Gdb() as gdb:
        listed = re.findall(r'^dlog (\w+) -- .+', gdb('dlog help'), re.M)
        same(set(listed), {'log', 'boots', 'stats', 'follow', 'regs',
                           'region', 'file', 'help'})
        same(gdb('dlog help'), gdb('help dlog'))
        for name in listed:
            text = gdb('help dlog ' + name)
            assert max(map(len, text.splitlines())) < 80, text


@case
def without_anything_to_read():
    with Gdb() as gdb:
        for command in ('log', 'boots', 'stats', 'regs', 'regs 1', 'follow',
                        'region', 'region 0x1000'):
            said = gdb('dlog ' + command)
            assert 'target remote' in said and 'dlog file FILE' in said, said
            assert 'Traceback' not in said


@case
def errors_say_what_to_do():
    g = region(SCRIPT)
    with open(path('short.img'), 'wb') as f:
        f.write(content(g)[:-4096])
    with open(path('noise'), 'wb') as f:
        f.write(bytes(1 << 20))
    with Gdb() as gdb:
        for command, word in (
                ('file nowhere.img', 'No such file'),
                ('file one two', 'usage'), ('log -b 7', 'boot 7'),
                ('log --nonsense', 'unrecognized option'),
                ('log -f', 'dlog follow'), ('log -kf', 'dlog follow'),
                ('log --stop', 'dlog-read --stop'),
                ('regs 5', 'only of 0'), ('follow x', 'Cannot open x'),
                ('region 4096', 'is being read'),
                ('file %s' % path('short.img'), ''), ('log', 'cut short'),
                ('file %s' % path('noise'), ''), ('log', 'not a dlog region'),
                ('follow', 'not a dlog region')):
            if word == 'boot 7':
                gdb('dlog file ' + g)
            said = gdb('dlog ' + command)
            assert word in said if word else not said, (command, said)
            assert 'Traceback' not in said and 'Error occurred' not in said
        gdb('dlog file ' + g)
        same(gdb('set dlog-read /nowhere/dlog-read'), '')
        assert 'No such file' in gdb('dlog log')
        assert '/nowhere/dlog-read' in gdb('show dlog-read')
        gdb('set dlog-read ' + READ)
        same(gdb('dlog log'), read(g).out)


@case
def damaged_superblock():
    """The copy at the end serves; without both there is a clear error."""
    g = region(SCRIPT)
    data = content(g)
    whole = read(g).out
    with Gdb() as gdb:
        for first, last, word in ((True, False, 'superblock is damaged'),
                                  (True, True, 'damaged')):
            hurt = bytearray(data)
            if first:
                hurt[40] ^= 1
            if last:
                hurt[-4096 + 40] ^= 1
            with open(path('hurt.img'), 'wb') as f:
                f.write(hurt)
            gdb('dlog file ' + path('hurt.img'))
            said = gdb('dlog log')
            assert word in said, said
            assert said.startswith(whole) == (not last)


@case
def hostile_text_does_nothing():
    script = 'label a\\x1b[2Jb\nboot x\\x1b[31m\n' + ''.join(
        'text 6 %d evil \\x%02x ~\n' % (n, n) for n in range(1, 256)) + \
        'text 6 300 two\\n-- boot 2: forged --\\n[    9.0] forged\n'
    g = region(script)
    with Gdb() as gdb:
        gdb('dlog file ' + g)
        for command in ('log', 'boots', 'stats', 'regs', 'log -b 9',
                        'log -x'):
            said = gdb('dlog ' + command)
            assert not re.search('[\x00-\x08\x0b-\x1f\x7f-\x9f]', said), said
        same(gdb('dlog log -t text'), read('-t', 'text', g).out)
        gdb('set style enabled on')
        said = gdb('dlog log -t text')
        assert '\x1b[32m[    0.000' in said
        same(re.sub('\x1b\\[[0-9;]*m', '', said), read('-t', 'text', g).out)


@case
def colours_as_gdb_has_them():
    g = region(SCRIPT)
    with Gdb() as gdb:
        gdb('dlog file ' + g)
        same(gdb('dlog log'), read(g).out)
        gdb('set style enabled on')
        same(gdb('dlog log'), read('--color=always', g).out)


@case
def symbols_of_moved_kernels():
    """mkregion's kernels lie at 0xffffffff81000000; vmlinux elsewhere."""
    g = region(SCRIPT)
    plain = read(g).out
    wanted = plain.replace('81000010', '81000010 <_stext+0x10>') \
        .replace('81002004', '81002004 <schedule+0x4>') \
        .replace('81001000', '81001000 <panic+0x0>')
    assert wanted.count('<') == 3
    with Gdb() as gdb:
        gdb('dlog file ' + g)
        for base in (0xffffffff81000000, 0xffffffffa0000000):
            gdb('file')
            same(gdb('dlog log'), plain)
            gdb('file ' + link_symbols(path('vmlinux'), base, {
                '_stext': base, 'panic': base + 0x1000,
                'schedule': base + 0x2000, 'beyond': base + 0x40000000}))
            same(gdb('dlog log'), wanted)
            # One boot: no line says which it is.
            same(gdb('dlog log -q -b 1'),
                 ''.join(wanted.splitlines(True)[1:4]))
            same(gdb('dlog log -o json'), read('-o', 'json', g).out)
        gdb('dlog file ' + region('boot x\nregs 3 4 5000\n', 'regs.img'))
        same(gdb('dlog regs 3'), read('--regs', path('regs.img')).out)


@case
def cores():
    g = region('size 131072\n' + SCRIPT)
    data = content(g)
    ram = bytearray(os.urandom(1 << 20))
    # A stale superblock and bytes that only look like one, then the region.
    ram[0x3000:0x3100] = data[:256]
    ram[0x9008:0x9108] = data[:256]
    ram[0x40000:0x40000 + len(data)] = data
    kinds = {
        'device': core('device', [(0, bytes(1 << 20)), (1 << 32, data)]),
        'carved': core('carved', [(0x100000, bytes(ram))]),
        'many': core('many', [(n << 20, b'x' * 4096) for n in range(300)] +
                     [(1 << 32, data)], count=0xffff),
    }
    where = {'device': 1 << 32, 'carved': 0x140000, 'many': 1 << 32}
    with Gdb() as gdb:
        for name, file in kinds.items():
            gdb('dlog file ' + file)
            said = gdb('dlog region')
            assert '128 KiB in the core %s at guest-physical 0x%x\n' % (
                file, where[name]) in said, said
            same(gdb('dlog log'), read(g).out)
            same(gdb('dlog regs'), read('--regs', g).out)
            assert 'writes nothing' in gdb('dlog follow')
        # As gdb's own core, and back.
        gdb('dlog file')
        gdb('core-file ' + kinds['carved'])
        same(gdb('dlog log'), read(g).out)
        assert '0x140000' in gdb('dlog region')
        gdb('core-file ' + kinds['device'])
        assert '0x100000000' in gdb('dlog region')


def same_but_told(said, g):
    """The records, and that the first superblock is damaged."""
    same(said, read(g).out + 'dlog-read: guest: the first superblock is '
         'damaged, its copy at the end is used\n')


@case
def cores_without_a_good_superblock():
    g = region('size 131072\n' + SCRIPT)
    hurt = bytearray(content(g))
    hurt[:4096] = bytes(4096)
    ram = bytes(0x40000) + bytes(hurt) + bytes(0x40000)
    with Gdb() as gdb:
        # A device's memory has the copy at its end.
        gdb('dlog file ' + core('device', [(1 << 32, bytes(hurt))]))
        same_but_told(gdb('dlog log'), g)
        gdb('dlog file ' + core('carved', [(0, ram)]))
        # In the midst of memory it may be a first or a last one.
        same_but_told(gdb('dlog log'), g)
        assert ' 0x40000\n' in gdb('dlog region')
        assert 'no superblock' in gdb('dlog region 0x40000')
        gdb('dlog region 0x40000 0x20000')
        same_but_told(gdb('dlog log'), g)
        assert 'no superblock' in gdb('dlog region 0x50000')
        assert 'no memory' in gdb('dlog region 0x50000000 0x20000')
        assert 'ends before' in gdb('dlog region 0x70000 0x40000')
        assert 'whole pages' in gdb('dlog region 0x40000 123')
        # What was found last stays.
        same_but_told(gdb('dlog log'), g)
        gdb('dlog file ' + core('none', [(0, bytes(1 << 20))]))
        assert 'no region in the core' in gdb('dlog log')


@case
def files_that_are_no_cores():
    g = content(region(SCRIPT))
    bad = {
        'kdump': (b'KDUMP   ' + bytes(8192), 'dump the guest as ELF'),
        'flat': (b'makedumpfile' + bytes(8192), 'dump the guest as ELF'),
        'small': (b'\x7fELF\2\1\1', 'no ELF core'),
        'elf32': (b'\x7fELF\1\1\1' + bytes(100), 'no ELF core'),
        'headers': (b'\x7fELF\2\1\1' + b'\xff' * 100, 'no region'),
    }
    with Gdb() as gdb:
        for name, (data, word) in bad.items():
            with open(path(name), 'wb') as f:
                f.write(data)
            said = gdb('dlog file ' + path(name)) + gdb('dlog log')
            assert word in said, said
            assert 'Traceback' not in said, said
        # Superblocks with sizes that nothing could hold.
        for size in (0, 4096, 65537, 1 << 33, (1 << 64) - 4096):
            hurt = bytearray(g)
            struct.pack_into('<Q', hurt, 120, size)
            struct.pack_into('<Q', hurt, 176, (size - 4096) & (1 << 64) - 1)
            gdb('dlog file ' + core('size', [(0, bytes(hurt[:65536]))]))
            assert 'no region' in gdb('dlog log')


@case
def ctrl_c_ends_it():
    """A long log, and following, which goes on for ever."""
    g = region('size 8388608\nboot x\nfill 60000 6 1000 ' + 'x' * 60 + '\n')
    with Gdb() as gdb:
        gdb('dlog file ' + g)
        gdb.send('dlog follow')
        time.sleep(1)
        gdb.interrupt()
        gdb.wait(10)
        start = time.monotonic()
        gdb('dlog follow 1')
        assert 1 <= time.monotonic() - start < 5
        gdb.send('dlog log')
        gdb.wait_for('xxxx')
        gdb.interrupt()
        said = gdb.wait(10)
        assert len(said) < len(read(g).out)
        assert 'Traceback' not in said
        same(gdb('dlog log'), read(g).out)


@case
def pages_as_gdb_pages():
    g = region('boot x\nfill 500 6 1000 line\n')
    with Gdb() as gdb:
        gdb('set height 10')
        gdb('set pagination on')
        gdb('dlog file ' + g)
        gdb.send('dlog log')
        gdb.wait_for('--Type <RET>')
        gdb.send('q')
        said = gdb.wait()
        assert 'line0' in said and 'line100' not in said, said
        assert 'Traceback' not in said
        gdb('set pagination off')
        same(gdb('dlog log'), read(g).out)


if __name__ == '__main__':
    main()
