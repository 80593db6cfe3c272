#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Second reader of the region format, version 1; written from docs/abi.md alone.

It relies on nothing but that page and Python's standard library, and shares no
code with any other reader or writer, so that it tests the page. Section numbers
below are those of the page; "Guess:" marks what the page leaves open.

Usage: reader.py FILE      one JSON object a line; exit 2 without a superblock
"""
import json
import os
import struct
import sys
from collections import namedtuple

MASK = (1 << 64) - 1
K = 0x9e3779b97f4a7c15
C = 0xd6e8feb86659fd93

N_SUPER, N_BOOT, N_CLOCK, N_REGS, N_CATALOG = range(0xfffffff0, 0xfffffff5)

START, EVENT_TYPE, BLOCKS = 1, 10, 14
MAX_POSITION = 1 << 51
LOOK_BEHIND = 8             # sub-buffers behind the newest START (7, 9)

KPOW = [1]                  # powers of K; a sub-buffer has at most 8192 words
while len(KPOW) <= 65536 // 8:
    KPOW.append(KPOW[-1] * K & MASK)

# ---- 1. The check ----
def mix(w):
    w = w * C & MASK
    return (w << 32 | w >> 32) & MASK

def start(seed, position, x):
    return (seed + position + (x << 32)) & MASK

def word(h, w):
    return (h * K + mix(w)) & MASK

def fold(a, b):
    return (a * b ^ (a * b) >> 64) & MASK

def final(h):
    return fold(h, C) >> 32

def make_seed(uuid, n):
    first, last = struct.unpack('<QQ', uuid)
    return fold(fold(word(start(first, 0, n), last), C), K)

def proves(buf, seed, position):
    """Does this whole checked object carry the right check?"""
    if len(buf) < 8 or len(buf) % 8:
        return False
    check, x = struct.unpack_from('<II', buf)
    h = start(seed, position, x)
    for w in struct.unpack_from('<%dQ' % (len(buf) // 8 - 1), buf, 8):
        h = word(h, w)
    return x != 0 and check == final(h)

def text(field):
    """A NUL-padded field. Guess: it ends at its first NUL; bad UTF-8 is replaced."""
    return field.split(b'\0', 1)[0].decode('utf-8', 'replace')

# ---- 2. Superblock ----
SUPER = struct.Struct('<8sIIIIII16s64s10QQIIIIII32s')
Super = namedtuple('Super', '''magic check size compat ro_compat incompat reserved
    uuid label created region_size state_off boot_off clock_off regs_off catalog_off
    ring_off backup_off catalog_size ring_size nr_rings subbuf_size nr_cpus
    boot_slots boot_stride regs_stride reserved2''')
assert SUPER.size == 256

def parse_super(buf, file_size):
    """The superblock in these 256 bytes, or None when it is not valid."""
    if len(buf) != 256 or buf[:8] != b'dlogRGN\x1a':
        return None
    if not proves(buf[8:], make_seed(bytes(16), N_SUPER), 0):
        return None
    s = Super(*SUPER.unpack(buf))
    offsets = (s.state_off, s.boot_off, s.clock_off, s.regs_off, s.catalog_off,
               s.ring_off, s.backup_off)
    size = s.subbuf_size
    if not (s.size == 256 and s.incompat == 0
            and 65536 <= s.region_size <= 1 << 40 and s.region_size % 4096 == 0
            and s.region_size <= file_size
            and 4096 <= size <= 65536 and size & (size - 1) == 0):
        return None
    if not (s.ring_size % size == 0 and 8 <= s.ring_size // size <= 1 << 24
            and 1 <= s.nr_rings <= 1024 and 1 <= s.nr_cpus <= 4096
            and 4 <= s.boot_slots <= 4096
            and 208 + 24 * s.nr_rings <= s.boot_stride <= 32768
            and 1024 <= s.regs_stride <= 65536
            and s.boot_stride % 8 == 0 and s.regs_stride % 8 == 0
            and all(o % 8 == 0 for o in offsets)
            and s.ring_off % 4096 == 0 and s.backup_off == s.region_size - 4096):
        return None
    if not (s.state_off >= 4096
            and s.state_off + 4096 + s.nr_cpus * 64 <= s.boot_off
            and s.boot_off + s.boot_slots * s.boot_stride <= s.clock_off
            and s.clock_off + s.boot_slots * 64 <= s.regs_off
            and s.regs_off + s.nr_cpus * s.regs_stride <= s.catalog_off
            and s.catalog_off + s.catalog_size <= s.ring_off
            and s.ring_off + s.nr_rings * s.ring_size <= s.backup_off):
        return None
    return s

class File:
    """Copies parts of the file, so that what is proved does not change any more."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY)
        self.size = os.lseek(self.fd, 0, os.SEEK_END)

    def read(self, offset, size):
        return os.pread(self.fd, size, offset) if offset >= 0 else b''

