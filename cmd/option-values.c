// SPDX-License-Identifier: GPL-2.0-only
/*
 * Values of options: text -> number, disk, network, port.
 *
 * Pure: nothing is opened, allocated or printed. A list like that of a disk is cut up in place,
 * word by word, and each word or KEY=VALUE sets one field. It does not look whether what is named
 * exists: whoever opens it does.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/option-values.h"
#include "util.h"
#include "virtio/blk.h"

#define MAX_SECONDS   1e9
#define MAX_PORT_NAME 32u

int value_refuse(struct value_error *why, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why->text, sizeof(why->text), format, ap);
	va_end(ap);
	return -EINVAL;
}

int value_size(const char *text, uint64_t unit, uint64_t *bytes)
{
	static const char suffixes[] = "BKMGT";
	unsigned long long number;
	const char *suffix;
	char *end;

	/* strtoull() would take a sign and blanks. */
	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, !strncmp(text, "0x", 2) ? 16 : 10);
	if (errno)
		return -ERANGE;
	if (*end) {
		suffix = strchr(suffixes, toupper((unsigned char)*end));
		if (!suffix || end[1])
			return -EINVAL;
		unit = 1ull << (10 * (suffix - suffixes));
	}
	return mul_u64(number, unit, bytes) ? 0 : -ERANGE;
}

const char *value_find_param(const char *cmdline, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = cmdline; p && *p; p += strcspn(p, " ")) {
		p += strspn(p, " ");
		if (!strncmp(p, name, len) && p[len] == '=')
			return p + len + 1;
	}
	return NULL;
}

bool value_number(const char *text, uint64_t min, uint64_t max, uint64_t *number)
{
	return !text[strspn(text, "0123456789")] && !value_size(text, 1, number) &&
	       *number >= min && *number <= max;
}

bool value_is_name(const char *text)
{
	while (isalnum((unsigned char)*text) || (*text && strchr("-_.", *text)))
		text++;
	return !*text;
}

bool value_seconds(const char *text, uint64_t *ns)
{
	char *end;
	double seconds;

	errno = 0;
	seconds = strtod(text, &end);
	if (errno || end == text || *end || !isfinite(seconds) || seconds <= 0 ||
	    seconds > MAX_SECONDS)
		return false;
	*ns = (uint64_t)(seconds * 1e9);
	if (!*ns)
		*ns = 1;
	return true;
}

int value_choice(const char *text, const char *words)
{
	size_t len = strlen(text);

	for (int i = 0; *words; i++) {
		size_t word = strcspn(words, "|");

		if (word == len && !strncmp(text, words, len) && !isupper((unsigned char)*words))
			return i;
		words += word + (words[word] == '|');
	}
	return -1;
}

int value_flat(const char *text, bool whole_is_a_file, size_t *name_bytes, uint64_t *address,
	       struct value_error *why)
{
	const char *at = whole_is_a_file ? NULL : strrchr(text, '@');

	*name_bytes = at ? (size_t)(at - text) : strlen(text);
	if (at && value_size(at + 1, 1, address))
		return value_refuse(why, "the address after @ is not a number");
	return 0;
}

static bool is_on_or_off(const char *text, bool *on)
{
	*on = !strcmp(text, "on");
	return *on || !strcmp(text, "off");
}

/*
 * Takes the first word off @rest, which is NULL after the last: up to a comma, but two commas
 * stand for one that belongs to the word. Done in place.
 */
static char *next_word(char **rest)
{
	char *word = *rest, *in = word, *out = word;

	while (*in && (in[0] != ',' || in[1] == ',')) {
		in += in[0] == ',';
		*out++ = *in++;
	}
	*rest = *in ? in + 1 : NULL;
	*out = '\0';
	return word;
}

/* One of the words after a disk's file name. */
static int set_disk_word(struct machine_disk *d, const char *word)
{
	if (!strcmp(word, "ro"))
		d->disk.read_only = true;
	else if (!strcmp(word, "direct"))
		d->disk.direct = true;
	else if (!strcmp(word, "cow"))
		d->disk.cow = true;
	else if (!strcmp(word, "backing=on"))
		d->disk.backing = true;
	else if (!strcmp(word, "discard=on"))
		d->disk.no_discard = false;
	else if (!strcmp(word, "discard=off"))
		d->disk.no_discard = true;
	else if (!strcmp(word, "format=raw"))
		d->disk.format = DISK_FORMAT_RAW;
	else if (!strcmp(word, "format=qcow2"))
		d->disk.format = DISK_FORMAT_QCOW2;
	else if (!strncmp(word, "serial=", 7) && word[7] && strlen(word + 7) <= BLK_SERIAL_BYTES)
		d->serial = word + 7;
	else
		return -EINVAL;
	return 0;
}

