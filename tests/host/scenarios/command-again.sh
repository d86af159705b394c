# SPDX-License-Identifier: GPL-2.0-only
# All that is tested of commands, and of more commands in their VMs, once more with --warm: in a guest that goes on from a
# snapshot they are what they are in one that has booted.
# Only in check-all: it is all of that, twice.
# Modules of its kernels are in /lib/modules.
[ -e /full ] || return 0
export HOME=/tmp/home
mkdir -p $HOME /tmp/warm
# Each "lkvm run" of these scripts is one with --warm; a file says how often one went on from a snapshot.
cat >/tmp/warm/lkvm <<W
#!/bin/sh
[ "\$1" = run ] || exec $(command -v lkvm) "\$@"
shift
exec $(command -v lkvm) run --warm "\$@"
W
chmod 755 /tmp/warm/lkvm
export PATH=/tmp/warm:$PATH
sleep 2	# what was written a moment ago has no snapshot yet
(. /again/command.sh)
(. /again/command-exec.sh)
# They did, but for those that were the first of their kind: without that this would say nothing. Each snapshot's file has
# a byte for each start from it.
starts=$(cat $HOME/.cache/lkvm/*.uses | wc -c)
[ "$starts" -ge 28 ] && ok command-again/warm-starts || not_ok command-again/warm-starts "$starts, $(ls $HOME/.cache/lkvm)"