def find_super(f):
    sb = parse_super(f.read(0, 256), f.size)
    if sb:
        return sb, 1
    sb = parse_super(f.read(f.size - 4096, 256), f.size)
    # Guess: found at the end of the file, it must be the end of the region too.
    if sb and sb.region_size == f.size:
        return sb, 2
    return None, 0

# ---- 3. to 6. State page, CPU slots, boots, clocks, registers ----
def read_state(f, sb):
    page = f.read(sb.state_off, 4096)
    state = {'control': struct.unpack_from('<I', page, 0)[0]}
    names = ('status', 'boot', 'status_time', 'memtype', 'period_ms', 'recording', 'online')
    state.update(zip(names, struct.unpack_from('<IIQIIII', page, 64)))
    return state

def read_cpus(f, sb):
    names = ('beat_time', 'beats', 'position', 'records', 'dropped', 'boot', 'ring', 'online')
    for cpu in range(sb.nr_cpus):
        slot = f.read(sb.state_off + 4096 + 64 * cpu, 64)
        values = dict(zip(names, struct.unpack_from('<5Q3I', slot)))
        if values['boot']:
            values['cpu'] = cpu
            yield values

def read_boots(f, sb):
    """{boot: entry} of the valid entries of the boot table."""
    seed = make_seed(sb.uuid, N_BOOT)
    want = 208 + 24 * sb.nr_rings
    boots = {}
    for slot in range(sb.boot_slots):
        offset = sb.boot_off + slot * sb.boot_stride
        buf = f.read(offset, want)
        size, boot = struct.unpack_from('<II', buf, 4)
        if size != want or boot == 0 or (boot - 1) % sb.boot_slots != slot:
            continue
        if not proves(buf, seed, offset):
            continue
        start_time, start_real = struct.unpack_from('<QQ', buf, 16)
        prev_boot, prev_status, prev_status_time, prev_beat_time = \
            struct.unpack_from('<IIQQ', buf, 128)
        per_ring = list(struct.iter_unpack('<QQQ', buf[208:]))
        boots[boot] = {
            'boot': boot, 'release': text(buf[48:112]), 'machine': text(buf[112:128]),
            'boot_id': buf[32:48].hex(), 'start_time': start_time, 'start_real': start_real,
            'prev_boot': prev_boot, 'prev_status': prev_status,
            'prev_status_time': prev_status_time, 'prev_beat_time': prev_beat_time,
            'starts': [r[0] for r in per_ring],
            'prev_records': [r[1] for r in per_ring],
            'prev_dropped': [r[2] for r in per_ring]}
    return boots

