#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's log out of a guest's whole RAM: stock kernels, no driver, QEMU
killed; what the guest's own dmesg said last is what dlog-read says.

Relies on lib/ramfile.py for what lies where in the file.
"""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main, until  # noqa: E402 (needs the path above)
from lib.ramfile import PAGE, Ram, in_file  # noqa: E402
from lib.world import BIN, World, tool  # noqa: E402

GIB = 1 << 30

# More text than the log holds, of many lengths; not through a pipe, since
# each write(2) is a line.
FLOOD = r'''
echo on > /proc/sys/kernel/printk_devkmsg
n=0; a=
while [ $n -lt 2500 ]; do
	n=$((n + 1)); a=${a}x; [ ${#a} -lt 150 ] || a=
	echo "<$((n % 8))>line $n $a" > /dev/kmsg
done
'''


def dmesg(path, *args):
    return tool('dlog-read', '--no-pager', '-x', '-k', *args, path).decode()


def entries(path, *args):
    return [json.loads(line) for line in
            tool('dlog-read', '-o', 'json', *args, path).splitlines()]


def fact(path, name):
    """What --stats says of it."""
    text = tool('dlog-read', '--no-pager', '--stats', path).decode()
    return [line.strip()[len(name):].strip() for line in text.splitlines()
            if line.strip().startswith(name)]


def same(ours, theirs):
    """Line by line; the guest may have said more since."""
    ours, theirs = ours.splitlines(), theirs.splitlines()
    assert len(theirs) > 100
    for mine, other in zip(ours, theirs):
        assert mine == other, 'dlog-read: %r\ndmesg:     %r' % (mine, other)
    assert len(theirs) <= len(ours) <= len(theirs) + 5, (len(ours),
                                                         len(theirs))
    print('%d lines equal' % len(theirs))


def last_words(guest, flood=False):
    """The guest's dmesg, with some of everything in it."""
    guest.must('printf "a\\tb\\001c\\n" > /dev/kmsg; '
               'echo "<12>from user space" > /dev/kmsg')
    if flood:
        guest.must(FLOOD)
    return guest.must('dmesg -x')


@contextlib.contextmanager
def damaged(path, *pages):
    """The file with some pages of rubbish, for a while."""
    rubbish = bytes(range(1, 252)) * 20
    with open(path, 'r+b') as f:
        kept = []
        for page in pages:
            f.seek(page)
            kept.append(f.read(PAGE))
            f.seek(page)
            f.write(rubbish[:PAGE])
        f.flush()
        yield
        for page, data in zip(pages, kept):
            f.seek(page)
            f.write(data)


def page_of(part, share=0.5):
    """A page in the middle of a part of the file, or elsewhere in it."""
    return int(part[0] + part[1] * share) // PAGE * PAGE


def within(page, at, size):
    return at < page + PAGE and at + size > page


def check_text(path, whole, records, page):
    """A page of text: that of others is whole, and no record is missing."""
    got = entries(path)
    hit = {seq for seq, (_, _, at, size) in records.items()
           if within(page, at, size)}
    assert hit and [e['position'] for e in got] == \
        [e['position'] for e in whole]
    torn = 0
    for old, new in zip(whole, got):
        if old['position'] not in hit:
            assert old == new, (old, new)
        torn += new.get('doubt') == 'torn'
    # Of a text that only ends in the page nothing tells.
    assert len(hit) - 1 <= torn <= len(hit), (torn, len(hit))
    return len(hit)


def check_descriptors(path, whole, records, page):
    """A page of descriptors: its records are gone, and told; others not."""
    size = records['desc_size']
    hit = {seq for seq, where in records['all'].items()
           if within(page, where[0], size)}
    got = entries(path)
    assert hit and got == [e for e in whole if e['position'] not in hit]
    stats = json.loads(tool('dlog-read', '--stats', '-o', 'json', path))
    assert sum(r['corrupt'] for r in stats['loss']) == len(hit), stats
    return len(hit)


