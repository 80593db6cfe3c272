#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel of nobody's, with guest-patch/baremetal in it, that dies by SeaBIOS
and OVMF: what it said it had written is in the region.

The kernel is guest-patch/baremetal/demo.  It says "line N" or "event N" on its
serial port after each append has returned; what such a record holds is
computed here from N and the number of the boot, not taken from what it said.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main, skip, until  # noqa: E402 (needs the path above)
from lib.demo import KERNEL, check, said, symbol  # noqa: E402
from lib.iso import IsoGuest  # noqa: E402
from lib.world import BUILD, entries, tool  # noqa: E402

SIZE, MEM = 4 << 20, 256 << 20
ADDR = 0x8000000        # in RAM, where no firmware comes
HIGH = 1 << 32          # an nvdimm, with so little RAM


class Machine:
    """A guest whose region is part of its RAM's file, or an nvdimm."""

    def __init__(self, folder, options, firmware='seabios', machine='q35',
                 nvdimm=False, where=None, change=None):
        self.region = os.path.join(folder, 'region')
        tool('dlog-create', '-q', '-s', str(SIZE), '-r', '2', self.region)
        if change:
            change(self.region)
        if nvdimm:
            self.path, self.at = self.region, ()
            machine += ',nvdimm=on'
            mem = '256M,slots=1,maxmem=1G'
            args = ['-object', 'memory-backend-file,id=dlog,mem-path=%s,'
                    'size=%d,share=on' % (self.region, SIZE),
                    '-device', 'nvdimm,memdev=dlog']
        else:
            self.path = os.path.join(folder, 'ram')
            self.at = ('--at', '%d:%d' % (ADDR, SIZE))
            with open(self.region, 'rb') as f, open(self.path, 'wb') as ram:
                ram.truncate(MEM)
                ram.seek(ADDR)
                ram.write(f.read())
            machine += ',memory-backend=ram'
            mem = '256M'
            args = ['-object', 'memory-backend-file,id=ram,mem-path=%s,'
                    'size=%d,share=on' % (self.path, MEM)]
        where = where or 'dlog.mem=%d@0x%x' % (SIZE, ADDR)
        self.guest = IsoGuest(KERNEL, where + ' ' + options,
                              firmware=firmware, machine=machine, mem=mem,
                              smp=1, qemu_args=args)

    def read(self, *args):
        return list(entries(self.path, *self.at, *args))

    def bytes(self):
        with open(self.path, 'rb') as f:
            f.seek(ADDR if self.at else 0)
            return f.read(SIZE)


@contextlib.contextmanager
def machine(*args, **more):
    folder = tempfile.mkdtemp(prefix='dlog-bare-')
    try:
        m = Machine(folder, *args, **more)
        with m.guest:
            yield m
    finally:
        shutil.rmtree(folder)


def halted(m):
    """Waits until the kernel has done all that it was told to."""
    m.guest.wait_for('demo: hlt now')
    until('status of its end', lambda: m.read('--stats')[0]['status'] == 'halt')


def triple(firmware):
    with machine('lines=200 die=triple,hlt', firmware=firmware) as m:
        halted(m)
        told = said(m.guest.console())
        assert [len(told[boot][0]) for boot in (1, 2)] == [200, 200]
        check(m, 2)
        first, second = m.read('--list-boots')
        assert first['status'] == 'running', first
        assert second['status'] == 'halt', second
        assert {b['release'] for b in (first, second)} == {'demo-1.0'}


@case
def triple_fault():
    """By SeaBIOS; the second boot stays apart from the first."""
    triple('seabios')


@case
def triple_fault_ovmf():
    triple('ovmf')


RESETS = ('triple', 'reset-cf9', 'reset-kbd', 'reset-acpi')
ENDS = ('running', 'reboot', 'reboot', 'reboot')


