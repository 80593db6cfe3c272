#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""libdlog-plugin.so in QEMU: arguments, its region, what goes wrong before and
after the guest runs, and dlog-qemu --plugin.

QEMU here mostly runs SeaBIOS alone, which finds nothing to boot: that is guest
enough.  What is placed into a guest has tests in tests/scenarios/plugin_*.py.
Each case runs with every QEMU there is: the machine's, and Debian 13's of the
cache.  Relies on launcher.py.
"""

import contextlib
import hashlib
import json
import os
import re
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from launcher import (BUILD, MIB, QEMU, folder, main, qemus,  # noqa: E402
                      run)
from lib.case import case, skip, until  # noqa: E402 (launcher has the path)
from lib.guest import Guest  # noqa: E402
from lib.image import Kernel  # noqa: E402

PLUGIN = os.path.join(BUILD, 'lib/libdlog-plugin.so')
BIOS = ['-nodefaults', '-display', 'none', '-accel', 'tcg', '-m', '64M']


def tool(name, *args):
    return subprocess.run([os.path.join(BUILD, 'bin', name), *args],
                          check=True, stdout=subprocess.PIPE, text=True,
                          timeout=60).stdout


def region(path, *options):
    tool('dlog-create', '--size=1M', *options, path)
    return path


def command(qemu, args, *more):
    return [qemu, *BIOS, *more, '-plugin', PLUGIN + args]


def start(qemu, args, *more):
    """(status, output) of a QEMU that is expected to refuse."""
    done = subprocess.run(command(qemu, args, *more), timeout=60, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


@contextlib.contextmanager
def running(qemu, args, *more, **kwargs):
    process = subprocess.Popen(command(qemu, args, *more), text=True,
                               stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, **kwargs)
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()


def texts(path):
    return [json.loads(line).get('text', '') for line in
            tool('dlog-read', '-o', 'json', path).splitlines()]


def stats(path):
    return tool('dlog-read', '--stats', path)


def write(folder_path, name, text):
    path = os.path.join(folder_path, name)
    with open(path, 'w') as f:
        f.write(text)
    return path


LOOP = 0x7c01


def loop(folder_path):
    """QEMU's arguments for a boot sector that goes round a loop at LOOP."""
    path = os.path.join(folder_path, 'boot')
    with open(path, 'wb') as f:
        f.write(b'\xfa\x90\xeb\xfd'.ljust(510, b'\0') + b'\x55\xaa')
        f.truncate(1440 * 1024)
    return ['-drive', 'if=floppy,format=raw,file=' + path]


