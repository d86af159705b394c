# SPDX-License-Identifier: GPL-2.0-only
# Debian's generic612 kernel: 1, 2 and 4 CPUs, 128 MiB to 4 GiB, the three ways to end.
boot_matrix generic612
