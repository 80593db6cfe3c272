#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Does dlog-qemu add what a guest needs, and refuse what would lose the log?

First without QEMU (--print), then with a QEMU that runs no guest;
test_qemu_guest.py has the guests.  Relies on launcher.py, and on a region's
layout (docs/abi.md) only so far as to look at a few numbers of a new one.
"""

import contextlib
import os
import re
import shlex
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from launcher import (DLOG_QEMU, MAGIC, MIB, QEMU, connect,  # noqa: E402
                      create, folder, main, qemus, run)
from lib.case import case  # noqa: E402 (launcher.py knows the path)

# A QEMU that runs no guest.
IDLE = ['-nodefaults', '-display', 'none', '-S']


def added(options, command, file='/tmp/none.dlog'):
    """What dlog-qemu adds to a command line, as a list, and what it says."""
    status, out, err = run('--print-args', *options, file, '--', *command)
    assert status == 0, err
    return shlex.split(out), err


# What is added, word for word

FILE = 'memory-backend-file,id=dlog,mem-path=/tmp/none.dlog,size=16777216,' \
    'share=on,prealloc=on'
NVDIMM = ['-object', FILE, '-device', 'nvdimm,id=dlog,memdev=dlog']
IVSHMEM = ['-object', FILE, '-device', 'ivshmem-plain,id=dlog,memdev=dlog']
PANIC = ['-device', 'pvpanic', '-action', 'panic=none']
QMP = ['-chardev', 'socket,id=dlog-qmp,path=/tmp/none.dlog.qmp,server=on,'
       'wait=off', '-mon', 'chardev=dlog-qmp,mode=control']
ON = ['-machine', 'nvdimm=on']


def m(slots, maxmem):
    return ['-m', 'slots=%d,maxmem=%s' % (slots, maxmem)]


def ram(total, high, cpus, more=''):
    """What --placement=ram adds for a region at 256 MiB."""
    return ['-m', 'size=%s%s' % (total, more),
            '-object', 'memory-backend-ram,id=dlog-low,size=256M',
            '-object', FILE,
            '-object', 'memory-backend-ram,id=dlog-high,size=' + high,
            '-numa', 'node,nodeid=0,memdev=dlog-low,cpus=' + cpus,
            '-numa', 'node,nodeid=1,memdev=dlog',
            '-numa', 'node,nodeid=2,memdev=dlog-high']


WORDS = 'memmap=16M$256M dlog.mem=16M@256M'

# (our options, the user's arguments, what is added)
TABLE = [
    # -machine in all its forms
    ('', '', ON + m(1, '144M') + NVDIMM + PANIC + QMP),
    ('', '-machine q35', ON + m(1, '144M') + NVDIMM + PANIC + QMP),
    ('', '-M pc-i440fx-7.2', ON + m(1, '144M') + NVDIMM + PANIC + QMP),
    ('', '--machine type=q35,accel=tcg', ON + m(1, '144M') + NVDIMM + PANIC +
     QMP),
    ('', '-M q35 -machine accel=kvm', ON + m(1, '144M') + NVDIMM + PANIC +
     QMP),
    ('', '-M q35,nvdimm=on', m(1, '144M') + NVDIMM + PANIC + QMP),
    ('', '-M q35 -machine nvdimm=yes', m(1, '144M') + NVDIMM + PANIC + QMP),
    ('', '-M nvdimm=off -M nvdimm=on', m(1, '144M') + NVDIMM + PANIC + QMP),
    ('', '-M none', ON + m(1, '144M') + NVDIMM + QMP),
    # -m
    ('', '-m 512', ON + m(1, '528M') + NVDIMM + PANIC + QMP),
    ('', '--m 512M', ON + m(1, '528M') + NVDIMM + PANIC + QMP),
    ('', '-m 0', ON + m(1, '144M') + NVDIMM + PANIC + QMP),
    ('', '-m 1.5G', ON + m(1, '1552M') + NVDIMM + PANIC + QMP),
    ('', '-m 1048576k', ON + m(1, '1040M') + NVDIMM + PANIC + QMP),
    ('', '-m size=1G', ON + m(1, '1040M') + NVDIMM + PANIC + QMP),
    ('', '-m size=1G,slots=2,maxmem=4G', ON + m(3, '4112M') + NVDIMM + PANIC +
     QMP),
    ('', '-m 1G,maxmem=4294967296,slots=1', ON + m(2, '4112M') + NVDIMM +
     PANIC + QMP),
    ('', '-m 1G -m slots=3,maxmem=2G', ON + m(4, '2064M') + NVDIMM + PANIC +
     QMP),
    ('', '-m 1G -m 2G', ON + m(1, '2064M') + NVDIMM + PANIC + QMP),
    # Other options' arguments are not options, and options without an
    # argument take none.
    ('', '-name -m -smp 2', ON + m(1, '144M') + NVDIMM + PANIC + QMP),
    ('', '-S -m 512', ON + m(1, '528M') + NVDIMM + PANIC + QMP),
    ('', '--preconfig -m 512', ON + m(1, '528M') + NVDIMM + PANIC + QMP),
    ('', 'disk.img -m 512', ON + m(1, '528M') + NVDIMM + PANIC + QMP),
    # pvpanic and -action
    ('--no-pvpanic', '', ON + m(1, '144M') + NVDIMM + QMP),
    ('', '-device pvpanic', ON + m(1, '144M') + NVDIMM + QMP),
    ('', '-device pvpanic-pci,id=p', ON + m(1, '144M') + NVDIMM + QMP),
    ('', """-device '{"driver":"pvpanic"}'""", ON + m(1, '144M') + NVDIMM +
     QMP),
    ('--on-panic=pause', '-device pvpanic', ON + m(1, '144M') + NVDIMM +
     ['-action', 'panic=pause'] + QMP),
    ('--on-panic=exit-failure', '', ON + m(1, '144M') + NVDIMM +
     ['-device', 'pvpanic', '-action', 'panic=exit-failure'] + QMP),
    ('', '-action panic=pause', ON + m(1, '144M') + NVDIMM +
     ['-device', 'pvpanic'] + QMP),
    ('--on-panic=pause', '-action reboot=shutdown,panic=pause',
     ON + m(1, '144M') + NVDIMM + ['-device', 'pvpanic'] + QMP),
    ('', '-action shutdown=pause', ON + m(1, '144M') + NVDIMM + PANIC + QMP),
    # QMP
    ('--qmp=none', '', ON + m(1, '144M') + NVDIMM + PANIC),
    ('--qmp=/tmp/a,b', '', ON + m(1, '144M') + NVDIMM + PANIC +
     ['-chardev', 'socket,id=dlog-qmp,path=/tmp/a,,b,server=on,wait=off',
      '-mon', 'chardev=dlog-qmp,mode=control']),
    # ivshmem
    ('-p ivshmem', '-M pc', IVSHMEM + PANIC + QMP),
    ('-p ivshmem', '-M pc,acpi=off,nvdimm=off', IVSHMEM + PANIC + QMP),
    ('-p ivshmem', '-M microvm', ['-machine', 'pcie=on'] + IVSHMEM + QMP),
    ('-p ivshmem', '-M microvm,pcie=on', IVSHMEM + QMP),
    # carved out of memory
    ('-p ram', '-m 512', ram('528M', '256M', '0') + PANIC + QMP),
    ('-p ram', '-m 4G -smp 4', ram('4112M', '3840M', '0-3') + PANIC + QMP),
    ('-p ram', '-m 1G,slots=1,maxmem=2G -smp 1,maxcpus=8',
     ram('1040M', '768M', '0-7', ',maxmem=2064M') + PANIC + QMP),
    ('-p ram', '-m 512 -smp cores=2,threads=2,sockets=3',
     ram('528M', '256M', '0-11') + PANIC + QMP),
    ('-p ram', '-m 512 -smp 2,cores=4', ram('528M', '256M', '0-3') + PANIC +
     QMP),
    ('-p ram', '-m 512 -M q35,smp.cpus=3', ram('528M', '256M', '0-2') +
     PANIC + QMP),
    ('-p ram', '-m 512 -kernel k', ram('528M', '256M', '0') +
     ['-append', WORDS] + PANIC + QMP),
    ('-p ram', "-m 512 -kernel k -append 'quiet x=\"a b\"'",
     ram('528M', '256M', '0') + ['-append', 'quiet x="a b" ' + WORDS] +
     PANIC + QMP),
    ('-p ram', "-m 512 -kernel k -append '%s quiet'" % WORDS,
     ram('528M', '256M', '0') + PANIC + QMP),
    ('-p ram', '-m 512 -M q35,kernel=k,append=quiet',
     ram('528M', '256M', '0') + ['-append', 'quiet ' + WORDS] + PANIC + QMP),
]


@case
def what_is_added():
    for options, args, expected in TABLE:
        have, _ = added(shlex.split(options), [QEMU] + shlex.split(args))
        assert have == expected, '%s -- %s\nhave %s\nwant %s' % (
            options, args, shlex.join(have), shlex.join(expected))


@case
def the_whole_command():
    """--print and --dry-run keep the user's words, quoted for a shell, and
    make no file."""
    with folder() as path:
        file = os.path.join(path, "it's a,b")
        words = ['qemu-system-x86_64', '-append', 'a "b" $c `d` \\', '-name',
                 '', '-drive', 'file=a\nb', "it's"]
        for option in '--print', '--dry-run':
            status, out, err = run(option, file, '--', *words)
            assert (status, err) == (0, ''), err
            assert shlex.split(out)[:len(words)] == words, out
            back = subprocess.run(['sh', '-c', "printf '%s\\0' " + out],
                                  stdout=subprocess.PIPE, check=True).stdout
            back = back.decode().split('\0')[:-1]
            assert back == shlex.split(out)
            assert 'memory-backend-file,id=dlog,mem-path=%s/it\'s a,,b,' \
                'size=16777216,share=on,prealloc=on' % path in back, back
        assert os.listdir(path) == []


@case
def small_guests_of_carved_memory():
    have, err = added(['-p', 'ram'], [QEMU, '-m', '192'])
    assert 'memory-backend-ram,id=dlog-low,size=128M' in have
    assert 'memory-backend-ram,id=dlog-high,size=64M' in have
    # No -kernel: a person has to do it.
    assert '\n    memmap=16M$128M dlog.mem=16M@128M\n' in err, err
    line = re.search(r'GRUB_CMDLINE_LINUX=.*', err).group()
    # grub-mkconfig sources that file, GRUB parses what it writes.
    once = subprocess.run(['sh', '-c', line + '; printf %s '
                           '"$GRUB_CMDLINE_LINUX"'], stdout=subprocess.PIPE,
                          check=True, text=True).stdout
    assert once == 'memmap=16M\\$128M dlog.mem=16M@128M', once


@case
def other_targets():
    """No pvpanic where the board has none; --placement=ram is x86's."""
    have, _ = added([], ['/opt/qemu-system-aarch64', '-M', 'virt'])
    assert have == ON + m(1, '144M') + NVDIMM + QMP, have
    status, _, err = run('-p', 'ram', '/tmp/none.dlog', '--',
                         'qemu-system-aarch64', '-M', 'virt', '-m', '1G')
    assert status == 125 and 'pc and q35 only' in err, err


