# SPDX-License-Identifier: GPL-2.0-or-later
"""Small RAM files as a guest's kernel would leave them: page tables,
VMCOREINFO, printk's ring.  So small that each byte can be damaged, and of
kinds that no test guest has (pages of 1 GiB, a text that ends with the
buffer).  By Linux' kernel/printk/printk_ringbuffer.h and Intel's SDM, not by
libdlog.

    image = Image(levels=5)
    image.say(7, 1000, 42, b'text')
    image.write(path)
"""

import struct

PAGE = 4096
SIZE = 2 << 20
KERNEL_MAP = 0xffffffff80000000
TEXT = KERNEL_MAP + 0x1000000       # virtual address of the first byte
DIRECT = {4: 0xffff888000000000, 5: 0xff11000000000000}
RELEASE = '6.1.0-test'
VERSION = '#1 SMP test'
BANNER = 'Linux version %s (who@where) (gcc) %s\n' % (RELEASE, VERSION)

LAST, ROOT = 0x9c000, 0x100000      # the table for starting CPUs; the kernel's
INFO, NOTE = 0x120000, 0x122000
DATA = 0x130000                     # "prb", the ring, uts, banner
DESCS, INFOS, RING = 0x140000, 0x150000, 0x180000
DESC_SIZE, INFO_SIZE = 24, 88
RESERVED, COMMITTED, FINALIZED, REUSABLE = range(4)

VMCOREINFO = '''OSRELEASE=%(release)s
PAGESIZE=4096
SYMBOL(init_uts_ns)=%(uts)x
OFFSET(uts_namespace.name)=0
SYMBOL(swapper_pg_dir)=%(root)x
SYMBOL(_stext)=%(text)x
SYMBOL(prb)=%(prb)x
SIZE(printk_ringbuffer)=88
OFFSET(printk_ringbuffer.desc_ring)=0
OFFSET(printk_ringbuffer.text_data_ring)=48
OFFSET(printk_ringbuffer.fail)=80
SIZE(prb_desc_ring)=48
OFFSET(prb_desc_ring.count_bits)=0
OFFSET(prb_desc_ring.descs)=8
OFFSET(prb_desc_ring.infos)=16
OFFSET(prb_desc_ring.head_id)=24
OFFSET(prb_desc_ring.tail_id)=32
SIZE(prb_desc)=24
OFFSET(prb_desc.state_var)=0
OFFSET(prb_desc.text_blk_lpos)=8
OFFSET(prb_data_blk_lpos.begin)=0
OFFSET(prb_data_blk_lpos.next)=8
SIZE(printk_info)=88
OFFSET(printk_info.seq)=0
OFFSET(printk_info.ts_nsec)=8
OFFSET(printk_info.text_len)=16
OFFSET(printk_info.caller_id)=20
SIZE(prb_data_ring)=32
OFFSET(prb_data_ring.size_bits)=0
OFFSET(prb_data_ring.data)=8
NUMBER(phys_base)=%(base)d
NUMBER(pgtable_l5_enabled)=%(five)d
KERNELOFFSET=0
'''


