#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The QEMU plugin's black box together with its symbols: who reads the region
afterwards needs no other file to see what led to the end.

A bare-metal kernel's triple fault, a real Linux' hang with interrupts off that
KASLR has moved, and firmware whose QEMU was killed; under SeaBIOS and OVMF.
tests/scenarios/blocks.py is about the blocks themselves.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import image  # noqa: E402 (needs the path above)
from lib.case import case, main, until  # noqa: E402
from lib.iso import IsoGuest  # noqa: E402
from lib.plugin import Plugged  # noqa: E402
from lib.world import BUILD, modules, tool  # noqa: E402

DEMO = os.path.join(BUILD, 'baremetal/demo.elf')
RESET = 0xfffffff0      # where a processor begins
TEXT = 0xffffffff80000000


def read(p, *args):
    return [json.loads(line) for line in tool(
        'dlog-read', '-o', 'json', *args, p.region).splitlines()]


def blocks(p, *args):
    """What dlog-read shows of each CPU, with what is in loops, oldest first."""
    cpus = {}
    for o in read(p, *args):
        cpus.setdefault(o['cpu'], []).extend(
            b for b in o.get('loop', [o]) if 'address' in b)
    return cpus


def address(block):
    return int(block['address'], 16)


def where(block):
    """The function it lies in, "" if that is not known."""
    return (block['symbol'] or '').split('+')[0]


# ---- a kernel of nobody's that triple-faults ----

def faulty_instruction():
    """Where the demo has its int3, after it has forgotten its handlers."""
    text = subprocess.run(['objdump', '-d', '--no-show-raw-insn', DEMO],
                          check=True, stdout=subprocess.PIPE).stdout.decode()
    at, = re.findall(r'^ *([0-9a-f]+):\s+int3\s*\n(?!.*int3)', text,
                     re.MULTILINE)[:1] or [None]
    return int(at, 16)


def triple(firmware, qemu):
    with Plugged('blocks=on,symbols=' + DEMO, blocks=True, kind=IsoGuest,
                 kernel_args=(DEMO, 'lines=3 die=triple'), firmware=firmware,
                 qemu=qemu, machine='q35', mem='256M',
                 qemu_args=['-no-reboot']) as p:
        p.guest.wait_exit()
        told = blocks(p, '--blocks=20')[0]
        # The kernel has forgotten its handlers, and met an exception.
        last, fault = told[-1], faulty_instruction()
        assert where(last) == 'main', last
        # No instruction has more than 15 bytes.
        assert 0 <= fault - address(last) < 15 * last['instructions'], last
        assert 'interrupts_forget' in map(where, told[-3:-1]), told
        assert all(map(where, told)), told


@case
def triple_fault_under_seabios():
    triple('seabios', None)


@case(long=True)
def triple_fault_under_ovmf():
    triple('ovmf', 'trixie')


# ---- killed ----

def killed(firmware, qemu):
    """QEMU dies in the middle of firmware, whose blocks are there to the last,
    and if they are few from the first."""
    with Plugged('blocks=on', blocks=True, firmware=firmware, qemu=qemu,
                 start=False) as p:
        time.sleep(0.2)
        p.guest.kill9()
        lines = read(p, '--blocks=50000')
        assert len(lines) > 200, len(lines)
        count = lines[0]['executed']
        if not count:
            first = lines[0].get('loop', lines)[0]
            assert address(first) == RESET, first
        for o in lines:
            assert 'gap' not in o and o['executed'] == count, (o, count)
            count += o.get('times', 1) * sum(
                b['instructions'] for b in o.get('loop', [o]))
            for b in o.get('loop', [o]):
                assert address(b) < 1 << 32 and not b['symbol'], b


@case
def killed_in_seabios():
    killed('seabios', None)


@case
def killed_in_ovmf():
    killed('ovmf', 'trixie')


# ---- a real Linux that hangs ----

def hang(firmware, qemu):
    with tempfile.TemporaryDirectory() as folder:
        region, symbols = (os.path.join(folder, name)
                           for name in ('region.img', 'System.map'))
        tool('dlog-create', '-q', '-s', '1M', region)
        with open(symbols, 'wb') as f:
            f.write(tool('dlog-core', '--symbols',
                         image.Kernel('6.1').bzimage))
        with Plugged('blocks=on,symbols=' + symbols, blocks=True, smp=2,
                     size='64M', firmware=firmware, qemu=qemu,
                     machine='pc,nvdimm=on', mem='512M,slots=1,maxmem=1G',
                     qemu_args=['-object', 'memory-backend-file,id=dlog,'
                                'share=on,size=1M,mem-path=' + region,
                                '-device', 'nvdimm,memdev=dlog'],
                     files=modules('6.1')) as p:
            p.guest.must('insmod /dlog.ko && insmod /dlogtest.ko')
            rows = [line.split() for line in
                    p.guest.must('cat /proc/kallsyms').splitlines()]
            true = {(int(r[0], 16), r[2]) for r in rows if len(r) == 3}
            stuck, = [int(r[0], 16) for r in rows
                      if r[2:] == ['hang', '[dlogtest]']]
            p.guest.sh_nowait('echo hang-all >/sys/module/dlogtest/'
                              'parameters/die')

            def all_stuck():
                last = blocks(p, '--blocks=1')
                return len(last) == 2 and all(
                    0 <= address(told[-1]) - stuck < 64
                    for told in last.values())

            until('both CPUs hang', all_stuck, 90)
            p.guest.kill9()
            led = set()
            for cpu, told in blocks(p, '--blocks=2000').items():
                # The module's code goes round, and has no name.
                assert 0 <= address(told[-1]) - stuck < 64, told[-1]
                assert not told[-1]['symbol'], told[-1]
                for b in filter(where, told):
                    name, _, offset = b['symbol'].partition('+')
                    assert (address(b) - int(offset or '0', 16),
                            name) in true, b
                    led.add(name)
            # Who asked for it came from user space through sysfs; the other
            # CPU was told by an interrupt.
            for one in ('ksys_write', 'kernfs_fop_write_iter',
                        '__flush_smp_call_function_queue'):
                assert one in led, sorted(led)


@case(long=True)
def hang_under_seabios():
    hang('seabios', None)


@case(long=True)
def hang_under_ovmf():
    hang('ovmf', 'trixie')


if __name__ == '__main__':
    main()