@case
def verbose_gives_reasons():
    _, err = added(['-v'], [QEMU, '-m', '512'])
    assert 'dlog-qemu: adding -m slots=1,maxmem=528M (' in err, err
    _, err = added([], [QEMU, '-readconfig', 'x.cfg'])
    assert 'x.cfg' in err and 'warning' in err, err


@case
def every_option_of_qemu():
    """Which options take an argument, by what QEMU's own -help says."""
    counted = {True: 0, False: 0}
    for qemu in qemus():
        text = subprocess.run([qemu, '-help'], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=True,
                              text=True).stdout
        options = {}
        for line in text.splitlines():
            # Explanations stand in column 16, or after several blanks where
            # the name is longer; what else follows is an argument.
            match = re.match(r'(--?[A-Za-z][-\w]*)(?: or (-\w+))?(.*)', line)
            if not match or match.group(3).startswith('/-'):
                continue
            rest = match.group(3)
            text_at = len(line) - len(rest.lstrip())
            argument = rest.strip() != '' and (
                text_at < 16 or text_at > 16 and not rest.startswith('  '))
            for name in match.group(1, 2):
                if name:
                    options[name] = options.get(name, False) or argument
        for name, argument in options.items():
            if name.lstrip('-') in ('m', 'machine', 'M', 'smp', 'object',
                                    'device', 'numa', 'append', 'action',
                                    'kernel', 'mem-path', 'readconfig',
                                    'no-acpi'):
                continue        # these are in the tables above
            have, _ = added([], [qemu, name, '-m', '512'])
            wanted = m(1, '144M' if argument else '528M')
            assert wanted[1] in have, '%s %s: argument %s\n%s' % (
                qemu, name, argument, have)
            counted[argument] += 1
    print('with an argument %d, without %d' % (counted[True],
                                               counted[False]))
    assert counted[True] > 60 and counted[False] > 20


