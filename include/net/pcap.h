/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A recording of frames in the classic pcap format, nanosecond variant, for
 * wireshark and tcpdump (draft-ietf-opsawg-pcap-03). On the loop's thread.
 */
#ifndef LKVM_NET_PCAP_H
#define LKVM_NET_PCAP_H

#include <stddef.h>
#include <sys/uio.h>

struct pcap;

/* Creates or empties the file. 0 or -errno, after a message. */
int pcap_create(struct pcap **out, const char *path);

/* Could it be made? It stays as it is. The same. */
int pcap_check(const char *path);

/* Accepts NULL. */
void pcap_destroy(struct pcap *pcap);

/*
 * Records up to @bytes bytes of @iov from byte @skip on as one frame. A file that
 * cannot be written ends with a message, and what was recorded stays.
 */
void pcap_write(struct pcap *pcap, const struct iovec *iov, unsigned int nr, size_t skip,
		size_t bytes);

#endif