def content(path):
    with open(path, 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest()


@case
def what_is_refused():
    """QEMU does not start, says why in one sentence, and changes no file."""
    with folder() as path:
        good = region(os.path.join(path, 'good.img'), '--rings=3')
        one = region(os.path.join(path, 'one.img'), '--rings=1')
        text = os.path.join(path, 'text')
        with open(text, 'wb') as f:
            f.write(b'hello\n' * MIB)
        empty = os.path.join(path, 'empty')
        open(empty, 'w').close()
        bad = write(path, 'bad.probes', 'write cmos port:0x70\n'
                    'exec x y z\n')
        nowhere = write(path, 'nowhere.probes', 'exec x no_such_function\n')
        hard, soft = (os.path.join(path, name) for name in ('hard', 'soft'))
        os.link(good, hard)
        os.symlink(good, soft)
        table = [
            ('', 'Say region=FILE'),
            (',region=%s/none' % path, 'No such file or directory; dlog-create'),
            (',region=%s' % path, 'Is a directory'),
            (',region=/dev/zero', 'is not a file'),
            (',region=%s' % text, 'no dlog superblock'),
            (',region=%s' % empty, 'no dlog superblock'),
            (',region=%s' % one, 'has 1 rings, and 1 vCPUs need 2'),
            (',region=%s,wat=1' % good, 'there is no argument wat'),
            (',region=%s,blocks=2' % good, 'say on or off'),
            (',region=%s,slide=2x' % good, 'a number of bytes, or auto'),
            (',region=%s,slide=0x' % good, 'a number of bytes, or auto'),
            (',region=%s,probes=' % good, 'nothing is behind the ='),
            (',region=%s,trace-writes=on' % good, 'Say watch=FILE'),
            (',region=%s,probes=%s' % (good, bad), ':2: '),
            (',region=%s,probes=%s' % (good, nowhere), 'no_such_function'),
            (',region=%s,symbols=%s' % (good, text), text),
            (',region=%s,symbols=%s/none' % (good, path), 'No such file'),
            (',region=%s,watch=%s/none' % (good, path), 'No such file'),
            (',region=%s,watch=%s' % (good, text), 'is no region'),
            (',region=%s,watch=%s' % (good, good), "the plugin's own region"),
            (',region=%s,watch=%s' % (good, hard), "the plugin's own region"),
            (',region=%s,watch=%s' % (soft, hard), "the plugin's own region"),
        ]
        before = {p: content(p) for p in (good, one, text, empty)}
        for qemu in qemus():
            for args, sentence in table:
                status, out = start(qemu, args)
                assert status == 1, (args, status, out)
                said = [line for line in out.splitlines()
                        if line.startswith('dlog-plugin: ')]
                assert len(said) == 1 and sentence in said[0], (args, out)
            status, out = start(qemu, ',region=%s,blocks=on' % good,
                                '-smp', '2')
            assert status == 1 and 'with blocks=on need 5' in out, out
        assert before == {p: content(p) for p in before}


def probed(qemu, path, probes, args='', wanted='probe:'):
    """The fields of each event, by name, that SeaBIOS alone has led to."""
    img = region(os.path.join(path, 'probed.img'), '-f', '--rings=2')
    file = os.path.join(path, 'probes')
    with open(file, 'w') as f:
        f.write(probes)
    with running(qemu, ',region=%s,probes=%s%s' % (img, file, args)) as process:
        until('it is hit', lambda: any(
            text.startswith(wanted) for text in texts(img)))
        process.terminate()
        process.wait(30)
    return {text.split(': ')[0]: dict(f.split('=') for f in
                                      text.split(': ')[1].split())
            for text in texts(img) if text.startswith('probe:')}


def made_up_map(path, low, high, step, length=8):
    """A System.map of functions with long names."""
    file = os.path.join(path, 'System.map')
    with open(file, 'w') as f:
        for at in range(low, high, step):
            f.write('%016x T %s\n' % (at, ('f%x_' % at).ljust(length, 'x')))
    return file


@case
def what_could_not_be_computed_says_so():
    with folder() as path:
        kernel = os.path.join(path, 'kernel.map')
        with open(kernel, 'w') as f:
            f.write('ffffffff81000000 T _text\nffffffff81000000 T _stext\n'
                    'ffffffff81001000 T start_kernel\n'
                    'ffffffff81400000 T _etext\n'
                    'ffffffff82000000 B _end\n')
        for qemu in qemus():
            for probe, options, unread, last in (
                    ('b=10/vcpu c=1/0 d=7', '', '0x3', '0x7'),
                    ('b=vcpu d=7%vcpu', '', '0x2', '0x0'),
                    ('d=&start_kernel', ',symbols=' + kernel, '0x1', '0x0'),
                    ('d=&start_kernel', ',slide=0x2000000,symbols=' + kernel,
                     '0x0', '0xffffffff83001000'),
                    ('b=vcpu d=7', '', None, '0x7')):
                found = probed(qemu, path, 'exec reset 0xfffffff0 once %s\n' %
                               probe, options)['probe:reset']
                assert found.get('unread') == unread, (probe, found)
                assert found['d'] == last, (probe, found)


@case
def a_slide_that_is_said():
    """What the symbols of another file than a kernel's say is moved, too."""
    with folder() as path:
        symbols = made_up_map(path, 0xff000, 0x100000, 16)
        for qemu in qemus():
            found = probed(qemu, path,
                           'exec reset fffff0_x once d=&fffff0_x\n',
                           ',slide=0xfff00000,symbols=' + symbols)
            found = found['probe:reset']
            assert found['pc'] == found['d'] == '0xfffffff0', found


def cpu_time(pid):
    with open('/proc/%d/stat' % pid) as f:
        fields = f.read().rsplit(')', 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def i386(path):
    """Debian 13's QEMU for i386, which lies beside its other one."""
    trixie = [qemu for qemu in qemus() if 'trixie' in qemu]
    if not trixie:
        return None
    root = os.path.join(os.path.dirname(trixie[0]), '../root')
    if not os.path.exists(os.path.join(root, 'usr/bin/qemu-system-i386')):
        return None
    with open(trixie[0]) as f:
        text = f.read().replace('bin/qemu-system-x86_64"',
                                'bin/qemu-system-i386"')
    wrapper = os.path.join(path, 'qemu-system-i386')
    with open(wrapper, 'w') as f:
        f.write(re.sub('^root=.*', 'root=' + shlex.quote(root), text,
                       flags=re.M))
    os.chmod(wrapper, 0o700)
    return wrapper


@case
def ports_of_an_i386_guest():
    """SeaBIOS begins the same on both: so do their records."""
    with folder() as path:
        small = i386(path)
        if not small:
            return skip('no qemu-system-i386 of Debian 13')
        text = 'write index port:0x70 once r=%{0}ax\n' \
               'read data port:0x71 once\n' \
               'write pci port:0xcf8 limit=1 r=%{0}dx\n' \
               'write other port:0x1234 once\n' \
               'write every port:0..0xffff once\n'
        same = [probed(qemu, path, text.format(letter), wanted='probe:pci')
                for qemu, letter in ((qemus()[-1], 'r'), (small, 'e'))]
        assert same[0] == same[1], same
        assert set(same[0]) == {'probe:index', 'probe:data', 'probe:pci',
                                'probe:every'}, same
        pci = same[0]['probe:pci']
        assert pci['address'] == pci['r'] == '0xcf8', pci
        assert pci['size'] == '4' and pci['unread'] == '0x0', pci
        assert int(pci['value'], 16) >> 31 == 1, pci
        file = os.path.join(path, 'probes')
        img = region(os.path.join(path, 'p.img'), '--rings=2')
        for name in 'rax', 'nosuch', 'r8':
            with open(file, 'w') as f:
                f.write('exec a 1 b=%' + name)
            status, out = start(small, ',region=%s,probes=%s' % (img, file))
            assert status == 1, out
            assert 'there is no register %' + name in out, out
            assert 'eax to edi' in out and '32 bits' in out, out


@case
def no_descriptor_is_left():
    """Followers that cannot be let in cost no time, and come in later."""
    with folder() as path:
        own = region(os.path.join(path, 'p.img'), '--rings=2')
        guest = region(os.path.join(path, 'g.img'))
        with running(QEMU, ',region=%s,watch=%s' % (own, guest)) as process:
            # Then SeaBIOS has found nothing to boot, and sleeps.
            until('it listens', lambda: os.path.exists(guest + '.watch'))
            time.sleep(4)
            fds = '/proc/%d/fd' % process.pid
            limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
            # poll() of so many more.
            most = max(24, 1 + max(map(int, os.listdir(fds))))
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE,
                             (most, limits[1]))
            with contextlib.ExitStack() as stack:
                room = most - len(os.listdir(fds))
                for _ in range(room + 3):
                    s = stack.enter_context(socket.socket(socket.AF_UNIX))
                    s.connect(guest + '.watch')
                until('no room', lambda: len(os.listdir(fds)) == most)
                before = cpu_time(process.pid)
                time.sleep(2)
                spent = cpu_time(process.pid) - before
                assert spent < 0.5, spent
                resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
                until('they are in', lambda: len(os.listdir(fds)) == most + 3)


@case
def places_have_an_end():
    """Two hundred probes at everything: said once, and the guest goes on."""
    with folder() as path:
        img = region(os.path.join(path, 'p.img'), '--rings=2')
        probes = os.path.join(path, 'probes')
        with open(probes, 'w') as f:
            for i in range(200):
                f.write('exec p%d 0..0xffffffffffffffff if=0\n' % i)
        full = 'no room for more places of probes than 1048576'
        with running(qemus()[-1], ',region=%s,probes=%s' % (
                img, probes)) as process:
            until('it is said', lambda: full in ''.join(texts(img)))
            process.terminate()
            process.wait(30)
        assert ''.join(texts(img)).count(full) == 1, texts(img)


@case
def names_leave_room_for_probes():
    with folder() as path:
        symbols = made_up_map(path, 0xe0000, 0x100000, 16, 500)
        probes = os.path.join(path, 'probes')
        with open(probes, 'w') as f:
            f.write('exec reset 0xfffffff0 once\n')
        full = 'the catalog has no room for more symbols'
        for qemu in qemus():
            img = region(os.path.join(path, 'p.img'), '-f', '--rings=2',
                         '--catalog=16K')
            with running(qemu, ',region=%s,symbols=%s' % (img, symbols)):
                until('it is full', lambda: full in ''.join(texts(img)))
            with running(qemu, ',region=%s,symbols=%s,probes=%s' % (
                    img, symbols, probes)):
                until('the probe is hit', lambda: any(
                    text.startswith('probe:reset') for text in texts(img)))
            assert ''.join(texts(img)).count(full) == 2, texts(img)


@case
def one_region_for_one_qemu():
    with folder() as path:
        img = region(os.path.join(path, 'p.img'), '--rings=2')
        for boot, qemu in enumerate(qemus(), 1):
            with running(qemu, ',region=' + img):
                until('it records', lambda: 'status     running, boot %d,' %
                      boot in stats(img))
                status, out = start(qemu, ',region=' + img)
                assert status == 1 and 'in use by another QEMU' in out, out


@case
def a_boot_for_each_life():
    """Heartbeats while QEMU lives; its end is said, a kill is seen."""
    with folder() as path:
        img = region(os.path.join(path, 'p.img'), '--rings=2')
        n = 0
        for qemu in qemus():
            for sig in signal.SIGTERM, signal.SIGKILL:
                n += 1
                with running(qemu, ',region=' + img) as process:
                    def beats():
                        lines = stats(img).splitlines()
                        at = [i for i, line in enumerate(lines)
                              if 'LAST BEAT' in line]
                        return int(lines[at[0] + 1].split()[-1]) if at else 0
                    until('two heartbeats', lambda: (
                        'status     running, boot %d' % n in stats(img) and
                        beats() >= 2))
                    process.send_signal(sig)
                    process.wait(30)
                word = 'halt' if sig == signal.SIGTERM else 'running'
                assert 'status     %s, boot %d' % (word, n) in stats(img)
        said = texts(img)
        assert sum('recording for' in line for line in said) == n, said
        assert sum(line == 'QEMU ends' for line in said) == n / 2, said


@case
def the_host_stops_it():
    """dlog-read --stop: nothing more is recorded, until --start."""
    with folder() as path:
        img = region(os.path.join(path, 'p.img'), '--rings=3')
        tool('dlog-read', '--stop', img)
        for qemu in qemus():
            with running(qemu, ',region=%s,blocks=on' % img):
                until('a heartbeat', lambda: 'status     running' in stats(img))
                time.sleep(1)
                assert texts(img) == []
        assert ' total           0           0 ' in stats(img), stats(img)


@case
def the_host_stops_it_in_a_loop():
    """A vCPU that goes round a loop records it no more while recording is
    stopped."""
    with folder() as path:
        for qemu in qemus():
            img = region(os.path.join(path, 'p.img'), '-f', '--rings=3')

            def blocks():
                return subprocess.run(
                    [os.path.join(BUILD, 'bin/dlog-read'), '--blocks', img],
                    stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                    text=True, timeout=60).stdout
            with running(qemu, ',region=%s,blocks=on' % img, *loop(path)):
                until('a loop', lambda: '... 1 block, ' in blocks() or
                      '... 2 blocks, ' in blocks(), timeout=30)
                time.sleep(1)
                tool('dlog-read', '--stop', img)
                time.sleep(2.5)
                before = blocks()
                time.sleep(0.5)
                assert blocks() == before, (before, blocks())
                tool('dlog-read', '--start', img)
                until('more', lambda: blocks() != before)


@case
def limits_wait_while_it_is_stopped():
    """A probe's limit is not used up by hits that are not recorded."""
    with folder() as path:
        probes = write(path, 'p.probes', 'exec loop 0x%x once\n' % LOOP)
        for qemu in qemus():
            img = region(os.path.join(path, 'p.img'), '-f', '--rings=3')
            tool('dlog-read', '--stop', img)
            with running(qemu, ',region=%s,probes=%s' % (img, probes),
                         *loop(path)):
                time.sleep(4)
                assert 'probe:loop' not in tool('dlog-read', img)
                tool('dlog-read', '--start', img)
                until('a hit', lambda: 'probe:loop' in tool('dlog-read', img))


@case
def without_counting():
    """icount=off: no record has the number, with blocks=on neither."""
    with folder() as path:
        probes = write(path, 'p.probes', 'exec loop 0x%x once\n' % LOOP)
        for qemu in qemus():
            for icount in 'on', 'off':
                img = region(os.path.join(path, 'p.img'), '-f', '--rings=3')
                with running(qemu, ',region=%s,probes=%s,blocks=on,icount=%s'
                             % (img, probes, icount), *loop(path)):
                    said = until('a hit', lambda: [
                        line for line in tool('dlog-read', img)
                        .splitlines() if 'probe:loop' in line], timeout=30)
                assert len(said) == 1, said
                assert ('executed=' in said[0]) == (icount == 'on'), said


@case
def vcpus_that_may_come():
    """Heartbeats are of vCPUs that there are."""
    with folder() as path:
        img = region(os.path.join(path, 'p.img'), '--rings=5')
        for qemu in qemus():
            with running(qemu, ',region=' + img, '-smp', '2,maxcpus=4'):
                def state():
                    return json.loads(tool('dlog-read', '--stats', '-o',
                                           'json', img))
                until('it records', lambda: state()['online'])
                time.sleep(1.5)
                now = state()
                assert now['online'] == 2, now
                assert [c['cpu'] for c in now['cpus']] == [0, 1], now


@case
def a_full_disk():
    """Space that is not there is missed before the guest starts."""
    with folder() as path:
        disk = os.path.join(path, 'disk')
        os.mkdir(disk)
        done = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=768k',
                               'none', disk], stderr=subprocess.PIPE)
        if done.returncode:
            return skip('no mount here: %s' % done.stderr.decode().strip())
        try:
            img = region(os.path.join(path, 'p.img'), '--rings=2')
            sparse = os.path.join(disk, 'p.img')
            subprocess.run(['cp', '--sparse=always', img, sparse], check=True)
            for qemu in qemus():
                status, out = start(qemu, ',region=' + sparse)
                assert status == 1, out
                assert 'cannot reserve the disk space' in out, out
                assert 'No space left' in out, out
        finally:
            subprocess.run(['umount', disk], check=True)


