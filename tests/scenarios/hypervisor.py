#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-hv on real (emulated) machines: QEMU's TCG with SVM, started by GRUB
from a CD, by SeaBIOS and OVMF.

The machine's RAM is a file, so what is in the region is seen from outside
while the machine runs and through its resets.  Three kinds of guest: Debian's
kernel with dlog.ko under the load of tests/scenarios/module/dlogtest.c, a
payload (tests/scenarios/payload) that does one thing for each intercept, and
the kernel of guest-patch/baremetal/demo, which logs by the freestanding client.
"""

import os
import re
import struct
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import demo, image  # noqa: E402 (needs the path above)
from lib.case import case, main, until  # noqa: E402
from lib.guest import Guest  # noqa: E402
from lib.iso import make_iso  # noqa: E402
from lib.world import (BIN, BUILD, ORACLE_SIZE, World, entries,  # noqa: E402
                       modules, tool)

HV = os.path.join(BUILD, 'hypervisor', 'dlog-hv')
PAYLOAD = os.path.join(BUILD, 'hypervisor', 'payload')
PLACE = re.compile(r'egion of (\d+) KiB at ([0-9a-f]+)')

# Registers that the payload has when it dies (tests/scenarios/payload/start.S).
KNOWN = {'rax': 0x11111111, 'rbx': 0x22222222, 'rcx': 0x33333333,
         'rdx': 0x44444444, 'rsi': 0x55555555, 'rdi': 0x66666666,
         'rbp': 0x77777777}
# Where they are in NT_PRSTATUS (Linux 6.1: arch/x86/include/asm/user_64.h).
ELF = {'rbp': 4, 'rbx': 5, 'rax': 10, 'rcx': 11, 'rdx': 12, 'rsi': 13,
       'rdi': 14, 'rip': 16, 'cs': 17, 'rflags': 18, 'rsp': 19, 'ss': 20}


# A QEMU with x2APIC; what makes Linux use it is an IOMMU that remaps interrupts.
X2 = {'qemu': 'trixie', 'cpu': 'EPYC,+x2apic'}
REMAP = ['-device', 'amd-iommu,intremap=on,xtsup=on']


class Machine(Guest):
    """A machine that boots dlog-hv with options from a CD, and on it the
    payload do=WORD, the demo kernel with a command line, or the kernel and
    initramfs of a Guest."""

    def __init__(self, options='', payload=None, demo_line=None, mem='512M',
                 machine='q35', cpu='EPYC', smp=1, firmware='seabios', **more):
        self.options = options
        self.alone = (PAYLOAD, 'do=' + payload) if payload else \
            (demo.KERNEL, demo_line) if demo_line else None
        super().__init__(machine=machine + ',memory-backend=ram', mem=mem,
                         cpu=cpu, smp=smp, firmware=firmware, **more)

    def start(self, wait=True, timeout=150):
        super().start(wait and not self.alone, timeout)

    def _make_dir(self):
        if self.dir:
            return
        if self.alone:
            self.dir = tempfile.mkdtemp(prefix='dlog-guest-')
            if self.firmware == 'ovmf':
                self._flash = image.private_ovmf(self.dir)
            guest = [self.alone]
        else:
            super()._make_dir()
            guest = [(self.kernel.bzimage,
                      ('console=ttyS0 ' + self.append).strip()),
                     (os.path.join(self.dir, 'initramfs'), '')]
        make_iso(os.path.join(self.dir, 'hv.iso'), HV, self.options, guest)

    def command_line(self):
        args = super().command_line()
        at = args.index('-kernel')      # -initrd and -append follow
        return args[:at] + [
            '-cdrom', os.path.join(self.dir, 'hv.iso'), '-object',
            'memory-backend-file,id=ram,size=%s,share=on,mem-path=%s'
            % (self.mem, self.ram)] + args[at + 6:]

    @property
    def ram(self):
        return os.path.join(self.dir, 'ram')

    def place(self):
        """(address, size) of the region, as the console tells last."""
        size, at = PLACE.findall(self.console())[-1]
        return int(at, 16), int(size) << 10

    def region(self):
        """A file with the region as it is now."""
        at, size = self.place()
        path = os.path.join(self.dir, 'region.img')
        with open(self.ram, 'rb') as ram, open(path, 'wb') as out:
            ram.seek(at)
            out.write(ram.read(size))
        return path

    def says(self, name):
        """A number that the payload has told."""
        return int(re.search(r'payload: %s ([0-9a-f]+)' % re.escape(name),
                             self.console()).group(1), 16)


def registers(region, boot, cpu=0):
    """{name: value} of the register slot of a CPU (docs/abi.md, 2 and 6)."""
    with open(region, 'rb') as f:
        data = f.read()
    regs_off, = struct.unpack_from('<Q', data, 152)
    stride, = struct.unpack_from('<I', data, 220)
    at = regs_off + cpu * stride
    size, slot_boot, slot_cpu = struct.unpack_from('<III', data, at + 4)
    assert (size, slot_boot, slot_cpu) == (104 + 336, boot, cpu), \
        (size, slot_boot, slot_cpu)
    return prstatus(data[at + 104:])


def prstatus(data):
    words = struct.unpack_from('<27Q', data, 112)
    return {name: words[i] for name, i in ELF.items()}


def registers_record(region, boot, cpu=0):
    """The same of dlog-hv's own record, which neither the guest's driver nor
    a later boot stores over.  Its ring is the last."""
    stats, = entries(region, '--stats')
    found = [bytes.fromhex(e['hex']) for e in entries(region, '-b', str(boot))
             if e['kind'] == 'regs' and e['ring'] == stats['rings'] - 1]
    found = [data[8:] for data in found
             if struct.unpack_from('<I', data)[0] == cpu]
    assert len(found) == 1, found
    return prstatus(found[0])


def causes(region, *args):
    """What dlog-hv said of a death: texts of its STATE records."""
    return [e['text'].split('dlog-hv: ', 1)[1] for e in entries(region, *args)
            if e['kind'] == 'state' and 'dlog-hv: ' in e['text']]


# ---- one payload for each intercept ----

# How each ends, and whether the machine starts again by itself.
ENDS = {
    'triple': ('triple fault', True),
    'stack': ('triple fault', True),
    'cf9': ('reset by port 0xcf9', True),
    'kbd': ('reset by the keyboard controller', True),
    'kbd-output': ("reset by the keyboard controller's output port", True),
    'port92': ('reset by port 0x92', True),
    'init-self': ('INIT to itself', True),
    'init-first': ('INIT to itself', True),
    'hlt': ('halted with interrupts off', False),
    'hang': ('hang, interrupts off for 2 s', True),
    'sleep': ("sleep state by ACPI's PM1 control", False),
}


def payload_dies(word, **where):
    cause, again = ENDS[word]
    with Machine('watchdog=2s', payload=word, **where) as m:
        m.wait_for('payload: ready')
        first = m.place()
        if again:
            # The first start has ended, the second has found its region.
            m.wait_for(r'dlog-hv: Region of \d+ KiB at [0-9a-f]+, kept')
            m.wait_for('payload: has died before')
            m.stop()
            assert m.place() == first
        elif word == 'sleep':
            m.wait_exit(60)
        else:
            m.wait_for('dlog-hv: .* exits by HLT')
            m.stop()
        region = m.region()
        found = [c for c in causes(region, '-b', '1')
                 if not (word == 'stack' and c.startswith('refused'))]
        assert len(found) == 1 and found[0].startswith(
            cause + ' on CPU 0'), found
        regs = registers(region, 1)
        known = KNOWN if word in ('triple', 'hlt', 'hang') else {
            name: KNOWN[name] for name in ('rbx', 'rsi', 'rdi')} \
            if word in ('cf9', 'kbd', 'port92', 'kbd-output') else {}
        for name, value in known.items():
            assert regs[name] == value, (name, hex(regs[name]))
        if word in ('triple', 'hlt', 'hang'):
            assert regs['rip'] == m.says(word + ' at'), hex(regs['rip'])
            assert regs['cs'] == 8, regs


def register_payloads():
    for word in ENDS:
        def run(word=word):
            payload_dies(word)
        run.__name__ = 'payload_' + word.replace('-', '_')
        case(run, long=word in ('kbd-output', 'init-first'))

        def ovmf(word=word):
            payload_dies(word, firmware='ovmf')
        ovmf.__name__ = run.__name__ + '_on_ovmf'
        case(ovmf, long=word != 'triple')


register_payloads()


def payload_restarts(word, option, cause, times=3, **where):
    """The guest begins again in place: no firmware, a new boot each time."""
    with Machine('watchdog=2s %s=record,restart' % option,
                 payload='always-' + word,
                 smp=4, **where) as m:
        end = time.time() + 120
        while m.console().count('payload: ready') <= times:
            assert time.time() < end, m.console()[-3000:]
            time.sleep(0.2)
        m.stop()
        assert len(re.findall(r'dlog-hv: dlog-hv \d', m.console())) == 1
        assert m.console().count('payload: begins 0000000036d76289') > times
        region = m.region()
        boots = [b['boot'] for b in entries(region, '--list-boots')]
        # The last one may not have come to its end; the table has 64.
        assert boots[-1] >= times
        assert boots == list(range(max(1, boots[-1] - 63), boots[-1] + 1))
        for boot in boots[-4:-1]:
            found = causes(region, '-b', str(boot))
            assert len(found) == 1 and found[0].startswith(cause), found


@case
def payload_is_started_again_after_a_triple_fault():
    payload_restarts('triple', 'on-fault', 'triple fault', times=20)


@case(long=True)
def payload_is_started_again_after_a_reset():
    payload_restarts('cf9', 'on-reset', 'reset by port 0xcf9')
    payload_restarts('triple', 'on-fault', 'triple fault', firmware='ovmf')


@case(long=True)
def payload_is_started_again_after_it_hung_or_halted():
    payload_restarts('hang', 'on-hang', 'hang, ')
    payload_restarts('hlt', 'on-halt', 'halted with interrupts off')


@case
def what_is_protected_is_not_written():
    """Stores into what the guest must not write fail at that instruction and
    are recorded; what dlog-hv hides is hidden."""
    with Machine('watchdog=2s', payload='survive') as m:
        m.wait_for('payload: lives on')
        m.stop()
        # What may be done to the machine without harm to dlog-hv.
        assert m.says('apic id kept') == 1
        for what in ('apic moved', 'efer unknown'):
            assert m.says(what) == 13, what
        assert m.says('smca') == 0
        assert m.says('prefixed') == m.says('efer')
        assert m.says('hsave') == 0
        assert m.says('tsc') >> 40 == 1 << 8
        assert m.says('a20 low') == 1
        for what in ('store super', 'store control', 'store boots',
                     'store backup', 'store hv', 'load hv'):
            assert m.says(what) == 13, what
        assert m.says('store ring') == 0
        for what in ('vmrun', 'clgi'):
            assert m.says(what) == 6, what
        assert m.says('efer') & 1 << 12 == 0
        assert m.says('svme') == 13
        assert m.says('vm_cr') == 0x18
        # No rate in register A, no periodic interrupt in B.
        assert m.says('rtc') & 0x0f40 == 0, hex(m.says('rtc'))
        assert m.says('ioapic') == 0x10039
        at, size = m.place()
        assert m.says('region') == at
        region = m.region()
        stores = [int(re.search(r'physical ([0-9a-f]+)', text).group(1), 16)
                  for text in causes(region) if text.startswith('refused')]
        with open(region, 'rb') as f:
            data = f.read()
        state, boots = struct.unpack_from('<QQ', data, 128)
        stride, = struct.unpack_from('<I', data, 216)
        assert stores == [at + 120, at + state, at + boots + 4 * stride,
                          at + size - 4096, 0x4000000, 0x4000000], stores
        assert b'\xef\xbe\xad\xde' not in data[:4096] + data[-4096:] + \
            data[state:state + 4096]


# ---- the demo kernel ----

# How it dies, what dlog-hv says of it, and the status that is left: the
# kernel's own word where it has one.
DEMO_ENDS = {
    'triple': ('triple fault', 'emergency restart'),
    'reset-cf9': ('reset by port 0xcf9', 'reboot'),
    'reset-kbd': ('reset by the keyboard controller', 'reboot'),
    'reset-acpi': ('reset by the ACPI register', 'reboot'),
    'hlt': ('halted with interrupts off', 'halt'),
}


class DemoRegion:
    """What lib/demo.py asks for."""

    def __init__(self, guest):
        self.guest = guest
        self.path = guest.region()

    def read(self, *args):
        return list(entries(self.path, *args))


def demo_dies(ends, lines, timeout=120, options='', keep=None, **where):
    """One boot for each end, the last of which is hlt; what all of them logged
    by the client, and what dlog-hv says of each."""
    with Machine('watchdog=2s ' + options, demo_line='lines=%d die=%s' % (
            lines, ','.join(ends)), **where) as m:
        m.wait_for('demo: hlt now', timeout)
        m.wait_for('dlog-hv: .* exits by HLT', 60)
        m.stop()
        region = DemoRegion(m)
        assert len(set(PLACE.findall(m.console()))) == 1
        told = demo.said(m.console())
        assert [len(told[boot][0]) for boot in sorted(told)] == \
            [lines] * len(ends)
        demo.check(region, len(ends), keep=keep)
        boots = region.read('--list-boots')
        assert [b['status'] for b in boots] == [DEMO_ENDS[e][1] for e in ends]
        assert {b['release'] for b in boots} == {'demo-1.0'}
        for boot, end in enumerate(ends, 1):
            found = causes(region.path, '-b', str(boot))
            assert len(found) == 1 and re.match(
                DEMO_ENDS[end][0] + r'\b.* on CPU 0 at ', found[0]), found
            if end == 'triple':
                regs = registers_record(region.path, boot)
                assert regs['rip'] == demo.symbol('demo_triple_at'), regs
                assert regs['rbx'] == 0x1111111122222222, regs
                assert regs['rdi'] == 0x5555555566666666, regs
                assert regs['cs'] == 8 and regs['ss'] == 16, regs


@case
def demo_kernel():
    """It finds the region by the table DLOG and logs by the client; dlog-hv's
    word on its end is in the same boot."""
    demo_dies(('triple', 'hlt'), 3000)


@case(long=True, timeout=900)
def demo_kernel_nine_boots():
    for firmware in ('seabios', 'ovmf'):
        demo_dies(('triple', 'reset-cf9', 'reset-kbd', 'reset-acpi') * 2 +
                  ('hlt',), 2000, 600, firmware=firmware)


def payload_lives(word, smp=1, options='', **where):
    """What the payload has told by the time that it halts for good; nothing
    else may have been recorded."""
    with Machine('watchdog=2s ' + options, payload=word, smp=smp,
                 **where) as m:
        m.wait_for('dlog-hv: .* exits by HLT')
        m.stop()
        text = m.console()
        found = causes(m.region())
        assert len(found) == 1 and found[0].startswith(
            'halted with interrupts off'), found
        return {name: int(value, 16) for name, value in
                re.findall(r'payload: ([\w ]+) ([0-9a-f]{16})', text)}


@case
def an_nmi_in_an_nmi_comes_behind_its_iret():
    told = payload_lives('nmi-twice')
    assert (told['nmis'], told['nmi inside']) == (2, 0), told


@case
def an_int_on_a_stack_above_4_gib_comes_once():
    """Its delivery exits, because nothing has been mapped there yet."""
    # The address given: to look for a region in a file of 3 GiB takes long.
    told = payload_lives('soft', mem='3G', options='region=16M@256M')
    assert told['softs'] == 1, told


@case
def another_cpu_is_started_once_by_two_sipis():
    """And a third time after a third INIT; a late SIPI does nothing."""
    assert payload_lives('other', smp=2)['started'] == 3


@case(long=True)
def x2apic():
    """On a QEMU that has it: the payload turns it on, and stores what the CPU
    refuses."""
    for smp, word in ((2, 'x2-other'), (1, 'x2-nmi-twice')):
        told = payload_lives(word, smp=smp, **X2)
        assert told['x2'] == 1
        assert (told['x2 alone'], told['x2 back']) == (13, 13), told
        assert (told['started'] == 3 if smp == 2 else
                (told['nmis'], told['nmi inside']) == (2, 0)), told
    for word in ('x2-init-self', 'x2-init-first'):
        with Machine(payload=word, **X2) as m:
            m.wait_for('payload: has died before')
            m.stop()
            found = causes(m.region(), '-b', '1')
            assert len(found) == 1 and found[0].startswith(
                'INIT to itself'), found


# ---- Debian ----

class HvWorld(World):
    """A World whose guest runs on dlog-hv, which made the region."""

    def __init__(self, options='', append='', files=None, qemu_args=(),
                 kernel='6.1', **machine):
        self.folder = tempfile.mkdtemp(prefix='dlog-world-')
        self.oracle = os.path.join(self.folder, 'oracle')
        with open(self.oracle, 'wb') as f:
            f.truncate(ORACLE_SIZE)
        self.guest = Machine(
            options, kernel=kernel, append=append,
            files=dict(modules(kernel), **(files or {})),
            qemu_args=['-object', 'memory-backend-file,id=oracle,mem-path=%s,'
                       'size=%d,share=on' % (self.oracle, ORACLE_SIZE),
                       '-device', 'ivshmem-plain,memdev=oracle', *qemu_args],
            **machine)

    @property
    def region(self):
        return self.guest.region()


def sh(command):
    return lambda w: w.guest.sh_nowait(command)


def die(how):
    return lambda w: w.die(how)


def poke(port, value):
    """A byte to a port, by the kernel's own /dev/port."""
    return sh("printf '\\%03o' | dd of=/dev/port bs=1 seek=%d"
              % (value, port))


