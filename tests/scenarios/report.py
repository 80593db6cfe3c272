#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The text of events equals what trace-cmd report makes of the same events.

In a guest, events are on in the trace instance of the driver, so that each
lies both in ftrace's buffer and in the region.  trace-cmd takes ftrace's out
of the guest and prints them on the host; dlog-read prints the region's.  Both
must say the same, event by event, for each CPU in order.

Relies on lib/, on trace-cmd here and, with its libraries, in the guest.
"""

import collections
import os
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib.case import case, main, skip  # noqa: E402 (needs the path above)
from lib.world import BUILD, World, entries, tool  # noqa: E402

TRACING = '/sys/kernel/tracing/instances/dlog/'

# What is switched on: one by one, since kernels differ in what they have.
SYSTEMS = '''alarmtimer block bpf_trace cgroup compaction cpuhp dma_fence
error_report exceptions ext4 fib filelock filemap handshake huge_memory icmp
initcall io_uring iomap irq irq_vectors jbd2 kmem ksm kyber maple_tree mdio
migrate mm mmap mmap_lock module msr napi neigh net netlink nmi notifier oom
page_isolation page_pool percpu power printk pwm qdisc ras raw_syscalls rcu
regmap regulator resctrl rpm rseq rtc rwmmio scsi sched signal skb sock swiotlb
sync_trace syscalls task tcp thermal thp timer tlb udp vmalloc vmscan vsyscall
watchdog wbt workqueue writeback x86_fpu xdp xen'''.split()

# What cannot be equal, by what its print fmt names.  trace-cmd takes the address
# of these variables of the kernel for their value; and it has the texts of
# constant strings from a file that the kernel keeps for it (printk_formats).
NOT_EQUAL = {
    'vmemmap_base': '''mm_page_alloc mm_page_alloc_extfrag
        mm_page_alloc_zone_locked mm_page_free mm_page_free_batched
        mm_page_pcpu_drain mm_filemap_add_to_page_cache
        mm_filemap_delete_from_page_cache mm_lru_insertion mm_lru_activate
        mm_vmscan_write_folio mm_vmscan_writepage test_pages_isolated''',
    'jiffies': '''writeback_single_inode writeback_single_inode_start
        writeback_sb_inodes_requeue''',
    'constant strings': '''rcu_utilization wbt_step''',
    # The region has the symbols of code alone.
    'data by %ps': '''iomap_iter iomap_iter_srcmap''',
    # trace-cmd names code by the symbols of the end, when another module may
    # lie there; the region by those of the time.
    'start of modules': '''initcall_start initcall_finish''',
}

# The workload: whatever makes a kernel do different things.
LOAD = r'''
cd /tmp
for i in 1 2 3; do (sleep 0.1; exit $i) & done; wait
sh -c 'kill -USR1 $$' ; sh -c 'trap : TERM; kill $$; ulimit -c 0'
nice -n 5 true; renice 3 $$; chrt -f 5 true; taskset 2 true; taskset 1 true
mkdir -p a/b; echo x > a/f; ln a/f a/g; ln -s f a/h; mv a/g a/i; cat a/* 2>/dev/null
chmod 600 a/f; chown 1:1 a/f; touch a/f; truncate -s 100k a/f; stat a/f; sync
dd if=/dev/urandom of=a/r bs=64k count=4; cp a/r a/s; cmp a/r a/s; rm -r a
find /sys/class /proc/self > /dev/null 2>&1; ls -lR /sys/block > /dev/null
mknod p p; (echo x > p &) ; cat p; rm p
mke2fs -q -t ext4 /dev/vda && mkdir -p m && mount -t ext4 /dev/vda m
for i in 1 2 3 4 5; do dd if=/dev/zero of=m/f$i bs=256k count=2; done; sync
mkdir m/d; mv m/f1 m/d; ln m/f2 m/d/l; ln -s x m/y; truncate -s 10 m/f3
cat m/* > /dev/null 2>&1; echo 3 > /proc/sys/vm/drop_caches; cat m/f4 > /dev/null
rm -r m/d m/f5; fallocate -l 1M m/g; fstrim m; sync; umount m
modprobe dummy; ip link add dum0 type dummy; ip link set lo up
ip addr add 10.9.9.1/24 dev dum0; ip link set dum0 up; ip route; ip neigh
ip addr add ::2/64 dev lo
(echo hello | nc -l -p 7777 > /dev/null &) ; sleep 0.2; echo there | nc -w 1 127.0.0.1 7777
ping -c 2 127.0.0.1; ping -c 1 -W 1 10.9.9.7; nslookup x 127.0.0.1
(udpsvd -E 127.0.0.1 7778 cat &) ; sleep 0.2; echo u | nc -u -w 1 127.0.0.1 7778
nc -w 1 127.0.0.1 7; ip link del dum0; rmmod dummy
echo "<4>report" > /dev/kmsg
modprobe brd rd_nr=1 rd_size=4096 && mkswap /dev/ram0 && swapon /dev/ram0
swapoff /dev/ram0; rmmod brd
modprobe loop; dd if=/dev/zero of=img bs=1M count=2; losetup /dev/loop0 img
dd if=/dev/loop0 of=/dev/null bs=64k; losetup -d /dev/loop0
mkdir -p /tmp/cg; mount -t cgroup2 none /tmp/cg && mkdir /tmp/cg/x && \
echo $$ > /tmp/cg/x/cgroup.procs && echo $$ > /tmp/cg/cgroup.procs
rmdir /tmp/cg/x; umount /tmp/cg
echo 0 > /sys/devices/system/cpu/cpu1/online
echo 1 > /sys/devices/system/cpu/cpu1/online
echo 1 > /proc/sys/vm/compact_memory
date; hwclock -r; usleep 1000; timeout 0.1 sleep 5; time true
hostname x; mount -t tmpfs none /mnt; umount /mnt; unshare -n true
dmesg > /dev/null; free; ps > /dev/null; top -b -n 1 > /dev/null; vmstat
'''

LINE = re.compile(r'^.*?-\d+ +\[(\d+)\] +(?:\S+ +)?(\d+\.\d+): (\S+):(?: +(.*))?$')


def raw_disk(w, name, size):
    path = os.path.join(w, name)
    with open(path, 'wb') as f:
        f.truncate(size)
    return path


def switch_on(guest):
    """How many events are on."""
    for system in SYSTEMS:
        guest.sh("dlogioc run 'event on %s:*'" % system, timeout=300)
    return int(guest.must('cat %sset_event | wc -l' % TRACING))


def take_trace(w, disk, path):
    """ftrace's records, by trace-cmd in the guest, through a disk."""
    w.guest.must('cd /tmp && trace-cmd extract -B dlog -o t.dat >/dev/null && '
                 'stat -c %s t.dat > size && dd if=t.dat of=/dev/vdb bs=1M '
                 '2>/dev/null && sync', timeout=600)
    size = int(w.guest.must('cat /tmp/size'))
    with open(disk, 'rb') as f, open(path, 'wb') as out:
        out.write(f.read(size))


