#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests without a driver of ours, whose own ramoops writes into a file: what
they said is read from it when they are gone, without booting them again.

Stock Debian keeps dumps of a panic; a kernel with PSTORE_CONSOLE, PSTORE_PMSG
and PSTORE_FTRACE (tests/guest/setup stock-kernel) keeps all it says.  Its
serial console is the truth: printk hands a line to the consoles one after the
other, so at most the last one may be on one of them only.
"""

import json
import os
import random
import re
import shlex
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main, skip, until  # noqa: E402 (needs the path)
from lib.guest import Guest  # noqa: E402
from lib.image import ImageError  # noqa: E402
from lib.world import BUILD  # noqa: E402

READ = os.path.join(BUILD, 'bin/dlog-read')
DLOG_QEMU = os.path.join(BUILD, 'bin/dlog-qemu')

LINE = re.compile(r'\[ *\d+\.\d{6}\] ')
# Numbered lines of the kernel's, of many lengths, without an end.
SAY = '''i=0; x=0123456789abcdefghijklmnopqrstuvwxyz
(exec 3> /dev/kmsg; while :; do i=$((i + 1))
	printf '<5>numbered line %%d %s %%.*s\\n' $i $((i * 7 %% 36)) $x >&3
done) > /dev/null 2>&1 &
'''


def entries(file, *options):
    out = subprocess.run([READ, '-q', '-o', 'json', *options, file],
                         check=True, stdout=subprocess.PIPE)
    return [json.loads(line) for line in out.stdout.splitlines()]


def shown(found):
    return ['[%12.6f] %s' % (float(e['time']), e['text']) for e in found]


def serial(text):
    """Lines of the kernel on the serial console."""
    return [line for line in text.replace('\r', '').split('\n')
            if LINE.match(line)]


class Stock:
    """A guest with dlog-qemu --stock=ramoops; without ecc by the arguments
    that it prints, less that word."""

    def __init__(self, kernel, size='1M', options=(), append='', ecc=True,
                 **kwargs):
        self.dir = tempfile.TemporaryDirectory(prefix='dlog-ramoops-')
        self.file = os.path.join(self.dir.name, 'area')
        program = [DLOG_QEMU, '--stock=ramoops', '--qmp=none',
                   '--size=' + size, *options]
        if ecc:
            self.guest = Guest(kernel=kernel, append=append, qemu_prefix=[
                *program, self.file, '--'], **kwargs)
            return
        args = shlex.split(subprocess.run(
            [*program, '--print-args', self.file, '--', 'qemu-system-x86_64',
             '-m', '512M', '-kernel', 'x'], check=True, text=True,
            stdout=subprocess.PIPE).stdout)
        at = args.index('-append')
        words = args[at + 1].replace('ramoops.ecc=1', '')
        self.guest = Guest(kernel=kernel, append=append + ' ' + words,
                           qemu_args=args[:at] + args[at + 2:], **kwargs)

    def __enter__(self):
        try:
            self.guest.__enter__()
        except ImageError as err:
            self.dir.cleanup()
            skip(str(err))
        return self

    def __exit__(self, *why):
        self.guest.__exit__(*why)
        self.dir.cleanup()

    def entries(self, *options):
        return entries(self.file, *options)


def panic(kernel, machine, options=()):
    """The dump equals the serial console's lines."""
    with Stock(kernel, '16M', machine=machine, options=options) as w:
        # As systemd-modules-load does; parameters are on the command line,
        # where modprobe finds them.
        w.guest.must("modprobe nfit; modprobe ramoops $(tr ' ' '\\n' "
                     "< /proc/cmdline | sed -n 's/^ramoops[.]//p')")
        assert w.entries() == []
        w.guest.sh_nowait('echo c > /proc/sysrq-trigger')
        w.guest.wait_for('end Kernel panic')
        w.guest.kill9()
        found = w.entries()
        truth = serial(w.guest.console())
    assert not any(e.get('doubt') for e in found)
    boots = {e['boot'] for e in found}
    assert boots == {1}, (boots, [(e['boot'], e['text']) for e in found])
    got = shown(found)
    # printk's debug lines are not for the console; its last line comes after
    # the dump.
    have = set(got)
    missing = [line for line in truth if line not in have]
    assert len(missing) == 1 and 'end Kernel panic' in missing[0], missing
    said = set(truth)
    assert [line for line in got if line in said] == truth[:-1]
    assert all(e['level'] == 7 for line, e in zip(got, found)
               if line not in said), [g for g in got if g not in said]
    print('%d lines, %d of them on the serial console' % (
        len(got), len(truth)))
    assert len(truth) > 200


