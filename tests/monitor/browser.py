# SPDX-License-Identifier: GPL-2.0-or-later
"""A headless Chromium, driven by the DevTools protocol over a pipe.

    with Browser() as b:
        b.open('http://127.0.0.1:1234/')
        b.wait("document.title == 'x'")
        b.shot('page.png')

Messages are JSON, each ended by a NUL, on the browser's descriptors 3 and 4.
Relies on Debian's package chromium.
"""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

CHROMIUM = shutil.which('chromium')
FLAGS = ('--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run',
         '--disable-dev-shm-usage', '--disable-extensions',
         '--disable-background-networking', '--disable-component-update',
         '--disable-sync', '--window-size=1400,1000',
         '--remote-debugging-pipe')


class Browser:
    """See above.  requests: URLs that the page asked for; dialogs: texts of
    alert() and the like; problems: what the console says is wrong."""

    def __init__(self, dark=False):
        self.home = tempfile.mkdtemp(prefix='dlog-browser-')
        self.requests, self.dialogs, self.problems = [], [], []
        self.number, self.answers, self.buffer = 0, {}, b''
        to_read, self.to = os.pipe()
        self.back, from_write = os.pipe()

        def wire():
            # First out of the way of 3 and 4, which they may be.
            one, two = os.dup(to_read), os.dup(from_write)
            high = [os.dup(one), os.dup(two)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [CHROMIUM, *FLAGS, '--user-data-dir=' + self.home, 'about:blank'],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, close_fds=False, preexec_fn=wire,
            start_new_session=True)
        os.close(to_read)
        os.close(from_write)
        self.session = None
        try:
            target = self.call('Target.createTarget', url='about:blank')
            self.session = self.call('Target.attachToTarget', flatten=True,
                                     targetId=target['targetId'])['sessionId']
            for domain in ('Page', 'Network', 'Runtime', 'Log'):
                self.call(domain + '.enable')
            if dark:
                self.call('Emulation.setEmulatedMedia', features=[
                    {'name': 'prefers-color-scheme', 'value': 'dark'}])
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends it and its helpers, which are of the group it was given."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        os.close(self.to)
        os.close(self.back)
        shutil.rmtree(self.home, ignore_errors=True)

    def receive(self, timeout):
        """Takes what comes within timeout; false: nothing."""
        if not select.select([self.back], [], [], timeout)[0]:
            return False
        data = os.read(self.back, 1 << 20)
        assert data, 'chromium has ended'
        *messages, self.buffer = (self.buffer + data).split(b'\0')
        for message in messages:
            self.take(json.loads(message))
        return True

    def take(self, message):
        if 'id' in message:
            self.answers[message['id']] = message
            return
        what, params = message.get('method'), message.get('params', {})
        if what == 'Network.requestWillBeSent':
            self.requests.append(params['request']['url'])
        elif what == 'Page.javascriptDialogOpening':
            self.dialogs.append(params['message'])
        elif what == 'Runtime.exceptionThrown':
            self.problems.append(str(params['exceptionDetails']))
        elif what == 'Log.entryAdded' and params['entry']['level'] == 'error':
            self.problems.append(params['entry']['text'])

    def call(self, method, timeout=30, **params):
        self.number += 1
        message = {'id': self.number, 'method': method, 'params': params}
        if self.session:
            message['sessionId'] = self.session
        os.write(self.to, json.dumps(message).encode() + b'\0')
        deadline = time.monotonic() + timeout
        while self.number not in self.answers:
            left = deadline - time.monotonic()
            assert left > 0, 'chromium does not answer ' + method
            self.receive(left)
        answer = self.answers.pop(self.number)
        assert 'error' not in answer, (method, answer)
        return answer['result']

    def open(self, url):
        self.call('Page.navigate', url=url)
        self.wait("document.readyState == 'complete' && location.href == %s"
                  % json.dumps(url))

    def get(self, expression):
        result = self.call('Runtime.evaluate', expression=expression,
                           returnByValue=True)
        assert 'exceptionDetails' not in result, result
        return result['result'].get('value')

    def wait(self, expression, timeout=15):
        """Waits until the expression is true."""
        deadline = time.monotonic() + timeout
        while not self.get(expression):
            assert time.monotonic() < deadline, '%s: not in %g s; page: %s' % (
                expression, timeout, self.get('document.body.innerText'))
            self.receive(0.05)

    def shot(self, path):
        data = self.call('Page.captureScreenshot', captureBeyondViewport=True)
        with open(path, 'wb') as f:
            f.write(base64.b64decode(data['data']))
