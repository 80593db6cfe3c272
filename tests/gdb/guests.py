#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog's gdb commands on real guests at QEMU's gdb stub, and on their cores."""

import contextlib
import os
import re
import shutil
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from debugger import Gdb, link_symbols  # noqa: E402 (needs the path above)
from cli import read, same  # noqa: E402
from lib.case import case, main  # noqa: E402 (cli.py knows the path)
from lib.guest import Guest  # noqa: E402
from lib.world import World, modules, tool  # noqa: E402

COMMANDS = (('dlog log', []), ('dlog log -n 7 -x', ['-n', '7', '-x']),
            ('dlog log -o json', ['-o', 'json']),
            ('dlog boots', ['--list-boots']))
CARVED = 0x10000000


class Stub:
    """A place for QEMU's gdb stub."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix='dlog-gdb-test-')
        self.path = os.path.join(self.folder.name, 'stub')
        self.args = ['-gdb', 'unix:%s,server=on,wait=off' % self.path]
        return self

    def __exit__(self, *_):
        self.folder.cleanup()

    @contextlib.contextmanager
    def attach(self, **options):
        """gdb at the stub; the guest goes on afterwards."""
        with Gdb(**options) as gdb:
            gdb('target remote ' + self.path)
            yield gdb
            # Left as it was found.
            assert '"0"' in gdb('maintenance packet qqemu.PhyMemMode')
            gdb('detach')


def agree(gdb, file):
    """The guest stands still: gdb prints what dlog-read prints."""
    for command, options in COMMANDS:
        wanted = read(*options, file).out
        assert len(wanted) > 100
        got = gdb(command)
        if '-o json' in command:
            got = got.replace('"file":"guest"', '"file":"%s"' % file)
        same(got, wanted)


def placed(placement, where, **world):
    with Stub() as stub, World(placement=placement, qemu_args=stub.args,
                               **world) as w:
        w.load_driver()
        w.guest.must('echo "<3>last words" > /dev/kmsg')
        with stub.attach() as gdb:
            said = gdb('dlog region')
            assert re.fullmatch('4 MiB in the live guest at guest-physical '
                                '%s, which is %s\n' % (where, w.region), said)
            agree(gdb, w.region)
            # A stub that reads physical memory must not stay so.
            for command in ('dlog region 0x1000', 'dlog log -b 77',
                            'dlog region 0xffff000000000000 65536'):
                gdb(command)
                assert '"0"' in gdb('maintenance packet qqemu.PhyMemMode')
            agree(gdb, w.region)
        w.guest.must('echo it goes on > /dev/dlog-msg')
        assert 'it goes on' in read('-n', '1', w.region).out


@case
def nvdimm():
    placed('nvdimm', '0x100000000')


@case
def ivshmem():
    placed('ivshmem', '0x[0-9a-f]{8}', firmware='seabios')


@case
def memory_node():
    placed('ram', '0x10000000')


@case
def hung_with_interrupts_off():
    """Where is each CPU?  An NMI tells, and follow shows it."""
    with Stub() as stub, World(qemu_args=stub.args) as w:
        w.load_driver()
        w.load_test()
        hang = int(w.guest.must(
            "grep -w hang.*dlogtest /proc/kallsyms").split()[0], 16)
        stext = kallsyms(w)['_stext']
        w.die('hang-all')
        time.sleep(3)
        with stub.attach() as gdb:
            agree(gdb, w.region)
            assert 'no registers were kept' in gdb('dlog regs')
            gdb('monitor nmi')
            said = gdb('dlog follow 3')
            assert 'hang' in said and 'stack' in said, said
            for cpu in (0, 1):
                said = gdb('dlog regs %d' % cpu)
                rip = int(re.search(r'rip 0010:([0-9a-f]+)', said)[1], 16)
                assert hang <= rip < hang + 64, (hex(hang), said)
            same(gdb('dlog regs'), read('--regs', w.region).out)
            agree(gdb, w.region)
            gdb('symbol-file ' + link_symbols(
                os.path.join(stub.folder.name, 'vmlinux'), stext,
                {'_stext': stext, 'hang': hang}))
            assert '%x <hang+0x%x>' % (rip, rip - hang) in gdb('dlog regs 1')


def kallsyms(w):
    names = ('_stext', 'schedule', 'panic')
    table = {name: int(address, 16) for address, _, name in (
        line.split()[:3] for line in w.guest.must(
            r"grep -w -e '\(_stext\|schedule\|panic\)$' /proc/kallsyms"
        ).splitlines()) if name in names}
    assert set(table) == set(names), table
    return table


@case
def symbols_of_two_boots():
    """Each boot's kernel lies elsewhere; vmlinux as it was linked."""
    with Stub() as stub, World(firmware='seabios', qemu_args=stub.args) as w:
        wanted, moved = [], set()
        for boot in (1, 2):
            w.load_driver()
            table = kallsyms(w)
            moved.add(table['_stext'])
            w.guest.must('echo boot %d at %x > /dev/dlog-msg' % (
                boot, table['schedule'] + 0x12))
            wanted.append('boot %d at %x <schedule+0x12>\n' % (
                boot, table['schedule'] + 0x12))
            if boot == 1:
                w.guest.system_reset()
                w.guest.wait_ready()
        print('kernels at', *map(hex, moved))
        base = 0xffffffff81000000
        with stub.attach() as gdb, tempfile.TemporaryDirectory() as folder:
            gdb('symbol-file ' + link_symbols(
                os.path.join(folder, 'vmlinux'), base,
                {name: at - table['_stext'] + base
                 for name, at in table.items()}))
            said = gdb('dlog log -t text')
            same([line.split('] ')[1] for line in said.splitlines(True)
                  if 'boot' in line and ']' in line], wanted)
            # Without lines that tell boots apart, too.
            assert wanted[0] in gdb('dlog log -t text -b 1')
            assert wanted[1] in gdb('dlog log -t text -b')