def hang_one(w):
    """One CPU stands still while each other one goes on."""
    def moving():
        seen = w.committed()
        time.sleep(0.5)
        now = w.committed()
        return {cpu for cpu, _ in now
                if any(n != seen.get(stream) for stream, n in now.items()
                       if stream[0] == cpu)}
    w.die('hang-one')
    until('one CPU hangs', lambda: len(moving()) == w.guest.smp - 1, 20)


# Where the guest is when it ends: symbols of its own /proc/kallsyms.
RESETS = {'native_machine_emergency_restart', 'acpi_os_write_port'}

# What is done, what the kernel command line needs, the causes that may be
# named, the statuses that the boot may leave, and the functions that the CPU
# may be in.
DEATHS = {
    'panic': (die('panic'), 'panic=1', 'reset by ', ('panic',), RESETS),
    'sysrq_b': (sh('echo b > /proc/sysrq-trigger'), '', 'reset by ',
                ('emergency restart',), RESETS),
    'reboot_acpi': (sh('reboot -f'), 'reboot=acpi',
                    'reset by the ACPI register', ('reboot',),
                    {'acpi_os_write_port'}),
    'reboot_kbd': (sh('reboot -f'), 'reboot=kbd',
                   'reset by the keyboard controller', ('reboot',),
                   {'native_machine_emergency_restart'}),
    'reboot_pci': (sh('reboot -f'), 'reboot=pci', 'reset by port 0xcf9',
                   ('reboot',), {'native_machine_emergency_restart'}),
    # The firmware's own code, in no function of the kernel.
    'reboot_efi': (sh('reboot -f'), 'reboot=efi', 'reset by ', ('reboot',),
                   None),
    'port_cf9': (poke(0xcf9, 6), '', 'reset by port 0xcf9',
                 ('emergency restart',), {'write_port'}),
    'triple_fault': (die('triple'), '', 'triple fault',
                     ('emergency restart',), {'set_die'}),
    'hang_one': (hang_one, 'nmi_watchdog=0', 'hang, ',
                 ('hard lockup',), {'hang'}),
    'hang_all': (die('hang-all'), 'nmi_watchdog=0', 'hang, ',
                 ('hard lockup',), {'hang'}),
}


