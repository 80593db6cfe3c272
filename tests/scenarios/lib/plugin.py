# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that QEMU runs with libdlog-plugin.so, and the plugin's region.

    with Plugged('symbols=System.map', firmware='seabios') as p:
        p.guest.must(...)
        p.said()

Relies on guest.py, and on build/bin and build/lib.  qemu=None is Debian 12's
(plugin API 1), 'trixie' Debian 13's (API 4).

With QEMU 7.2 one thread runs all vCPUs, as its threads lead guests astray that
patch their code.  QEMU 10 would then tell the plugin the wrong vCPU: it takes
the one that translated a block for the one that executes it.
"""

import collections
import os
import shutil
import struct
import sys
import tempfile

from .guest import Guest
from .world import BUILD, TREE, entries, tool

sys.path.insert(0, os.path.join(TREE, 'tests/abi'))

import reader  # noqa: E402 (needs the path above)

PLUGIN = os.path.join(BUILD, 'lib/libdlog-plugin.so')
OBJECT, SYMBOLS, BASE = 11, 12, 13      # kinds of docs/abi.md section 7

Symbol = collections.namedtuple('Symbol', 'object offset size name')
Base = collections.namedtuple('Base', 'object time boot size base')


class Catalog:
    """The symbols of a region: objects {number: name}, symbols, bases."""

    def __init__(self, path):
        self.objects, self.symbols, self.bases = {}, [], []
        f = reader.File(path)
        sb, _ = reader.find_super(f)
        seed = reader.make_seed(sb.uuid, reader.N_CATALOG)
        at, end = sb.catalog_off, sb.catalog_off + sb.catalog_size
        while at + 16 <= end:
            length, = struct.unpack('<H', f.read(at + 4, 2))
            size = 16 + (length + 7) // 8 * 8
            found = reader.scan(f.read(at, size), at, seed)
            if not found or found[0].position != at:
                break
            self._take(found[0])
            at += size
        self.used, self.size = at - sb.catalog_off, sb.catalog_size
        os.close(f.fd)

    def _take(self, r):
        if r.kind == OBJECT:
            self.objects[r.arg] = r.data[:-1].decode()
        elif r.kind == BASE:
            boot, size, base = struct.unpack('<IIQ', r.data)
            self.bases.append(Base(r.arg, r.time, boot, size, base))
        elif r.kind == SYMBOLS:
            data = r.data
            while data:
                offset, size = struct.unpack_from('<II', data)
                name, _, data = data[8:].partition(b'\0')
                self.symbols.append(Symbol(r.arg, offset, size,
                                           name.decode()))


class Plugged:
    """See above.  args: the plugin's, but for region=; create: more of
    dlog-create's options; blocks: whether args has blocks=on; kind and
    kernel_args: what guest it is, and its first arguments; further ones are
    Guest's."""

    def __init__(self, args='', size='16M', smp=1, create=(), blocks=False,
                 qemu_args=(), start=True, kind=Guest, kernel_args=(), **guest):
        self.folder = tempfile.mkdtemp(prefix='dlog-plugin-')
        self.region = os.path.join(self.folder, 'plugin.img')
        rings = smp * (2 if blocks else 1) + 1
        tool('dlog-create', '-q', '-s', size, '-r', str(rings), *create,
             self.region)
        plugin = '%s,region=%s' % (PLUGIN, self.region)
        if args:
            plugin += ',' + args
        guest.setdefault('accel', 'tcg,thread=' + (
            'multi' if guest.get('qemu') else 'single'))
        self.guest = kind(*kernel_args, smp=smp, qemu_args=[
            '-plugin', plugin, *qemu_args], **guest)
        self.wait = start and kind is Guest

    def __enter__(self):
        try:
            self.guest.start(wait=self.wait)
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, value, trace):
        self.guest.__exit__(kind, value, trace)
        shutil.rmtree(self.folder, ignore_errors=True)

    def said(self):
        """The plugin's own lines."""
        return [e['text'] for e in entries(self.region) if 'text' in e]

    def catalog(self):
        return Catalog(self.region)
