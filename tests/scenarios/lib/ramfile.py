# SPDX-License-Identifier: GPL-2.0-or-later
"""What lies where in a guest's RAM file: enough to damage it with care, and to
know what must not be harmed.

Reads VMCOREINFO, the kernel's page tables and the head of its log in its own
simple way, so that nothing is expected because libdlog says so.  The file has
to be of a guest that lived once, with RAM that is split at `below` if at all.
in_file() starts such a guest.
"""

import contextlib
import mmap
import os
import struct
import tempfile

from .guest import Guest

PAGE = 4096
KERNEL_MAP = 0xffffffff80000000
PHYS = 0x000ffffffffff000
ID_MASK = (1 << 62) - 1


@contextlib.contextmanager
def in_file(make=Guest, machine='pc', firmware='seabios', mem='256M', qmp=False,
            **more):
    """A Guest or World, and the path of the file that is its RAM; with qmp=True
    a socket `qmp` is beside it."""
    with tempfile.TemporaryDirectory(prefix='dlog-ram-') as folder:
        path = os.path.join(folder, 'ram')
        args = ['-object', 'memory-backend-file,id=ram,share=on,size=%s,'
                'mem-path=%s' % (mem, path)]
        if qmp:
            args += ['-qmp', 'unix:%s/qmp,server=on,wait=off' % folder]
        with make(machine=machine + ',memory-backend=ram', firmware=firmware,
                  mem=mem, qemu_args=args, **more) as guest:
            yield guest, path


class Ram:
    """A RAM file, open for reading and writing."""

    def __init__(self, path, below=1 << 32):
        self.below = below
        with open(path, 'r+b') as f:
            self.size = os.fstat(f.fileno()).st_size
            self.map = mmap.mmap(f.fileno(), 0)
        self.info_at = []       # offsets of VMCOREINFO and its copies
        at = self.map.find(b'OSRELEASE=')
        while at >= 0:
            if at % PAGE in (0, 24) and b'SYMBOL(prb)=' in \
                    self.map[at:at + PAGE]:
                self.info_at.append(at)
            at = self.map.find(b'OSRELEASE=', at + 1)
        text = self.map[self.info_at[-1]:self.info_at[-1] + PAGE]
        self.info = dict(line.split('=', 1) for line in
                         text.split(b'\0')[0].decode().splitlines())
        self.base = self.number('phys_base') - KERNEL_MAP
        self.root = self.symbol('swapper_pg_dir') + self.base
        self.levels = 5 if self.number('pgtable_l5_enabled') else 4
        self.tables = {self.root}       # offsets of those that were used

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.map.close()

    def symbol(self, name):
        return int(self.info['SYMBOL(%s)' % name], 16)

    def number(self, name, kind='NUMBER'):
        return int(self.info['%s(%s)' % (kind, name)])

    def offset(self, name):
        return self.number(name, 'OFFSET')

    def at(self, phys):
        """The file's offset of a physical address."""
        return phys if phys < self.below else phys - (1 << 32) + self.below

    def word(self, off):
        return struct.unpack_from('<Q', self.map, off)[0]

    def find(self, addr):
        """The file's offset of a virtual address, by the page tables."""
        table = self.root
        for level in range(self.levels, 0, -1):
            shift = 12 + 9 * (level - 1)
            self.tables.add(self.at(table))
            entry = self.word(self.at(table) + (addr >> shift) % 512 * 8)
            assert entry & 1, hex(addr)
            table = entry & PHYS
            if level == 1 or entry & 0x80:
                size = 1 << shift
                return self.at((table & -size) | (addr & (size - 1)))
        raise AssertionError

    def log(self):
        """The log's parts: name -> (offset in the file, bytes)."""
        ring = self.find(self.word(self.find(self.symbol('prb'))))
        desc = ring + self.offset('printk_ringbuffer.desc_ring')
        text = ring + self.offset('printk_ringbuffer.text_data_ring')
        count = 1 << self.map[desc + self.offset('prb_desc_ring.count_bits')]
        size = 1 << self.map[text + self.offset('prb_data_ring.size_bits')]
        return {
            'head': (ring, self.number('printk_ringbuffer', 'SIZE')),
            'descs': (self.find(self.word(
                desc + self.offset('prb_desc_ring.descs'))),
                count * self.number('prb_desc', 'SIZE')),
            'infos': (self.find(self.word(
                desc + self.offset('prb_desc_ring.infos'))),
                count * self.number('printk_info', 'SIZE')),
            'text': (self.find(self.word(
                text + self.offset('prb_data_ring.data'))), size),
        }

    def records(self):
        """{sequence number: (offset of descriptor, of info, of text, bytes of
        it)}, of all that have text.  Of a log that lies in one piece."""
        log = self.log()
        desc_size = self.number('prb_desc', 'SIZE')
        info_size = self.number('printk_info', 'SIZE')
        at = self.offset('prb_desc.text_blk_lpos')
        out = {}
        for n in range(log['descs'][1] // desc_size):
            desc, info = log['descs'][0] + n * desc_size, \
                log['infos'][0] + n * info_size
            state = self.word(desc + self.offset('prb_desc.state_var'))
            begin, end = self.word(desc + at), self.word(desc + at + 8)
            if state >> 62 != 2 or begin & 1:
                continue
            size = log['text'][1]
            if begin // size != end // size:
                begin = end // size * size
            out[self.word(info + self.offset('printk_info.seq'))] = (
                desc, info, log['text'][0] + begin % size, end - begin)
        return out
