# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a region lies in what gdb debugs, and how to get at its bytes.

Live: a guest at QEMU's gdb stub; Core: an ELF core; File: a region file.  Each
has regions(), those that it holds, and save(), which copies one into a file.
What is known here of the format is what finding takes: magic, sizes and the
second superblock (docs/abi.md, section 2); dlog-read does the reading.

Relies on gdb 12 or later, and for live guests on QEMU's monitor behind the stub
(qRcmd) and its Qqemu.PhyMemMode.
"""

import collections
import contextlib
import json
import mmap
import os
import re
import shutil
import struct
import sys
import tempfile
import time

import gdb

PAGE = 4096
MAGIC = b'dlogRGN\x1a'
SIZE_MIN = 65536
SIZE_MAX = 4 << 30      # of what is copied out of a guest
SAME = 4 * PAGE         # compared to know a file again: heartbeats lie there

CHUNK = 64 << 10        # read through the stub at once
PIECE = 256 << 20       # saved by QEMU at once
SCAN_MAX = 4 << 30      # searched page by page through the stub


def size_text(size):
    for unit in ('bytes', 'KiB', 'MiB'):
        if size < 1024 or size % 1024:
            return '%d %s' % (size, unit)
        size //= 1024
    return '%d GiB' % size


def good_size(size):
    return SIZE_MIN <= size <= SIZE_MAX and not size % PAGE


def is_kdump(data):
    return data[:8] == b'KDUMP   ' or data[:12] == b'makedumpfile'


class Progress:
    """How far something slow is, on a terminal and only if it takes long."""

    def __init__(self, what, total):
        self.what = what
        self.total = total
        self.next = time.monotonic() + 1
        self.shown = False

    def at(self, done):
        now = time.monotonic()
        if now < self.next or not os.isatty(2):
            return
        self.next = now + 0.2
        self.shown = True
        sys.__stderr__.write('\r%s: %d %%' % (self.what,
                                              100 * done // self.total))
        sys.__stderr__.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.shown:
            sys.__stderr__.write('\r\033[K')
            sys.__stderr__.flush()


class Scratch:
    """Our private folder, which lasts for one command."""

    def __init__(self):
        self.path = None

    def folder(self):
        if not self.path:
            self.path = tempfile.mkdtemp(prefix='dlog-gdb-')
        return self.path

    def remove(self):
        if self.path:
            shutil.rmtree(self.path, ignore_errors=True)
            self.path = None


scratch = Scratch()


# A piece of guest-physical memory.  name: of the QEMU memory region seen
# there; offset: of its first byte in that, or in the core.
Block = collections.namedtuple('Block', 'start end name offset')
# Where a region lies, and the file that is this region, if there is one.
Region = collections.namedtuple('Region', 'address size block path')


class Memory:
    """Guest-physical memory in which regions are looked for.

    A kind of it has
    blocks()                        all of them, sorted
    read(block, address, length)    None where nothing can be read
    magic_pages(block)              all pages of it that begin with the magic
    save(region, path)              a copy of the region
    kind, nothing                   words for people: what it is, why it may
                                    hold no region"""

    def super_at(self, block, address):
        """(size of the region, offset of its state page) by the superblock at
        address; (0, 0) without one."""
        data = self.read(block, address, 256)
        if data is None or data[:8] != MAGIC:
            return 0, 0
        size, state = struct.unpack_from('<QQ', data, 120)
        backup, = struct.unpack_from('<Q', data, 176)
        good = good_size(size) and backup == size - PAGE and state < backup
        return (size, state) if good else (0, 0)

    def super_size(self, block, address):
        return self.super_at(block, address)[0]

    def region_of(self, block):
        """A device's memory is a region and nothing else.  The superblock's
        copy at its end is as good."""
        whole = block.end - block.start
        size = self.super_size(block, block.start)
        if not 0 < size <= whole and \
                self.super_size(block, block.end - PAGE) == whole:
            size = whole
        if 0 < size <= whole:
            return Region(block.start, size, block, None)
        return None

    def scan(self, block):
        """(how doubtful, region) in the midst of a block: carved out of the
        guest's RAM.

        A superblock without its other copy may be the first or the last of
        its region, or a piece of a former one; where a guest has been, the
        number of its boot is in the state page."""
        end = 0
        for address in self.magic_pages(block):
            size, state = self.super_at(block, address)
            if not size or address < end:
                continue
            if self.super_size(block, address + size - PAGE) == size:
                end = address + size
                yield 0, Region(address, size, block, None)
                continue
            for start in (address, address + PAGE - size):
                if block.start <= start and start + size <= block.end:
                    boot = self.read(block, start + state + 68, 4)
                    yield (1 if boot and any(boot) else 2,
                           Region(start, size, block, None))

    def regions(self):
        """All that are known at once, or else that a search brings up."""
        blocks = self.blocks()
        regions = [r for r in map(self.region_of, blocks) if r]
        if not regions:
            found = [hit for block in blocks for hit in self.scan(block)]
            regions = [r for _, r in sorted(found, key=lambda hit: hit[0])]
        return regions

    def region_by_hand(self, address, size):
        """The region of which the user says that it is there."""
        where = 'guest-physical 0x%x' % address
        block = next((b for b in self.blocks() if b.start <= address < b.end),
                     None)
        if not block:
            raise gdb.GdbError('no memory at %s' % where)
        size = size or self.super_size(block, address)
        if not size:
            raise gdb.GdbError('no superblock at %s: if it is damaged, give '
                               'the size too (dlog region ADDRESS SIZE)'
                               % where)
        if not good_size(size):
            raise gdb.GdbError('a region has 64 KiB to 4 GiB in whole pages, '
                               'not %d bytes' % size)
        if address + size > block.end:
            raise gdb.GdbError('the memory at %s ends before the region does'
                               % where)
        return Region(address, size, block, None)


class Core(Memory):
    """An ELF core with physical addresses, as dump-guest-memory, virsh dump
    --memory-only --format elf and kdump make them.

    gdb has no physical view of a core: the program headers give it."""

    def __init__(self, path):
        self.kind = 'the core %s' % path
        self.nothing = (
            'no region in the core %s: some ways of dumping leave devices\' '
            'memory out.\nThe region\'s file has it: dlog file FILE' % path)
        try:
            with open(path, 'rb') as f:
                self.data = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        except (OSError, ValueError) as err:
            raise gdb.GdbError('cannot read the core %s: %s' % (path, err))
        if is_kdump(self.data):
            raise gdb.GdbError(
                '%s is compressed by kdump, which gdb cannot read: dump the '
                'guest as ELF (dump-guest-memory without -z, -l, -s; virsh '
                'dump --memory-only --format elf)' % path)
        # 64 bit, little-endian.
        if self.data[:6] != b'\x7fELF\x02\x01' or len(self.data) < 64:
            raise gdb.GdbError('%s is no ELF core of a 64-bit guest' % path)

    def blocks(self):
        """Each PT_LOAD; elf(5)."""
        at, sections = struct.unpack_from('<QQ', self.data, 32)
        size, count = struct.unpack_from('<HH', self.data, 54)
        if count == 0xffff and sections + 64 <= len(self.data):
            count, = struct.unpack_from('<I', self.data, sections + 44)
        count = min(count, len(self.data) // 56)
        blocks = set()
        for n in range(count):
            header = self.data[at + n * size:at + n * size + 56]
            if len(header) < 56:
                break
            kind, _, offset, _, start, length = struct.unpack_from(
                '<IIQQQQ', header)
            length = min(length, max(0, len(self.data) - offset))
            if kind == 1 and length:
                blocks.add(Block(start, start + length, '', offset))
        return sorted(blocks)

    def read(self, block, address, length):
        at = block.offset + address - block.start
        if address < block.start or address + length > block.end:
            return None
        return self.data[at:at + length]

    def magic_pages(self, block):
        data, shift = self.data, block.offset - block.start
        first = -(-block.start // PAGE) * PAGE
        with Progress('searching the core',
                      block.end - block.start) as progress:
            for address in range(first, block.end - PAGE, PAGE):
                if data[address + shift:address + shift + 8] == MAGIC:
                    yield address
                if not address & 0xffffff:
                    progress.at(address - block.start)

    def save(self, region, path):
        at = region.block.offset + region.address - region.block.start
        with open(path, 'wb') as f, memoryview(self.data) as data:
            f.write(data[at:at + region.size])


class Live(Memory):
    """A guest at QEMU's gdb stub.  It stands still while we look at it."""

    kind = 'the live guest'
    nothing = ('no region in the guest\'s memory: is one attached (dlog-qemu, '
               'docs/regions.md)?\nIf you know where it is: dlog region '
               'ADDRESS, or dlog file FILE')

    # "0000000100000000-00000001003fffff (prio 0, nv-ram): dlog @0000..."
    LINE = re.compile(r'^ +([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, '
                      r'(?:nv-)?ram\): (.*?)(?: @([0-9a-f]+))?(?: KVM)?\s*$',
                      re.M)

    def __init__(self, connection):
        self.connection = connection
        self.inferior = gdb.selected_inferior()

    def running(self):
        try:
            return any(one.is_running() for one in self.inferior.threads())
        except gdb.error:
            return True         # gdb cannot ask for its threads even

    @contextlib.contextmanager
    def physical(self):
        """The stub reads guest-physical memory meanwhile."""
        before = self.connection.send_packet(b'qqemu.PhyMemMode')
        if before not in (b'0', b'1'):
            raise gdb.GdbError(
                'this gdb stub is not QEMU\'s, it cannot read physical '
                'memory: name the region\'s file with dlog file FILE')
        self.connection.send_packet(b'Qqemu.PhyMemMode:1')
        try:
            yield
        finally:
            self.connection.send_packet(b'Qqemu.PhyMemMode:' + before)

    @staticmethod
    def monitor(command):
        """QEMU's answer, or None if that is an error."""
        try:
            answer = gdb.execute('monitor ' + command, to_string=True)
        except gdb.error:
            return None
        return None if answer.startswith('Error') else answer.strip()

    def blocks(self):
        blocks = {Block(int(start, 16), int(end, 16) + 1, name,
                        int(offset or '0', 16))
                  for start, end, name, offset in self.LINE.findall(
                      self.monitor('info mtree -f') or '')}
        if not blocks:
            raise gdb.GdbError(
                'QEMU does not tell its memory map (monitor info mtree -f): '
                'name the region\'s file with dlog file FILE')
        return sorted(blocks)

    def read(self, block, address, length):
        try:
            return bytes(self.inferior.read_memory(address, length))
        except gdb.MemoryError:
            return None

    def regions(self):
        with self.physical():
            return [self.with_file(r) for r in super().regions()]

    def region_by_hand(self, address, size):
        with self.physical():
            return self.with_file(super().region_by_hand(address, size))

    def still(self, region):
        """Is it where it was?  Another guest may be behind the stub now."""
        block, last = region.block, region.address + region.size - PAGE
        with self.physical():
            return region.size in (self.super_size(block, region.address),
                                   self.super_size(block, last)) and \
                self.with_file(region._replace(path=None)) == region

    def with_file(self, region):
        """Finds the file on this host that QEMU has mapped there, the quickest
        to read."""
        block = region.block
        backend = '/objects/' + block.name.rsplit('/', 1)[-1]
        if block.offset or block.start != region.address or \
                not re.fullmatch(r'[\w./-]+', backend) or \
                self.monitor('qom-get %s share' % backend) != 'true':
            return region
        try:
            path = json.loads(self.monitor('qom-get %s mem-path' % backend)
                              or '')
            if not isinstance(path, str) or not os.path.isfile(path):
                return region
            with open(path, 'rb') as f:
                data = f.read(SAME)
        except (OSError, ValueError):
            return region
        # Neither one of the same name on another host nor an old copy.
        if data != self.read(block, region.address, SAME):
            return region
        return region._replace(path=path)

    def magic_pages(self, block):
        probe = os.path.join(scratch.folder(), 'probe')
        size = block.end - block.start
        if self.save_local(block.start, min(PAGE, size), probe):
            return self.magic_local(block)
        if size > SCAN_MAX:
            raise gdb.GdbError(
                'no device holds a region, and %s of memory are too much to '
                'search through the stub: dlog region ADDRESS says where it '
                'is (dlog.mem= on the guest\'s command line)'
                % size_text(size))
        return self.magic_stub(block)

    def magic_local(self, block):
        path = os.path.join(scratch.folder(), 'piece')
        total = block.end - block.start
        with Progress('searching the guest\'s memory', total) as progress:
            for at in range(0, total, PIECE):
                size = min(PIECE, total - at)
                if not self.save_local(block.start + at, size, path):
                    raise gdb.GdbError('QEMU cannot write the guest\'s memory '
                                       'to %s: is the disk full?' % path)
                with open(path, 'rb') as f, \
                        mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as data:
                    hits = [n for n in range(0, size, PAGE)
                            if data[n:n + 8] == MAGIC]
                os.unlink(path)
                for n in hits:
                    yield block.start + at + n
                progress.at(at)

    def magic_stub(self, block):
        with Progress('searching the guest\'s memory page by page',
                      block.end - block.start) as progress:
            for address in range(block.start, block.end, PAGE):
                if self.read(block, address, 8) == MAGIC:
                    yield address
                progress.at(address - block.start)

    def save_local(self, address, size, path):
        """QEMU itself writes its memory into our file, many times as fast as
        through the stub; True if it is on this host and could."""
        if not re.fullmatch(r'[\w./+-]+', path):
            return False        # the monitor would want quoting
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        if self.monitor('pmemsave 0x%x 0x%x "%s"' % (address, size, path)):
            return False
        try:
            os.chmod(path, 0o600)
            return os.path.getsize(path) == size
        except OSError:
            return False

    def save(self, region, path):
        piece = os.path.join(scratch.folder(), 'piece')
        # In place: dlog-read may be following it.
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        with open(fd, 'wb') as f, \
                Progress('fetching the region', region.size) as progress:
            for at in range(0, region.size, PIECE):
                size = min(PIECE, region.size - at)
                if self.save_local(region.address + at, size, piece):
                    with open(piece, 'rb') as part:
                        shutil.copyfileobj(part, f)
                    os.unlink(piece)
                else:
                    self.save_stub(region, at, size, f, progress)

    def save_stub(self, region, at, size, f, progress):
        with self.physical():
            while size:
                length = min(CHUNK, size)
                data = self.read(region.block, region.address + at, length)
                if data is None:
                    raise gdb.GdbError('the stub cannot read %d bytes at '
                                       'guest-physical 0x%x'
                                       % (length, region.address + at))
                f.write(data)
                at += length
                size -= length
                progress.at(at)


class File:
    """A region file that the user named; dlog-read says what is wrong."""

    def __init__(self, path):
        self.path = path
        self.kind = 'the file %s' % path

    def regions(self):
        return [Region(None, os.path.getsize(self.path), None, self.path)]