def theirs_of(path):
    """{(cpu, event): [text]} as trace-cmd prints it."""
    found = collections.defaultdict(list)
    done = subprocess.run(['trace-cmd', 'report', '-t', '-i', path],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=True)
    last = None
    for line in done.stdout.decode(errors='surrogateescape').split('\n'):
        match = LINE.match(line)
        if match:
            last = found[int(match.group(1)), match.group(3)]
            last.append(match.group(4) or '')
        elif last and not line.startswith(('cpus=', 'CPU ', 'version')):
            last[-1] += '\n' + line
    return found


def ours_of(region):
    """The same as dlog-read prints it; the events' systems."""
    found = collections.defaultdict(list)
    systems = {}
    for e in entries(region, '-t', 'event'):
        system, _, name = e['name'].partition(':')
        if e['text'].startswith(e['name'] + ':'):
            systems[name] = system
            found[e['ring'], name].append(
                e['text'][len(e['name']) + 1:].lstrip(' '))
    return found, systems


# Where x86-64 has modules, as a number: no symbol was found for it.
MODULE = re.compile(r'\b(0x)?ffffffffc[0-9a-f]{7}\b')


def but_for_modules(a, b):
    """Equal, in any order, but for lines that name such code?"""
    known = collections.Counter(y for y in b if not MODULE.search(y))
    return len(a) == len(b) and not known - collections.Counter(a)