class Image:
    """The bytes of a RAM file, and its log.

    count_bits    of descriptors, size_bits of the text's bytes
    wide          ids begin below 2^62, not below 2^32
    phys          where its bytes are in guest-physical memory
    huge          the direct mapping has pages of 1 GiB
    """

    def __init__(self, levels=4, count_bits=6, size_bits=12, wide=False,
                 huge=False, phys=0):
        self.phys = phys
        self.mem = bytearray(SIZE)
        self.levels = levels
        self.count, self.size = 1 << count_bits, 1 << size_bits
        self.zero = ((1 << (62 if wide else 32)) - self.count)
        self.seq = 0
        self.tail = -1
        self.lpos = (1 << 64) - self.size
        self.blocks = []    # [seq, begin, next], those not overwritten
        self._tables(huge)
        self._info()
        self.put(DATA, '<Q', TEXT + DATA + 64)
        self.put(DATA + 64, '<I4xQQ', count_bits, TEXT + DESCS, TEXT + INFOS)
        self.put(DATA + 64 + 48, '<I4xQ', size_bits, TEXT + RING)
        for n, word in enumerate((b'Linux', b'node', RELEASE.encode(),
                                  VERSION.encode())):
            at = DATA + 0x400 + 65 * n
            self.mem[at:at + len(word)] = word
        self.mem[DATA + 0x800:DATA + 0x800 + len(BANNER)] = BANNER.encode()
        self._ends()

    def put(self, at, kind, *values):
        struct.pack_into(kind, self.mem, at, *values)

    def _tables(self, huge):
        """Two paths through the tables, each a table a level."""
        free = ROOT + PAGE
        for addr, last, to in ((TEXT, 2, self.phys),
                               (DIRECT[self.levels], 3 if huge else 2, 0)):
            table = ROOT
            for level in range(self.levels, last, -1):
                slot = table + (addr >> (12 + 9 * (level - 1))) % 512 * 8
                self.put(slot, '<Q', self.phys + free | 0x63)
                table, free = free, free + PAGE
            self.put(table + (addr >> (12 + 9 * (last - 1))) % 512 * 8,
                     '<QQ', to | 0xe3, to + SIZE | 0xe3)
        self.mem[LAST:LAST + PAGE] = self.mem[ROOT:ROOT + PAGE]
        self.tables = (ROOT, free - ROOT)

    def _info(self):
        text = (VMCOREINFO % {
            'release': RELEASE, 'uts': TEXT + DATA + 0x400,
            'root': TEXT + ROOT, 'text': TEXT, 'prb': TEXT + DATA,
            'base': KERNEL_MAP - TEXT + self.phys, 'five': self.levels == 5}).encode()
        self.mem[INFO:INFO + len(text)] = text
        self.put(NOTE, '<III', 11, len(text), 0)
        self.mem[NOTE + 12:NOTE + 22] = b'VMCOREINFO'
        self.mem[NOTE + 24:NOTE + 24 + len(text)] = text
        self.info = len(text)

    def _ends(self):
        mask = (1 << 62) - 1
        self.put(DATA + 64 + 24, '<QQ', self.zero + self.seq - 1 & mask,
                 self.zero + self.tail & mask)

    def parts(self):
        """Where damage matters: (offset, bytes)."""
        return [(LAST, PAGE), self.tables, (INFO, self.info),
                (NOTE, self.info + 24), (DATA, 0x800),
                (DESCS, self.count * DESC_SIZE),
                (INFOS, self.count * INFO_SIZE), (RING, self.size)]

    # The log

    def desc(self, seq):
        return DESCS + seq % self.count * DESC_SIZE

    def state(self, seq, state):
        self.put(self.desc(seq), '<Q',
                 state << 62 | (self.zero + seq) & ((1 << 62) - 1))

    def block(self, seq, size, ends_with_buffer=False):
        """Room for text: where it begins in the file.  As data_alloc() of
        Linux 6.1 does it; newer ones let a block end with the buffer."""
        size = (size + 8 + 7) // 8 * 8
        begin, mask = self.lpos, (1 << 64) - 1
        end = begin + size & mask
        at = begin % self.size
        wraps = at + size > self.size or (at + size == self.size and
                                          not ends_with_buffer)
        if wraps:
            self.put(RING + at, '<Q', self.zero + seq)
            end = (begin - at + self.size + size) & mask
            at = 0
        while self.blocks and (end - self.blocks[0][1] & mask) > self.size:
            self.state(self.blocks.pop(0)[0], REUSABLE)
        self.put(RING + at, '<Q', self.zero + seq & ((1 << 62) - 1))
        self.blocks.append((seq, begin, end))
        self.put(self.desc(seq) + 8, '<QQ', begin, end)
        self.lpos = end
        return RING + at + 8

    def say(self, pri, time, caller, text, state=FINALIZED,
            ends_with_buffer=False):
        """A record, its sequence number."""
        seq, self.seq = self.seq, self.seq + 1
        if self.seq > self.count:
            self.tail = self.seq - self.count
            self.blocks = [b for b in self.blocks if b[0] >= self.tail]
        self.tail = max(self.tail, 0)
        at = self.block(seq, len(text) + 1, ends_with_buffer)
        self.mem[at:at + len(text)] = text
        self.put(INFOS + seq % self.count * INFO_SIZE, '<QQHBBI', seq, time,
                 len(text), pri >> 3, (pri & 7) << 5, caller)
        self.state(seq, state)
        self._ends()
        return seq

    def write(self, path):
        with open(path, 'wb') as f:
            f.write(self.mem)