def symbols(guest, names):
    """[(address, name)] as the guest's kernel tells."""
    text = guest.must("grep -wE '%s' /proc/kallsyms" % '|'.join(names))
    found = [line.split() for line in text.splitlines()]
    return [(int(words[0], 16), words[2]) for words in found
            if words[2] in names]


def is_in(rip, places):
    return any(at <= rip < at + 1024 for at, _ in places)


def linux_dies(how, seconds=0.5, **where):
    """Load, death, reset; all that was committed, the cause, a second boot
    in the same region."""
    action, append, cause, statuses, functions = DEATHS[how]
    with HvWorld('watchdog=5s', append=append, **where) as w:
        place = w.guest.place()
        w.start_load(contexts=0, seconds=0)
        places = symbols(w.guest, functions or RESETS)
        w.guest.must('echo 15 > /sys/module/dlogtest/parameters/contexts')
        time.sleep(seconds)
        action(w)
        w.guest.wait_ready(200)
        committed = w.committed()
        count = w.check(committed=committed)
        found = causes(w.region, '-b', str(w.boot))
        print('%d records back; %s' % (count, found))
        assert len(found) == 1 and found[0].startswith(cause), found
        died, told = re.search(r' on CPU (\d+) at ([0-9a-f]+)$',
                               found[0]).groups()
        regs = registers_record(w.region, w.boot, int(died))
        assert regs['rip'] == int(told, 16)
        assert is_in(regs['rip'], places) == bool(functions), (regs, places)
        assert w.guest.place() == place
        assert w.load_driver() == w.boot + 1
        assert w.end_status(w.boot) in statuses, w.end_status(w.boot)
        w.check(committed=committed)