# What is refused

REFUSED = [
    # our options, the user's arguments, a part of the message
    ('', '-M pc,nvdimm=off', 'nvdimm=off'),
    ('', '-M pc,nvdimm=on -M nvdimm=off', 'nvdimm=off'),
    ('', '-M pc,acpi=off', 'without ACPI'),
    ('', '-no-acpi', 'without ACPI'),
    ('', '-M microvm', '--placement=ivshmem'),
    ('', '-M isapc', 'isapc'),
    ('', '-m 512,slots=256,maxmem=1T', 'no slot'),
    ('', '-m half', "'half'"),
    ('', '-m 512q', "'512q'"),
    ('', '-m -5', "'-5'"),
    ('', '-m 1e3', "'1e3'"),
    ('', '-m inf', "'inf'"),
    ('', '-m 99999999999999999999', "'99999999999999999999'"),
    ('', '-m 1G,maxmem=lots', "'lots'"),
    ('', '-m 1G,slots=some', "'some'"),
    ('', '-M q35,memory.size=1G', '-m'),
    ('', '-smp many', 'many'),
    ('', '-smp 99999999', '99999999'),
    ('', '-smp cores=65536,sockets=65536,threads=65536', 'too many'),
    ('', '-m', "-m needs an argument"),
    ('', '-object {', 'JSON'),
    ('', '-object memory-backend-ram,id=dlog,size=1M', "id 'dlog'"),
    ('', '-object memory-backend-ram,size=1M,id=dlog-low', "id 'dlog-low'"),
    ('', '-device e1000,id=dlog', "id 'dlog'"),
    ('', """-object '{"qom-type":"memory-backend-ram","id":"dlog"}'""",
     "id 'dlog'"),
    ('', '-object memory-backend-file,id=x,mem-path=/tmp/none.dlog,size=1M,'
     'share=off', 'attaches /tmp/none.dlog already'),
    ('', '-mem-path /tmp/none.dlog', 'another file'),
    ('--on-panic=none', '-action panic=pause', 'contradicts'),
    ('--on-panic=reboot', '', 'choose none, pause'),
    ('--placement=pci', '', 'choose nvdimm'),
    ('--size=1000', '', '1000'),
    ('--size=16X', '', '16X'),
    ('--size=0', '', '--size=0'),
    ('--size=5000', '', '5000'),
    ('-p ivshmem --size=12M', '', 'power of two'),
    ('-p ivshmem', '-M microvm,pcie=off', 'pcie=off'),
    ('-p ivshmem', '-M isapc', 'PCI'),
    ('-p ram', '', '192M'),
    ('-p ram', '-m 191', '192M'),
    ('-p ram', '-m 512 -numa node', '-numa node'),
    ('-p ram', '-m 512 -mem-path /dev/shm', '-mem-path'),
    ('-p ram', '-m 512 -M q35,memory-backend=x', 'memory-backend'),
    ('-p ram', '-m 512 -M microvm', 'pc and q35 only'),
    ('-p ram', '-m 512 -M none', 'pc and q35 only'),
    ('-p ram --size=1792M', '-m 4G', 'too large'),
    ('-p ram', '-m 512 -M pc,max-ram-below-4g=256M', 'too large'),
    ('-p ram', "-m 512 -kernel k -append 'dlog.mem=16M@1G'", 'dlog.mem='),
]