def check_infos(path, whole, records, page):
    """A page of infos: the texts are there all the same, and marked."""
    size = records['info_size']
    hit = {seq for seq, where in records['all'].items()
           if within(page, where[1], size)}
    # One that lies across the page's end may have kept what is used of it.
    edge = {seq for seq in hit if not (
        records['all'][seq][1] >= page and
        records['all'][seq][1] + size <= page + PAGE)}
    got = entries(path)
    assert [e['position'] for e in got] == [e['position'] for e in whole]
    for old, new in zip(whole, got):
        if old['position'] in hit - edge:
            assert new['doubt'] == 'salvaged', new
            assert new['text'] == old['text'], (new, old)
        elif old['position'] not in edge:
            assert old == new
    assert len(hit) > 20
    return len(hit)


def refused(path):
    """dlog-read's reason, of a file that it cannot read."""
    done = subprocess.run(
        [os.path.join(BIN, 'dlog-read'), '--source', 'ram', path],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    assert done.returncode == 2 and not done.stdout, done
    return done.stderr.decode()


def every_page(path):
    """One damaged page of each kind."""
    whole, lines = entries(path), dmesg(path)
    with Ram(path) as ram:
        log, notes = ram.log(), ram.info_at
        records = {'all': ram.records(),
                   'desc_size': ram.number('prb_desc', 'SIZE'),
                   'info_size': ram.number('printk_info', 'SIZE')}
        tables = sorted(ram.tables)
    assert len(records['all']) == len(whole), (len(records['all']),
                                               len(whole))
    used = [where[0] for where in records['all'].values()]
    part = {'descs': (min(used), max(used) - min(used))}
    used = [where[1] for where in records['all'].values()]
    part['infos'] = (min(used), max(used) - min(used))
    for name, check in (('text', lambda *a: check_text(
            path, whole, records['all'], a[0])),
            ('descs', lambda *a: check_descriptors(path, whole, records,
                                                   a[0])),
            ('infos', lambda *a: check_infos(path, whole, records, a[0]))):
        page = page_of(part.get(name, log[name]))
        with damaged(path, page):
            print('a page of %s: %d records hit' % (name, check(page)))
    assert len(notes) > 1
    for at in notes:
        with damaged(path, at // PAGE * PAGE):
            assert dmesg(path) == lines
    for table in tables:
        with damaged(path, table):
            assert dmesg(path) == lines
            assert 'damaged' in fact(path, 'page tables')[0]
    with damaged(path, *[at // PAGE * PAGE for at in notes]):
        assert 'VMCOREINFO' in refused(path)
    with damaged(path, log['head'][0] // PAGE * PAGE):
        assert 'head of the kernel\'s log is damaged' in refused(path)
    assert dmesg(path) == lines
    print('VMCOREINFO, %d tables, head of the log' % len(tables))


@case
def dmesg_of_6_1_and_every_damaged_page():
    with in_file() as (guest, path):
        theirs = last_words(guest, flood=True)
        version = guest.must('cat /proc/version').strip()
        guest.kill9()
        same(dmesg(path), theirs)
        assert fact(path, 'kernel') == [version]
        every_page(path)


@case(long=True)
def dmesg_of_6_12_on_q35_with_ovmf_and_two_ranges():
    with in_file(kernel='6.12', machine='q35', firmware='ovmf',
                 mem='3G') as (guest, path):
        theirs = last_words(guest, flood=True)
        guest.kill9()
        same(dmesg(path), theirs)
        assert fact(path, 'RAM') == ['2048 MiB at 0, 1024 MiB at 0x100000000']
        assert dmesg(path, '--source', 'ram,below-4g=2G') == dmesg(path)


@case(long=True)
def two_ranges_on_pc_and_a_second_boot():
    with in_file(mem='4G') as (guest, path):
        guest.must('echo "of the first boot" > /dev/kmsg')
        before = until('the log', lambda: dmesg(path))
        first = guest.must('dmesg -x')
        same(before, first)
        guest.system_reset()
        guest.wait_ready()
        theirs = last_words(guest)
        guest.kill9()
        ours = dmesg(path)
        same(ours, theirs)
        assert 'of the first boot' not in ours
        assert fact(path, 'RAM') == ['3072 MiB at 0, 1024 MiB at 0x100000000']
        old = [re.search(r'vmcoreinfo=(0x[0-9a-f]+)', line)[1]
               for line in fact(path, 'another kernel')]
        # Most often the second boot has taken the very same pages.
        print('%d kernels of earlier boots' % len(old))
        for at in old:
            assert 'of the first boot' in dmesg(
                path, '--source', 'ram,vmcoreinfo=' + at)


@case(long=True)
def five_levels():
    # And a log that is not part of the kernel's image.
    with in_file(cpu='max', append='log_buf_len=16M') as (guest, path):
        assert ' la57' in guest.must('cat /proc/cpuinfo')
        theirs = last_words(guest)
        guest.kill9()
        same(dmesg(path), theirs)
        assert fact(path, 'page tables')[0].startswith('5 levels')


KEXEC = 'kexec -s %s /boot/bzImage --initrd=/boot/initrd --reuse-cmdline'


@case(long=True)
def kexec_and_a_crash_kernel_in_waiting():
    with in_file(mem='768M', append='crashkernel=256M',
                 kexec=True) as (guest, path):
        guest.must(KEXEC % '-p')
        assert guest.must('cat /sys/kernel/kexec_crash_loaded').strip() == '1'
        theirs = last_words(guest)
        same(dmesg(path), theirs)
        guest.sh_nowait('echo "before kexec" > /dev/kmsg; %s && kexec -e'
                        % KEXEC % '-l')
        guest.wait_ready()
        theirs = last_words(guest)
        guest.kill9()
        ours = dmesg(path)
        same(ours, theirs)
        assert 'before kexec' not in ours


@case(long=True)
def crashed_and_a_crash_kernel_runs():
    """Who crashed is of more interest than who is there to save it."""
    with in_file(mem='768M', append='crashkernel=256M',
                 kexec=True) as (guest, path):
        guest.must(KEXEC % '-p')
        theirs = last_words(guest)
        guest.sh_nowait('echo c > /proc/sysrq-trigger')
        guest.wait_ready()
        second = guest.must('dmesg -x')
        guest.kill9()
        ours = dmesg(path)
        assert ours.startswith(theirs)
        assert 'Kernel panic - not syncing: sysrq triggered crash' in ours
        at, = [re.search(r'vmcoreinfo=(0x[0-9a-f]+)', line)[1]
               for line in fact(path, 'another kernel')]
        same(dmesg(path, '--source', 'ram,vmcoreinfo=' + at), second)


@case(long=True)
def hung_and_paused():
    """The test module is there to hang the guest, nothing else."""
    with in_file(World) as (w, path):
        w.load_driver()
        w.load_test()
        theirs = last_words(w.guest)
        w.guest.stop()
        same(dmesg(path), theirs)
        w.guest.cont()
        w.die('hang-all')
        time.sleep(3)
        assert w.guest.qmp('query-status')['status'] == 'running'
        same(dmesg(path), theirs)


@case(long=True)
def follow_shows_a_line_at_once():
    with in_file() as (guest, path):
        guest.must('echo on > /proc/sys/kernel/printk_devkmsg')
        reader = subprocess.Popen(
            [os.path.join(BIN, 'dlog-read'), '-f', '-n', '0', path],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        lines = []
        drain = threading.Thread(target=lambda: lines.extend(
            (time.monotonic(), line) for line in reader.stdout), daemon=True)
        drain.start()
        try:
            time.sleep(1)
            late = []
            for n in range(10):
                guest.must('echo "token %d." > /dev/kmsg' % n)
                said = time.monotonic()
                until('token', lambda: len(lines) > n)
                assert b'token %d.' % n in lines[n][1], lines[n]
                late.append(lines[n][0] - said)
            print('%.0f ms after the command has ended, at most'
                  % (max(late) * 1000))
            assert sorted(late)[8] < 0.2, late
            # A whole lap, and more, while it reads.
            guest.must(FLOOD)
            until('the last line', lambda: b'line 2500 ' in lines[-1][1])
            flood = [re.search(rb'line (\d+) (x*)', line).groups()
                     for _, line in lines[10:]]
            numbers = [int(n) for n, _ in flood]
            assert numbers == sorted(set(numbers))
            for n, xs in flood:
                assert len(xs) == int(n) % 150, (n, xs)
            print('%d of 2500 lines' % len(numbers))
            assert len(numbers) > 2400
        finally:
            reader.kill()
            reader.wait()
            drain.join()


if __name__ == '__main__':
    main()