def register_deaths():
    """Each by both firmwares and with one CPU and several, a panic in all
    combinations; not all else in all."""
    few = [('seabios', 1), ('ovmf', 4)]
    many = [('seabios', 4), ('ovmf', 1)]
    where = {'panic': few + many + [('seabios', 2)],
             'hang_one': [('seabios', 4), ('ovmf', 4)],
             'reboot_efi': [('ovmf', 4)],
             'sysrq_b': few, 'reboot_kbd': few, 'port_cf9': few}
    quick = {('panic', 'seabios', 2)}
    for how in DEATHS:
        for firmware, smp in where.get(how, many):
            def run(how=how, firmware=firmware, smp=smp):
                linux_dies(how, firmware=firmware, smp=smp)
            run.__name__ = '%s_%s_%d' % (how, firmware, smp)
            case(run, long=(how, firmware, smp) not in quick, timeout=400)


register_deaths()


@case(long=True, timeout=400)
def panic_of_6_12_seabios_1():
    linux_dies('panic', kernel='6.12', mem='768M', smp=1)


@case(long=True, timeout=400)
def panic_of_6_12_seabios_4():
    linux_dies('panic', kernel='6.12', mem='768M', smp=4)


def linux_in_x2apic_mode(smp):
    """All CPUs start by it, one once more, and an NMI of the guest's gets
    through.  The IOMMU keeps the watchdog's from us: that is said."""
    with HvWorld('watchdog=5s', smp=smp, qemu_args=REMAP, **X2) as w:
        w.guest.must('dmesg | grep -q "x2apic enabled"')
        assert int(w.guest.must('nproc')) == smp
        # It is seen at an exit, which an idle guest makes none of.
        time.sleep(11)
        w.guest.must('cat /proc/driver/rtc')
        w.guest.wait_for("The watchdog's NMI comes no more")
        if smp > 1:
            cpu = '/sys/devices/system/cpu/cpu3/online'
            w.guest.must('echo 0 > %s; echo 1 > %s' % (cpu, cpu))
            assert int(w.guest.must('nproc')) == smp
            w.guest.must('echo l > /proc/sysrq-trigger')
            w.guest.must('dmesg | grep -q "NMI backtrace for cpu 3"')