class Carved:
    """A region in the midst of RAM that no file on this host shows."""

    def __init__(self, stub, size='1M', share='on', **guest):
        self.folder = tempfile.TemporaryDirectory(prefix='dlog-gdb-test-')
        self.ram = os.path.join(self.folder.name, 'ram')
        self.region = os.path.join(self.folder.name, 'region')
        tool('dlog-create', '-q', '-s', size, '-r', '2', self.region)
        with open(self.region, 'rb') as f:
            data = f.read()
        self.size = len(data)
        with open(self.ram, 'wb') as f:
            f.truncate(256 << 20)
            f.seek(CARVED >> 1)
            f.write(data)
        at = '%s$0x%x' % (size, CARVED >> 1)
        self.guest = Guest(
            machine='pc,memory-backend=ram', mem='256M',
            qemu_args=['-object', 'memory-backend-file,id=ram,mem-path=%s,'
                       'size=256M,share=%s' % (self.ram, share), *stub.args],
            append='memmap=%s dlog.mem=%s' % (at, at.replace('$', '@')),
            files=modules('6.1'), **guest)

    def __enter__(self):
        self.guest.__enter__()
        return self

    def __exit__(self, *args):
        self.guest.__exit__(*args)
        self.folder.cleanup()

    def file(self):
        """The region as the host's file has it, by another way than gdb's."""
        with open(self.ram, 'rb') as f:
            f.seek(CARVED >> 1)
            data = f.read(self.size)
        with open(self.region, 'wb') as f:
            f.write(data)
        return self.region


@case
def carved_out_of_ram():
    """Found by a search, copied by QEMU or through the stub, and in cores."""
    with Stub() as stub, Carved(stub) as w:
        w.guest.must("insmod /dlog.ko $(tr ' ' '\\n' < /proc/cmdline | "
                     "sed -n 's/^dlog[.]//p')")
        with stub.attach() as gdb:
            said = gdb('dlog region')
            assert '1 MiB in the live guest at guest-physical 0x8000000\n' \
                in said, said
            start = time.monotonic()
            agree(gdb, w.file())
            print('by QEMU: %.2f s' % (time.monotonic() - start))
            core = os.path.join(stub.folder.name, 'core')
            gdb('monitor dump-guest-memory ' + core)
            gdb('monitor dump-guest-memory -z %s.kdump' % core)
            dumped = shutil.copy(w.file(), core + '.region')
        # QEMU cannot write where we look: everything by the stub.
        folder = os.path.join(stub.folder.name, 'a b')
        os.mkdir(folder)
        with stub.attach(env={'TMPDIR': folder}) as gdb:
            start = time.monotonic()
            gdb('dlog region 0x8000000')
            agree(gdb, w.file())
            print('by the stub: %.2f s' % (time.monotonic() - start))
            same(os.listdir(folder), [])
            # The search page by page, interrupted.
            start = time.monotonic()
            gdb.send('dlog region auto')
            time.sleep(0.3)
            gdb.interrupt()
            said = gdb.wait(20)
            assert 'Traceback' not in said and '0x8000000' not in said, said
            print('interrupted after %.2f s: %r' % (time.monotonic() - start,
                                                    said))
            assert '"0"' in gdb('maintenance packet qqemu.PhyMemMode')
            start = time.monotonic()
            assert ' 0x8000000\n' in gdb('dlog region auto')
            print('searched by the stub: %.2f s' % (time.monotonic() - start))
            agree(gdb, w.file())
        with Gdb() as gdb:
            gdb('core-file ' + core)
            agree(gdb, dumped)
            said = gdb('dlog file %s.kdump' % core)
            assert 'dump the guest as ELF' in said, said


@case
def follow_stepwise():
    """Without a file: gdb stops the guest for each look."""
    with Stub() as stub, Carved(stub) as w:
        w.guest.must("insmod /dlog.ko $(tr ' ' '\\n' < /proc/cmdline | "
                     "sed -n 's/^dlog[.]//p')")
        with stub.attach() as gdb:
            gdb.send('dlog follow')
            w.guest.sh_nowait('for i in 1 2 3 4 5 6; do '
                              'echo said $i > /dev/dlog-msg; sleep 0.3; done')
            gdb.wait_for('said 6')
            gdb.interrupt()
            said = gdb.wait()
            same(re.findall(r'\] (said \d)\n', said),
                 ['said %d' % n for n in range(1, 7)])
            start = time.monotonic()
            gdb('dlog follow 1')
            assert time.monotonic() - start < 6
            agree(gdb, w.file())
        w.guest.must('true')