@case
def what_is_refused():
    for options, args, part in REFUSED:
        status, out, err = run('--print-args', *shlex.split(options),
                               '/tmp/none.dlog', '--', QEMU,
                               *shlex.split(args))
        said = '%s -- %s\nstatus %d\n%s' % (options, args, status, err)
        assert status == 125 and out == '', said
        assert part in err and err.startswith('dlog-qemu: '), said
        assert err.count('\n') == 1, said


@case
def wrong_usage():
    for args, part in (
            ([], 'no region file'),
            (['f'], 'no -- '),
            (['f', '--'], 'no QEMU command'),
            (['f', 'g', '--', 'true'], "'g'"),
            (['--', 'true'], 'no region file'),
            (['--frobnicate', 'f', '--', 'true'], 'frobnicate'),
            (['--size'], 'size')):
        status, out, err = run(*args)
        assert status == 125 and out == '' and part in err, (args, err)


@case
def help_and_version():
    status, out, err = run('--help')
    assert (status, err) == (0, '')
    for option in ('--placement', '--size', '--qmp', '--no-pvpanic',
                   '--on-panic', '--print', '--dry-run', '--print-args',
                   '--verbose', '--help', '--version'):
        assert option in out, option
    status, out, err = run('--version')
    assert status == 0 and re.fullmatch(r'dlog-qemu \d+\.\d+\.\d+\n', out)
    # Nothing is silently lost on a full disk.
    with open('/dev/full', 'w') as full:
        done = subprocess.run([DLOG_QEMU, '--help'], stdout=full,
                              stderr=subprocess.PIPE, text=True)
    assert done.returncode == 125 and 'No space left' in done.stderr


