# SPDX-License-Identifier: GPL-2.0-or-later
"""dlogd with a folder of bundles: simulated guests, or a real one."""

import json
import os

from daemon import Place
from lib.case import until
from lib.world import World


class Kept(Place):
    """A place, and the bundles that dlogd keeps there."""

    def __init__(self):
        super().__init__()
        self.bundle_dir = self.path('bundles')

    def watch(self, *args, config='', **more):
        return self.dlogd('-c', self.write('dlogd.conf', config), '--bundles',
                          self.bundle_dir, *args, **more)

    def listed(self, guest):
        try:
            return sorted(os.listdir(os.path.join(self.bundle_dir, guest)))
        except FileNotFoundError:
            return []

    def bundles(self, guest, event=''):
        """Bundles that can be seen, oldest first, as paths."""
        return [os.path.join(self.bundle_dir, guest, name)
                for name in self.listed(guest)
                if not name.startswith('.') and '-%s' % event in name]

    def wait_bundle(self, guest, event):
        return until('a bundle of %s, %s' % (guest, event),
                     lambda: self.bundles(guest, event), 20)[-1]


def incident(bundle):
    with open(os.path.join(bundle, 'incident.json')) as f:
        return json.load(f)


class Watched(World):
    """A real guest under dlogd, as guest "region"."""

    def __init__(self, config='', qemu_args=(), options=(), wrapper=(),
                 **world):
        super().__init__(**world)
        socket = os.path.join(self.folder, 'region.qmp')
        self.guest.qemu_args += ['-qmp', 'unix:%s,server=on,wait=off' % socket,
                                 *qemu_args]
        self.place = Kept()
        self.how = {'config': config, 'wrapper': wrapper}
        self.options = options

    def __enter__(self):
        super().__enter__()
        self.dlogd = self.place.watch('--regions', self.folder,
                                      *self.options, **self.how)
        return self

    def __exit__(self, *args):
        self.place.__exit__(*args)
        super().__exit__(*args)