int value_disk(struct machine_disk *disk, char *text, struct value_error *why)
{
	*disk = (struct machine_disk){ .disk.path = next_word(&text), .tree = -1 };
	if (!*disk->disk.path)
		return value_refuse(why, "no file name");
	while (text) {
		const char *word = next_word(&text);

		if (set_disk_word(disk, word))
			return value_refuse(why,
					    "unknown suffix \"%.250s\"\nit may be ro, cow, direct, "
					    "discard=off, format=raw, format=qcow2, backing=on or serial= "
					    "with up to 20 characters; a comma in a name is written twice.",
					    word);
	}
	if (disk->disk.read_only && disk->disk.cow)
		return value_refuse(why, "either ro or cow, not both");
	return 0;
}

static bool parse_mac(const char *text, uint8_t mac[NET_MAC_BYTES])
{
	for (unsigned int i = 0; i < NET_MAC_BYTES; i++) {
		if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]) ||
		    text[2] != (i < NET_MAC_BYTES - 1 ? ':' : '\0'))
			return false;
		mac[i] = (uint8_t)strtoul(text, NULL, 16);
		text += 3;
	}
	return !(mac[0] & 1); /* a group has no network card */
}

static bool parse_mode(const char *text, enum net_mode *mode)
{
	static const char *const names[] = {
		[NET_MODE_NONE] = "none",
		[NET_MODE_TAP] = "tap",
		[NET_MODE_FD] = "fd",
		[NET_MODE_PASST] = "passt",
		[NET_MODE_STREAM] = "stream",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(text, names[i]))
			continue;
		*mode = (enum net_mode)i;
		return true;
	}
	return false;
}

static bool parse_ipv4(const char *text, uint8_t address[4])
{
	return inet_pton(AF_INET, text, address) == 1;
}

/* ADDRESS/BITS */
static bool parse_guest_address(char *text, struct net_address *a)
{
	char *slash = strchr(text, '/');
	uint64_t bits;

	if (!slash || !value_number(slash + 1, 1, 32, &bits))
		return false;
	*slash = '\0';
	a->given = parse_ipv4(text, a->address);
	*slash = '/';
	a->prefix_bits = (uint8_t)bits;
	return a->given;
}

/* One KEY=VALUE of a network. -ENOENT: no such key. */
static int set_net_key(struct net_config *n, const char *key, char *value)
{
	uint64_t number = 0;
	bool ok;

	if (!strcmp(key, "mode")) {
		ok = parse_mode(value, &n->mode);
	} else if (!strcmp(key, "tapif")) {
		n->tapif = value;
		ok = *value && !strpbrk(value, "/%");
	} else if (!strcmp(key, "fd")) {
		ok = value_number(value, 0, INT32_MAX, &number);
		n->fd = (int)number;
	} else if (!strcmp(key, "path")) {
		n->path = value;
		ok = *value;
	} else if (!strcmp(key, "server")) {
		ok = is_on_or_off(value, &n->server);
	} else if (!strcmp(key, "publish")) {
		ok = *value && n->nr_publish < NET_MAX_PUBLISH;
		if (ok)
			n->publish[n->nr_publish++] = value;
	} else if (!strcmp(key, "host")) {
		ok = is_on_or_off(value, &n->host_loopback);
	} else if (!strcmp(key, "ip")) {
		ok = parse_guest_address(value, &n->guest);
	} else if (!strcmp(key, "gw")) {
		ok = parse_ipv4(value, n->guest.gateway);
	} else if (!strcmp(key, "dns")) {
		ok = parse_ipv4(value, n->guest.dns);
	} else if (!strcmp(key, "vhost")) {
		ok = is_on_or_off(value, &n->vhost);
	} else if (!strcmp(key, "pcap")) {
		n->pcap = value;
		ok = *value;
	} else if (!strcmp(key, "mtu")) {
		ok = value_number(value, NET_MIN_MTU, NET_MAX_MTU, &number);
		n->mtu = (unsigned int)number;
	} else if (!strcmp(key, "queues")) {
		ok = value_number(value, 1, NET_MAX_QUEUES, &number);
		n->queues = (unsigned int)number;
	} else if (!strcmp(key, "guest_mac")) {
		ok = n->has_mac = parse_mac(value, n->mac);
	} else {
		return -ENOENT;
	}
	return ok ? 0 : -EINVAL;
}

