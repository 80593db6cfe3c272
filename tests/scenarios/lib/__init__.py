# SPDX-License-Identifier: GPL-2.0-or-later
"""What scenario tests share: guests, their images, QMP, the list of cases."""