def read_clocks(f, sb):
    """For each boot the valid pair with the larger guest time."""
    seed = make_seed(sb.uuid, N_CLOCK)
    best = {}
    for slot in range(sb.boot_slots):
        for offset in (sb.clock_off + 64 * slot, sb.clock_off + 64 * slot + 32):
            buf = f.read(offset, 32)
            boot, guest, real, error = struct.unpack_from('<IQQQ', buf, 4)
            if boot == 0 or (boot - 1) % sb.boot_slots != slot or not proves(buf, seed, offset):
                continue
            if boot not in best or guest > best[boot]['guest']:
                best[boot] = {'boot': boot, 'guest': guest, 'real': real, 'error': error}
    return [best[b] for b in sorted(best)]

def read_regs(f, sb):
    seed = make_seed(sb.uuid, N_REGS)
    for slot in range(sb.nr_cpus):
        offset = sb.regs_off + slot * sb.regs_stride
        buf = f.read(offset, sb.regs_stride)
        size, boot, cpu, time, reason, machine, prs = struct.unpack_from('<IIIQIII', buf, 4)
        if size != 104 + prs or size > sb.regs_stride or size % 8 or cpu != slot:
            continue
        if proves(buf[:size], seed, offset):
            yield {'cpu': cpu, 'boot': boot, 'time': time, 'reason': reason,
                   'machine': machine, 'prstatus': buf[104:size].hex()}

# ---- 7. Records ----
Record = namedtuple('Record', 'position committed kind arg length time data')

def written(data):
    """Of an open record of kind BLOCKS: executed, and the words before the first 0."""
    end = 8
    while data[end:end + 8].strip(b'\0'):
        end += 8
    return data[:end]

def block(word):
    """A word of BLOCKS: a block, or how the last ones repeat."""
    if word >> 57 == 0:
        return {'repeat': word >> 51, 'blocks': word & (1 << 51) - 1}
    address = word & (1 << 57) - 1
    if address >> 56:           # the bits above are as this one
        address |= 0x7f << 57
    return {'address': address, 'instructions': word >> 57}