@case
def follow_a_running_guest():
    with Stub() as stub, World(qemu_args=stub.args) as w:
        w.load_driver()
        with stub.attach() as gdb:
            gdb.send('dlog follow')
            for n in range(5):
                w.guest.must('printf "say %d \\033[2J" > /dev/dlog-msg' % n)
                gdb.wait_for(r'\] say %d \\x1b\[2J\n' % n, timeout=10)
            gdb.interrupt()
            said = gdb.wait()
            assert 'SIGINT' in said and said.count('say') == 5, said
            assert 'dlog-read' not in said, said
            assert 'dlog: following printk' in said
            # Ctrl-C has stopped the guest.
            w.guest.sh_nowait('echo in time > /dev/dlog-msg')
            time.sleep(1)
            assert 'in time' not in read('-n', '5', w.region).out
            said = gdb('dlog follow 2 -n 1')
            assert 'in time' in said and said.count('\n[ ') < 3, said
            # While the guest runs in the background, too.
            gdb('continue &')
            time.sleep(0.5)
            said = gdb('dlog log -n 5')
            assert 'in time' in said, said
            assert 'is running' in gdb('dlog region 0x1000')
            gdb('interrupt')
            time.sleep(1)
            gdb('echo')
            gdb.shown = ''
            agree(gdb, w.region)


@case(long=True)
def ctrl_c_in_a_flood():
    """Whatever code of ours it falls upon, it stops the guest."""
    with Stub() as stub, World(qemu_args=stub.args) as w:
        w.load_driver()
        w.guest.sh_nowait('while :; do echo flood > /dev/dlog-msg; done', 600)
        with stub.attach() as gdb:
            for n in range(100):
                gdb.send('dlog follow -n 1')
                gdb.wait_for('flood')
                # The terminal fills meanwhile.
                time.sleep(0.05 + n / 1000)
                gdb.interrupt()
                said = gdb.wait(20)
                assert 'Exception' not in said and 'Error' not in said, said


@case
def the_guest_ends_while_we_follow():
    with Stub() as stub, World(qemu_args=stub.args) as w:
        w.load_driver()
        with Gdb() as gdb:
            gdb('target remote ' + stub.path)
            gdb.send('dlog follow')
            w.guest.sh_nowait('echo farewell > /dev/dlog-msg; poweroff -f')
            said = gdb.wait()
            assert 'farewell' in said and 'Traceback' not in said, said
            assert 'no guest to read from' in gdb('dlog log')
            gdb('dlog file ' + w.region)
            same(gdb('dlog log'), read(w.region).out)


@case
def a_private_mapping_is_not_in_the_file():
    """With share=off the file has not what the guest wrote; memory has."""
    with Stub() as stub, tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, 'region.img')
        tool('dlog-create', '-q', '-s', '1M', '-r', '2', file)
        args = ['-object', 'memory-backend-file,id=dlog,mem-path=%s,size=1M,'
                'share=off' % file, '-device', 'nvdimm,memdev=dlog']
        with Guest(machine='pc,nvdimm=on', mem='512M,slots=2,maxmem=2G',
                   qemu_args=args + stub.args, files=modules('6.1')) as guest:
            with stub.attach() as gdb:
                # As long as nothing is written both are the same.
                assert '0x100000000\n' in gdb('dlog region')
            guest.must('insmod /dlog.ko; echo words > /dev/dlog-msg')
            with stub.attach() as gdb:
                assert '0x100000000\n' in gdb('dlog region')
                assert '] words\n' in gdb('dlog log')
                assert 'words' not in read(file).out


@case
def a_file_that_was_replaced():
    """Under QEMU's name for it lies an old copy now."""
    with Stub() as stub, World(qemu_args=stub.args) as w:
        old = shutil.copy(w.region, w.region + '.old')
        w.load_driver()
        w.guest.must('echo words > /dev/dlog-msg')
        with stub.attach() as gdb:
            assert w.region in gdb('dlog region')
            now = shutil.copy(w.region, w.region + '.now')
            os.replace(old, w.region)
            said = gdb('dlog region')
            assert '0x100000000' in said and w.region not in said, said
            agree(gdb, now)
            assert '] words\n' in gdb('dlog log')


@case
def no_region_at_all():
    with Stub() as stub, Guest(mem='128M', qemu_args=stub.args) as guest:
        with stub.attach() as gdb:
            for command in ('log', 'boots', 'stats', 'regs', 'follow',
                            'region'):
                said = gdb('dlog ' + command)
                assert 'no region in the guest' in said, said
                assert 'Traceback' not in said
        guest.must('true')


if __name__ == '__main__':
    main()