@case
def the_file_is_cut_short():
    """The guest goes on when the plugin's file fails under it: in the thread
    of each vCPU, and where nothing but names of functions is stored."""
    with folder() as path:
        names = os.path.join(path, 'System.map')
        with open(names, 'w') as f:
            f.write(tool('dlog-core', '--symbols', Kernel('6.1').bzimage))
        for qemu, args, smp in [(q, *how) for q in qemus() for how in (
                (',blocks=on', 2), (',symbols=%s,slide=0' % names, 1))]:
            img = region(os.path.join(path, 'p.img'), '-f', '--rings=5',
                         '--size=16M', '--catalog=1M')
            args = '%s,region=%s%s' % (PLUGIN, img, args)
            with Guest(qemu=qemu, smp=smp, append='nokaslr',
                       qemu_args=['-plugin', args]) as guest:
                os.truncate(img, 4096)
                assert guest.must('echo a$((1 + 1))b').strip() == 'a2b'
                # Kernel functions that have not been executed before.
                guest.must('mkfifo /f; ln -s f /g; ls -l /g; mv /g /h; '
                           'cat /proc/iomem /proc/meminfo >/dev/null')

                def told():
                    with open(os.path.join(guest.dir, 'qemu.log')) as f:
                        return f.read().count('the region file has failed')
                until('it is told', told)
                assert told() == 1, told()
                os.truncate(img, 0)
                assert guest.must('echo c$((2 + 1))d').strip() == 'c3d'
                guest.quit()