@case(long=True, timeout=400)
def linux_in_x2apic_mode_1():
    linux_in_x2apic_mode(1)


@case(long=True, timeout=400)
def linux_in_x2apic_mode_4():
    linux_in_x2apic_mode(4)


def linux_restarts(how, option, cpus):
    """Debian dies and is up again in user space, in the same machine."""
    action, append, cause, statuses, _ = DEATHS[how]
    with HvWorld('watchdog=15s %s=record,restart' % option, append=append,
                 smp=cpus) as w:
        for boot in (1, 2):
            w.start_load(seconds=0.3)
            assert w.boot == boot, '\n'.join(
                line for line in w.guest.console().splitlines()
                if 'dlog-hv: ' in line)
            action(w)
            w.guest.wait_ready(200)
            committed = w.committed()
            w.check(committed=committed)
            found = causes(w.region, '-b', str(boot))
            assert len(found) == 1 and found[0].startswith(cause), found
        assert len(re.findall(r'dlog-hv: dlog-hv \d',
                              w.guest.console())) == 1
        assert w.load_driver() == 3
        assert w.end_status(2) in statuses, w.end_status(2)
        assert w.guest.must('nproc').strip() == str(cpus)


def register_restarts():
    for how, option in (('panic', 'on-reset'), ('triple_fault', 'on-fault'),
                        ('hang_all', 'on-hang')):
        for cpus in (1, 4):
            def run(how=how, option=option, cpus=cpus):
                linux_restarts(how, option, cpus)
            run.__name__ = 'restart_after_%s_%d' % (how, cpus)
            case(run, long=True, timeout=600)


