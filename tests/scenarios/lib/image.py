# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels and initramfs images for test guests.

Finds what tests/guest/setup unpacked in the cache and packs initramfs files
from it: busybox, kernel modules with what they depend on, kexec and
util-linux' dmesg with their libraries, and tests/guest/init.  Relies on the
Python standard library, and on xz, zstd and ldd of the machine.
"""

import fcntl
import hashlib
import lzma
import os
import shutil
import stat
import struct
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.normpath(os.path.join(HERE, '../../..'))
INIT = os.path.join(TREE, 'tests/guest/init')

# Modules that every guest gets, besides what these depend on.  None is loaded
# before a test asks for it: modprobe NAME.
MODULES = ('nfit', 'nd_pmem', 'virtio_pmem', 'virtio_pci', 'pvpanic-mmio',
           'pvpanic-pci', 'i6300esb', 'ramoops')

# Programs that every guest gets from the machine it is tested on.  busybox
# has no dmesg -x and no kexec, and its shell prefers its own applets to other
# programs of that name.
PROGRAMS = ('/bin/dash', '/usr/bin/dmesg', '/usr/sbin/kexec')


class ImageError(Exception):
    """What is missing or unusable, and what to do about it."""


def cache_dir():
    """The folder that tests/guest/setup fills."""
    given = os.environ.get('DLOG_CACHE')
    if given:
        return given
    home = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
    return os.path.join(home, 'dlog')


class Kernel:
    """One unpacked kernel of the cache: '6.1' or '6.12'."""

    def __init__(self, name):
        self.name = name
        self.dir = os.path.join(cache_dir(), name)
        if not os.path.exists(os.path.join(self.dir, 'vmlinux')):
            group = {'6.1': 'guest', '6.1-debug': 'debug-kernel',
                     '6.1-stock': 'stock-kernel'}.get(name, 'trixie')
            raise ImageError('no kernel %s in %s: run tests/guest/setup %s'
                             % (name, cache_dir(), group))
        self.bzimage = os.path.join(self.dir, 'bzImage')
        self.vmlinux = os.path.join(self.dir, 'vmlinux')
        self.config = os.path.join(self.dir, 'config')
        self.modules = os.path.join(self.dir, 'modules')
        self.kdir = os.path.join(self.dir, 'kdir')
        with open(os.path.join(self.dir, 'release')) as f:
            self.release = f.read().strip()

    def module_closure(self, names):
        """Paths below self.modules for the named modules, dependencies first.

        A name that is built into the kernel gives nothing."""
        depends = {}
        by_name = {}
        with open(os.path.join(self.modules, 'modules.dep')) as f:
            for line in f:
                path, _, rest = line.partition(':')
                depends[path] = rest.split()
                by_name[_module_name(path)] = path
        with open(os.path.join(self.modules, 'modules.builtin')) as f:
            builtin = {_module_name(line.strip()) for line in f}
        found = {}
        for name in names:
            name = _module_name(name)
            if name in by_name:
                path = by_name[name]
                # modules.dep lists the whole closure, the deepest last.
                for one in reversed([path] + depends[path]):
                    found[one] = depends[one]
            elif name not in builtin:
                raise ImageError('kernel %s has no module %s'
                                 % (self.release, name))
        return found


def _module_name(path):
    return os.path.basename(path).split('.ko')[0].replace('-', '_')


def extract_vmlinux(bzimage, vmlinux):
    """Unpacks the ELF kernel inside a bzImage, for booting by PVH.

    Follows Documentation/arch/x86/boot.rst: setup_sects at 0x1f1,
    payload_offset and payload_length at 0x248 and 0x24c, the last four bytes
    of the payload being its unpacked size."""
    with open(bzimage, 'rb') as f:
        image = f.read()
    sectors = image[0x1f1] or 4
    offset, length = struct.unpack_from('<II', image, 0x248)
    start = (sectors + 1) * 512 + offset
    payload = image[start:start + length]
    tools = {b'\xfd7zX': 'xz', b'\x28\xb5\x2f\xfd': 'zstd', b'\x1f\x8b\x08': 'gzip'}
    for magic, tool in tools.items():
        if payload.startswith(magic):
            break
    else:
        raise ImageError('%s: payload is neither xz, zstd nor gzip' % bzimage)
    # gzip ends with the size itself, so there the kernel adds none.
    packed = payload if tool == 'gzip' else payload[:-4]
    elf = subprocess.run([tool, '-dc'], input=packed, check=True,
                         stdout=subprocess.PIPE).stdout
    size, = struct.unpack('<I', payload[-4:])
    if len(elf) != size or elf[:4] != b'\x7fELF':
        raise ImageError('%s: payload is not the ELF file expected' % bzimage)
    _write_whole(vmlinux, [elf])


def _write_whole(path, parts):
    """Writes a file so that nobody ever sees half of it."""
    fd, tmp = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)))
    try:
        with os.fdopen(fd, 'wb') as f:
            for part in parts:
                f.write(part)
        os.chmod(tmp, 0o644)
        os.rename(tmp, path)
    except BaseException:
        os.unlink(tmp)
        raise


class Cpio:
    """A newc archive (Documentation/driver-api/early-userspace/
    buffer-format.rst), the same bytes for the same contents."""

    def __init__(self):
        self.parts = []
        self.seen = set()
        self.inode = 1

    def _entry(self, path, mode, data=b''):
        name = path.lstrip('/').encode() + b'\0'
        head = b'070701' + b''.join(b'%08X' % n for n in (
            self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0))
        self.inode += 1
        self.parts += [head, name, b'\0' * (-(len(head) + len(name)) % 4),
                       data, b'\0' * (-len(data) % 4)]
        self.seen.add(path)

    def mkdir(self, path):
        """Adds a folder and the folders above it."""
        path = '/' + path.strip('/')
        if path == '/' or path in self.seen:
            return
        self.mkdir(os.path.dirname(path))
        self._entry(path, stat.S_IFDIR | 0o755)

    def add(self, path, data, mode=0o755):
        """Adds a file; the first of two with one name stays."""
        if path in self.seen:
            return
        self.mkdir(os.path.dirname(path))
        self._entry(path, stat.S_IFREG | mode, data)

    def symlink(self, path, target):
        if path in self.seen:
            return
        self.mkdir(os.path.dirname(path))
        self._entry(path, stat.S_IFLNK | 0o777, target.encode())

    def program(self, path, source):
        """Adds a file of this machine, and its libraries if it is a program
        that has some."""
        with open(source, 'rb') as f:
            data = f.read()
        self.add(path, data, stat.S_IMODE(os.stat(source).st_mode) | 0o444)
        # An ELF executable or shared object, not a kernel module or object
        # file, which is ET_REL.
        if data[:4] == b'\x7fELF' and data[16] in (2, 3):
            for library in _libraries(source):
                with open(library, 'rb') as f:
                    self.add(library, f.read())

    def bytes(self):
        self._entry('TRAILER!!!', 0)
        # Archives that follow each other start at a multiple of 4; 512 is
        # what cpio itself pads to.
        size = sum(map(len, self.parts))
        self.parts.append(b'\0' * (-size % 512))
        return b''.join(self.parts)


def _libraries(program):
    """Paths of the shared libraries and the loader that a program needs."""
    out = subprocess.run(['ldd', program], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, text=True).stdout
    found = []
    for line in out.splitlines():
        words = line.split()
        if 'not found' in line:
            raise ImageError('%s: %s' % (program, line.strip()))
        if '=>' in words and words[2].startswith('/'):
            found.append(words[2])
        elif words and words[0].startswith('/'):
            found.append(words[0])
    return found


def _find(path):
    """A program's path on this machine, merged /usr or not."""
    for base in ('', '/usr'):
        one = base + path.removeprefix('/usr')
        if os.path.exists(one):
            return one
    raise ImageError('no %s on this machine: run tests/guest/setup guest'
                     % path)