def compare(theirs, ours):
    """(events equal, {event: first difference})"""
    equal, differ = set(), {}
    never = ' '.join(NOT_EQUAL.values()).split()
    for key in sorted(set(theirs) | set(ours)):
        a = [t.strip() for t in theirs.get(key, [])]
        b = [t.strip() for t in ours.get(key, [])]
        if key[1] in never and len(a) == len(b):
            continue
        # An interrupt's event begins later and is committed earlier than the
        # one that it interrupts: the region has it before that one.
        if a == b or sorted(a) == sorted(b):
            equal.add(key[1])
            continue
        if but_for_modules(a, b):
            continue
        at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y),
                  min(len(a), len(b)))
        differ.setdefault(key[1], (key[0], len(a), len(b), at,
                                   a[at:at + 1], b[at:at + 1]))
    return equal - set(differ), differ


def report_equal(kernel):
    if not os.path.exists('/usr/bin/trace-cmd'):
        skip('no trace-cmd here: run tests/guest/setup test')
    with tempfile.TemporaryDirectory(prefix='dlog-report-') as folder:
        a, b = raw_disk(folder, 'a', 64 << 20), raw_disk(folder, 'b', 512 << 20)
        files = {'/bin/trace-cmd': '/usr/bin/trace-cmd',
                 '/bin/mke2fs': '/usr/sbin/mke2fs',
                 '/bin/dlogioc': os.path.join(BUILD, 'tests/dlogioc')}
        with World(kernel=kernel, size='256M', mem='1536M,slots=4,maxmem=4G',
                   create=('--catalog', '8M'), files=files,
                   modules=('virtio_blk', 'ext4', 'brd', 'loop', 'dummy',
                            'crc32c_generic', 'rtc_cmos'),
                   qemu_args=['-drive', 'file=%s,format=raw,if=virtio' % a,
                              '-drive', 'file=%s,format=raw,if=virtio' % b]
                   ) as w:
            w.load_driver()
            w.guest.must('modprobe virtio_pci; modprobe virtio_blk; '
                         'modprobe ext4; sleep 1; '
                         'ls /dev/vda /dev/vdb')
            # The instance is made by the first event that is switched on.
            w.guest.must("dlogioc run 'event on clk:clk_enable'; "
                         "dlogioc run 'event off clk:clk_enable'; "
                         "echo 98304 > %sbuffer_size_kb" % TRACING)
            # Both have what happens while the buffer takes records.
            w.guest.must('echo 0 > %stracing_on; echo 0 > %strace' % (
                TRACING, TRACING))
            print('%d events on' % switch_on(w.guest))
            w.guest.sh('echo 1 > %stracing_on\n%s\necho 0 > %stracing_on' % (
                TRACING, LOAD, TRACING), timeout=600)
            w.guest.must("dlogioc run 'event off *:*'", timeout=300)
            print(w.guest.must('grep -h overrun %sper_cpu/cpu*/stats' % TRACING))
            path = os.path.join(folder, 'trace.dat')
            take_trace(w, b, path)
            keep = os.environ.get('DLOG_REPORT_KEEP')
            if keep:
                subprocess.run(['cp', path, w.region, keep], check=True)
            ours, systems = ours_of(w.region)
            equal, differ = compare(theirs_of(path), ours)
    for name, what in sorted(differ.items()):
        print('%s:%s: cpu %d, %d and %d, at %d\n  %s\n  %s' % (
            (systems.get(name, '?'), name) + what))
    print('%d events equal, %d differ' % (len(equal), len(differ)))
    assert not differ
    assert len(equal) >= 200, len(equal)


@case(long=True, timeout=1800)
def text_is_as_trace_cmd_report_has_it_on_6_1():
    report_equal('6.1')


@case(long=True, timeout=1800)
def text_is_as_trace_cmd_report_has_it_on_6_12():
    report_equal('6.12')


if __name__ == '__main__':
    main()