@case
def by_dlog_qemu():
    """--plugin makes its region, with rings for every vCPU there may be, and
    passes on what is said."""
    with folder() as path:
        img = os.path.join(path, 'a,b.img')
        for args, rings in (('', 5), ('=blocks', 9), ('=blocks=on,icount=off',
                                                      9)):
            for qemu in qemus():
                process = subprocess.Popen(
                    [os.path.join(BUILD, 'bin/dlog-qemu'), '--qmp=none',
                     '--plugin' + args, img, '--', qemu, *BIOS, '-smp',
                     '2,maxcpus=4'], stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
                try:
                    until('it records', lambda: os.path.exists(
                        img + '.plugin') and 'recording for 4 vCPUs' in
                        ''.join(texts(img + '.plugin')))
                finally:
                    process.kill()
                    process.communicate(timeout=30)
            assert ', %d rings' % rings in stats(img + '.plugin')
            assert '4 MiB catalog' in stats(img + '.plugin')
            os.unlink(img + '.plugin')


@case
def what_dlog_qemu_refuses():
    with folder() as path:
        img = os.path.join(path, 'g.img')
        table = [
            ([], ['-enable-kvm'], 'sees what TCG executes'),
            ([], ['-accel', 'kvm'], 'sees what TCG executes'),
            ([], ['-M', 'q35,accel=kvm:tcg'], 'sees what TCG executes'),
            (['--plugin=region=x'], [], 'dlog-qemu itself says region='),
            (['--plugin=blocks=on,watch=x'], [], 'dlog-qemu itself says'),
        ]
        for ours, theirs, sentence in table:
            status, _, err = run('--plugin', *ours, img, '--', QEMU, *theirs)
            assert status == 125 and sentence in err, err
        assert os.listdir(path) == []
        for theirs in ['-accel', 'tcg'], ['-M', 'q35,accel=tcg'], []:
            status, out, err = run('--print-args', '--plugin', img, '--', QEMU,
                                   *theirs)
            assert status == 0, err
            words = shlex.split(out)
            assert words[words.index('-plugin') + 1] == \
                '%s,region=%s.plugin,watch=%s' % (PLUGIN, img, img), out


if __name__ == '__main__':
    main()
