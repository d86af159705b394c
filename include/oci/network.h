/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The network that an engine has made for a container: interfaces in a namespace, with addresses. The VM
 * takes each over with all that it has: a macvtap in passthru mode gets its frames, and the guest its
 * addresses. Processes in the namespace itself do not get them any more.
 *
 * Main thread; descriptors are closed by network_close().
 */
#ifndef LKVM_OCI_NETWORK_H
#define LKVM_OCI_NETWORK_H

#include <stdbool.h>
#include <stdint.h>

#include "oci/config.h"

#define NETWORK_MAX_CARDS   4u
#define NETWORK_MAX_PORTS   32u
#define NETWORK_PASST_BYTES (16u + NETWORK_MAX_PORTS * sizeof(",publish=0.0.0.0:65535:65535/udp"))

struct network_card {
	int fd; /* the macvtap's */
	uint8_t mac[6];
	uint8_t prefix_bits;		/* 0: no address (of version 4) */
	uint8_t address[4], gateway[4]; /* all zero: none */
	bool has_ipv6;			/* an address of version 6, beside the link's own: the guest does not get it */
	uint32_t mtu;
};

struct network {
	int spaces; /* the namespace; -1: none was named */
	unsigned int nr;
	struct network_card cards[NETWORK_MAX_CARDS];
};

#define NETWORK_NONE \
	{ \
		.spaces = -1 \
	}

/*
 * Takes over what is in the namespace at @path, for the container @owner; the host's own network, whatever path
 * leads to it, and what another container has are refused. @place is a directory that what is needed meanwhile is
 * mounted on, seen by nobody else. 0 or -errno with the reason in @error; network_close() in any case.
 */
int network_open(struct network *n, const char *path, const char *owner, const char *place,
		 struct config_error *error);
void network_close(struct network *n);

/* What network_open() has made there for @owner and nobody else, if the namespace is still there; @path may be "". */
void network_remove(const char *path, const char *owner);

/*
 * Only opens the namespace at @path, for a VM whose network is passt's in it: an ordinary user's engine has interfaces
 * that cannot be taken over, since nodes of devices are the host's root's. 0 or -errno with the reason in @error.
 */
int network_join(struct network *n, const char *path, struct config_error *error);

/*
 * The value of an option --network for passt, with @ports, as in "80 53/udp", which are open in its namespace; NULL:
 * none. False: they are no ports, or more than NETWORK_MAX_PORTS.
 */
bool network_passt_option(const char *ports, char text[NETWORK_PASST_BYTES]);

/* The value of an option --network for @card (cmd/options.h). */
void network_option(const struct network_card *card, char *text, size_t bytes);

#endif