@case
def panic_of_stock_debian():
    panic('6.1', 'pc')


@case(long=True)
def panic_of_stock_debian_13():
    panic('6.12', 'q35')
    panic('6.12', 'pc', ['--placement=ram'])


def check_console(found, truth, word, whole):
    """All the truth that the ring still has, in order; sure is what is true.
    whole: no line was being written."""
    truth = truth[max(n for n, line in enumerate(truth)
                      if 'Linux version' in line):]
    console = [e for e in found if e['ring'] == 1]
    newest = max(e['boot'] for e in console)
    console = [e for e in console if e['boot'] == newest]
    sure = [s for s, e in zip(shown(console), console)
            if not e.get('doubt')]
    wanted = [line for line in truth if word in line]
    got = [line for line in sure if word in line]
    assert len(got) > 50, (len(got), shown(console)[-5:])
    tail = wanted[wanted.index(got[0]):]
    # What is sure is true, in its order; the serial port may not have the
    # last line yet.
    first = next((n for n in range(min(len(got), len(tail)))
                  if got[n] != tail[n]), None)
    assert first is None, '%r\nis %r' % (got[first - 2:first + 3],
                                         tail[first - 2:first + 3])
    assert len(got) <= len(tail) + 1, got[len(tail):]
    # All lines are there, those with a doubt too, but for the last one.
    have = set(shown(console))
    lost = [line for line in tail[:None if whole else -1] if line not in have]
    assert not lost, lost
    doubts = [e.get('doubt') for e in console if e.get('doubt')]
    # A block of ECC is 128 bytes, and a write is over two or three.
    assert len(doubts) <= (1 if whole else 16), doubts
    return len(got), doubts, len(tail) - len(got)


@case
def follow_and_reset():
    """-f shows the console's lines as they come, across a reset; they are all
    in the file when the guest is killed."""
    with Stock('6.1-stock') as w:
        with subprocess.Popen([READ, '-q', '-f', '-n', 'all', w.file],
                              stdout=subprocess.PIPE) as follow:
            try:
                os.set_blocking(follow.stdout.fileno(), False)
                text = b''

                def seen(what):
                    nonlocal text
                    text += follow.stdout.read() or b''
                    return what in text

                w.guest.must('for i in $(seq 100); do echo "<5>told before '
                             'the reset $i" > /dev/kmsg; done')
                until('the line', lambda: seen(b'told before the reset 100'))
                w.guest.system_reset()
                w.guest.wait_ready()
                w.guest.must('echo "<5>told behind the reset" > /dev/kmsg')
                until('the line', lambda: seen(b'told behind the reset'))
            finally:
                follow.kill()
        assert [text.count(b'told before the reset %d\n' % n)
                for n in range(1, 101)] == [1] * 100
        assert text.count(b'Linux version') == 2, text.count(b'Linux version')
        w.guest.kill9()
        check_console(w.entries(), serial(w.guest.console()), '', True)
        # The end of the boot before lies behind.
        before = [e for e in w.entries() if e['boot'] == 1]
        assert before[-1]['text'] == 'told before the reset 100'
        assert {e['doubt'] for e in before[1:]} == {'stale'}