register_restarts()


def qemu_registers(guest, cpus):
    """What QEMU says of each CPU: [{name: value}]."""
    text = guest.qmp('human-monitor-command',
                     **{'command-line': 'info registers -a'})
    each = [dict(re.findall(r'\b(R[A-Z0-9]{2}) ?=([0-9a-f]{16})', part))
            for part in re.split(r'CPU#\d+', text)[1:]]
    assert len(each) == cpus, text
    return [{name.lower(): int(value, 16) for name, value in one.items()}
            for one in each]


def registers_of_a_hang(how, smp):
    """What dlog-hv tells of each CPU that hangs is what QEMU said before."""
    with HvWorld('watchdog=8s on-hang=record,halt', smp=smp,
                 append='nmi_watchdog=0') as w:
        w.start_load(contexts=1, seconds=0.2)
        w.guest.must('echo 0 > /sys/module/dlogtest/parameters/load')
        hang = symbols(w.guest, {'hang'})
        w.die(how)
        time.sleep(4)
        seen = qemu_registers(w.guest, smp)
        w.guest.wait_for('dlog-hv: The machine stands still')
        hung = [cpu for cpu in range(smp) if is_in(seen[cpu]['rip'], hang)]
        assert len(hung) == (smp if how == 'hang-all' else 1), (seen, hang)
        found = causes(w.region)
        assert len(found) == 1 and \
            re.search(r' on CPU (\d+) ', found[0])[1] in map(str, hung)
        for cpu in range(smp):
            told, now = registers(w.region, w.boot, cpu), seen[cpu]
            assert is_in(told['rip'], hang) == (cpu in hung), (told, hang)
            if cpu not in hung:
                continue
            for name in ('rsp', 'rbx', 'rbp', 'rdi', 'rsi'):
                assert told[name] == now[name], (cpu, name, told, now)
            # It goes round in a loop of a few instructions.
            assert abs(told['rip'] - now['rip']) < 32, (cpu, told, now)
            assert not told['rflags'] & 0x200


