# SPDX-License-Identifier: GPL-2.0-only
# All that is tested of containers and pods, once more with "warm = yes": in a guest that goes on from a snapshot they are
# what they are in one that has booted.
# A host of its own: those change what namespaces do not keep apart.
# Only in check-all: it is all of that, twice.
# Modules of its kernels are in /lib/modules; the guests are cloud.
[ -e /full ] || return 0
mkdir -p /root	# the cache's
sleep 2		# what was written a moment ago has no snapshot yet
(WARM=yes; . /again/oci.sh)
starts=$(cat /root/.cache/lkvm/*.uses | wc -c)
[ "$starts" -ge 10 ] && ok oci-again/warm-starts || not_ok oci-again/warm-starts "$starts, $(ls /root/.cache/lkvm)"
rm -rf /root/.cache/lkvm
(WARM=yes; . /again/oci-pods.sh)
(WARM=yes; . /again/oci-pods.sh) | sed 's#pods/#pods-again/#'
starts=$(cat /root/.cache/lkvm/*.uses | wc -c)
[ "$starts" -ge 2 ] && ok oci-again/warm-pods || not_ok oci-again/warm-pods "$starts, $(ls /root/.cache/lkvm)"