def killed(count, seed, how, append=''):
    """At random instants while it writes, by SIGKILL or by reset."""
    rand = random.Random(seed)
    marked = 0
    with Stock('6.1-stock', '256K', append='quiet loglevel=6 printk.devkmsg=on '
               + append) as w:
        for n in range(count):
            word = 'of life %d' % n
            if n:
                if how == 'kill':
                    w.guest.start()
                else:
                    w.guest.wait_ready()
            w.guest.must(SAY % word)
            time.sleep(rand.uniform(0.5, 3))
            if how == 'kill':
                w.guest.kill9()
            else:
                # Stopped first, so that the file is of that instant; the
                # reset's own effect is that the boot goes on from nothing.
                w.guest.stop()
            found, truth = w.entries(), serial(w.guest.console())
            lines, doubts, more = check_console(found, truth, word, False)
            marked += 'stale' in doubts
            print('%s %d: %d lines sure of %d, doubts: %s' % (
                how, n, lines, lines + more, ' '.join(doubts) or 'none'))
            if how == 'reset':
                w.guest.system_reset()
                w.guest.cont()
    print('%d of %d with lines that may be stale' % (marked, count))


@case(long=True, timeout=900)
def killed_at_random_instants():
    killed(12, 1, 'kill')


@case(long=True, timeout=900)
def reset_at_random_instants():
    killed(12, 2, 'reset')


@case(long=True, timeout=900)
def stopped_without_ecc():
    """Many instants of one life: no parity says what is whole."""
    rand = random.Random(3)
    marked = 0
    with Stock('6.1-stock', '256K', ecc=False, append='quiet loglevel=6 '
               'printk.devkmsg=on') as w:
        w.guest.must(SAY % 'of this life')
        for n in range(300):
            time.sleep(rand.uniform(0.02, 0.2))
            w.guest.stop()
            found, truth = w.entries(), serial(w.guest.console())
            if n > 20:
                lines, doubts, more = check_console(
                    found, truth, 'of this life', False)
                marked += 'stale' in doubts
                if 'stale' in doubts:
                    print('%d: %d lines sure of %d, doubts: %s' % (
                        n, lines, lines + more, ' '.join(doubts)))
            w.guest.cont()
    print('%d of 279 with lines that may be stale' % marked)
    # The kernel puts the pointer first: some of so many are caught there.
    assert 0 < marked < 60, marked


@case(long=True, timeout=300)
def user_space_and_functions():
    """pmsg and ftrace, of a guest that is killed; ECC corrects the file."""
    with Stock('6.1-stock') as w:
        # With parity for each call, all functions would be too many.
        w.guest.must('for i in $(seq 100); do echo message $i > /dev/pmsg0; '
                     'done; '
                     'echo "vfs_*" > /sys/kernel/tracing/set_ftrace_filter; '
                     'echo 1 > /sys/kernel/debug/pstore/record_ftrace; '
                     'find /sys > /dev/null; cat /proc/kallsyms > /k; '
                     "sed -n 's/ [tT] vfs_read$//p' /k > /ip; sync")
        ip = int(w.guest.must('cat /ip').strip(), 16)
        w.guest.kill9()
        found = w.entries()
        assert [e['text'] for e in found if e['ring'] == 2] == [
            'message %d' % n for n in range(1, 101)]
        calls = [e['text'] for e in found if e['ring'] == 3]
        print('%d calls, the last: %s' % (len(calls), calls[-1]))
        assert len(calls) > 1000
        assert all(re.fullmatch(r'cpu:[01] f{8}[0-9a-f]{8} <- f{8}[0-9a-f]{8}',
                                text) for text in calls)
        assert any(ip <= int(text.split()[1], 16) < ip + 16
                   for text in calls), hex(ip)
        # A byte in each 1000 is wrong, one page is lost.
        with open(w.file, 'rb') as f:
            data = bytearray(f.read())
        rand = random.Random(5)
        for at in range(0, len(data), 1000):
            data[at + rand.randrange(500)] ^= rand.randint(1, 255)
        with open(w.file, 'wb') as f:
            f.write(data)
        again = w.entries()
        console = [(e['time'], e['text']) for e in found if e['ring'] == 1]
        assert [(e['time'], e['text']) for e in again
                if e['ring'] == 1] == console
        assert [e['text'] for e in again if e['ring'] == 2] == [
            'message %d' % n for n in range(1, 101)]
        out = subprocess.run([READ, '--stats', w.file], check=True, text=True,
                             stdout=subprocess.PIPE).stdout
        print(out)
        assert int(re.search(r'corrected +(\d+) bytes', out)[1]) > 50


if __name__ == '__main__':
    main()