def refuse_file(path, part, *options):
    """Refused with --print and without, and nothing done to the file."""
    for mode in ['--print'], []:
        status, out, err = run(*mode, *options, path, '--', 'echo', 'ran')
        assert status == 125 and out == '', (path, status, out, err)
        assert part in err, (path, err)


@case
def files_that_are_no_region():
    with folder() as path:
        def put(name, data):
            full = os.path.join(path, name)
            with open(full, 'wb') as f:
                f.write(data)
            return full

        good = os.path.join(path, 'good')
        create(good, '--size=1M')
        with open(good, 'rb') as f:
            data = f.read()
        assert data[:8] == MAGIC and len(data) == MIB
        refuse_file(path, path)                         # a folder
        refuse_file(os.path.join(path, 'no/such'), 'No such file')
        refuse_file(put('empty', b''), 'empty')
        refuse_file(put('zero', bytes(MIB)), 'zero')
        refuse_file(put('text', b'hello\n' * 100000), 'text')
        refuse_file(put('short', data[:-4096]), 'short')
        refuse_file(put('long', data + bytes(4096)), 'truncate -s 1048576')
        refuse_file(good, '--size=2M', '--size=2M')
        fifo = os.path.join(path, 'fifo')
        os.mkfifo(fifo)
        refuse_file(fifo, 'regular file')
        link = os.path.join(path, 'dangling')
        os.symlink(os.path.join(path, 'later'), link)
        refuse_file(link, 'leads nowhere')
        assert not os.path.exists(os.path.join(path, 'later'))
        # No file was changed, none was made.
        with open(good, 'rb') as f:
            assert f.read() == data
        assert sorted(os.listdir(path)) == [
            'dangling', 'empty', 'fifo', 'good', 'long', 'short', 'text',
            'zero']
        # A link to a region is one; QEMU is given the region's own name.
        os.symlink(good, os.path.join(path, 'link'))
        have, _ = added([], [QEMU], os.path.join(path, 'link'))
        assert any('mem-path=%s,size=1048576,' % good in word
                   for word in have), have
        # The same file under another name.
        os.link(good, os.path.join(path, 'other'))
        status, _, err = run('--print', good, '--', QEMU, '-object',
                             'memory-backend-file,id=x,share=on,size=1M,'
                             'mem-path=%s/other' % path)
        assert status == 125 and 'already' in err, err


@case
def a_damaged_first_superblock_is_told():
    with folder() as path:
        file = os.path.join(path, 'f')
        create(file, '--size=1M')
        with open(file, 'r+b') as f:
            f.seek(20)
            f.write(b'\xff' * 8)
        _, err = added([], [QEMU], file)
        assert 'superblock' in err and 'warning' in err, err


# Running