def _build_base(kernel, modules):
    cpio = Cpio()
    for path in ('/proc', '/sys', '/dev', '/run', '/tmp', '/root', '/boot'):
        cpio.mkdir(path)
    with open(INIT, 'rb') as f:
        cpio.add('/init', f.read())
    busybox = _find('/bin/busybox')
    for program in PROGRAMS:
        cpio.program(program, _find(program))
    cpio.symlink('/bin/sh', 'dash')
    cpio.program('/bin/busybox', busybox)
    applets = subprocess.run([busybox, '--list'], check=True, text=True,
                             stdout=subprocess.PIPE).stdout
    for applet in applets.split():
        cpio.symlink('/bin/' + applet, 'busybox')

    # Modules are stored unpacked: busybox' insmod knows no xz.
    base = '/lib/modules/' + kernel.release
    closure = kernel.module_closure(modules)
    dep = []
    for path, depends in closure.items():
        with open(os.path.join(kernel.modules, path), 'rb') as f:
            data = f.read()
        if path.endswith('.xz'):
            data = lzma.decompress(data)
        cpio.add('%s/%s' % (base, path.removesuffix('.xz')), data, 0o644)
        dep.append('%s: %s\n' % (
            path.removesuffix('.xz'),
            ' '.join(one.removesuffix('.xz') for one in depends)))
    cpio.add(base + '/modules.dep', ''.join(dep).encode(), 0o644)
    return cpio.bytes()