/* Keys that mean something for one mode only. */
static const char *misplaced_key(const struct net_config *n)
{
	static const uint8_t none[4];

	if (n->mode != NET_MODE_TAP && n->mode != NET_MODE_FD && n->vhost)
		return "vhost belongs to mode=tap and mode=fd";
	if (n->mode != NET_MODE_TAP && (n->tapif || n->queues))
		return "tapif and queues belong to mode=tap";
	if ((n->mode == NET_MODE_FD) != (n->fd >= 0))
		return "mode=fd needs fd=N, and no other mode takes it";
	if ((n->mode == NET_MODE_STREAM) != (n->path != NULL))
		return "mode=stream needs path=SOCKET, and no other mode takes it";
	if (n->mode != NET_MODE_STREAM && n->server)
		return "server belongs to mode=stream";
	if (!n->guest.given && (n->guest.gateway[0] || n->guest.dns[0]))
		return "gw and dns belong to ip";
	if (!n->guest.given && (memcmp(n->guest.gateway, none, 4) || memcmp(n->guest.dns, none, 4)))
		return "gw and dns belong to ip";
	if (n->mode != NET_MODE_PASST && (n->nr_publish || n->host_loopback))
		return "publish and host belong to mode=passt";
	return NULL;
}

int value_network(struct net_config *net, char *text, struct value_error *why)
{
	const char *misplaced;
	bool has_mode = false;
	char *word;

	*net = (struct net_config){ .fd = -1 };
	while ((word = strsep(&text, ","))) {
		char *value = strchr(word, '=');
		int rc = -ENOENT;

		if (value) {
			*value++ = '\0';
			rc = set_net_key(net, word, value);
			has_mode |= !strcmp(word, "mode");
		}
		if (rc == -ENOENT)
			return value_refuse(why,
					    "unknown key \"%.250s\"\nit may be mode, tapif, queues, "
					    "fd, path, server, publish, host, guest_mac, mtu, ip, gw, dns, vhost "
					    "or pcap, with a value.",
					    word);
		if (rc)
			return value_refuse(why, "%s=%.250s: not possible\n"
						 "`lkvm help run` tells what is.",
					    word, value);
	}
	if (!has_mode)
		return value_refuse(why, "needs a mode: tap, fd, passt, stream or none");
	misplaced = misplaced_key(net);
	return misplaced ? value_refuse(why, "%s", misplaced) : 0;
}

/* A component "..". */
static bool has_dots(const char *path)
{
	for (const char *p = strstr(path, ".."); p; p = strstr(p + 1, ".."))
		if ((p == path || p[-1] == '/') && (!p[2] || p[2] == '/'))
			return true;
	return false;
}

int value_dir(char *text, const char **host, const char **guest, struct value_error *why)
{
	char *to = text;

	*host = text;
	*guest = NULL;
	for (const char *from = text; *from; from++) {
		if (*from == ':' && from[1] != ':') {
			*guest = from + 1;
			break;
		}
		from += *from == ':';
		*to++ = *from;
	}
	*to = '\0';
	if (!*text)
		return value_refuse(why, "no directory is named");
	if (*guest && **guest == '/' && !(*guest)[strspn(*guest, "/.")])
		return value_refuse(why, "its place in the guest cannot be the root itself");
	if (*guest && has_dots(*guest))
		return value_refuse(why, "its place in the guest must not have \"..\" in it");
	if (*guest && (**guest != '/' || strlen(*guest) >= 4096))
		return value_refuse(why, "its place in the guest must begin with a slash\n"
					 "a colon in a name is written twice.");
	return 0;
}

/* NAME=unix:PATH|file:PATH|fd:N|pty */
int value_port(struct port_config *port, char *text, struct value_error *why)
{
	char *target = strchr(text, '=');
	uint64_t number = 0;

	if (!target || target == text || target - text > MAX_PORT_NAME)
		return value_refuse(why, "must be NAME=unix:PATH, file:PATH, fd:N or pty; "
					 "NAME has 1 to 32 characters");
	*target++ = '\0';
	*port = (struct port_config){ .name = text, .fd = -1 };
	if (!value_is_name(text))
		return value_refuse(why, "a name has only letters, digits, '-', '_' and '.'");
	if (!strncmp(target, "unix:", 5) && target[5]) {
		port->kind = PORT_UNIX;
		port->path = target + 5;
	} else if (!strncmp(target, "file:", 5) && target[5]) {
		port->kind = PORT_FILE;
		port->path = target + 5;
	} else if (!strncmp(target, "fd:", 3) && target[3] &&
		   value_number(target + 3, 0, INT32_MAX, &number)) {
		port->kind = PORT_FD;
		port->fd = (int)number;
	} else if (!strcmp(target, "pty")) {
		port->kind = PORT_PTY;
	} else {
		return value_refuse(why, "the other side must be unix:PATH, file:PATH, fd:N or pty");
	}
	return 0;
}
