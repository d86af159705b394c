// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's first process: users and groups of the root, from its /etc/passwd and /etc/group.
 *
 * The C library's functions for that ask a name service's daemon, too, which is not there, and are
 * a fifth of the size that this program may have.
 *
 * Sources: passwd(5), group(5).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/init.h"

/* Tests have files of their own. */
#ifndef INIT_PASSWD
#define INIT_PASSWD "/etc/passwd"
#define INIT_GROUP  "/etc/group"
#endif
#define MAX_FIELDS 7
#define ROOT_SHELL "/bin/sh"

bool init_next_line(struct init_lines *l, char **line)
{
	size_t len;

	for (;;) {
		char *start = l->data + l->at, *end = memchr(start, '\n', l->until - l->at);
		ssize_t n;

		if (end || (l->ended && l->until > l->at)) {
			bool is_rest = l->too_long;

			len = end ? (size_t)(end - start) : l->until - l->at;
			l->at += len + (end != NULL);
			l->too_long = false;
			if (is_rest)
				continue;
			start[len] = '\0';
			*line = start;
			return true;
		}
		if (l->ended)
			return false;
		memmove(l->data, start, l->until - l->at);
		l->until -= l->at;
		l->at = 0;
		if (l->until == INIT_LINE_BYTES) {
			l->too_long = true;
			l->until = 0;
		}
		n = read(l->fd, l->data + l->until, INIT_LINE_BYTES - l->until);
		l->ended = n <= 0;
		l->until += n > 0 ? (size_t)n : 0;
	}
}

bool init_open_lines(struct init_lines *l, const char *path)
{
	struct stat st;

	/* It may be the root's, which may have anything there: nothing waits for a FIFO. */
	*l = (struct init_lines){ .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) };
	if (l->fd < 0 || (!fstat(l->fd, &st) && S_ISREG(st.st_mode)))
		return l->fd >= 0;
	close(l->fd);
	l->fd = -1;
	return false;
}

/* A number, and nothing else. */
static bool parse_id(const char *text, unsigned int *id)
{
	uint64_t n = 0;

	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9' || n > UINT32_MAX)
			return false;
		n = n * 10 + (uint64_t)(*p - '0');
	}
	if (!*text || n >= UINT32_MAX)
		return false;
	*id = (unsigned int)n;
	return true;
}

/* The first line of @path whose field @index is @value, cut up into @fields; the rest are "". */
static bool init_find_entry(struct init_lines *l, const char *path, unsigned int index,
			    const char *value, char *fields[MAX_FIELDS])
{
	bool found = false;
	char *line;

	if (!init_open_lines(l, path))
		return false;
	while (!found && init_next_line(l, &line)) {
		for (unsigned int i = 0; i < MAX_FIELDS; i++) {
			char *colon = strchr(line, ':');

			fields[i] = line;
			if (colon)
				*colon = '\0';
			line = colon ? colon + 1 : line + strlen(line);
		}
		found = *fields[0] != '#' && !strcmp(fields[index], value);
	}
	close(l->fd);
	return found;
}

static void keep_text(char *to, size_t bytes, const char *text)
{
	if (strlen(text) >= bytes)
		init_fail("user: \"%s\" is too long", text);
	strcpy(to, text);
}

static bool find_password_entry(unsigned int index, const char *value, struct init_user *u)
{
	char *f[MAX_FIELDS];
	struct init_lines l;
	uid_t uid;
	gid_t gid;

	if (!init_find_entry(&l, INIT_PASSWD, index, value, f) || !parse_id(f[2], &uid) ||
	    !parse_id(f[3], &gid))
		return false;
	u->uid = uid;
	u->gid = gid;
	keep_text(u->name, sizeof(u->name), f[0]);
	keep_text(u->home, sizeof(u->home), f[5]);
	keep_text(u->shell, sizeof(u->shell), *f[6] ? f[6] : ROOT_SHELL);
	u->is_known = true;
	return true;
}

static void find_group(const char *name, struct init_user *u)
{
	char *f[MAX_FIELDS];
	struct init_lines l;

	if (!(init_find_entry(&l, INIT_GROUP, 0, name, f) && parse_id(f[2], &u->gid)) &&
	    !parse_id(name, &u->gid))
		init_fail("user: there is no group \"%s\" in the root's /etc/group", name);
	u->group_given = true;
}

void init_find_user(const char *asked, struct init_user *u)
{
	char text[INIT_NAME_BYTES], *group;

	*u = (struct init_user){ .name = "root", .home = "/root", .shell = ROOT_SHELL };
	keep_text(text, sizeof(text), asked ? asked : "root");
	group = strchr(text, ':');
	if (group)
		*group++ = '\0';
	if (!find_password_entry(0, text, u) && parse_id(text, &u->uid)) {
		if (!find_password_entry(2, text, u)) {
			u->gid = u->uid;
			keep_text(u->name, sizeof(u->name), text);
			keep_text(u->home, sizeof(u->home), "/");
		}
	} else if (!u->is_known && asked) {
		init_fail("user: there is no user \"%s\" in the root's /etc/passwd", text);
	}
	if (group && *group)
		find_group(group, u);
}

static bool is_member(const char *members, const char *name)
{
	size_t len = strlen(name);

	while (*members) {
		size_t n = strcspn(members, ",");

		if (n == len && !memcmp(members, name, n))
			return true;
		members += n + (members[n] == ',');
	}
	return false;
}

unsigned int init_find_groups(const struct init_user *u, gid_t groups[INIT_MAX_GROUPS])
{
	unsigned int nr = 0;
	struct init_lines l;
	char *line;

	if (!u->is_known || u->group_given || !init_open_lines(&l, INIT_GROUP))
		return 0;
	groups[nr++] = u->gid;
	while (nr < INIT_MAX_GROUPS && init_next_line(&l, &line)) {
		char *f[4] = { line, NULL, NULL, NULL };

		for (unsigned int i = 1; i < 4 && f[i - 1]; i++) {
			f[i] = strchr(f[i - 1], ':');
			if (f[i])
				*f[i]++ = '\0';
		}
		if (f[3] && is_member(f[3], u->name) && parse_id(f[2], &groups[nr]))
			nr++;
	}
	close(l.fd);
	return nr;
}