def _base_key(kernel, modules):
    """A hash of everything that goes into the base image."""
    key = hashlib.sha256()
    sources = [os.path.abspath(__file__), INIT, _find('/bin/busybox')]
    for program in PROGRAMS:
        program = _find(program)
        sources.append(program)
        sources += _libraries(program)
    for path in kernel.module_closure(modules):
        sources.append(os.path.join(kernel.modules, path))
    for path in sources:
        with open(path, 'rb') as f:
            data = f.read()
        key.update(b'%s %d\n' % (path.encode(), len(data)) + data)
    key.update(repr((kernel.release, sorted(modules))).encode())
    return key.hexdigest()[:32]


def base_initramfs(kernel, modules=()):
    """Path of the base image with MODULES and the modules named.

    Made once for each content and kept in the cache."""
    # That one has what it needs built in, and nothing else.
    wanted = () if kernel.name == '6.1-stock' else MODULES
    wanted += tuple(modules)
    folder = os.path.join(cache_dir(), 'initramfs')
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, _base_key(kernel, wanted) + '.cpio')
    if not os.path.exists(path):
        with open(os.path.join(folder, '.lock'), 'w') as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.exists(path):
                _write_whole(path, [_build_base(kernel, wanted)])
    return path


def extra_initramfs(files):
    """The bytes of an archive with files: {path in the guest: content}.

    Content is bytes, or the path of a file on this machine; a program's
    libraries come along.  A path below /bin or /rc is made executable."""
    cpio = Cpio()
    for path, content in files.items():
        if isinstance(content, bytes):
            cpio.add(path, content)
        else:
            try:
                cpio.program(path, os.fspath(content))
            except OSError as err:
                raise ImageError('cannot put %s into the guest: %s'
                                 % (content, err.strerror)) from err
    return cpio.bytes()


def write_initramfs(out, kernel, modules=(), files=None, kexec=False):
    """Writes an initramfs: the base, then the caller's files.

    With kexec, /boot/bzImage and /boot/initrd in the guest are this kernel and
    this same initramfs (less /boot), for kexec."""
    with open(base_initramfs(kernel, modules), 'rb') as f:
        image = f.read()
    if files:
        image += extra_initramfs(files)
    parts = [image]
    if kexec:
        boot = Cpio()
        with open(kernel.bzimage, 'rb') as f:
            boot.add('/boot/bzImage', f.read(), 0o644)
        boot.add('/boot/initrd', image, 0o644)
        parts.append(boot.bytes())
    with open(out, 'wb') as f:
        for part in parts:
            f.write(part)


def private_ovmf(folder):
    """(code, vars): OVMF's flash images, the second a copy in folder."""
    base = '/usr/share/OVMF'
    code = os.path.join(base, 'OVMF_CODE_4M.fd')
    if not os.path.exists(code):
        raise ImageError('no %s: run tests/guest/setup guest' % code)
    copy = os.path.join(folder, 'OVMF_VARS.fd')
    shutil.copyfile(os.path.join(base, 'OVMF_VARS_4M.fd'), copy)
    return code, copy
