# SPDX-License-Identifier: GPL-2.0-or-later
"""A systemd-journald of its own, for dlogd's tests."""

import json
import os
import subprocess

from lib.case import skip

JOURNALD = '/lib/systemd/systemd-journald'


class Journal:
    """A systemd-journald of its own, in a mount namespace of its own."""

    SETUP = '''
set -e
mount -t tmpfs none /run/log
mount -t tmpfs none /run/systemd
mkdir -p /run/systemd/journal /run/systemd/journald.conf.d
printf '%s\\n' '[Journal]' Storage=volatile RateLimitIntervalSec=0 ReadKMsg=no \\
    Audit=no ForwardToWall=no > /run/systemd/journald.conf.d/test.conf
'''

    def __init__(self):
        if os.geteuid() or not os.path.exists(JOURNALD) or \
                not os.path.exists('/etc/machine-id'):
            skip('needs root, systemd-journald and a machine id')
        os.makedirs('/run/log', exist_ok=True)
        os.makedirs('/run/systemd', exist_ok=True)
        self.holder = subprocess.Popen(
            ['unshare', '-m', '--propagation', 'private', 'sh', '-c',
             self.SETUP + 'echo ready; exec sleep 1000'],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != 'ready\n':
            skip('no mount namespace: ' + self.holder.stderr.read().strip())
        self.inside = ['nsenter', '-t', str(self.holder.pid), '-m', '--']
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.inside + [JOURNALD],
                                        stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)

    def show(self, form):
        return subprocess.run(
            self.inside + ['journalctl', '-o', form, '--all', '-q',
                           '_COMM=dlogd'], capture_output=True).stdout

    def entries(self):
        return [json.loads(line) for line in self.show('json').splitlines()]

    def stop(self):
        self.process.terminate()
        self.process.wait()
        # Without its socket, as where there is no journald at all.
        subprocess.run(self.inside + ['rm', '-f',
                                      '/run/systemd/journal/socket'])

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        self.holder.terminate()
        self.holder.wait()
        self.holder.stdout.close()
        self.holder.stderr.close()