@case(long=True)
def registers_of_a_hang_are_qemus():
    registers_of_a_hang('hang-all', 4)


@case(long=True)
def registers_of_one_that_hangs_are_qemus():
    registers_of_a_hang('hang-one', 4)


@case(long=True, timeout=900)
def twenty_resets():
    """Each start finds the region of the first; the boots are numbered, and
    readable until the ring is lapped; the causes, in dlog-hv's own, all."""
    demo_dies(('reset-cf9', 'triple', 'reset-kbd', 'reset-acpi') * 5 +
              ('hlt',), 600, 700, 'region=1M@auto', keep=4)


@case(long=True, timeout=900)
def twenty_resets_ovmf():
    """The same of a guest without a driver."""
    with Machine('watchdog=0', payload='always-cf9', firmware='ovmf') as m:
        m.wait_for('dlog-hv: Boot 20 ', timeout=800)
        m.stop()
        assert len(set(PLACE.findall(m.console()))) == 1
        region = m.region()
        boots = [b['boot'] for b in entries(region, '--list-boots')]
        assert boots[:20] == list(range(1, 21)), boots
        for boot in range(1, 21):
            found = causes(region, '-b', str(boot))
            assert len(found) == 1 and found[0].startswith(
                'reset by port 0xcf9'), (boot, found)