def resets(firmware, chipset):
    how = ','.join(RESETS * 2 + ('hlt',))
    with machine('lines=2000 die=' + how, firmware=firmware,
                 machine=chipset) as m:
        m.guest.wait_for('boot 9 at', timeout=500)
        halted(m)
        check(m, 9)
        assert [boot['status'] for boot in m.read('--list-boots')] == \
            list(ENDS * 2) + ['halt']
        last = [r['text'] for r in m.read('-t', 'state')
                if 'reboot' in r['text']]
        assert [text.split()[-1] for text in last] == list(RESETS[1:] * 2), last


@case
def each_reset():
    """Nine boots in one machine, by everything that resets it."""
    resets('seabios', 'q35')


@case(long=True, timeout=600)
def each_reset_ovmf():
    resets('ovmf', 'q35')


def exception(die, number, firmware, chipset):
    """The registers it kept at its end: {name: number}."""
    with machine('lines=50 die=' + die, firmware=firmware,
                 machine=chipset) as m:
        m.guest.wait_for('demo: exception %d at' % number)
        check(m, 1)
        text = m.read('-t', 'text')[-1]['text']
        assert text.startswith('exception %d, error ' % number), text
        kept, = m.read('--regs')
        assert kept['reason'] == m.read('--stats')[0]['status'] == 'panic'
        regs = {name: int(kept[name], 16)
                for name in ('cr0', 'cr2', 'cr3', 'cr4', 'efer')}
        # Its handler has halted: these are still what QEMU has.
        theirs = m.guest.qmp('human-monitor-command',
                             **{'command-line': 'info registers'})
        for name, value in regs.items():
            assert int(re.search(r'\b%s *=([0-9a-f]+)' % name.upper(),
                                 theirs)[1], 16) == value, (name, theirs)
        # NT_PRSTATUS: rip is the 17th of the registers from byte 112 on.
        regs['rip'] = int.from_bytes(
            bytes.fromhex(kept['prstatus'])[240:248], 'little')
        return regs


@case
def undefined_instruction():
    """Its address is in the registers that are kept."""
    regs = exception('ud', 6, 'seabios', 'pc')
    assert regs['rip'] == symbol('demo_undefined'), regs


@case(long=True)
def page_fault():
    regs = exception('pf', 14, 'ovmf', 'q35')
    assert regs['cr2'] == 0x600000000000, regs


@case
def killed_while_it_logs():
    """SIGKILL of QEMU; then the same file once more."""
    with machine('lines=100 die=loop,hang', machine='pc') as m:
        m.guest.wait_for('^line 2000\r')
        m.guest.kill9()
        # One may have been committed and not yet told, and one event.
        check(m, 1, more=1)
        m.guest.start()
        m.guest.wait_for('demo: hang now')
        check(m, 2, more=1)
        assert [b['status'] for b in m.read('--list-boots')] == ['running'] * 2


def in_nvdimm(firmware):
    with machine('lines=200 die=run', firmware=firmware, nvdimm=True,
                 where='dlog.scan=64M@0x%x' % (HIGH - (32 << 20))) as m:
        found = m.guest.wait_for(r'demo: boot 1 at (0x[0-9a-f]+),')
        assert int(found[1], 16) == HIGH
        m.guest.wait_for('demo: run now')
        beats = m.read('--stats')[0]['cpus'][0]['beats']
        until('more heartbeats', lambda:
              m.read('--stats')[0]['cpus'][0]['beats'] > beats + 100)
        m.guest.kill9()
        check(m, 1)


@case
def nvdimm():
    """Found by a scan of the memory it is in; a beating heart."""
    in_nvdimm('seabios')


@case(long=True)
def nvdimm_ovmf():
    in_nvdimm('ovmf')


@case(long=True)
def no_reset_register():
    """pc has none in its ACPI tables by SeaBIOS; an unknown word is none."""
    for how in ('reset-acpi', 'reset-by-magic'):
        with machine('lines=20 die=' + how, machine='pc') as m:
            m.guest.wait_for('demo: cannot %s here' % how)
            until('halted', lambda:
                  m.read('--stats')[0]['status'] == 'halt')
            check(m, 1)