def read_blocks(record):
    words = struct.unpack('<%dQ' % (len(record.data) // 8),
                          record.data[:len(record.data) // 8 * 8])
    if 0 in words[1:]:
        words = words[:words.index(0, 1)]
    return {'cpu': record.arg, 'executed': words[0], 'blocks': [block(w) for w in words[1:]]}

def scan(buf, position, seed):
    """All records, open ones too, of one copied sub-buffer that lies at position.

    word() is linear in h, so the hash over words i..j-1 begun with h is
    (h - sums[i]) * K^(j-i) + sums[j], where sums[] hashes the sub-buffer from 0.
    Thus each candidate costs the same, however long it claims to be, and
    damaged data cannot take more than linear time.
    """
    count = len(buf) // 8
    words = struct.unpack('<%dQ' % count, buf)
    if not any(words):
        return []
    sums = [0]
    total = 0
    for w in words:
        total = (total * K + mix(w)) & MASK
        sums.append(total)
    records = []
    i = 0
    while i < count - 1:
        w = words[i]
        check = w & 0xffffffff
        top = w >> 32
        length = top & 0xffff
        end = i + 2 + ((length + 7) >> 3)
        if top >> 16 == 0 or end > count:   # a type is never 0; none crosses the end
            i += 1
            continue
        h = start(seed, position + 8 * i, top)
        if h * K >> 32 & 0xffffffff == check:
            committed = False
        else:
            h = ((h - sums[i + 1]) * KPOW[end - i - 1] + sums[end]) & MASK
            if final(h) != check:
                i += 1
                continue
            committed = True
        data = buf[8 * i + 16:8 * i + 16 + length]
        if not committed:
            data = written(data) if top >> 16 & 15 == BLOCKS else b''
        records.append(Record(position + 8 * i, committed, top >> 16 & 15, top >> 20,
                              length, words[i + 1], data))
        i = end
    return records

Start = namedtuple('Start', 'position records boot dropped')

def as_start(record, position):
    """The START in this record, if it is that of the sub-buffer at position."""
    if (record.position, record.committed, record.kind, record.length) != (position, True, START, 24):
        return None
    start = Start(*struct.unpack_from('<QQII', record.data))
    return start if start.position == position else None

SubBuffer = namedtuple('SubBuffer', 'position start records')   # records without START

class Ring:
    def __init__(self, f, sb, ring):
        self.f, self.sb, self.ring = f, sb, ring
        self.seed = make_seed(sb.uuid, ring)
        self.slots = sb.ring_size // sb.subbuf_size

    def offset(self, number):
        return (self.sb.ring_off + self.ring * self.sb.ring_size
                + number % self.slots * self.sb.subbuf_size)

    def newest_start(self):
        """Number of the sub-buffer with the highest proved START, -1: none."""
        newest = -1
        for slot in range(self.slots):
            buf = self.f.read(self.offset(slot), 40)
            position = struct.unpack_from('<Q', buf, 16)[0]
            number = position // self.sb.subbuf_size
            if (position % self.sb.subbuf_size or position >= MAX_POSITION
                    or number % self.slots != slot or number <= newest):
                continue
            found = scan(buf, position, self.seed)
            if found and as_start(found[0], position):
                newest = number
        return newest

    def read_subbuf(self, number):
        position = number * self.sb.subbuf_size
        buf = self.f.read(self.offset(number), self.sb.subbuf_size)
        records = scan(buf, position, self.seed)
        start = as_start(records[0], position) if records else None
        # START is no record of anybody; an open one is kept, to be shown.
        records = [r for r in records if r.kind != START or not r.committed]
        return SubBuffer(position, start, records)

    def live(self):
        """(lowest live position, live sub-buffers that hold something, ascending)"""
        newest = self.newest_start()
        # Sub-buffers entered behind the newest START, whose own START is missing.
        # Guess: any of the eight, also behind one that shows nothing.
        behind = [self.read_subbuf(n) for n in range(newest + 1, newest + 1 + LOOK_BEHIND)]
        last = newest
        for number, sub in enumerate(behind, newest + 1):
            if sub.start or sub.records:
                last = number
        first = max(0, last - self.slots + 1)
        live = [self.read_subbuf(n) for n in range(first, newest + 1)] + behind
        return first * self.sb.subbuf_size, [
            s for s in live
            if s.position >= first * self.sb.subbuf_size and (s.start or s.records)]

def assign_boots(live, ring, boots):
    """The boot of each live sub-buffer: the table, or START where it does not know.

    The table knows when it has the entry of the following boot too, or when no
    higher boot is heard of. Guess: without both, the boot does not go down.
    """
    starts = sorted((b, e['starts'][ring]) for b, e in boots.items())
    highest = max([b for b, _ in starts] + [s.start.boot for s in live if s.start], default=0)
    result = []
    for sub in live:
        owner = 0
        for boot, position in starts:
            if position <= sub.position:
                owner = boot
        if not (owner and (owner + 1 in boots or owner == highest)):
            if sub.start:
                owner = sub.start.boot
            else:
                owner = max([owner] + result[-1:])
        result.append(owner)
    return result

# ---- 8. Catalog ----
def read_catalog(f, sb):
    seed = make_seed(sb.uuid, N_CATALOG)
    offset, end = sb.catalog_off, sb.catalog_off + sb.catalog_size
    while offset + 16 <= end:
        length = struct.unpack('<H', f.read(offset + 4, 2))[0]
        size = 16 + (length + 7) // 8 * 8
        if offset + size > end:
            return
        found = scan(f.read(offset, size), offset, seed)
        if not found or found[0].position != offset:
            return
        record = found[0]
        offset += size
        if not record.committed or record.kind != EVENT_TYPE or record.length < 8:
            continue
        lengths = struct.unpack_from('<HHI', record.data)
        if 8 + sum(lengths) > record.length:
            continue
        event, at = {'id': record.arg}, 8
        for name, n in zip(('name', 'fields', 'format'), lengths):
            event[name] = text(record.data[at:at + n])
            at += n
        yield event

# ---- 10. Loss ----
def loss(subs, ring, boot, boots, lowest):
    """What one boot lost in one ring; subs: its live sub-buffers.

    Guess: torn counts the open records only; what was reserved and shows
    nothing, zero bytes too, is corrupt_or_missing.
    """
    successors = [e for e in boots.values() if e['prev_boot'] == boot]
    reserved = successors[0]['prev_records'][ring] if successors else None
    whole = boot in boots and boots[boot]['starts'][ring] >= lowest  # nothing overwritten
    result = {'ring': ring, 'boot': boot, 'records': 0, 'overwritten': 0, 'torn': 0,
              'corrupt_or_missing': 0}
    base = 0 if whole else None     # `records` where the piece being counted begins
    found = 0                       # records found since there
    for sub in subs:
        if sub.start:
            if base is None:
                # Literally `records` of the oldest live START; what was found in
                # front of it (its own START is missing) is not overwritten.
                result['overwritten'] = max(0, sub.start.records - found)
            else:
                result['corrupt_or_missing'] += max(0, sub.start.records - base - found)
            base, found = sub.start.records, 0
        for r in sub.records:
            if r.committed:
                result['records'] += 1
            elif r.kind != START:
                result['torn'] += 1
            found += r.kind != START
    if reserved is not None:
        if base is None:            # no START at all: the rest counts as overwritten
            result['overwritten'] = max(0, reserved - found)
        else:
            result['corrupt_or_missing'] += max(0, reserved - base - found)
    return result

# ---- Output ----
def emit(name, value):
    sys.stdout.write(json.dumps({name: value}, sort_keys=True, separators=(',', ':')) + '\n')

def main(argv):
    if len(argv) != 2:
        sys.stderr.write('usage: reader.py FILE\n')
        return 2
    try:
        f = File(argv[1])
        sb, copy = find_super(f)
    except OSError as error:
        sys.stderr.write('reader.py: %s\n' % error)
        return 2
    if not sb:
        sys.stderr.write('reader.py: %s holds no valid superblock.\n' % argv[1])
        return 2
    emit('superblock', {
        'uuid': sb.uuid.hex(), 'label': text(sb.label), 'region_size': sb.region_size,
        'nr_rings': sb.nr_rings, 'subbuf_size': sb.subbuf_size, 'ring_size': sb.ring_size,
        'nr_cpus': sb.nr_cpus, 'boot_slots': sb.boot_slots, 'copy': copy})
    emit('state', read_state(f, sb))
    boots = read_boots(f, sb)
    for boot in sorted(boots):
        emit('boot', boots[boot])
    for name, read in (('cpu', read_cpus), ('regs', read_regs), ('event', read_catalog),
                       ('clock', read_clocks)):
        for value in read(f, sb):
            emit(name, value)
    losses = []
    for ring in range(sb.nr_rings):
        lowest, live = Ring(f, sb, ring).live()
        owners = assign_boots(live, ring, boots)
        for sub, boot in zip(live, owners):
            for r in sub.records:
                if r.committed or r.kind == BLOCKS and r.data:
                    emit('record', {'ring': ring, 'boot': boot, 'position': r.position,
                                    'time': r.time, 'kind': r.kind, 'arg': r.arg,
                                    'data': r.data.hex()})
                if r.kind == BLOCKS and len(r.data) >= 8:
                    emit('blocks', read_blocks(r))
                if not r.committed:
                    emit('open', {'ring': ring, 'position': r.position, 'kind': r.kind,
                                  'arg': r.arg, 'len': r.length})
        for boot in sorted(set(owners)):
            subs = [s for s, b in zip(live, owners) if b == boot]
            losses.append(loss(subs, ring, boot, boots, lowest))
    for value in losses:
        emit('loss', value)
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