def kexec(load, **where):
    """It is no death: the next kernel finds the region by the table and goes
    on in it; its own death is caught like that of the first."""
    with HvWorld(smp=2, kexec=True, mem='768M', **where) as w:
        place = w.guest.place()
        w.guest.must('kexec %s -l /boot/bzImage --initrd=/boot/initrd '
                     '--reuse-cmdline' % load, timeout=150)
        w.start_load(seconds=0.3)
        w.guest.sh_nowait('kexec -e')
        w.guest.wait_ready(200)
        committed = w.committed()
        w.check(committed=committed)
        assert w.load_driver() == w.boot + 1
        assert w.end_status(w.boot) == 'kexec'
        w.check(committed=committed)
        assert w.guest.console().count('dlog-hv: Linux at') == 1
        assert not causes(w.region), 'kexec is no death'

        first, before, w.boot = w.boot, w.before, w.boot + 1
        w.start_load(seconds=0.3)
        w.die('triple')
        w.guest.wait_ready(200)
        w.check()
        found = causes(w.region)
        assert len(found) == 1 and found[0].startswith('triple fault'), found
        assert causes(w.region, '-b', str(w.boot)) == found
        w.before = before
        w.check(boot=first, committed=committed)
        assert w.guest.place() == place


def register_kexec():
    for name, load in (('file', '-s'), ('load', '-c')):
        for firmware in ('seabios', 'ovmf'):
            def run(load=load, firmware=firmware):
                kexec(load, firmware=firmware)
            run.__name__ = 'kexec_%s_%s' % (name, firmware)
            case(run, long=True, timeout=400)


register_kexec()


@case(long=True, timeout=400)
def boot_is_not_slow():
    """CPU time of QEMU from the guest's first instruction to its shell, with
    dlog-hv below it and without (svm=off), on one CPU."""
    def ticks(guest):
        with open('/proc/%d/stat' % guest.pid()) as f:
            fields = f.read().rsplit(')', 1)[1].split()
        return int(fields[11]) + int(fields[12])

    best = {}
    for options in ('', 'svm=off') * 2:
        m = Machine(options, accel='tcg,thread=single')
        try:
            m.start(wait=False)
            m.wait_for('dlog-hv: Linux at')
            begin = ticks(m)
            m.wait_ready(150)
            took = ticks(m) - begin
        finally:
            m.remove()
        best[options] = min(took, best.get(options, took))
    print('CPU time of a boot, with and without: %s' % best)
    assert best[''] <= 1.5 * best['svm=off'], best


@case
def old_log_on_the_console_when_asked():
    with Machine('show=previous', payload='triple') as m:
        m.wait_for('payload: ready')
        m.wait_for('dlog-hv: Boot 1 said:')
        m.wait_for(r'\| \[ .*dlog-hv: triple fault on CPU 0')
        m.wait_for('dlog-hv: End of boot 1')


@case
def without_svm_the_guest_runs_plainly():
    with Machine(payload='hlt', cpu='qemu64,-svm') as m:
        m.wait_for('dlog-hv: This CPU has no SVM: the guest runs plainly')
        m.wait_for('payload: ready')
        assert m.says('region') == m.place()[0]
        assert m.says('begins') == 0x36d76289
        tool('dlog-read', '--stats', m.region())


@case
def it_is_small():
    assert os.path.getsize(HV) < 256 << 10
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                          '../../hypervisor')
    lines = 0
    for path, _, names in os.walk(folder):
        for name in names:
            if name.endswith(('.c', '.h', '.S', '.lds')):
                with open(os.path.join(path, name)) as f:
                    lines += len(f.readlines())
    assert lines < 5000, lines


if __name__ == '__main__':
    main()
