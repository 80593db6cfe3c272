#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The QEMU plugin's symbols: it finds where KASLR has put the kernel, never
wrongly, also after a reboot and kexec, and names functions in its catalog.

What is true the guest's kernel tells: /proc/kallsyms, or "Kernel Offset" of a
panic (Linux 6.1 arch/x86/kernel/setup.c, dump_kernel_offset()).
"""

import hashlib
import itertools
import os
import re
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import image  # noqa: E402 (needs the path above)
from lib.case import case, main, until  # noqa: E402
from lib.plugin import Plugged  # noqa: E402
from lib.world import tool  # noqa: E402

LINKED = 0xffffffff81000000
def system_map(folder, kernel):
    path = os.path.join(folder, 'System.map-' + kernel)
    with open(path, 'wb') as f:
        f.write(tool('dlog-core', '--symbols', image.Kernel(kernel).bzimage))
    return path


def places(p):
    """Where the plugin has found the kernel, in order."""
    return [int(m[1], 16) for m in map(
        re.compile(r'the kernel of \S+ lies at (0x\w+), ').match, p.said())
        if m]


def kallsyms(p, path):
    """{name: [addresses]} in the guest as it runs: the System.map, moved.  All
    of it must be what the guest has, types and order too."""
    text = p.guest.must("grep ' _text$' /proc/kallsyms").split()[0]
    slide, lines, found = int(text, 16) - LINKED, [], {}
    with open(path) as f:
        for row in f:
            addr, kind, name = row.split()
            addr = int(addr, 16)
            # Below are offsets in per-CPU data.
            addr += slide if addr >= LINKED else 0
            lines.append('%016x %s %s\n' % (addr, kind, name))
            found.setdefault(name, []).append(addr)
    want = hashlib.md5(''.join(lines).encode()).hexdigest()
    have = p.guest.must("grep -v '\\[' /proc/kallsyms | md5sum").split()[0]
    assert have == want, (len(lines), hex(slide))
    return found


def check_names(p, true):
    """Each name of the catalog is one that the kernel has there, and what
    every boot executes is among them."""
    c = p.catalog()
    (number, name), = c.objects.items()
    assert name.startswith('vmlinux System.map-'), name
    base = c.bases[-1]
    assert base.object == number, base
    assert base.base == true['_text'][0], (base, true['_text'])
    names = {s.name for s in c.symbols}
    for s in c.symbols:
        assert base.base + s.offset in true[s.name], s
        assert s.size and s.offset + s.size <= base.size, s
    assert len(names) > 1000, len(names)
    assert len({s.offset for s in c.symbols}) == len(c.symbols)
    for one in ('x86_64_start_kernel', 'start_kernel', 'do_syscall_64',
                'schedule', 'memcpy'):
        assert one in names, one


def found_and_named(kernel, firmware, qemu, kexec=False):
    mem = '768M' if kexec else '512M'
    with tempfile.TemporaryDirectory() as folder:
        path = system_map(folder, kernel)
        with Plugged('symbols=' + path, kernel=kernel, firmware=firmware,
                     qemu=qemu, kexec=kexec, mem=mem,
                     machine='pc,memory-backend=ram', qemu_args=[
                         '-object', 'memory-backend-file,id=ram,share=on,'
                         'size=%s,mem-path=%s/ram' % (mem, folder)]) as p:
            true = kallsyms(p, path)
            boots = [true['_text'][0]]
            check_names(p, true)
            if not kexec:
                p.guest.system_reset()
            else:
                p.guest.must('kexec -s -l /boot/bzImage --initrd=/boot/initrd '
                             '--reuse-cmdline')
                p.guest.sh_nowait('kexec -e')
            p.guest.wait_ready(200)
            true = kallsyms(p, path)
            boots.append(true['_text'][0])
            check_names(p, true)
            # The kernel in memory has the same, wherever it lies.
            with open(path, 'rb') as f:
                assert tool('dlog-core', '--symbols',
                            os.path.join(folder, 'ram')) == f.read()
            assert places(p) == [a for a, _ in itertools.groupby(boots)], \
                (places(p), boots)
            assert firmware == 'pvh' or boots[1] != LINKED, boots


@case
def found_and_named_and_found_again():
    found_and_named('6.1', 'seabios', None)


def _register_all():
    for kernel, firmware, qemu, how in (
            ('6.1', 'seabios', 'trixie', 'kexec'),
            ('6.1', 'ovmf', None, 'reboot'),
            ('6.12', 'seabios', None, 'kexec'),
            ('6.12', 'seabios', 'trixie', 'reboot'),
            ('6.12', 'ovmf', 'trixie', 'kexec')):
        def run(kernel=kernel, firmware=firmware, qemu=qemu, how=how):
            found_and_named(kernel, firmware, qemu, how == 'kexec')
        run.__name__ = '%s_of_%s_by_%s_under_%s' % (
            how, kernel.replace('.', '_'), firmware, qemu or 'bookworm')
        case(long=True, timeout=600)(run)


_register_all()


def many_boots(kernel, qemu, boots):
    """Boots into a panic that boots again; each panic tells the offset."""
    offset = re.compile(r'Kernel Offset: (0x[0-9a-f]+|disabled)')
    with tempfile.TemporaryDirectory() as folder:
        args = 'symbols=' + system_map(folder, kernel)
        with Plugged(args, kernel=kernel, firmware='seabios', qemu=qemu,
                     append='rdinit=/none root=/dev/none panic=-1 quiet',
                     start=False) as p:
            until('%d panics' % boots, lambda: len(offset.findall(
                p.guest.console())) >= boots, timeout=60 * boots)
            p.guest.stop()
            true = [LINKED + (0 if o == 'disabled' else int(o, 16))
                    for o in offset.findall(p.guest.console())]
            found = places(p)
        true = [a for a, _ in itertools.groupby(true)]
        # The next boot may have come as far as its kernel.
        assert found[:len(true)] == true and len(found) <= len(true) + 1, \
            (found, true)
        assert len(true) > boots // 2, true


@case(long=True, timeout=1800)
def twenty_boots_of_6_1():
    many_boots('6.1', None, 20)


@case(long=True, timeout=1800)
def twenty_boots_of_6_12():
    many_boots('6.12', 'trixie', 20)


@case(long=True)
def symbols_of_another_build():
    """Nothing is found in them, and that is said."""
    with tempfile.TemporaryDirectory() as folder:
        args = 'symbols=' + system_map(folder, '6.12')
        with Plugged(args, kernel='6.1', firmware='seabios') as p:
            assert not places(p), p.said()
            assert any('does not fit' in line for line in p.said()), p.said()
            with open(os.path.join(p.guest.dir, 'qemu.log')) as f:
                assert 'give the symbols of that build' in f.read()
            assert not p.catalog().symbols


@case(long=True)
def slide_as_given():
    with tempfile.TemporaryDirectory() as folder:
        path = system_map(folder, '6.1')
        with Plugged('slide=0,symbols=' + path, firmware='pvh') as p:
            check_names(p, kallsyms(p, path))
            assert not places(p)


if __name__ == '__main__':
    main()
