#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Self-tests of reader.py: a tiny writer, also written from docs/abi.md alone, makes
small regions; it shares no code with the reader (its check is the plain definition).

Usage: test_reader.py      prints one line a test; exit 0 when all pass, else 1
"""
import json
import os
import struct
import subprocess
import sys
import tempfile

READER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'reader.py')
MOD = 1 << 64
UUID = bytes(range(1, 17))
SUB = 4096
SUBS = 8                    # in each ring
K = 0x9e3779b97f4a7c15
C = 0xd6e8feb86659fd93


# ---- the writer ----
def stir(w):
    w = w * C % MOD
    return w % 2 ** 32 * 2 ** 32 + w // 2 ** 32


def mix(h, w):
    return (h * K + stir(w)) % MOD


def begin(seed, position, x):
    return (seed + position + x * 2 ** 32) % MOD


def fold(a, b):
    return a * b % MOD ^ a * b // MOD


def seed_of(uuid, n):
    h = begin(int.from_bytes(uuid[:8], 'little'), 0, n)
    return fold(fold(mix(h, int.from_bytes(uuid[8:], 'little')), C), K)


def checked(seed, position, obj):
    """obj with its first four bytes replaced by the check."""
    h = begin(seed, position, int.from_bytes(obj[4:8], 'little'))
    for i in range(8, len(obj), 8):
        h = mix(h, int.from_bytes(obj[i:i + 8], 'little'))
    return struct.pack('<I', fold(h, C) // 2 ** 32) + obj[4:]


def record(seed, position, kind, arg, time, data, is_open=False):
    top = (kind | arg << 4) << 16 | len(data)
    obj = struct.pack('<IIQ', 0, top, time) + data + bytes(-len(data) % 8)
    if is_open:             # only the first word is stored
        return struct.pack('<II', begin(seed, position, top) * K % MOD // 2 ** 32, top)
    return checked(seed, position, obj)


class Region:
    SIZE, STATE, BOOT, CLOCK, REGS, CATALOG, RINGS = \
        98304, 4096, 8448, 9472, 9728, 11776, 16384
    STRIDE, NR, RING = 256, 2, SUBS * SUB

    def __init__(self):
        self.mem = bytearray(self.SIZE)
        body = struct.pack('<IIIIII16s64s11QIIIIII32s', 0, 256, 0, 0, 0, 0, UUID, b'test', 7,
                           self.SIZE, self.STATE, self.BOOT, self.CLOCK, self.REGS,
                           self.CATALOG, self.RINGS, self.SIZE - 4096, 1024,
                           self.RING, self.NR, SUB, 2, 4, self.STRIDE, 1024, b'')
        assert len(body) == 248
        sb = b'dlogRGN\x1a' + checked(seed_of(bytes(16), 0xfffffff0), 0, body)
        self.put(0, sb)
        self.put(self.SIZE - 4096, sb)
        self.head = [0] * self.NR          # end of the last record
        self.count = [0] * self.NR
        self.boot = 0
        self.catalog_end = self.CATALOG

    def put(self, offset, data):
        self.mem[offset:offset + len(data)] = data

    def new_boot(self):
        """Boot table entry; streams go on at the next sub-buffer."""
        self.boot += 1
        self.head = [(h + SUB - 1) // SUB * SUB for h in self.head]
        e = struct.pack('<IIIIQQ16s64s16sIIQQQ48s', 0, 208 + 24 * self.NR, self.boot, 0,
                        100 * self.boot, 10 ** 18, bytes([self.boot]) * 16, b'6.1-test',
                        b'x86_64', self.boot - 1, 4 if self.boot > 1 else 0, 55, 44, 0, b'')
        for h, n in zip(self.head, self.count):
            e += struct.pack('<QQQ', h, n, 3)
        offset = self.BOOT + (self.boot - 1) % 4 * self.STRIDE
        self.put(offset, checked(seed_of(UUID, 0xfffffff1), offset, e))
        self.count = [0] * self.NR

    def at(self, ring, position):
        return self.RINGS + ring * self.RING + position % self.RING

    def append(self, kind, arg, time, data=b'', ring=0, start=True, is_open=False, store=True):
        """Returns the position; start=False: the writer of START was stopped."""
        seed, p = seed_of(UUID, ring), self.head[ring]
        need = 16 + (len(data) + 7) // 8 * 8
        if p % SUB == 0 or p % SUB + need > SUB:
            p = (p + SUB - 1) // SUB * SUB
            if start:
                self.put(self.at(ring, p), record(seed, p, 1, 0, time, struct.pack(
                    '<QQII', p, self.count[ring], self.boot, 0)))
            p += 40
        if store:
            self.put(self.at(ring, p), record(seed, p, kind, arg, time, data, is_open))
        self.head[ring] = p + need
        self.count[ring] += 1
        return p

    def event_type(self, ident, name, fields, fmt, is_open=False):
        strings = [s.encode() + b'\0' if s is not None else b'' for s in (name, fields, fmt)]
        data = struct.pack('<HHI', *map(len, strings)) + b''.join(strings)
        rec = record(seed_of(UUID, 0xfffffff4), self.catalog_end, 10, ident, 0, data, is_open)
        self.put(self.catalog_end, rec)
        self.catalog_end += 16 + (len(data) + 7) // 8 * 8


def run(mem):
    with tempfile.NamedTemporaryFile() as f:
        f.write(mem)
        f.flush()
        p = subprocess.run([sys.executable, READER, f.name], capture_output=True, text=True)
    out = {}
    for line in p.stdout.splitlines():
        obj = json.loads(line)
        assert line == json.dumps(obj, sort_keys=True, separators=(',', ':'))
        (name, value), = obj.items()
        out.setdefault(name, []).append(value)
    return p.returncode, out, p.stderr


def read(region):
    status, out, err = run(region.mem)
    assert status == 0, err
    return out


def same(got, want):
    assert got == want, 'got %r, want %r' % (got, want)


def positions(out, name='record', ring=0):
    return [r['position'] for r in out.get(name, []) if r['ring'] == ring]


def losses(out, ring=0):
    return [(v['boot'], v['records'], v['overwritten'], v['torn'], v['corrupt_or_missing'])
            for v in out.get('loss', []) if v['ring'] == ring]


# ---- the tests ----
def test_empty():
    out = read(Region())
    same(out['superblock'], [{
        'uuid': UUID.hex(), 'label': 'test', 'region_size': 98304, 'nr_rings': 2,
        'subbuf_size': 4096, 'ring_size': 32768, 'nr_cpus': 2, 'boot_slots': 4, 'copy': 1}])
    same(sorted(out), ['state', 'superblock'])


def test_tables():
    r = Region()
    r.new_boot()
    r.put(r.STATE, struct.pack('<I', 1))
    r.put(r.STATE + 64, struct.pack('<IIQIIII', 2, 1, 99, 1, 1000, 1, 2))
    r.put(r.STATE + 4096 + 64, struct.pack('<QQQQQIII', 1, 2, 3, 4, 5, 1, 1, 1))
    for i, (guest, real) in enumerate(((500, 9000), (400, 8900))):
        offset = r.CLOCK + 32 * i
        r.put(offset, checked(seed_of(UUID, 0xfffffff2), offset,
                              struct.pack('<IIQQQ', 0, 1, guest, real, 6)))
    offset = r.REGS + 1024
    r.put(offset, checked(seed_of(UUID, 0xfffffff3), offset, struct.pack(
        '<IIIIQIIII8Q', 0, 120, 1, 1, 77, 4, 62, 16, 0, *range(8)) + b'p' * 16))
    r.event_type(1, 'a.b', 'u32 x;str s', 'x=%u')
    r.event_type(2, 'torn', '', '', is_open=True)
    r.event_type(3, 'c', 'u8 y', None)
    out = read(r)
    same(out['state'], [{'status': 2, 'boot': 1, 'status_time': 99, 'memtype': 1,
                         'period_ms': 1000, 'recording': 1, 'control': 1, 'online': 2}])
    same(out['cpu'], [{'cpu': 1, 'beat_time': 1, 'beats': 2, 'position': 3, 'records': 4,
                       'dropped': 5, 'boot': 1, 'ring': 1, 'online': 1}])
    same(out['clock'], [{'boot': 1, 'guest': 500, 'real': 9000, 'error': 6}])
    same(out['regs'], [{'cpu': 1, 'boot': 1, 'time': 77, 'reason': 4, 'machine': 62,
                        'prstatus': (b'p' * 16).hex()}])
    same(out['event'], [
        {'id': 1, 'name': 'a.b', 'fields': 'u32 x;str s', 'format': 'x=%u'},
        {'id': 3, 'name': 'c', 'fields': 'u8 y', 'format': ''}])
    same(out['boot'], [{
        'boot': 1, 'release': '6.1-test', 'machine': 'x86_64', 'boot_id': '01' * 16,
        'start_time': 100, 'start_real': 10 ** 18, 'prev_boot': 0, 'prev_status': 0,
        'prev_status_time': 55, 'prev_beat_time': 44, 'starts': [0, 0],
        'prev_records': [0, 0], 'prev_dropped': [3, 3]}])


def test_all_kinds():
    r = Region()
    r.new_boot()
    want = []
    for kind, arg, data in ((2, 14, b'hello'), (3, 4, b'\1\0\0\0text'), (4, 4095, b''),
                            (5, 0, bytes(32) + b'6.1'), (6, 4, b'why'), (7, 0, bytes(24)),
                            (8, 0, bytes(8) + b'f\ng'), (9, 0, b'x'), (15, 1, b'\xff' * 9)):
        p = r.append(kind, arg, 1000 + kind, data, ring=1)
        want.append({'ring': 1, 'boot': 1, 'position': p, 'time': 1000 + kind,
                     'kind': kind, 'arg': arg, 'data': data.hex()})
    out = read(r)
    same(out['record'], want)
    same(losses(out, 1), [(1, 9, 0, 0, 0)])
    same(losses(out, 0), [])


def test_wrap():
    r = Region()
    r.new_boot()
    all_ = [r.append(2, 6, i, b'%0100d' % i) for i in range(400)]
    lowest = (r.head[0] // SUB - (SUBS - 1)) * SUB
    live = [p for p in all_ if p >= lowest]
    out = read(r)
    same(positions(out), live)
    same(losses(out), [(1, len(live), 400 - len(live), 0, 0)])


def fill(r, sub, first=0):
    """Append until the head lies in sub-buffer number sub; positions."""
    got = []
    while r.head[0] < sub * SUB + 1:
        got.append(r.append(2, 6, first + len(got), bytes(500)))
    return got


def test_missing_start():
    for at in (0, 2, 10, 11):   # sub-buffer without START: first, middle, later laps, newest
        r = Region()
        r.new_boot()
        got = []
        for n in range(12):
            got.append(r.append(2, 6, 0, bytes(600), start=n != at))
            same(got[-1], n * SUB + 40)
            got += [r.append(2, 6, 0, bytes(600)) for _ in range(5)]
            if at == 2 and n == 3 or at == 0 and n == 1:
                break
        live = [p for p in got if p >= (n - SUBS + 1) * SUB]
        out = read(r)
        same(positions(out), live)
        same(losses(out), [(1, len(live), len(got) - len(live), 0, 0)])


def test_missing_all_starts():
    r = Region()
    r.new_boot()
    got = [r.append(2, 6, 0, bytes(600), start=False) for _ in range(8)]
    same(positions(read(r)), got)


def test_open():
    r = Region()
    r.new_boot()
    a = r.append(2, 6, 1, b'before')
    o = r.append(4, 17, 2, bytes(100), is_open=True)
    b = r.append(2, 6, 3, b'behind')
    r.append(2, 6, 4, bytes(64), store=False)               # stopped before its first word
    c = r.append(2, 6, 5, b'last')
    r.new_boot()
    out = read(r)
    same(positions(out), [a, b, c])
    same(out['open'], [{'ring': 0, 'position': o, 'kind': 4, 'arg': 17, 'len': 100}])
    same(losses(out), [(1, 3, 0, 1, 1)])


def test_open_start():
    r = Region()
    r.new_boot()
    fill(r, 1)
    p = (r.head[0] + SUB - 1) // SUB * SUB
    same(p, 2 * SUB)
    r.head[0] = p
    r.put(r.at(0, p), record(seed_of(UUID, 0), p, 1, 0, 0, bytes(24), is_open=True))
    got = r.append(2, 6, 0, b'x', start=False)
    out = read(r)
    same(positions(out)[-1], got)
    same(out['open'], [{'ring': 0, 'position': p, 'kind': 1, 'arg': 0, 'len': 24}])
    same(losses(out)[0][3], 0)


def test_corrupt():
    r = Region()
    r.new_boot()
    got = fill(r, 2)
    r.mem[r.at(0, got[3] + 30)] ^= 1
    out = read(r)
    same(positions(out), got[:3] + got[4:])
    same(losses(out), [(1, len(got) - 1, 0, 0, 1)])
    r.mem[r.at(0, got[3] + 30)] ^= 1
    r.mem[r.at(0, 0) + 3] ^= 1                              # damages a START
    out = read(r)
    same(positions(out), got)
    same(losses(out), [(1, len(got), 0, 0, 0)])


def test_superblock():
    r = Region()
    r.new_boot()
    p = r.append(2, 6, 0, b'x')
    r.mem[150] ^= 1
    out = read(r)
    same(out['superblock'][0]['copy'], 2)
    same(positions(out), [p])
    r.mem[r.SIZE - 4096] ^= 1
    status, out, err = run(r.mem)
    same((status, out, err.count('\n')), (2, {}, 1))
    for mem in (b'', b'dlogRGN\x1a', bytes(70000), Region().mem[:32768]):
        same(run(mem)[0], 2)


def test_two_boots():
    r = Region()
    r.new_boot()
    a = [r.append(2, 6, i, bytes(500)) for i in range(12)]
    r.new_boot()
    b = [r.append(2, 6, i, bytes(500)) for i in range(3)]
    want = [(1, p) for p in a] + [(2, p) for p in b]
    for damage in (None, 1, 2):                             # boot entry that is damaged
        mem = bytearray(r.mem)
        if damage:
            mem[r.BOOT + (damage - 1) * r.STRIDE + 20] ^= 1
        status, out, _ = run(mem)
        same(status, 0)
        same([e['boot'] for e in out['boot']], [n for n in (1, 2) if n != damage])
        same([(v['boot'], v['position']) for v in out['record']], want)
        same(losses(out), [(1, 12, 0, 0, 0), (2, 3, 0, 0, 0)])
    # Boot 2 goes on until it has overwritten the first sub-buffers of boot 1.
    b += [r.append(2, 6, i, bytes(500)) for i in range(40)]
    lowest = (r.head[0] // SUB - (SUBS - 1)) * SUB
    out = read(r)
    same(positions(out), [p for p in a + b if p >= lowest])
    same(losses(out), [(1, sum(p >= lowest for p in a), sum(p < lowest for p in a), 0, 0),
                       (2, 43, 0, 0, 0)])


def main():
    failed = 0
    for name, test in sorted(globals().items()):
        if name.startswith('test_'):
            try:
                test()
                print('ok   %s' % name[5:])
            except Exception as error:
                failed += 1
                print('FAIL %s: %s' % (name[5:], repr(error)[:600]))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