@case
def the_program_takes_the_process_over():
    with folder() as path:
        file = os.path.join(path, 'f')
        script = 'echo $$; echo to stderr >&2; exit 7'
        process = subprocess.Popen(
            [DLOG_QEMU, file, '--', 'sh', '-c', script],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 7
        assert out == '%d\n' % process.pid
        assert err.endswith('to stderr\n')
        process = subprocess.Popen([DLOG_QEMU, file, '--', 'sh', '-c',
                                    'kill -TERM $$'])
        assert process.wait(60) == -15
        # The user's arguments come first, then what is added.
        status, out, _ = run(file, '--', 'echo', 'a  b')
        assert status == 0 and out.startswith('a  b -machine nvdimm=on '), out


@case
def programs_that_cannot_run():
    with folder() as path:
        file = os.path.join(path, 'f')
        text = os.path.join(path, 'text')
        with open(text, 'w') as f:
            f.write('no program\n')
        for program, wanted in (('no-such-qemu', 127),
                                (path + '/none', 127), (text, 126),
                                ('text', 126), (path, 126)):
            env = dict(os.environ, PATH=path + ':' + os.environ['PATH'])
            status, _, err = run(file, '--', program, env=env)
            assert status == wanted and program in err, (program, status, err)
        assert not os.path.exists(file)


@case
def a_new_file():
    """16 MiB unless told, 0600, one ring for each CPU."""
    with folder() as path:
        file = os.path.join(path, 'f')
        status, _, err = run(file, '--', 'true', '-smp', '3,maxcpus=6')
        assert status == 0
        assert err == 'dlog-qemu: created %s: 16M, rings: 3\n' % file, err
        info = os.stat(file)
        assert info.st_size == 16 * MIB and info.st_mode & 0o7777 == 0o600
        inode = info.st_ino
        with open(file, 'rb') as f:
            before = f.read()
        assert int.from_bytes(before[200:204], 'little') == 3
        status, _, err = run(file, '--', 'true', '-smp', '8')
        assert (status, err) == (0, '')
        with open(file, 'rb') as f:
            assert f.read() == before
        assert os.stat(file).st_ino == inode
        # Relative names, and more CPUs than a small region has room for.
        status, _, err = run('-s', '256K', 'small', '--', 'true', '-smp',
                             '64', cwd=path)
        assert status == 0 and 'created %s/small: 256K, rings: 2' % path \
            in err, err
        status, _, err = run('huge', '--', 'true', '-smp', '2,maxcpus=255',
                             cwd=path)
        assert status == 0 and 'rings: 2' in err, err
        with open(os.path.join(path, 'huge'), 'rb') as f:
            assert int.from_bytes(f.read(212)[208:212], 'little') == 255


def idle(file, *args, options=(), qemu=QEMU):
    """A QEMU that runs no guest, started by dlog-qemu."""
    return subprocess.Popen([DLOG_QEMU, *options, file, '--', qemu, *IDLE,
                             *args], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True)


@contextlib.contextmanager
def running(file, *args, **kwargs):
    """The same, and a connection to it; ends it."""
    process = idle(file, *args, **kwargs)
    try:
        qmp = connect(file + '.qmp', process)
        try:
            yield process, qmp
        finally:
            qmp.close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def refused_as_busy(file):
    status, _, err = run(file, '--', QEMU, *IDLE)
    return status == 125 and 'another virtual machine' in err and file in err


@case
def a_second_guest_is_refused():
    with folder() as path:
        file = os.path.join(path, 'f')
        for options in [], ['-p', 'ivshmem']:
            with running(file, options=options) as (process, qmp):
                assert refused_as_busy(file)
                os.link(file, file + '.too')
                assert refused_as_busy(file + '.too')
                os.unlink(file + '.too')
                # Looking is allowed.
                status, _, err = run('--print', file, '--', QEMU)
                assert status == 0, err
                assert qmp.command('query-status')['status'] == 'prelaunch'
            # SIGKILL has freed it.
            assert not refused_as_busy_after_end(file)


def refused_as_busy_after_end(file):
    status, _, err = run(file, '--', 'true')
    assert status == 0 or 'another virtual machine' in err, err
    return status != 0


@case
def the_lock_stays_with_a_daemon():
    for qemu in qemus():
        for more in [], ['-sandbox', 'on']:
            with folder() as path:
                file = os.path.join(path, 'f')
                pidfile = os.path.join(path, 'pid')
                status, _, err = run(file, '--', qemu, *IDLE, '-daemonize',
                                     '-pidfile', pidfile, *more)
                assert status == 0, err
                qmp = connect(file + '.qmp')
                assert refused_as_busy(file)
                qmp.command('quit')
                qmp.close()
                deadline = time.monotonic() + 30
                while refused_as_busy_after_end(file):
                    assert time.monotonic() < deadline
                    time.sleep(0.05)


@case
def the_qmp_socket():
    with folder() as path:
        file = os.path.join(path, 'f')
        create(file)
        sock = file + '.qmp'
        # A file in the way is not removed, a dead socket is.
        with open(sock, 'w') as f:
            f.write('precious')
        status, _, err = run(file, '--', 'true')
        assert status == 125 and sock in err and 'in the way' in err, err
        with open(sock) as f:
            assert f.read() == 'precious'
        os.unlink(sock)
        dead = socket.socket(socket.AF_UNIX)
        dead.bind(sock)
        dead.close()
        with running(file) as (_, qmp):
            assert qmp.command('query-version')
            # Another guest may not take its socket.
            status, _, err = run('--qmp=' + sock, os.path.join(path, 'g'),
                                 '--', QEMU, *IDLE)
            assert status == 125 and 'listens' in err, err
            assert qmp.command('query-version')
        # A region deep down.
        deep = os.path.join(path, 'd' * 100)
        os.mkdir(deep)
        create(os.path.join(deep, 'f'), '--qmp=none')
        status, _, err = run(os.path.join(deep, 'f'), '--', 'true')
        assert status == 125 and '--qmp=PATH' in err, err
        status, _, err = run('--qmp=' + path + '/s', os.path.join(deep, 'f'),
                             '--', 'true')
        assert status == 0, err


def monitor(qmp, line):
    return qmp.command('human-monitor-command', {'command-line': line})


@case
def the_region_is_in_the_machine():
    """Each placement on each board, in each QEMU here."""
    for qemu in qemus():
        for machine in 'pc', 'q35':
            with folder() as path:
                file = os.path.join(path, 'a,b=c')
                args = ['-M', machine, '-m', '512', '-smp', '2']
                with running(file, *args, qemu=qemu) as (_, qmp):
                    device = qmp.command('query-memory-devices')
                    assert len(device) == 1
                    assert device[0]['type'] == 'nvdimm'
                    data = device[0]['data']
                    assert data['size'] == 16 * MIB
                    assert data['addr'] == 4 << 30
                    assert data['id'] == 'dlog'
                    memory = qmp.command('query-memory-size-summary')
                    assert memory['base-memory'] == 512 * MIB
                with running(file, *args, qemu=qemu,
                             options=['-p', 'ivshmem']) as (_, qmp):
                    def get(name):
                        return qmp.command('qom-get', {
                            'path': '/machine/peripheral/dlog',
                            'property': name})

                    assert get('type') == 'ivshmem-plain'
                    assert get('memdev') == '/objects/dlog'
                for mem, extra in (('512', []), ('4G', []),
                                   ('512', ['-m', 'slots=1,maxmem=1G'])):
                    with running(file, *args, '-m', mem, *extra, qemu=qemu,
                                 options=['-p', 'ram']) as (_, qmp):
                        tree = monitor(qmp, 'info mtree -f')
                        assert re.search(r'0000000010000000-0000000010ffffff '
                                         r'\(prio 0, ram\): dlog\b', tree), \
                            tree
                        backend = [b for b in qmp.command('query-memdev')
                                   if b['id'] == 'dlog']
                        assert backend[0]['size'] == 16 * MIB
                        assert backend[0]['share'], backend


@case
def merging_with_much():
    """A command line with slots, devices and objects of its own."""
    with folder() as path:
        file = os.path.join(path, 'f')
        own = os.path.join(path, 'own')
        for qemu in qemus():
            with running(file, '-M', 'type=q35,nvdimm=on', '-m',
                         'size=256M,slots=1,maxmem=512M', '-object',
                         'memory-backend-file,id=own,mem-path=%s,size=16M,'
                         'share=on' % own, '-device',
                         'nvdimm,memdev=own,id=own', '-action',
                         'reboot=shutdown', qemu=qemu) as (_, qmp):
                devices = {d['data']['id']: d['data'] for d in
                           qmp.command('query-memory-devices')}
                assert devices['own']['size'] == 16 * MIB
                assert devices['dlog']['size'] == 16 * MIB
                assert devices['dlog']['memdev'] == '/objects/dlog'


if __name__ == '__main__':
    main()
