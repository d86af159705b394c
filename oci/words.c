// SPDX-License-Identifier: GPL-2.0-only
/*
 * Words of config.json (oci/words.h): tables. Pure.
 *
 * Sources: capabilities(7), setrlimit(2), mount(8); OCI runtime specification 1.2.0, config.md,
 * "Linux mount options".
 */
#include <linux/capability.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "oci/words.h"
#include "util.h"

#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

static int find_word(const char *const *words, unsigned int nr, const char *word)
{
	for (unsigned int i = 0; i < nr; i++)
		if (words[i] && !strcmp(words[i], word))
			return (int)i;
	return -1;
}

int words_capability(const char *word)
{
	static const char *const names[] = {
		"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
		"SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
		"IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
		"SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
		"LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
		"WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"
	};

	_Static_assert(ARRAY_SIZE(names) == CAP_LAST_CAP + 1, "capabilities(7)");
	return strncmp(word, "CAP_", 4) ? -1 : find_word(names, ARRAY_SIZE(names), word + 4);
}

int words_rlimit(const char *word)
{
	static const char *const names[] = {
		[RLIMIT_AS] = "AS",
		[RLIMIT_CORE] = "CORE",
		[RLIMIT_CPU] = "CPU",
		[RLIMIT_DATA] = "DATA",
		[RLIMIT_FSIZE] = "FSIZE",
		[RLIMIT_LOCKS] = "LOCKS",
		[RLIMIT_MEMLOCK] = "MEMLOCK",
		[RLIMIT_MSGQUEUE] = "MSGQUEUE",
		[RLIMIT_NICE] = "NICE",
		[RLIMIT_NOFILE] = "NOFILE",
		[RLIMIT_NPROC] = "NPROC",
		[RLIMIT_RSS] = "RSS",
		[RLIMIT_RTPRIO] = "RTPRIO",
		[RLIMIT_RTTIME] = "RTTIME",
		[RLIMIT_SIGPENDING] = "SIGPENDING",
		[RLIMIT_STACK] = "STACK",
	};

	return strncmp(word, "RLIMIT_", 7) ? -1 : find_word(names, ARRAY_SIZE(names), word + 7);
}

bool words_mount_option(const char *word, struct word_flags *flags)
{
	static const struct {
		const char *word;
		struct word_flags flags;
	} options[] = {
		{ "defaults", { 0, 0 } },
		{ "bind", { MS_BIND, 0 } },
		{ "rbind", { MS_BIND | MS_REC, 0 } },
		{ "ro", { MS_RDONLY, 0 } },
		{ "rw", { 0, MS_RDONLY } },
		{ "nosuid", { MS_NOSUID, 0 } },
		{ "suid", { 0, MS_NOSUID } },
		{ "nodev", { MS_NODEV, 0 } },
		{ "dev", { 0, MS_NODEV } },
		{ "noexec", { MS_NOEXEC, 0 } },
		{ "exec", { 0, MS_NOEXEC } },
		{ "sync", { MS_SYNCHRONOUS, 0 } },
		{ "async", { 0, MS_SYNCHRONOUS } },
		{ "dirsync", { MS_DIRSYNC, 0 } },
		{ "noatime", { MS_NOATIME, 0 } },
		{ "atime", { 0, MS_NOATIME } },
		{ "nodiratime", { MS_NODIRATIME, 0 } },
		{ "diratime", { 0, MS_NODIRATIME } },
		{ "relatime", { MS_RELATIME, 0 } },
		{ "norelatime", { 0, MS_RELATIME } },
		{ "strictatime", { MS_STRICTATIME, 0 } },
		{ "nostrictatime", { 0, MS_STRICTATIME } },
		{ "nosymfollow", { MS_NOSYMFOLLOW, 0 } },
		{ "silent", { MS_SILENT, 0 } },
		{ "loud", { 0, MS_SILENT } },
		/* Nothing is mounted from outside into a VM. */
		{ "private", { 0, 0 } },
		{ "rprivate", { 0, 0 } },
		{ "slave", { 0, 0 } },
		{ "rslave", { 0, 0 } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (strcmp(options[i].word, word) != 0)
			continue;
		*flags = options[i].flags;
		return true;
	}
	return false;
}

bool words_is_shared_mount(const char *word)
{
	static const char *const words[] = { "shared", "rshared", "unbindable", "runbindable" };

	return find_word(words, ARRAY_SIZE(words), word) >= 0;
}
