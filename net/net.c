// SPDX-License-Identifier: GPL-2.0-only
/*
 * What all network back ends share: the table of kinds, the recording of frames,
 * the link's state. Owns nothing but the recording.
 */
#include <errno.h>

#include "net/net.h"
#include "net/pcap.h"
#include "net/vhost.h"

static int open_vhost(struct net *net, const struct net_config *config)
{
	if (config->pcap) {
		log_error("%s: pcap=%s: with vhost=on no frame comes by here", config->name,
			  config->pcap);
		return -EINVAL;
	}
	return vhost_create(&net->vhost, config->name, net->nr_queues,
			    net->sends_offloads ? NET_HEADER_BYTES : 0);
}

int net_open(struct net **out, struct event_loop *loop, const struct net_config *config)
{
	static int (*const open_mode[])(struct net **, struct event_loop *,
					const struct net_config *config) = {
		[NET_MODE_TAP] = net_tap_open,
		[NET_MODE_FD] = net_tap_open,
		[NET_MODE_PASST] = net_passt_open,
		[NET_MODE_STREAM] = net_stream_open,
	};
	struct pcap *pcap = NULL;
	int rc;

	*out = NULL;
	if (config->mode == NET_MODE_NONE)
		return 0;
	if (config->pcap) {
		rc = config->dry_run ? pcap_check(config->pcap) : pcap_create(&pcap, config->pcap);
		if (rc)
			return rc;
	}
	rc = open_mode[config->mode](out, loop, config);
	if (rc) {
		pcap_destroy(pcap);
		return rc;
	}
	(*out)->pcap = pcap;
	if (config->vhost)
		rc = open_vhost(*out, config);
	if (rc) {
		net_close(*out);
		*out = NULL;
	}
	return rc;
}

int net_wait_ready(struct net *net)
{
	return net->ops->wait_ready ? net->ops->wait_ready(net) : 0;
}

struct socket_name net_take_name(struct net *net)
{
	return net->ops->take_name ? net->ops->take_name(net) : (struct socket_name){ 0 };
}

pid_t net_take_child(struct net *net)
{
	pid_t child = net->child;

	net->child = 0;
	return child;
}

void net_close(struct net *net)
{
	struct pcap *pcap;

	if (!net)
		return;
	vhost_destroy(net->vhost);
	pcap = net->pcap;
	net->ops->destroy(net);
	pcap_destroy(pcap);
}

void net_set_client(struct net *net, const struct net_client *client)
{
	net->client = client ? *client : (struct net_client){ 0 };
}

ssize_t net_recv(struct net *net, unsigned int queue, const struct iovec *iov, unsigned int nr)
{
	ssize_t n = net->ops->recv(net, queue, iov, nr);

	if (net->pcap && n > 0)
		pcap_write(net->pcap, iov, nr, NET_HEADER_BYTES, (size_t)n - NET_HEADER_BYTES);
	return n;
}

int net_send(struct net *net, unsigned int queue, const struct iovec *iov, unsigned int nr)
{
	int rc = net->ops->send(net, queue, iov, nr);

	if (rc == -EAGAIN)
		net->refused |= 1u << queue;
	if (net->pcap && !rc)
		pcap_write(net->pcap, iov, nr, NET_HEADER_BYTES, NET_MAX_FRAME_BYTES);
	return rc;
}

int net_set_queues(struct net *net, unsigned int nr)
{
	if (nr < 1 || nr > net->nr_queues)
		return -EINVAL;
	return net->ops->set_queues ? net->ops->set_queues(net, nr) : 0;
}

int net_set_offloads(struct net *net, unsigned int flags)
{
	if (flags & ~net->offloads)
		return -EINVAL;
	return net->ops->set_offloads ? net->ops->set_offloads(net, flags) : 0;
}

void net_watch(struct net *net, unsigned int queue, bool on)
{
	net->ops->watch(net, queue, on);
}

int net_queue_fd(struct net *net, unsigned int queue)
{
	return net->ops->queue_fd ? net->ops->queue_fd(net, queue) : -1;
}

void net_writable(struct net *net, unsigned int queue)
{
	if (!(net->refused >> queue & 1))
		return;
	net->refused &= ~(1u << queue);
	if (net->client.writable)
		net->client.writable(net->client.arg, queue);
}

void net_readable(struct net *net, unsigned int queue)
{
	if (net->client.readable)
		net->client.readable(net->client.arg, queue);
}

void net_set_link(struct net *net, bool up)
{
	if (net->link_up == up)
		return;
	net->link_up = up;
	log_limited(&net->log_limit, LOG_VERBOSE, "%s: link %s", net->name, up ? "up" : "down");
	if (net->client.link)
		net->client.link(net->client.arg, up);
}
