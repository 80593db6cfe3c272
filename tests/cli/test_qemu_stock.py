#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""dlog-qemu --stock=ramoops: what it adds and says, what it refuses, and is the
address that it tells the guest the one where QEMU puts the memory?

tests/scenarios/ramoops.py has the guests.  Relies on launcher.py.
"""

import json
import os
import re
import shlex
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from launcher import MIB, QEMU, create, folder, main, run  # noqa: E402
from lib.case import case, skip  # noqa: E402 (launcher.py knows the path)

WORDS = 'ramoops.mem_address=0x100000000 ramoops.mem_size=0x200000 ' \
    'ramoops.record_size=0x8000 ramoops.console_size=0x80000 ' \
    'ramoops.pmsg_size=0x20000 ramoops.ftrace_size=0x20000 ' \
    'ramoops.ecc=1 ramoops.max_reason=4'
NVDIMM = WORDS + ' modprobe.blacklist=nd_pmem'


def added(path, *command, options=()):
    status, out, err = run('--print-args', '--stock=ramoops', '--size=2M',
                           *options, path, '--', QEMU, *command)
    assert status == 0, err
    return shlex.split(out), err


@case
def words_for_the_guest():
    with folder() as where:
        path = os.path.join(where, 'area')
        args, err = added(path, '-m', '1G')
        assert '-append' not in args, args
        assert '    %s\n' % NVDIMM in err, err
        assert 'modules-load.d' in err and 'nd_pmem' in err, err
        assert 'nvdimm,id=dlog,memdev=dlog,addr=0x100000000' in args, args
        args, err = added(path, '-m', '1G', '-kernel', 'k', '-append', 'a=b')
        assert args[args.index('-append') + 1] == 'a=b ' + NVDIMM, args
        assert err == '', err
        # Nothing is added twice.
        args, err = added(path, '-m', '1G', '-kernel', 'k', '-append',
                          'a=b ' + NVDIMM)
        assert '-append' not in args, args
        args, err = added(path, '-m', '1G', '-kernel', 'k',
                          options=['--placement=ram'])
        assert args[args.index('-append') + 1] == 'memmap=2M$256M ' + \
            WORDS.replace('0x100000000', '0x10000000'), args
        assert not os.path.exists(path)


@case
def what_is_refused():
    with folder() as where:
        path = os.path.join(where, 'area')

        def refused(word, *command, options=()):
            status, out, err = run('--stock=ramoops', *options, path, '--',
                                   *(command or ('true',)))
            assert status == 125 and out == '' and word in err, (status, err)

        refused('ivshmem', options=['--placement=ivshmem'])
        refused('machine microvm has no nvdimm', QEMU, '-M', 'microvm')
        refused('nvdimm,id=x', QEMU, '-device', 'nvdimm,id=x,memdev=y')
        refused('ramoops.mem_address=', QEMU, '-kernel', 'k', '-append',
                'ramoops.mem_address=0x1000')
        refused('choose ramoops', options=['--stock=other'])
        create(path)
        refused('format region')
        os.unlink(path)
        with open(path, 'wb') as f:
            f.write(b'somebody\'s letters'.ljust(MIB, b'.'))
        refused('something else')
        os.truncate(path, 1000)
        refused('1000 bytes')
        os.truncate(path, 0)
        os.truncate(path, MIB)
        refused('--size=2M', options=['--size=2M'])
        assert os.path.getsize(path) == MIB


@case
def the_file():
    """Made once, not readable by others, taken again as it is."""
    with folder() as where:
        path = os.path.join(where, 'area')
        for said in ('created %s: 16M' % path, ''):
            status, _, err = run('--stock=ramoops', path, '--', 'true')
            assert status == 0 and said in err, err
            assert said or 'created' not in err, err
        assert os.path.getsize(path) == 16 * MIB
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert os.stat(path).st_blocks * 512 >= 16 * MIB


def addresses(machine, memory, path):
    """(where QEMU puts an nvdimm, what dlog-qemu says)"""
    args, _ = added(path, '-M', machine, '-m', memory)
    said = re.search(r'addr=(0x[0-9a-f]+)', ' '.join(args))[1]
    out = subprocess.run(
        [QEMU, '-nodefaults', '-display', 'none', '-S', '-qmp', 'stdio', '-M',
         machine + ',nvdimm=on', '-m', memory + ',slots=1,maxmem=16G',
         '-object', 'memory-backend-ram,id=m,size=2M', '-device',
         'nvdimm,id=dlog,memdev=m'],
        input='{"execute": "qmp_capabilities"}'
        '{"execute": "query-memory-devices"}{"execute": "quit"}',
        stdout=subprocess.PIPE, text=True, timeout=60).stdout
    for line in out.splitlines():
        answer = json.loads(line).get('return')
        if answer:
            return answer[0]['data']['addr'], int(said, 16)
    raise AssertionError(out)


@case
def addresses_as_qemu_has_them():
    with folder() as where:
        path = os.path.join(where, 'area')
        for machine, memory in (
                ('pc', '512M'), ('pc', '3583M'), ('pc', '3584M'),
                ('pc', '6G'), ('q35', '2815M'), ('q35', '2816M'),
                ('q35', '4G'), ('pc,max-ram-below-4g=1G', '2G'),
                ('q35,max-ram-below-4g=1G', '5G')):
            try:
                real, said = addresses(machine, memory, path)
            except FileNotFoundError:
                skip('QEMU is not installed')
            assert real == said, (machine, memory, hex(real), hex(said))


if __name__ == '__main__':
    main()