@case
def lapped():
    """More than the ring holds, twice over, then SIGKILL."""
    with machine('lines=60000 die=loop', machine='pc') as m:
        m.guest.wait_for('^line 60200\r')
        m.guest.kill9()
        check(m, 1, more=1)
        assert m.read('--stats')[0]['loss'][0]['overwritten'] > 30000


@case
def from_32_bit():
    """The client in a 32-bit process, and its log in a 64-bit one."""
    program = os.path.join(BUILD, 'tests/bareclient.m32')
    if not os.path.exists(program):
        skip('no %s: make %s' % (program, program))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'region')
        tool('dlog-create', '-q', '-s', '1M', '-r', '2', path)
        for lines in (500, 20000):
            subprocess.run([program, path, str(lines)], check=True)
        records = list(entries(path, '-t', 'text'))
        for boot, last in ((1, 500), (2, 20000)):
            numbers = []
            for r in records:
                if r['boot'] != boot:
                    continue
                n = int(r['text'].split()[1][:-1])
                assert r['text'] == 'line %d: %d %d 0x%x' % (
                    n, n << 32, -(n << 40), n), r
                numbers.append(n)
            # The second boot has lapped the first, and itself; a CPU has a
            # third of the lines, and two of three CPUs share a ring.
            assert not numbers if boot == 1 else numbers[-1] == last
            assert numbers == sorted(set(numbers))
        assert len(numbers) > 5000
        stats = next(entries(path, '--stats'))
        assert not any(l['torn'] or l['corrupt'] or l['dropped']
                       for l in stats['loss'])
        assert sum(l['written'] for l in stats['loss']
                   if l['boot'] == 2) == 20000 + 2     # and boot, booting


@case
def boot_loader():
    """What iso.py gives to the kernel arrives, whatever is in it."""
    line = 'lines=0 memmap=1M$0x1 a;b {c} #d &e |f *'
    with tempfile.NamedTemporaryFile() as f:
        f.write(b'x' * 12345)
        f.flush()
        with IsoGuest(KERNEL, line, machine='pc', mem='128M', smp=1,
                      modules=[(f.name, 'first of=$two'), (KERNEL, '')]) as g:
            g.wait_for('demo: module of 12345 bytes: first of=[$]two\r')
            g.wait_for('demo: module of %d bytes: \r' % os.path.getsize(KERNEL))
            g.wait_for('command line: ' + re.escape(line) + '\r')
            g.wait_for('demo: no dlog.mem=SIZE@ADDR')


def spoil(offsets):
    def change(path):
        with open(path, 'r+b') as f:
            for off in offsets:
                f.seek(off)
                byte = f.read(1)[0]
                f.seek(off)
                f.write(bytes([byte ^ 1]))
    return change


def left_alone(offsets, reason, **more):
    with machine('lines=10 die=hlt', machine='pc', change=spoil(offsets),
                 **more) as m:
        with open(m.region, 'rb') as f:
            before = f.read()
        m.guest.wait_for(r'demo: memory at 0x%x: %s, left alone'
                         % (ADDR, reason))
        m.guest.wait_for('demo: hlt now')
        assert said(m.guest.console()) == {}
        assert m.bytes() == before


@case
def both_superblocks_damaged():
    left_alone((100, SIZE - 4096 + 100), 'superblock damaged')


@case(long=True)
def one_superblock_damaged():
    """Enough where the address is known, not where it is looked for."""
    with machine('lines=20 die=hlt', machine='pc', change=spoil((100,))) as m:
        halted(m)
        assert len(said(m.guest.console())[1][0]) == 20
        check(m, 1)
    left_alone((100,), 'superblock damaged',
               where='dlog.scan=16M@0x%x' % (ADDR - (8 << 20)))
    left_alone((SIZE - 4096 + 100,), 'superblock damaged',
               where='dlog.scan=16M@0x%x' % (ADDR - (8 << 20)))


if __name__ == '__main__':
    main()
