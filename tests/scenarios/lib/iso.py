# SPDX-License-Identifier: GPL-2.0-or-later
"""Bootable images with GRUB and a multiboot2 kernel, and guests that boot them
by SeaBIOS or OVMF.

    make_iso('demo.iso', 'build/baremetal/demo.elf', 'die=triple')

    with IsoGuest('build/baremetal/demo.elf', 'die=hlt', firmware='ovmf') as g:
        g.wait_for('boot 1')

Relies on grub-mkrescue with the platforms i386-pc and x86_64-efi, xorriso and
mtools (tests/guest/setup guest), and on guest.py beside it.  By hand:
python3 -B -m lib.iso OUT KERNEL [COMMAND LINE]
"""

import os
import shutil
import subprocess
import sys
import tempfile

from . import image
from .guest import Guest

# What grub.cfg below and the loader need; all of GRUB would be 10 MB more.
GRUB_MODULES = 'normal multiboot2 iso9660 part_gpt part_msdos fat all_video'

GRUB_CFG = """\
set timeout=0
set default=0
menuentry dlog {
%s\tboot
}
"""


def quote(word):
    """A word for GRUB's shell, whatever is in it (GRUB manual, "Quoting")."""
    return "'" + word.replace("'", "'\\''") + "'"


def grub_cfg(command_line='', modules=()):
    """grub.cfg for make_iso(); modules as there."""
    words = ['/boot/kernel'] + command_line.split()
    lines = ['\tmultiboot2 ' + ' '.join(map(quote, words)) + '\n']
    for at, (_, line) in enumerate(modules):
        words = ['/boot/module%d' % at] + line.split()
        lines.append('\tmodule2 ' + ' '.join(map(quote, words)) + '\n')
    return GRUB_CFG % ''.join(lines)


def make_iso(out, kernel, command_line='', modules=()):
    """Writes an image that boots a multiboot2 kernel, by BIOS and by UEFI.

    modules: [(file, its command line)], in the order the kernel gets them."""
    with tempfile.TemporaryDirectory(prefix='dlog-iso-') as folder:
        boot = os.path.join(folder, 'boot')
        os.makedirs(os.path.join(boot, 'grub'))
        shutil.copyfile(kernel, os.path.join(boot, 'kernel'))
        for at, (path, _) in enumerate(modules):
            shutil.copyfile(path, os.path.join(boot, 'module%d' % at))
        with open(os.path.join(boot, 'grub/grub.cfg'), 'w') as f:
            f.write(grub_cfg(command_line, modules))
        try:
            done = subprocess.run(
                ['grub-mkrescue', '-o', out, '--fonts=', '--locales=',
                 '--themes=', '--install-modules=' + GRUB_MODULES, folder],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True)
        except FileNotFoundError as err:
            raise image.ImageError('no grub-mkrescue: run tests/guest/setup '
                                   'guest') from err
    # Without a platform's modules it makes an image that lacks it.
    if done.returncode or not os.path.exists(out):
        raise image.ImageError('grub-mkrescue cannot make %s: run '
                               'tests/guest/setup guest\n%s'
                               % (out, done.stdout))


class IsoGuest(Guest):
    """A Guest that boots a multiboot2 kernel by GRUB instead of a Debian.

    There is no shell in it: start() does not wait, and what it says on its
    first serial port is console(), for wait_for()."""

    def __init__(self, kernel, command_line='', modules=(),
                 firmware='seabios', **more):
        if firmware not in ('seabios', 'ovmf'):
            raise ValueError('firmware %r cannot boot an image' % firmware)
        super().__init__(firmware=firmware, **more)
        self.what = (kernel, command_line, modules)

    def start(self, wait=False, timeout=90):
        super().start(wait, timeout)

    def _iso(self):
        return os.path.join(self.dir, 'boot.iso')

    def _make_dir(self):
        if self.dir:
            return
        self.dir = tempfile.mkdtemp(prefix='dlog-guest-')
        make_iso(self._iso(), *self.what)
        if self.firmware == 'ovmf':
            self._flash = image.private_ovmf(self.dir)

    def command_line(self):
        args = super().command_line()
        at = args.index('-kernel')      # -initrd and -append follow
        return args[:at] + ['-cdrom', self._iso()] + args[at + 6:]


if __name__ == '__main__':
    make_iso(sys.argv[1], sys.argv[2], ' '.join(sys.argv[3:]))
